package tui

import (
	"testing"

	tea "charm.land/bubbletea/v2"
)

func click(x, y int) tea.MouseClickMsg { return tea.MouseClickMsg{X: x, Y: y, Button: tea.MouseLeft} }

func TestClickPutsTheCursor(t *testing.T) {
	r := demoRig(t, 120, 36, nil)
	s, _ := r.a.lay.slot(layersID)
	r.press("2")
	row := 5
	want := r.a.tree.nodes[r.a.tree.rows[row]].path
	r.send(click(s.inside.x+8, s.inside.y+1+row)) // one line of column heads
	if r.a.focus != layersID || r.a.tree.node().path != want {
		t.Errorf("focus %d, cursor on %s, want %s", r.a.focus, r.a.tree.node().path, want)
	}
	r.press("C")
	closed := len(r.a.tree.rows)
	r.send(click(s.inside.x+1, s.inside.y+1+2)) // the fold of the first group
	if len(r.a.tree.rows) <= closed {
		t.Error("a click on the fold does not open the group")
	}

	before, _ := r.a.blocks.cursor()
	b, _ := r.a.lay.slot(blocksID)
	r.send(click(b.inside.x+30, b.inside.y+8))
	if after, _ := r.a.blocks.cursor(); r.a.focus != blocksID || after == before {
		t.Errorf("a click on the map: focus %d, row %d as before", r.a.focus, after)
	}
}

func TestClickOnATab(t *testing.T) {
	r := demoRig(t, 80, 24, nil)
	s, ok := r.a.lay.slot(alertsID)
	if !ok {
		t.Fatal("the alerts are not shown at first")
	}
	r.send(click(s.at.x+4, s.at.y))
	if _, ok := r.a.lay.slot(blockID); !ok || r.a.focus != blockID {
		t.Error("a click on the title does not show the other pane")
	}
}

func TestWheelMovesThePaneUnderIt(t *testing.T) {
	r := demoRig(t, 120, 36, nil)
	r.press("g", "2")
	s, _ := r.a.lay.slot(layersID)
	r.send(tea.MouseWheelMsg{X: s.at.x + 3, Y: s.at.y + 3, Button: tea.MouseWheelDown})
	if r.a.tree.cur != wheelRows || r.a.focus != blocksID {
		t.Errorf("cursor on row %d, focus %d", r.a.tree.cur, r.a.focus)
	}
	r.press("?")
	r.send(tea.MouseWheelMsg{X: 60, Y: 10, Button: tea.MouseWheelDown})
	if p, ok := r.a.topOverlay().(*pager); !ok || p.top != 1 {
		t.Error("the wheel does not scroll the help")
	}
}

func TestMouseCanBeReleased(t *testing.T) {
	r := demoRig(t, 120, 36, func(o *Options) { o.NoMouse = true })
	if r.a.View().MouseMode != tea.MouseModeNone {
		t.Error("NoMouse takes the mouse")
	}
	r.a.toggleMouse()
	if r.a.View().MouseMode == tea.MouseModeNone {
		t.Error("the mouse cannot be taken again")
	}
}

func TestMouseAnywhereIsHarmless(t *testing.T) {
	r := demoRig(t, 120, 36, nil)
	r.hold = true
	for _, size := range [][2]int{{120, 36}, {80, 24}, {60, 16}, {20, 5}} {
		r.a.Update(tea.WindowSizeMsg{Width: size[0], Height: size[1]})
		for y := -1; y <= size[1]; y++ {
			for x := -1; x <= size[0]; x += 3 {
				r.a.Update(click(x, y))
				r.a.Update(tea.MouseWheelMsg{X: x, Y: y, Button: tea.MouseWheelUp})
				r.a.overlays = nil
			}
		}
	}
}
