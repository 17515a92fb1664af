package tui

import (
	"fmt"
	"strings"
	"testing"

	tea "charm.land/bubbletea/v2"

	"mergescope/tui/screentest"
)

func TestArrangeFitsEverySize(t *testing.T) {
	for w := 0; w <= 300; w++ {
		for h := 0; h <= 120; h++ {
			for focus := layersID; focus <= alertsID; focus++ {
				full := w%2 == 0 && focus%2 == 0
				for _, sp := range []split{{}, {1, 1, 1}, {999, 999, 999}, {(w*7 + h) % 1000, (w*3 + h*11) % 1000, (w + h*17) % 1000}} {
					if err := checkLayout(arrangeSplit(w, h, focus, alertsID, full, sp), focus); err != nil {
						t.Fatalf("%dx%d focus %d split %v: %v", w, h, focus, sp, err)
					}
				}
			}
		}
	}
}

// checkLayout verifies that nothing overlaps or sticks out, that no cell is
// without an owner and that the focused pane is there.
func checkLayout(l layout, focus paneID) error {
	if l.form == tooSmall {
		if len(l.slots) > 0 || l.w >= minOneW && l.h >= minOneH {
			return fmt.Errorf("form %d with %d panes", l.form, len(l.slots))
		}
		return nil
	}
	areas := []rect{l.header, l.status, l.footer}
	if l.form != twoPanes {
		areas = append(areas, l.notice)
	}
	found := false
	for _, s := range l.slots {
		areas = append(areas, s.at)
		found = found || s.pane == focus
		if s.inside.w < 1 || s.inside.h < 3 || s.inside.x < s.at.x || s.inside.y < s.at.y ||
			s.inside.x+s.inside.w > s.at.x+s.at.w || s.inside.y+s.inside.h > s.at.y+s.at.h {
			return fmt.Errorf("inside %+v of %+v", s.inside, s.at)
		}
	}
	if !found {
		return fmt.Errorf("the focused pane is not shown")
	}
	owned := 0
	for i, a := range areas {
		if a.x < 0 || a.y < 0 || a.w < 1 || a.h < 1 || a.x+a.w > l.w || a.y+a.h > l.h {
			return fmt.Errorf("%+v sticks out", a)
		}
		owned += a.w * a.h
		for _, b := range areas[:i] {
			if a.x < b.x+b.w && b.x < a.x+a.w && a.y < b.y+b.h && b.y < a.y+a.h {
				return fmt.Errorf("%+v overlaps %+v", a, b)
			}
		}
	}
	if owned != l.w*l.h {
		return fmt.Errorf("%d of %d cells are owned", owned, l.w*l.h)
	}
	return nil
}

func TestBreakpoints(t *testing.T) {
	for _, c := range []struct {
		w, h int
		want form
	}{
		{120, 30, fourPanes},
		{119, 30, twoPanes},
		{120, 29, twoPanes},
		{80, 20, twoPanes},
		{79, 20, onePane},
		{80, 19, onePane},
		{60, 14, onePane},
		{59, 14, tooSmall},
		{60, 13, tooSmall},
		{0, 0, tooSmall},
	} {
		if got := arrange(c.w, c.h, layersID, alertsID, false).form; got != c.want {
			t.Errorf("%dx%d: form %d, want %d", c.w, c.h, got, c.want)
		}
	}
}

func TestFramesFitTheWindow(t *testing.T) {
	r := demoRig(t, 120, 36, nil)
	r.hold = true
	overlays := []string{"", "?", ":", "m", "a", "O", "=", "e", "I"}
	for _, w := range []int{0, 1, 2, 5, 20, 59, 60, 61, 79, 80, 97, 119, 120, 163, 231, 300} {
		for _, h := range []int{0, 1, 2, 3, 13, 14, 15, 19, 20, 29, 30, 37, 62, 120} {
			r.a.Update(tea.WindowSizeMsg{Width: w, Height: h})
			for i, key := range overlays {
				r.a.overlays = nil
				r.a.setFocus(layersID + paneID(i%4))
				r.a.full = i%3 == 0
				r.a.relayout()
				if key != "" {
					r.a.Update(keyPress(key))
				}
				got := r.a.View().Content
				if w == 0 || h == 0 {
					if got != "" {
						t.Errorf("%dx%d: %q", w, h, got)
					}
				} else if err := screentest.Fits(got, w, h); err != nil {
					t.Fatalf("%dx%d, key %q, focus %d: %v", w, h, key, r.a.focus, err)
				}
			}
		}
	}
}

func TestResizingKeepsTheLayer(t *testing.T) {
	r := demoRig(t, 120, 36, nil)
	r.press("/")
	r.typed("layer:2 v_proj")
	r.press("enter", "esc")
	want := r.a.tree.node().path
	for _, size := range [][2]int{{60, 14}, {200, 60}, {10, 3}, {80, 24}} {
		r.send(tea.WindowSizeMsg{Width: size[0], Height: size[1]})
		if got := r.a.tree.node().path; got != want {
			t.Errorf("after %v the cursor is on %s, want %s", size, got, want)
		}
	}
}

// A screen that is too small does nothing that it cannot show, but it can be
// left; while a merge runs only when asked twice.
func TestTooSmallTakesNoOrders(t *testing.T) {
	r := demoRig(t, 50, 10, nil)
	r.press("m", "enter", "+", "2")
	r.send(click(3, 3))
	if r.a.topOverlay() != nil || r.a.focus != layersID || r.a.writing() {
		t.Error("keys work unseen")
	}
	r.press("q")
	if !r.quit {
		t.Error("q does not quit")
	}
	m, _ := runningRig(t, 50, 10)
	m.a.Update(keyPress("q"))
	if got := m.text(); !strings.Contains(got, "q again cancels it and quits") {
		t.Errorf("q does not ask:\n%s", got)
	}
	m.a.Update(keyPress("x"))
	if m.a.topOverlay() != nil || m.a.left {
		t.Error("another key does not go back")
	}
	m.a.Update(keyPress("q"))
	m.a.Update(keyPress("q"))
	if !m.a.left {
		t.Error("q twice does not quit")
	}
}
