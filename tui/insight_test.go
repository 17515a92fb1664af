package tui

import (
	"math"
	"strings"
	"testing"

	"mergescope/merge"
	"mergescope/themes"
)

func TestInsightScreens(t *testing.T) {
	for _, s := range []struct {
		name string
		w, h int
		keys []string
	}{
		{"insight-120x36", 120, 36, []string{"t", "I"}},
		{"insight-80x24", 80, 24, []string{"t", "I"}},
		{"insight-histogram-80x24", 80, 24, []string{"t", "I", "i"}},
		{"insight-60x16", 60, 16, []string{"I"}},
		{"insight-histogram-60x16", 60, 16, []string{"t", "I", "i"}},
		{"insight-depth-60x16", 60, 16, []string{"t", "I", "i", "i"}},
	} {
		t.Run(s.name, func(t *testing.T) {
			r := demoRig(t, s.w, s.h, nil)
			r.press(s.keys...)
			r.golden(s.name)
		})
	}
}

func TestInsightWithoutColourAndInASCII(t *testing.T) {
	none := themes.NoColor
	r := demoRig(t, 120, 36, func(o *Options) { o.Color = &none })
	r.press("t", "I")
	r.golden("insight-nocolor-120x36")
	r = demoRig(t, 80, 24, func(o *Options) { o.ASCII = true })
	for _, keys := range [][]string{{"t", "I"}, {"i"}, {"i"}} {
		r.press(keys...)
		for _, c := range r.text() {
			if c > 127 {
				t.Errorf("%v: %q is not ASCII", keys, c)
				break
			}
		}
	}
}

// The layer under the cursor is the same in all charts, and enter goes to it.
func TestInsightCursor(t *testing.T) {
	r := demoRig(t, 120, 36, nil)
	r.press("t", "I", "w")
	x := r.a.topOverlay().(*insightBox)
	worst := math.Inf(1)
	name := ""
	for _, rep := range r.a.book.reports {
		if rep != nil && float64(rep.Kept) < worst {
			worst, name = float64(rep.Kept), rep.Name
		}
	}
	if got := r.a.book.layers[x.layer].Weight.Name; got != name {
		t.Errorf("w goes to %s, the worst is %s", got, name)
	}
	at := func() point {
		p, ok := x.at()
		if !ok {
			t.Fatal("the cursor is on no layer")
		}
		return p
	}
	for _, s := range []struct {
		key   string
		chart chart
		holds func(before, after point) bool
	}{
		{"right", scatterChart, func(b, a point) bool { return a.ratio >= b.ratio }},
		{"up", scatterChart, func(b, a point) bool { return a.kept > b.kept }},
		{"down", histogramChart, func(b, a point) bool { return binOf(a.kept) > binOf(b.kept) }},
		{"right", histogramChart, func(b, a point) bool { return a.kept > b.kept }},
		{"down", depthChart, func(b, a point) bool { return a.depth == b.depth && compareKinds(a.kind, b.kind) > 0 }},
		{"left", depthChart, func(b, a point) bool { return a.depth == b.depth-1 && a.kind == b.kind }},
	} {
		x.worst(r.a)
		if s.key == "left" {
			for at().depth < 2 {
				x.nextDepth(0, 1)
			}
		}
		x.chart = s.chart
		before := at()
		r.press(s.key)
		if after := at(); !s.holds(before, after) {
			t.Errorf("%s in %q goes from %+v to %+v", s.key, chartNames[s.chart], before, after)
		}
	}
	want := x.layer
	r.press("enter")
	if r.a.topOverlay() != nil || r.a.tree.current() != want {
		t.Errorf("enter leaves the cursor on layer %d, want %d", r.a.tree.current(), want)
	}
}

// The theory is that of the layers' own format, and the demo's layers are where
// it says: trained deltas keep at most a little more.
func TestInsightTheory(t *testing.T) {
	r := demoRig(t, 120, 36, nil)
	for range 3 {
		r.press("t", "I")
		x := r.a.topOverlay().(*insightBox)
		for _, p := range x.points() {
			e := x.expected(p)
			if math.IsNaN(e) || p.curve.n != 64 || p.kept < e-0.06 || p.kept > e+0.3 {
				t.Errorf("%s: ratio %.4f kept %.3f, theory %.3f of %+v", x.book.layers[p.layer].Weight.Name, p.ratio, p.kept, e, p.curve)
			}
		}
		r.press("esc")
	}
}

func TestInsightNeedsFigures(t *testing.T) {
	opt := lightOptions(t)
	r := newRig(t, opt, &fakeEngine{engine: projectEngine{opt.Project}, run: &fakeRunner{}}, 80, 24)
	r.a.book.reports = make([]*merge.LayerReport, len(r.a.book.layers))
	r.press("I")
	if r.a.topOverlay() != nil || !strings.Contains(r.text(), "nothing is computed yet; D runs the merge") {
		t.Errorf("without figures:\n%s", r.text())
	}
}

func TestBinOf(t *testing.T) {
	for kept, want := range map[float64]int{-3: 0, -0.001: 0, 0: 1, 0.0999: 1, 0.1: 2, 0.95: 10, 0.994: 10, 0.995: 11, 1.2: 11} {
		if got := binOf(kept); got != want {
			t.Errorf("%v is in bin %d, want %d", kept, got, want)
		}
	}
}

// Frames of a model of 7000 layers stay within their size.
func TestInsightOfAHugeModel(t *testing.T) {
	a, _ := hugeApp(t)
	a.push(&insightBox{book: &a.book, curves: a.curves, layer: 3})
	for _, s := range [][2]int{{200, 60}, {80, 24}, {60, 14}} {
		a.resize(s[0], s[1])
		for range numCharts {
			a.topOverlay().(*insightBox).cycle()
			a.drawn.touch()
			if lines, _ := a.draw(); len(lines) != s[1] {
				t.Errorf("%v: %d lines", s, len(lines))
			}
		}
	}
}

// Zooming out beyond the whole of a layer shows the model, and back in the layer.
func TestZoomOutToTheModel(t *testing.T) {
	r := demoRig(t, 120, 36, nil)
	r.palette("go to layer", "layers.2.self_attn.o")
	r.press("2", "+", "-")
	if r.a.topOverlay() != nil {
		t.Fatal("zooming out of a band leaves the layer")
	}
	r.press("-")
	x, ok := r.a.topOverlay().(*insightBox)
	if !ok || x.chart != depthChart || x.layer != r.a.tree.current() {
		t.Fatalf("%T is on top", r.a.topOverlay())
	}
	r.press("enter")
	if r.a.topOverlay() != nil || r.a.tree.node().path != "model.layers.2.self_attn.o_proj" {
		t.Errorf("the cursor is on %s", r.a.tree.node().path)
	}
}
