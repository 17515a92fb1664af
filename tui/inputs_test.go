package tui

import (
	"math"
	"strings"
	"testing"

	"mergescope/merge"
)

// calibratedRig has run the demo with codes chosen for inputs.
func calibratedRig(t *testing.T, w, h int) *rig {
	t.Helper()
	r := newRig(t, lightOptions(t), nil, w, h)
	r.run(r.a.apply(r.a.history.Now().SetMethodAll(merge.Method{Kind: merge.MethodCalibrated, Tokens: 256}), "calibrated"))
	if r.a.busy() || !r.a.book.sees {
		t.Fatalf("job %+v", r.a.job)
	}
	return r
}

// Of a calibrated plan the screen shows what inputs see, beside what they would
// with PEFT's codes, in every pane.
func TestInputsScreens(t *testing.T) {
	for _, s := range []struct {
		name string
		w, h int
		keys []string
	}{
		{"inputs-120x36", 120, 36, []string{"2", "v", "v", "v", "v", "v", "v", "v"}},
		{"inputs-80x24", 80, 24, []string{"2", "v", "v", "v", "v", "v", "v", "v"}},
		{"inputs-60x16", 60, 16, []string{"2", "v", "v", "v", "v", "v", "v", "v"}},
		{"inputs-layers-120x36", 120, 36, []string{"U"}},
		{"inputs-explain-120x36", 120, 36, []string{"3", "e", "right", "right", "right", "right", "right"}},
		{"inputs-explain-80x24", 80, 24, []string{"3", "e", "right", "right", "right", "right", "right"}},
		{"inputs-insight-120x36", 120, 36, []string{"I", "v"}},
	} {
		t.Run(s.name, func(t *testing.T) {
			r := calibratedRig(t, s.w, s.h)
			r.press(s.keys...)
			r.golden(s.name)
		})
	}
}

// Without a calibrated layer the metric says why there is nothing, and before a
// run a calibrated layer says how to get one.
func TestInputsUnknown(t *testing.T) {
	r := newRig(t, lightOptions(t), nil, 120, 36)
	r.press("2", "v", "v", "v", "v", "v", "v", "v")
	r.golden("inputs-unknown-120x36")
	r.press("I", "v")
	if r.a.topOverlay().(*insightBox).inputs || !strings.Contains(r.text(), "R, D") {
		t.Error("the insight shows what is not known")
	}
	r.press("esc")
	r.a.auto = false
	r.run(r.a.apply(r.a.history.Now().SetMethodAll(merge.Method{Kind: merge.MethodCalibrated}), "calibrated"))
	r.press("v")
	r.golden("inputs-before-120x36")
}

// Figures of groups and of the model follow from those of layers.
func TestInputsFigures(t *testing.T) {
	r := calibratedRig(t, 120, 36)
	all := r.a.book.overall()
	snap := r.a.job.snap.Totals
	if d := math.Abs(float64(all.KeptOnInputs - snap.KeptOnInputs)); !(d < 1e-6) {
		t.Errorf("kept on inputs %v, the job says %v", all.KeptOnInputs, snap.KeptOnInputs)
	}
	for _, name := range []string{"inputs", "peft", "peftinputs"} {
		f, ok := figureNamed(name)
		if !ok {
			t.Fatalf("no figure %s", name)
		}
		for i := range r.a.book.layers {
			v := f.of(&r.a.book, i)
			if r.a.book.planned(i) != !math.IsNaN(v) {
				t.Errorf("%s of %s: %v", name, r.a.book.layers[i].Weight.Name, v)
			}
		}
	}
	r.press("/")
	r.typed("peftinputs<0.1 inputs>0.9")
	if n := r.a.tree.shown(); n < 10 || n > 28 {
		t.Errorf("%d layers match", n)
	}
}
