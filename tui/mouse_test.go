package tui

import (
	"strconv"
	"strings"
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

// Every name of a pane takes the focus there, on the full screen and on a small
// one too.
func TestClickOnNamesOfPanes(t *testing.T) {
	for _, size := range [][2]int{{120, 36}, {80, 24}, {60, 16}} {
		r := demoRig(t, size[0], size[1], nil)
		if size[1] > 16 {
			r.press("U")
		}
		for p := alertsID; p >= layersID; p-- {
			name := strconv.Itoa(int(p)) + " "
			y := 1
			if size[1] == 16 {
				y = 0
			}
			line := strings.Split(r.text(), "\n")[y] + " "
			x := width(line[:strings.LastIndex(line, name)])
			r.send(click(x, y))
			if r.a.focus != p {
				t.Errorf("%v: a click on %q at %d focuses pane %d", size, name, x, r.a.focus)
			}
		}
	}
}

func TestClickOnAColumnHeadSorts(t *testing.T) {
	r := demoRig(t, 120, 36, nil)
	s, _ := r.a.lay.slot(layersID)
	line := strings.Split(r.text(), "\n")[s.inside.y]
	at := func(head string) tea.MouseClickMsg {
		return click(width(strings.Split(line, head)[0])+1, s.inside.y)
	}
	r.send(at("KEPT"))
	if f := r.a.tree.sorting(); f == nil || f.name != "kept" || !r.a.tree.rising() {
		t.Errorf("sorted by %v", f)
	}
	r.send(at("KEPT"))
	if r.a.tree.rising() {
		t.Error("a second click does not turn the order")
	}
	r.send(at("ERR"))
	if f := r.a.tree.sorting(); f == nil || f.name != "err" {
		t.Errorf("sorted by %v", f)
	}
	r.send(at("LAYER"))
	if f := r.a.tree.sorting(); f != nil {
		t.Errorf("sorted by %s", f.name)
	}
}

// Items and answers are chosen by mouse, and a click beside a dialog closes it
// unless something is typed there.
func TestClickInDialogs(t *testing.T) {
	r := demoRig(t, 120, 36, nil)
	find := func(text string) tea.MouseClickMsg {
		t.Helper()
		for y, line := range strings.Split(r.text(), "\n") {
			if before, _, ok := strings.Cut(line, text); ok {
				return click(width(before), y)
			}
		}
		t.Fatalf("%q is not on the screen:\n%s", text, r.text())
		return click(0, 0)
	}
	r.press(":")
	r.typed("next theme")
	r.send(find("Next theme"))
	if r.a.skin.theme.Name == "dark" || r.a.topOverlay() != nil {
		t.Error("a click in the palette does not run the action")
	}
	r.press("?")
	r.send(click(1, 1))
	if r.a.topOverlay() != nil {
		t.Error("a click beside the help does not close it")
	}
	r.press("m")
	r.send(click(1, 1))
	if _, ok := r.a.topOverlay().(*mergeBox); !ok {
		t.Error("a click beside a question that takes text closes it")
	}
	r.press("esc")
	chosen := 0
	r.a.ask(&confirm{name: "a question", lines: []string{"one", "two"}, choices: []choice{
		{"y", "the first answer", func(*app) tea.Cmd { chosen++; return nil }}, {"n", "the second answer", nil},
	}}, false)
	r.a.drawn.touch()
	r.send(find("the first answer"))
	if chosen != 1 || r.a.topOverlay() != nil {
		t.Error("a click on an answer does not choose it")
	}
	r.press("I")
	r.send(find("chart"))
	if x, ok := r.a.topOverlay().(*insightBox); !ok || x.chart == 0 {
		t.Error("a click on a hint of a lens does not run it")
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
