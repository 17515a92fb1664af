package tui

import (
	"math"
	"strings"
	"testing"

	"mergescope/merge"
)

func TestCompareScreens(t *testing.T) {
	for _, s := range []struct {
		name string
		w, h int
		keys []string
	}{
		{"compare-120x36", 120, 36, []string{"W", "enter"}},
		{"compare-80x24", 80, 24, []string{"W", "down", "enter"}},
		{"compare-60x16", 60, 16, []string{"W", "enter"}},
		{"compare-separate-80x24", 80, 24, []string{"W", "down", "down", "enter"}},
		{"compare-plans-80x24", 80, 24, []string{"W"}},
	} {
		t.Run(s.name, func(t *testing.T) {
			r := demoRig(t, s.w, s.h, nil)
			r.press(s.keys...)
			r.golden(s.name)
		})
	}
}

// Both sides are what a dry run of their plan reports.
func TestCompareAgreesWithReports(t *testing.T) {
	r := demoRig(t, 120, 36, nil)
	for _, name := range []string{"bf16", "dithered", "scale ×2", "cuda"} {
		var other merge.Plan
		for _, v := range r.a.variants() {
			if v.name == name {
				other = v.plan
			}
		}
		r.run(r.a.openCompare(name, other))
		r.press("]", "[")
		x := r.a.topOverlay().(*compareBox)
		for i, plan := range []merge.Plan{r.a.history.Now(), other} {
			j, err := merge.NewJob(r.a.eng.(projectEngine).p, plan, merge.Options{})
			if err != nil {
				t.Fatal(err)
			}
			rep, err := j.Run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			want := math.NaN()
			for _, l := range rep.Layers {
				if l.Name == x.sides[i].pane.layer.Weight.Name {
					want = float64(l.Kept)
				}
			}
			if got := float64(x.sides[i].metrics().Kept); !(math.Abs(got-want) < 1e-6) {
				t.Errorf("%s, side %d: kept %v, the job says %v", name, i, got, want)
			}
		}
		r.press("esc")
	}
}

// The cursor is on the same block on both sides, wherever the keys take it.
func TestCompareCursors(t *testing.T) {
	r := demoRig(t, 120, 36, nil)
	r.press("W", "enter")
	x := r.a.topOverlay().(*compareBox)
	for _, k := range []string{"w", "down", "right", "+", "down", "+", "left", "v", "-", "n", "N", "]", "up", "b", "S", "c"} {
		r.press(k)
		a, b := &x.sides[0].pane, &x.sides[1].pane
		if a.row != b.row || a.col != b.col || a.level != b.level || a.top != b.top || a.metric != b.metric || a.aggregate != b.aggregate || a.layer.Weight != b.layer.Weight {
			t.Errorf("after %s: %d,%d level %d and %d,%d level %d", k, a.row, a.col, a.level, b.row, b.col, b.level)
		}
		if a.coarse == nil || b.coarse == nil {
			t.Errorf("after %s: no data", k)
		}
	}
	if r.a.blocks.metric != merge.MetricKept {
		t.Error("v in the comparison changed the pane behind it")
	}
}

func TestCompareSizes(t *testing.T) {
	r := demoRig(t, 120, 36, nil)
	l := r.a.book.layers[r.a.tree.current()]
	n := l.Weight.Numel()
	for out, want := range map[merge.Output]int64{
		merge.Same: l.Weight.Bytes(), merge.AsBF16: 2 * n, merge.AsF32: 4 * n,
		// Rank 8, float32: A is [8, in] and B is [out, 8].
		merge.Separate: l.Weight.Bytes() + 8*4*int64(l.Weight.Rows()+l.Weight.Cols()),
	} {
		l.Output = out
		if got := l.OutBytes(); got != want {
			t.Errorf("%s: %d bytes, want %d", out, got, want)
		}
	}
}

// Plans that would change nothing are not offered, and what was undone is.
func TestCompareOffers(t *testing.T) {
	r := demoRig(t, 120, 36, nil)
	r.press("W")
	if text := r.text(); strings.Contains(text, "peft ") && strings.Contains(text, "nearest codes after") || strings.Contains(text, "before the last change") {
		t.Errorf("offers what is the plan already:\n%s", text)
	}
	r.press("esc", "=")
	r.press("backspace")
	r.typed("3")
	r.press("enter", "W")
	if !strings.Contains(r.text(), "the plan before the last change") {
		t.Errorf("does not offer the plan before the last change:\n%s", r.text())
	}
}
