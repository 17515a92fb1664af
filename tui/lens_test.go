package tui

import (
	"testing"

	tea "charm.land/bubbletea/v2"

	"mergescope/tui/screentest"
)

// openLenses are the keys that open each lens on the demo.
var openLenses = map[string][]string{
	"insight":  {"I"},
	"explain":  {"e", "right", "right"},
	"compare":  {"W", "enter"},
	"separate": {"W", "down", "down", "enter"},
	"tour":     {"H", "enter"},
}

func TestLensesFitTheWindow(t *testing.T) {
	for name, keys := range openLenses {
		t.Run(name, func(t *testing.T) {
			r := demoRig(t, 120, 36, nil)
			r.press(keys...)
			if r.a.topLens() == nil {
				t.Fatal("no lens is open")
			}
			r.hold = true
			for _, ascii := range []bool{false, true} {
				r.a.skin.ascii = ascii
				for _, w := range []int{60, 71, 80, 99, 120, 231} {
					for _, h := range []int{14, 16, 20, 25, 30, 62} {
						r.a.Update(tea.WindowSizeMsg{Width: w, Height: h})
						for _, k := range []string{"", "i", "i", "right", "up", "v", "+", "-", "G", "g"} {
							if k != "" {
								r.a.Update(keyPress(k))
							}
							if err := screentest.Fits(r.a.View().Content, w, h); err != nil {
								t.Fatalf("%dx%d after %q: %v", w, h, k, err)
							}
						}
					}
				}
			}
		})
	}
}

// q and esc close a lens, never the program.
func TestLeavingALens(t *testing.T) {
	for name, keys := range openLenses {
		for _, leave := range []string{"esc", "q"} {
			r := demoRig(t, 120, 36, nil)
			r.press(keys...)
			r.press(leave)
			if r.a.topOverlay() != nil || r.quit {
				t.Errorf("%s: %s leaves overlay %T, quit %v", name, leave, r.a.topOverlay(), r.quit)
			}
		}
	}
}
