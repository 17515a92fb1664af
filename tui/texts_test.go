package tui

import (
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	tea "charm.land/bubbletea/v2"

	"mergescope/merge"
	"mergescope/model"
	"mergescope/themes"
)

// textsRig continues a prompt of the demo with its light adapter.
func textsRig(t *testing.T, adapter, prompt string, w, h int) *rig {
	t.Helper()
	opt := adapterOptions(t, adapter)
	r := newRig(t, opt, nil, w, h)
	r.press("P")
	r.send(tea.PasteMsg{Content: prompt})
	r.press("enter")
	return r
}

func (r *rig) texts() *textsBox {
	r.t.Helper()
	x, ok := r.a.topOverlay().(*textsBox)
	if !ok {
		r.t.Fatalf("no texts on the screen:\n%s", r.text())
	}
	return x
}

// The screen shows the texts that PEFT and transformers make, and where they
// part.
func TestTextsArePEFT(t *testing.T) {
	raw, err := os.ReadFile("../testdata/generate/texts.json")
	if err != nil {
		t.Fatal(err)
	}
	var want struct {
		Prompts []string
		Demo    map[string][][]int32
	}
	if err := json.Unmarshal(raw, &want); err != nil {
		t.Fatal(err)
	}
	r := textsRig(t, "gocode-light", strconv.Quote(want.Prompts[1]), 140, 40)
	x := r.texts()
	if x.err != nil || !x.ended || len(x.variants()) != 3 {
		t.Fatalf("%v, %d variants", x.err, len(x.variants()))
	}
	for v, name := range []string{"", "adapter-gocode-light", "merged adapter-gocode-light"} {
		text := ""
		for _, id := range want.Demo[name][1] {
			text += string(rune(id))
		}
		if x.variants()[v].Text != text || !strings.Contains(r.text(), text[20:40]) {
			t.Errorf("%s: %q, want %q\n%s", x.variants()[v].Name, x.variants()[v].Text, text, r.text())
		}
	}
	if d := x.variants()[x.cur].Divergence; d == nil || !strings.Contains(strings.Join(strings.Fields(r.text()), " "), "plan: parts from separate at token") {
		t.Errorf("%+v\n%s", d, r.text())
	}
}

func TestTextsScreens(t *testing.T) {
	for _, s := range []struct {
		name string
		w, h int
		keys []string
	}{
		{"texts-120x36", 120, 36, nil},
		{"texts-80x24", 80, 24, []string{"left"}},
		{"texts-60x16", 60, 16, nil},
	} {
		t.Run(s.name, func(t *testing.T) {
			r := textsRig(t, "gocode", `"func main() {\n\tfmt"`, s.w, s.h)
			r.press(s.keys...)
			r.golden(s.name)
		})
	}
}

func TestTextsAgain(t *testing.T) {
	r := textsRig(t, "gocode-light", "x", 120, 36)
	first := r.texts()
	if r.press("right", "right"); r.texts().cur != 2 {
		t.Errorf("two steps of two variants end at %d", r.texts().cur)
	}
	r.press("P", "ctrl+u")
	r.send(tea.PasteMsg{Content: `"x`})
	if r.press("enter"); !strings.Contains(r.text(), "begins with a quote") {
		t.Errorf("the prompt does not say why:\n%s", r.text())
	}
	r.press("esc", "%", "ctrl+u")
	r.send(tea.PasteMsg{Content: "hot"})
	if r.press("enter"); !strings.Contains(r.text(), "want greedy, temperature=T") {
		t.Errorf("the prompt does not say why:\n%s", r.text())
	}
	r.press("ctrl+u")
	r.send(tea.PasteMsg{Content: "seed=4"})
	r.press("enter")
	second := r.texts()
	if second == first || second.opt.Sampling != (model.Sampling{Temperature: 1, Seed: 4}) || second.opt.Prompt != "x" {
		t.Errorf("%+v", second.opt)
	}
	r.press("+")
	if x := r.texts(); x == second || x.seen.Done != 2*merge.DefaultLength || !strings.HasPrefix(x.variants()[1].Text, second.variants()[1].Text) {
		t.Errorf("%d tokens", x.seen.Done)
	}
	last := r.texts()
	r.press("esc")
	if r.press("P"); r.texts() != last {
		t.Error("P forgot the texts")
	}
	if !strings.Contains(last.copyText(), last.variants()[2].Text) {
		t.Error("not all is copied")
	}
}

// A broken adapter has no text, and esc ends what runs.
func TestTextsEnd(t *testing.T) {
	r := textsRig(t, "broken", "x", 120, 36)
	if r.press("left"); !strings.Contains(r.text(), "not finite") {
		t.Errorf("NaN is not told:\n%s", r.text())
	}
	r = textsRig(t, "gocode", "x", 80, 24)
	r.press("esc")
	r.a.texts = nil
	r.press("P")
	r.send(tea.PasteMsg{Content: "y"})
	r.hold = true
	_, cmd := r.a.Update(keyPress("enter"))
	r.hold = false
	x := r.texts()
	if got := r.text(); !strings.Contains(got, "the first token takes longest") {
		t.Errorf("a running generation shows:\n%s", got)
	}
	r.press("esc")
	r.run(cmd) // it begins only now
	if r.a.texts != nil || x.seen.Report != nil {
		t.Error("cancelled texts left a result")
	}
}

// Lines end behind spaces where they can, and are never wider than asked for.
func TestTextLines(t *testing.T) {
	c := plainCanvas()
	mark := themes.Bad
	for text, want := range map[string]string{
		"one two three four": "one two |three four",
		"abcdefghijklmnopq":  "abcdefghij|klmnopq",
		"a abcdefghijk":      "a abcdefgh|ijk", // the space is too far back
		"x\n\ty":             "x|    y",
		"日本語日本語日本語":          "日本語日本|語日本語",
		"":                   "",
		"0123456789":         "0123456789",
		"0123456789\n":       "0123456789|",
		"\x1b[31mred":        "?[31mred",
	} {
		for cut := range len(text) {
			if !utf8.RuneStart(text[cut]) {
				continue
			}
			lines := newTextLines(c, 10).add(text[:cut], nil).add(text[cut:], nil).lines()
			if got := strings.Join(lines, "|"); got != want {
				t.Errorf("%q cut at %d: %q, want %q", text, cut, got, want)
			}
		}
		for _, l := range newTextLines(c, 10).add(text, &mark).lines() {
			if width(l) > 10 {
				t.Errorf("%q is wider than 10", l)
			}
		}
	}
}
