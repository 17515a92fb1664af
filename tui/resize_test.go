package tui

import (
	"testing"

	tea "charm.land/bubbletea/v2"
)

// dragged presses at one cell, moves to another and lets go there.
func (r *rig) dragged(x, y, toX, toY int) {
	r.t.Helper()
	r.send(click(x, y))
	for _, step := range []int{1, 2, 3} { // the pointer passes cells in between
		r.send(tea.MouseMotionMsg{X: x + (toX-x)*step/3, Y: y + (toY-y)*step/3, Button: tea.MouseLeft})
	}
	r.send(tea.MouseReleaseMsg{X: toX, Y: toY, Button: tea.MouseLeft})
}

func TestDragBorders(t *testing.T) {
	for _, size := range [][2]int{{120, 36}, {200, 60}, {80, 24}} {
		r := demoRig(t, size[0], size[1], nil)
		at := func(p paneID) rect {
			s, _ := r.a.lay.slot(p)
			return s.at
		}
		x := at(blocksID).x
		r.dragged(x, 4, x-7, 9)
		if got := at(blocksID).x; got != x-6 { // the border held is the first of the two
			t.Errorf("%v: blocks begin at %d, want %d", size, got, x-6)
		}
		r.text()
		low := at(alertsID).y
		r.dragged(20, low-1, 30, low-4)
		if got := at(alertsID).y; got != low-3 {
			t.Errorf("%v: alerts begin at %d, want %d", size, got, low-3)
		}
		r.text()
		if r.a.lay.form == fourPanes {
			b := at(blockID).y
			r.dragged(100, b-1, 101, b-3)
			if got := at(blockID).y; got != b-2 {
				t.Errorf("%v: block begins at %d, want %d", size, got, b-2)
			}
		}
		left := at(layersID).w
		r.send(tea.MouseMotionMsg{X: 5, Y: 5, Button: tea.MouseLeft}) // let go
		if got := at(layersID).w; got != left {
			t.Errorf("%v: a border moves that nobody holds", size)
		}
		r.dragged(at(blocksID).x, 4, 0, 4)
		if got := at(layersID).w; got != minPaneW {
			t.Errorf("%v: the layers are %d wide, want %d", size, got, minPaneW)
		}
		r.dragged(at(blocksID).x, 4, size[0]+50, 4)
		if got := at(blocksID).w; got != minPaneW {
			t.Errorf("%v: the blocks are %d wide, want %d", size, got, minPaneW)
		}
		r.text()
		r.choose("Reset pane sizes")
		if got := at(blocksID).x; got != x || r.a.prefs.Split != (split{}) {
			t.Errorf("%v: blocks begin at %d after the reset, want %d", size, got, x)
		}
	}
}

func TestKeysMoveBorders(t *testing.T) {
	r := demoRig(t, 120, 36, nil)
	at := func(p paneID) rect {
		s, _ := r.a.lay.slot(p)
		return s.at
	}
	layers, block, alerts := at(layersID), at(blockID), at(alertsID)
	r.press(">", ">", "{", "(", "(")
	if got := at(layersID).w; got != layers.w+4 {
		t.Errorf("layers %d wide, want %d", got, layers.w+4)
	}
	if got := at(alertsID).h; got != alerts.h+1 {
		t.Errorf("alerts %d high, want %d", got, alerts.h+1)
	}
	if got := at(blockID).h; got < block.h+1 {
		t.Errorf("block %d high, was %d", got, block.h)
	}
	r.press("<", "}")
	if at(layersID).w != layers.w+2 || at(alertsID).h != alerts.h {
		t.Errorf("layers %d wide, alerts %d high", at(layersID).w, at(alertsID).h)
	}
	for range 60 { // to the ends and back
		r.press("<", "{", "(")
	}
	r.text()
	for range 60 {
		r.press(">", "}", ")")
	}
	r.text()

	r = demoRig(t, 60, 16, nil)
	r.press(">")
	if r.a.toast.text != "only one pane is shown" {
		t.Errorf("toast %q", r.a.toast.text)
	}
	r = demoRig(t, 80, 24, nil)
	r.press("(")
	if r.a.toast.text != "the block and the alerts share their room here" {
		t.Errorf("toast %q", r.a.toast.text)
	}
}

func TestSizesArePreferences(t *testing.T) {
	dir := t.TempDir()
	with := func() *rig { return demoRig(t, 120, 36, func(o *Options) { o.Sessions = dir }) }
	r := with()
	r.press(">", ">", ">")
	want, _ := r.a.lay.slot(layersID)
	r.a.keepAtEnd()
	if got, _ := with().a.lay.slot(layersID); got.at != want.at {
		t.Errorf("the layers are at %v, want %v", got.at, want.at)
	}
}

func TestWorkers(t *testing.T) {
	r, run := runningRig(t, 120, 36)
	r.a.overlays, r.hold = nil, false
	r.choose("One worker less")
	want := min(13, maxWorkers())
	if run.snap.Workers != want || r.a.opt.Workers != want {
		t.Errorf("%d workers, want %d", run.snap.Workers, want)
	}
	r.choose("Workers")
	p := r.a.topOverlay().(*prompt)
	for _, bad := range []string{"0", "-3", "many", "99999"} {
		p.in.set(bad)
		r.press("enter")
		if p.bad == "" {
			t.Errorf("%s workers are taken", bad)
		}
	}
	p.in.set("1")
	r.press("enter")
	if run.snap.Workers != 1 {
		t.Errorf("%d workers, want 1", run.snap.Workers)
	}
	r = demoRig(t, 120, 36, nil)
	r.choose("One more worker")
	if r.a.toast.text != plural(min(3, maxWorkers()), "worker")+" from the next job on" {
		t.Errorf("toast %q", r.a.toast.text)
	}
}
