package tui

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"mergescope/themes"
)

// themeDir is the directory of the user's themes; "" has none. Its methods read
// files, so they are for commands and for before the program.
type themeDir string

// load reads all themes and when the newest file was changed.
func (d themeDir) load() themesMsg {
	if d == "" {
		return themesMsg{}
	}
	msg := themesMsg{stamp: d.stamp()}
	msg.all, msg.err = themes.ReadDir(os.DirFS(string(d)))
	return msg
}

// stamp is what changes when a theme does: names, sizes and times of the files.
func (d themeDir) stamp() string {
	entries, err := os.ReadDir(string(d))
	if err != nil {
		return ""
	}
	var s strings.Builder
	for _, e := range entries {
		if info, err := e.Info(); err == nil && filepath.Ext(e.Name()) == ".json" {
			s.WriteString(e.Name() + info.ModTime().Format(time.RFC3339Nano) + cellText(int(info.Size()), "") + "\n")
		}
	}
	return s.String()
}

// themesMsg brings the user's themes.
type themesMsg struct {
	all   []themes.Theme
	err   error
	stamp string
	then  func(*app) tea.Cmd
}

// arrive shows the theme in use as it is now.
func (msg themesMsg) arrive(a *app) tea.Cmd {
	changed := msg.stamp != a.skin.stamp
	a.skin.user, a.skin.stamp = msg.all, msg.stamp
	if t, ok := a.skin.byName(a.skin.theme.Name); ok && t != a.skin.theme {
		a.skin.theme = t
		a.skin.mix()
	}
	var cmds []tea.Cmd
	if msg.err != nil && changed {
		cmds = append(cmds, a.say(themes.Warn, clean(firstLine(msg.err))))
	}
	if msg.then != nil {
		cmds = append(cmds, msg.then(a))
	}
	return tea.Batch(cmds...)
}

// byName returns a theme; the user's come first.
func (s *skin) byName(name string) (themes.Theme, bool) {
	if i := slices.IndexFunc(s.user, func(t themes.Theme) bool { return t.Name == name }); i >= 0 {
		return s.user[i], true
	}
	return themes.ByName(name)
}

// all lists the themes: those inside the program, then the user's.
func (s *skin) all() []themes.Theme {
	var all []themes.Theme
	for _, name := range themes.Names() {
		if t, ok := s.byName(name); ok {
			all = append(all, t)
		}
	}
	for _, t := range s.user {
		if !slices.Contains(themes.Names(), t.Name) {
			all = append(all, t)
		}
	}
	return all
}

// setTheme finds the theme that the options name; "" leaves it to the background.
func (a *app) setTheme() error {
	if a.opt.Theme == "" {
		return nil
	}
	t, ok := a.skin.byName(a.opt.Theme)
	if !ok {
		return fmt.Errorf("no theme %q; there are %s", a.opt.Theme, a.skin.themeNames())
	}
	a.skin.wear(t)
	return nil
}

// wear uses a theme whatever the background.
func (s *skin) wear(t themes.Theme) {
	s.theme, s.dark, s.chosen = t, t.Dark, true
	s.mix()
}

// nextTheme goes through the themes.
func (a *app) nextTheme() tea.Cmd {
	all := a.skin.all()
	i := slices.IndexFunc(all, func(t themes.Theme) bool { return t.Name == a.skin.theme.Name })
	a.skin.wear(all[(i+1)%len(all)])
	a.prefs.Theme = a.skin.theme.Name
	return tea.Batch(a.view("theme "+a.skin.theme.Name), a.watchThemes())
}

// chooseTheme reads the user's themes and lists all; the one under the cursor
// is shown at once.
func (a *app) chooseTheme() tea.Cmd {
	dir := themeDir(a.opt.Themes)
	return a.work(func() tea.Msg {
		msg := dir.load()
		msg.then = (*app).pickTheme
		return msg
	})
}

func (a *app) pickTheme() tea.Cmd {
	before, all := a.skin, a.skin.all()
	items := []item{{text: "auto", note: "dark or light as the terminal is", run: func(a *app) tea.Cmd {
		a.skin.chosen, a.prefs.Theme = false, ""
		a.skin.background(a.skin.seen)
		return a.view("the theme follows the terminal")
	}}}
	cur := 0
	for i, t := range all {
		note := "dark"
		if !t.Dark {
			note = "light"
		}
		if !slices.Contains(themes.Names(), t.Name) {
			note = "yours · " + note
		}
		items = append(items, item{text: t.Name, note: note, run: func(a *app) tea.Cmd {
			a.skin.wear(t)
			a.prefs.Theme = t.Name
			return tea.Batch(a.view("theme "+t.Name), a.watchThemes())
		}})
		if a.skin.chosen && t.Name == a.skin.theme.Name {
			cur = i + 1
		}
	}
	foot := "enter keeps · esc back"
	if a.opt.Themes != "" {
		foot += " · yours: " + a.opt.Themes + string(filepath.Separator) + "*.json"
	}
	p := newPicker("theme", foot, true, items)
	p.cur = cur
	p.moved = func(a *app, i int) {
		if i == 0 {
			a.skin.wear(themes.Default(a.skin.seen))
		} else {
			a.skin.wear(all[i-1])
		}
	}
	p.dropped = func(a *app) {
		user, stamp := a.skin.user, a.skin.stamp
		a.skin = before
		a.skin.user, a.skin.stamp = user, stamp
	}
	a.push(p)
	return nil
}

// watchEvery is how often the files of the user's themes are looked at while one
// of them is worn.
const watchEvery = time.Second

// watchMsg looks at the user's themes, unless another watch has begun.
type watchMsg struct{ gen int }

// watchThemes follows changes of the theme that is worn, if it is the user's.
func (a *app) watchThemes() tea.Cmd {
	a.skin.watch++
	if !a.skin.own() {
		return nil
	}
	return a.after(watchEvery, watchMsg{a.skin.watch})
}

// own reports whether the theme is the user's.
func (s *skin) own() bool {
	return slices.ContainsFunc(s.user, func(t themes.Theme) bool { return t.Name == s.theme.Name })
}

// watched is a look that found what was there before, or something new.
func (a *app) watched(msg watchMsg) tea.Cmd {
	if msg.gen != a.skin.watch || !a.skin.own() {
		return nil
	}
	dir, stamp := themeDir(a.opt.Themes), a.skin.stamp
	look := a.work(func() tea.Msg {
		if dir.stamp() == stamp {
			return nil
		}
		return dir.load()
	})
	return tea.Batch(look, a.after(watchEvery, watchMsg{a.skin.watch}))
}

// themeNames lists the themes for a message.
func (s *skin) themeNames() string {
	var names []string
	for _, t := range s.all() {
		names = append(names, t.Name)
	}
	return strings.Join(names, ", ")
}
