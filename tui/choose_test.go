package tui

import (
	"testing"

	"mergescope/merge"
)

// palette runs a command by its name and then types into what opens.
func (r *rig) palette(command string, then ...string) {
	r.t.Helper()
	r.press(":")
	r.typed(command)
	r.press("enter")
	for _, s := range then {
		r.typed(s)
	}
	r.press("enter")
}

func TestChooseWhatTheMapShows(t *testing.T) {
	r := demoRig(t, 120, 36, nil)
	r.palette("metric of the map", "relative")
	r.palette("aggregate of the map", "p99")
	r.palette("colour map…", "cividis")
	if b := &r.a.blocks; b.metric != merge.MetricError || b.aggregate != merge.P99 || b.mapName(r.a.skin.theme) != "cividis" {
		t.Errorf("metric %d, aggregate %d, map %s", b.metric, b.aggregate, b.mapName(r.a.skin.theme))
	}
	r.press(":")
	r.typed("vanish") // of the titles
	if p := r.a.topOverlay().(*picker); len(p.matches) == 0 {
		t.Error("no tour is found")
	}
	r.press("ctrl+u")
	r.typed("osc 52") // only in what is said of a command
	if p := r.a.topOverlay().(*picker); len(p.matches) == 0 || p.items[p.matches[0]].text != "Copy" {
		t.Error("commands are not found by what is said of them")
	}
	r.press("esc")
	r.palette("colour map…", "diverging") // refused: the error has no middle
	if got := r.a.blocks.mapName(r.a.skin.theme); got != "cividis" {
		t.Errorf("map %s for a metric without a middle", got)
	}
}

func TestGoToLayerAndBlock(t *testing.T) {
	r := demoRig(t, 120, 36, nil)
	r.palette("go to layer", "layers.2.mlp.up")
	if got := r.a.tree.node().path; got != "model.layers.2.mlp.up_proj" {
		t.Errorf("the cursor is on %s", got)
	}
	r.press(":")
	r.typed("go to block")
	r.press("enter", "ctrl+u")
	r.typed("9999 1")
	r.press("enter")
	if p, ok := r.a.topOverlay().(*prompt); !ok || p.bad == "" {
		t.Fatal("a row beyond the end is not refused")
	}
	r.answer("r100, 70")
	if row, col := r.a.blocks.cursor(); row != 100 || col != 64 || r.a.focus != blocksID {
		t.Errorf("row %d, column %d, focus %d", row, col, r.a.focus)
	}
}
