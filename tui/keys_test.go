package tui

import (
	"slices"
	"strings"
	"testing"
)

// twoMeanings are the keys that do different things in different panes; the
// footer shows both.
var twoMeanings = []string{"+", "-"}

func TestNoTwoActionsShareAKey(t *testing.T) {
	all := registry()
	for i, x := range all {
		for _, y := range all[:i] {
			for _, k := range x.keys {
				if !slices.Contains(y.keys, k) {
					continue
				}
				switch {
				case x.scope&y.scope != 0:
					t.Errorf("%s and %s both have %q in %s", x.id, y.id, k, where(x.scope&y.scope))
				case !slices.Contains(twoMeanings, k) && !strings.Contains(y.id, ".explain"):
					t.Errorf("%q means %s in %s and %s in %s", k, x.id, where(x.scope), y.id, where(y.scope))
				}
			}
		}
	}
}

func TestKeysThatTerminalsSend(t *testing.T) {
	// What plain terminals cannot tell from tab, enter, backspace, line feed
	// and escape, and what Bubble Tea spells otherwise.
	never := []string{"ctrl+i", "ctrl+m", "ctrl+h", "ctrl+j", "ctrl+[", " "}
	for _, x := range registry() {
		for _, k := range x.keys {
			if slices.Contains(never, k) {
				t.Errorf("%s is bound to %q", x.id, k)
			}
		}
	}
}

func TestRegistryIsComplete(t *testing.T) {
	doc := KeysMarkdown()
	seen := map[string]bool{}
	for _, x := range registry() {
		if x.id == "" || x.title == "" || x.run == nil || x.scope == 0 {
			t.Errorf("action %+v lacks something", x.id)
		}
		if seen[x.id] {
			t.Errorf("two actions are called %s", x.id)
		}
		seen[x.id] = true
		if len(x.keys) == 0 && x.scope != inPanes {
			t.Errorf("%s has no key and is not everywhere, so it cannot be reached", x.id)
		}
		if !strings.Contains(doc, "| "+strings.ReplaceAll(x.title, "|", `\|`)) {
			t.Errorf("%s is not in the documentation", x.id)
		}
	}
}

func TestPaletteReachesEveryAction(t *testing.T) {
	r := demoRig(t, 120, 36, nil)
	r.press(":")
	p, ok := r.a.topOverlay().(*picker)
	if !ok {
		t.Fatal("no palette")
	}
	for _, x := range registry() {
		listed := slices.ContainsFunc(p.items, func(it item) bool { return it.text == x.title })
		if moves := strings.HasPrefix(x.id, "move.") || x.id == "app.palette"; listed == moves {
			t.Errorf("%s: in the palette %v", x.id, listed)
		}
	}
	r.typed("theme")
	r.press("enter")
	if r.a.skin.theme.Name == "dark" {
		t.Error("the palette did not run the action")
	}
}

func TestDisabledActionSaysWhy(t *testing.T) {
	opt := demoOptions(t)
	opt.Demo = false
	r := newRig(t, opt, nil, 120, 36)
	r.press("m")
	if got := r.text(); !strings.Contains(got, "no adapter is open; A opens one") {
		t.Errorf("m without an adapter does not say why not:\n%s", got)
	}
	r.press("t")
	if got := r.text(); !strings.Contains(got, "only with the demo") {
		t.Errorf("t outside the demo does not say why not:\n%s", got)
	}
}

func TestHintsAreClickable(t *testing.T) {
	r := demoRig(t, 120, 36, nil)
	line, spans := r.a.hints(r.a.skin.canvas(false), 120)
	if width(line) > 121 || len(spans) < 5 {
		t.Errorf("footer of %d cells with %d hints", width(line), len(spans))
	}
	for _, s := range spans {
		if s.action.id == "app.help" {
			r.a.click(s.from, 35)
		}
	}
	if _, ok := r.a.topOverlay().(*pager); !ok {
		t.Error("a click on the hint of the help does not open it")
	}
}
