package tui

import (
	"fmt"
	"math"
	"strings"
	"testing"

	tea "charm.land/bubbletea/v2"

	"mergescope/quant"
	"mergescope/themes"
	"mergescope/tui/screentest"
)

// tourRig has a tour open at a page, counted from 0.
func tourRig(t *testing.T, w, h int, id string, page int) *rig {
	t.Helper()
	r := demoRig(t, w, h, nil)
	r.run(r.a.openTour(id))
	for range page {
		r.press("right")
	}
	return r
}

func (r *rig) tour() *tourBox {
	r.t.Helper()
	x, ok := r.a.topOverlay().(*tourBox)
	if !ok || x.stage == nil {
		r.t.Fatalf("no tour is open: %T", r.a.topOverlay())
	}
	return x
}

func TestTourScreens(t *testing.T) {
	for _, s := range []struct {
		w, h int
		id   string
		page int
		keys string
	}{
		{120, 36, "nf4", 0, ""},
		{120, 36, "vanish", 2, "+++"},
		{80, 24, "nf4", 2, ""},
		{80, 24, "vanish", 2, ""},
		{80, 24, "double", 1, ""},
		{80, 24, "bits", 1, ""},
		{80, 24, "nan", 1, ""},
		{80, 24, "separate", 0, ""},
		{80, 24, "verify", 0, ""},
		{60, 16, "vanish", 2, "j++"},
		{60, 16, "nan", 0, "j"},
		{60, 16, "separate", 2, ""},
	} {
		name := fmt.Sprintf("tour-%s-%d-%dx%d", s.id, s.page+1, s.w, s.h)
		t.Run(name, func(t *testing.T) {
			r := tourRig(t, s.w, s.h, s.id, s.page)
			r.typed(s.keys)
			r.golden(name)
		})
	}
	r := demoRig(t, 80, 24, nil)
	r.press("H")
	r.golden("tours-80x24")
}

// Every page of every tour fits every screen, in ASCII too.
func TestTourPagesFit(t *testing.T) {
	for _, lesson := range tours() {
		r := tourRig(t, 120, 36, lesson.id, 0)
		r.hold = true
		for _, ascii := range []bool{false, true} {
			r.a.skin.ascii = ascii
			for i := range lesson.pages {
				r.tour().turn(-farAway)
				r.tour().turn(i)
				for _, size := range [][2]int{{60, 14}, {71, 17}, {80, 20}, {97, 29}, {120, 36}, {300, 120}} {
					r.a.Update(tea.WindowSizeMsg{Width: size[0], Height: size[1]})
					for _, k := range []string{"down", "+", "G"} {
						r.a.Update(keyPress(k))
						content := r.a.View().Content
						if err := screentest.Fits(content, size[0], size[1]); err != nil {
							t.Fatalf("%s page %d at %v after %s: %v", lesson.id, i+1, size, k, err)
						}
						if at := strings.IndexFunc(content, func(c rune) bool { return c > 127 }); ascii && at >= 0 {
							t.Fatalf("%s page %d at %v: %q is not ASCII", lesson.id, i+1, size, content[at:at+3])
						}
					}
				}
			}
		}
	}
}

// The numbers of the tours are those of the program.
func TestTourNumbers(t *testing.T) {
	r := tourRig(t, 120, 36, "vanish", 0)
	f := r.tour().facts
	shown := r.a.book.report(r.a.book.index(tourLayer)) // the demo begins with the light adapter
	if got := f.box.Try(f.box.Stored()).Kept; shown == nil || math.Abs(float64(got-shown.Kept)) > 1e-9 {
		t.Errorf("the tour keeps %v, the layers pane says %+v", got, shown)
	}
	for name, want := range map[string]float64{demoLight: 0.073, "gocode-mid": 0.923, "gocode": 0.989} { // expected.json of the demo
		if got := float64(f.nf4[name].Totals.Kept); math.Abs(got-want) > 0.0006 {
			t.Errorf("%s keeps %.4f in nf4, the demo's figures say %.3f", name, got, want)
		}
	}
	if got := float64(f.int8[demoLight].Totals.Kept); math.Abs(got-0.995) > 0.0006 {
		t.Errorf("the light adapter keeps %.4f in int8, the demo's figures say 0.995", got)
	}
	if near, far := gaps(quant.NF4); math.Abs(near-0.0796) > 1e-4 || math.Abs(far-0.2770) > 1e-4 {
		t.Errorf("code points are %.4f and %.4f apart", near, far)
	}
	// peft-bnb-merge: a NaN absmax makes its whole block NaN on a CPU; on CUDA
	// the NaN becomes code 0, -absmax.
	s := r.tour().stage
	if got := s.poison(quant.CPU); got.nan != 64 {
		t.Errorf("CPU: %d weights are NaN, want 64", got.nan)
	}
	if got := s.poison(quant.CUDA); got.nan != 0 || got.value != -got.absmax {
		t.Errorf("CUDA: %+v, want -absmax and no NaN", got)
	}
}

func TestTourSliders(t *testing.T) {
	r := tourRig(t, 120, 36, "vanish", 2)
	kept := func() float64 { return float64(r.tour().stage.trial.Kept) }
	before := kept()
	r.typed("++++++")
	if up := kept(); up < 0.5 || before > 0.1 {
		t.Errorf("kept %.3f at ×1 and %.3f at ×%g", before, up, r.tour().stage.set.Factor)
	}
	r.typed("------")
	if kept() != before {
		t.Errorf("back at ×1 kept is %.4f, was %.4f", kept(), before)
	}
	r.press("G")
	r.typed("+")
	if r.tour().stage.set.Format != quant.Int8 || kept() < 0.9 {
		t.Errorf("format %v keeps %.3f", r.tour().stage.set.Format, kept())
	}
	r.press("left", "+")
	if !strings.Contains(r.text(), "nothing to change on this page") {
		t.Errorf("+ without sliders says nothing:\n%s", r.text())
	}
}

// Tours run beside any checkpoint and leave everything as it was.
func TestTourLeavesThePlan(t *testing.T) {
	opt := lightOptions(t)
	r := newRig(t, opt, nil, 120, 36)
	plan := r.a.history.Now()
	r.press("H", "down", "enter", "right", "right", "+", "+", "esc")
	if !plan.Equal(r.a.history.Now()) || r.a.topOverlay() != nil || r.a.history.CanUndo() {
		t.Error("a tour changed the plan")
	}
	r.run(r.a.openTour("nf4"))
	if r.tour().facts != r.a.lesson {
		t.Error("the second tour computed everything again")
	}
}

func TestTourThatCannotRun(t *testing.T) {
	r := demoRig(t, 80, 24, nil)
	r.a.opt.Source.Demo = nil
	r.press("H")
	if !strings.Contains(r.text(), "without the demo") {
		t.Errorf("no reason:\n%s", r.text())
	}
	r.run(r.a.openTour("nf4"))
	if !strings.Contains(r.text(), "the demo cannot be shown") {
		t.Errorf("no reason in the tour:\n%s", r.text())
	}
	r.press("right", "+", "down", "esc")
	if r.a.topOverlay() != nil {
		t.Error("esc does not close it")
	}
}

// A tour that is closed while it is computed stops, and its answer is ignored.
func TestLeavingATourEarly(t *testing.T) {
	r := demoRig(t, 80, 24, nil)
	r.hold = true
	cmd := r.a.openTour("nf4")
	x := r.a.topOverlay().(*tourBox)
	if !strings.Contains(r.text(), "merging the demo in all ways") {
		t.Errorf("does not say that it computes:\n%s", r.text())
	}
	r.press("esc")
	msg := cmd().(tourMsg)
	if msg.err == nil {
		t.Error("what was closed was computed to the end")
	}
	r.a.Update(msg)
	if x.stage != nil || r.a.lesson != nil {
		t.Error("the answer of a closed tour was taken")
	}
}

func TestTourWithoutColour(t *testing.T) {
	none := themes.NoColor
	r := demoRig(t, 80, 24, func(o *Options) { o.Color = &none })
	r.run(r.a.openTour("vanish"))
	r.press("right", "right")
	r.golden("tour-nocolor-80x24")
}
