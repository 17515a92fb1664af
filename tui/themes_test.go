package tui

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mergescope/themes"
)

// themeRig has the themes of a directory with dusk.json in it.
func themeRig(t *testing.T, w, h int) (r *rig, write func(colour string)) {
	t.Helper()
	dir := t.TempDir()
	when := testTime()
	write = func(colour string) {
		t.Helper()
		path := filepath.Join(dir, "dusk.json")
		text := `{"name": "dusk", "dark": true, "colors": {"accent": "` + colour + `"}}`
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		when = when.Add(time.Minute)
		if err := os.Chtimes(path, when, when); err != nil {
			t.Fatal(err)
		}
	}
	write("#112233")
	return demoRig(t, w, h, func(o *Options) { o.Themes = dir }), write
}

func TestThemeOfAFileIsFollowed(t *testing.T) {
	r, write := themeRig(t, 120, 36)
	for range 4 { // past those inside the program
		r.press("T")
	}
	accent := func() themes.Color { return r.a.skin.theme.Colors[themes.Accent] }
	if r.a.skin.theme.Name != "dusk" || accent() != (themes.Color{R: 0x11, G: 0x22, B: 0x33}) {
		t.Fatalf("theme %s with accent %v", r.a.skin.theme.Name, accent())
	}
	frame := r.a.View().Content
	r.send(watchMsg{r.a.skin.watch})
	if !r.a.drawn.fresh {
		t.Error("a look at files that did not change draws the screen anew")
	}
	write("#445566")
	r.send(watchMsg{r.a.skin.watch - 1})
	if accent() != (themes.Color{R: 0x11, G: 0x22, B: 0x33}) {
		t.Error("an earlier watch still looks")
	}
	r.send(watchMsg{r.a.skin.watch})
	if accent() != (themes.Color{R: 0x44, G: 0x55, B: 0x66}) || r.a.View().Content == frame {
		t.Errorf("accent %v after the file changed", accent())
	}
	write("no colour")
	r.send(watchMsg{r.a.skin.watch})
	if got := r.a.toast.text; !strings.Contains(got, "colors.accent") || accent() != (themes.Color{R: 0x44, G: 0x55, B: 0x66}) {
		t.Errorf("a file that is wrong: toast %q, accent %v", got, accent())
	}
}

func TestThemePickerShowsAndGivesBack(t *testing.T) {
	r, _ := themeRig(t, 120, 36)
	r.choose("Choose theme")
	p := r.a.topOverlay().(*picker)
	if len(p.items) != len(themes.Names())+2 {
		t.Fatalf("%d themes listed", len(p.items))
	}
	r.press("down", "down") // auto, dark, light
	if r.a.skin.theme.Name != "light" || r.a.skin.dark {
		t.Errorf("the theme under the cursor is not shown: %s", r.a.skin.theme.Name)
	}
	r.press("esc")
	if r.a.skin.theme.Name != "dark" || r.a.skin.chosen || r.a.prefs.Theme != "" {
		t.Errorf("esc leaves %s, chosen %v", r.a.skin.theme.Name, r.a.skin.chosen)
	}
	r.choose("Choose theme")
	r.typed("dusk")
	r.press("enter")
	if r.a.skin.theme.Name != "dusk" || r.a.prefs.Theme != "dusk" {
		t.Errorf("theme %s", r.a.skin.theme.Name)
	}
	r.choose("Choose theme")
	if p := r.a.topOverlay().(*picker); p.items[p.at()].text != "dusk" {
		t.Errorf("the cursor is on %s", p.items[p.at()].text)
	}
	r.typed("auto")
	r.press("enter")
	r.a.skin.background(false)
	if r.a.skin.theme.Name != "light" || r.a.prefs.Theme != "" {
		t.Errorf("auto on a light terminal is %s", r.a.skin.theme.Name)
	}
}

func TestThemeByName(t *testing.T) {
	r, _ := themeRig(t, 80, 24)
	for name, ok := range map[string]bool{"dusk": true, "light": true, "": true, "no such": false} {
		r.a.opt.Theme = name
		if err := r.a.setTheme(); (err == nil) != ok || err != nil && !strings.Contains(err.Error(), "dark, light, classic-dark, classic-light, dusk") {
			t.Errorf("--theme %q: %v", name, err)
		}
	}
}

func TestPreferencesAreKept(t *testing.T) {
	dir := t.TempDir()
	with := func(theme string) *rig {
		return demoRig(t, 80, 24, func(o *Options) { o.Sessions, o.Theme = dir, theme })
	}
	r := with("classic-dark")
	r.a.keepAtEnd()
	if _, err := os.Stat(filepath.Join(dir, preferencesFile)); err == nil {
		t.Error("a flag became a preference")
	}
	r.press("T")
	r.choose("Mouse on or off")
	r.a.keepAtEnd()
	if r = with(""); r.a.skin.theme.Name != "classic-light" || !r.a.mouseOff {
		t.Errorf("theme %s, mouse off %v", r.a.skin.theme.Name, r.a.mouseOff)
	}
	if r = with("dark"); r.a.skin.theme.Name != "dark" {
		t.Error("the preference counts more than the flag")
	}
	for _, text := range []string{"{", `{"version":7}`} {
		if err := os.WriteFile(filepath.Join(dir, preferencesFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if r = with(""); !strings.Contains(r.a.toast.text, preferencesFile) || r.a.skin.theme.Name != "dark" {
			t.Errorf("%s: toast %q", text, r.a.toast.text)
		}
	}
}

func TestScreensOfThemes(t *testing.T) {
	for _, s := range []struct {
		name string
		w, h int
	}{{"themes-120x36", 120, 36}, {"themes-80x24", 80, 24}, {"themes-60x16", 60, 16}} {
		r, _ := themeRig(t, s.w, s.h)
		r.a.opt.Themes = "themes"
		r.a.pickTheme()
		r.press("down", "down")
		r.golden(s.name)
	}
}
