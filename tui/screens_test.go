package tui

import (
	"strings"
	"testing"

	tea "charm.land/bubbletea/v2"

	"mergescope/loader"
	"mergescope/merge"
	"mergescope/themes"
)

// The screens of the demo at the three sizes, as characters and styles.
func TestScreens(t *testing.T) {
	for _, s := range []struct {
		name string
		w, h int
		keys []string
	}{
		{"demo-120x36", 120, 36, nil},
		{"demo-80x24", 80, 24, nil},
		{"demo-80x24-block", 80, 24, []string{"3"}},
		{"demo-60x16-layers", 60, 16, nil},
		{"demo-60x16-blocks", 60, 16, []string{"2"}},
		{"demo-60x16-alerts", 60, 16, []string{"4"}},
		{"broken-120x36", 120, 36, []string{"B"}},
		{"alerts-open-120x36", 120, 36, []string{"4", "enter", "j", "U"}},
		{"filter-80x24", 80, 24, []string{"/", "k", "e", "p", "t", "<", "2", "%"}},
		{"filter-hint-120x36", 120, 36, []string{"/", "f", "o", "o", ":", "b", "a", "r"}},
		{"filter-hint-60x16", 60, 16, []string{"/", "f", "o", "o", ":", "b", "a", "r"}},
		{"sort-80x24", 80, 24, []string{":", "s", "o", "r", "t", " ", "l", "enter"}},
		{"marks-80x24", 80, 24, []string{"V", "j", "j", "V", "o"}},
		{"merge-120x36", 120, 36, []string{"m"}},
		{"merge-60x16", 60, 16, []string{"m"}},
		{"adapters-80x24", 80, 24, []string{"a"}},
		{"output-80x24", 80, 24, []string{"O"}},
		{"help-120x36", 120, 36, []string{"?"}},
		{"palette-80x24", 80, 24, []string{":", "m", "e", "r"}},
		{"explain-120x36", 120, 36, []string{"e", "right", "right", "right", "right", "right"}},
	} {
		t.Run(s.name, func(t *testing.T) {
			r := demoRig(t, s.w, s.h, nil)
			r.press(s.keys...)
			r.golden(s.name)
		})
	}
}

func TestScreenTooSmall(t *testing.T) {
	r := demoRig(t, 50, 10, nil)
	r.golden("small-50x10")
	if got := r.text(); !strings.Contains(got, "needs 60x14, have 50x10") {
		t.Errorf("got:\n%s", got)
	}
	run, _ := runningRig(t, 50, 10)
	if got := run.text(); !strings.Contains(got, "merge continues 51 %") {
		t.Errorf("a running merge is not mentioned:\n%s", got)
	}
}

func TestScreensOfARunningMerge(t *testing.T) {
	for _, s := range []struct {
		name string
		w, h int
	}{{"merging-120x36", 120, 36}, {"merging-80x24", 80, 24}, {"merging-60x16", 60, 16}} {
		r, run := runningRig(t, s.w, s.h)
		r.golden(s.name)
		v := r.a.View()
		if v.ProgressBar == nil || v.ProgressBar.Value != 51 || !strings.HasSuffix(v.WindowTitle, "merge 51%") {
			t.Errorf("%s: progress bar %+v, title %q", s.name, v.ProgressBar, v.WindowTitle)
		}
		run.snap.Alerts = []merge.Alert{{Level: merge.Error, Code: merge.CodeNonFinite, Layer: "model.layers.0.mlp.up_proj", Message: "1 NaN", Count: 1}}
		r.a.Update(pollMsg{r.a.job.gen})
		if got := r.a.View().ProgressBar.State; got != tea.ProgressBarError {
			t.Errorf("%s: the terminal's bar is %v with an error", s.name, got)
		}
	}
}

func TestScreenWithoutAdapter(t *testing.T) {
	opt := demoOptions(t)
	opt.Demo = false
	newRig(t, opt, nil, 120, 36).golden("bare-120x36")
	newRig(t, opt, nil, 60, 16).golden("bare-60x16")
}

func TestScreenOfAnEmptyCheckpoint(t *testing.T) {
	opt := demoOptions(t)
	opt.Demo = false
	opt.Project = merge.NewProject(&loader.Checkpoint{Name: "nothing"})
	newRig(t, opt, nil, 80, 24).golden("empty-80x24")
}

func TestScreenWithoutColour(t *testing.T) {
	opt := demoOptions(t)
	opt.Color = nil
	t.Setenv("NO_COLOR", "yes") // not a Go boolean
	r := newRig(t, opt, nil, 120, 36)
	r.golden("nocolor-120x36")
	content := r.a.View().Content
	for _, colour := range []string{"[3", "[4", ";3", ";4", "[9", "[10", ";9", ";10"} {
		if strings.Contains(content, "\x1b"+colour) {
			t.Errorf("the frame has a colour sequence \\e%s", colour)
		}
	}
}

func TestScreenInASCII(t *testing.T) {
	for _, keys := range [][]string{nil, {"B"}, {"?"}, {"m"}, {":"}, {"a"}, {"e", "right", "right", "right", "right", "right"}, {"3", "i"}, {"4", "enter"}} {
		r := demoRig(t, 120, 36, func(o *Options) { o.ASCII = true })
		r.press(keys...)
		if keys == nil {
			r.golden("ascii-120x36")
		}
		for i, c := range r.text() {
			if c > 127 {
				line := strings.Count(r.text()[:i], "\n")
				t.Errorf("keys %v: %q on line %d", keys, c, line)
				break
			}
		}
	}
}

func TestThemeFollowsTheBackground(t *testing.T) {
	r := demoRig(t, 120, 36, nil)
	dark := r.a.View().Content
	r.a.skin.background(false)
	r.a.drawn.touch()
	if r.a.skin.theme.Dark || r.a.View().Content == dark {
		t.Error("the theme stays dark on a light background")
	}
	r.press("T")
	chosen := r.a.skin.theme.Name
	r.a.skin.background(true)
	if r.a.skin.theme.Name != chosen {
		t.Error("the background overrules the theme the user picked")
	}
}

func TestPaintHasNoColourWithoutColours(t *testing.T) {
	for r := range themes.NumRoles {
		on := newPaint(themes.Default(true), themes.NoColor).on[r]
		if on != "" && on != "\x1b[1m" && on != "\x1b[7m" {
			t.Errorf("role %d is %q", r, on)
		}
	}
}
