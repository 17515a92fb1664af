package tui

import (
	"slices"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"

	"mergescope/themes"
)

// skin is how the screen is drawn: theme, depth of colour, characters.
type skin struct {
	paint  *paint
	theme  themes.Theme
	depth  themes.Depth
	dark   bool
	ascii  bool
	forced bool // the depth is prescribed
	chosen bool // the user picked the theme, so the background does not
}

func newSkin(opt Options) skin {
	s := skin{ascii: opt.ASCII, dark: true}
	if opt.Dark != nil {
		s.dark = *opt.Dark
	}
	s.depth, s.forced = forcedDepth(opt)
	s.theme = themes.Default(s.dark)
	if t, ok := themes.ByName(opt.Theme); ok {
		s.theme, s.chosen = t, true
	}
	s.mix()
	return s
}

func (s *skin) mix() { s.paint = newPaint(s.theme, s.depth) }

// profile takes what the terminal was found to show.
func (s *skin) profile(p colorprofile.Profile) {
	if !s.forced {
		s.depth = depthOf(p)
		s.mix()
	}
}

// background follows the terminal's background.
func (s *skin) background(dark bool) {
	s.dark = dark
	if !s.chosen {
		s.theme = themes.Default(dark)
		s.mix()
	}
}

// nextTheme goes through the built-in themes.
func (a *app) nextTheme() tea.Cmd {
	names := themes.Names()
	i := slices.Index(names, a.skin.theme.Name)
	t, ok := themes.ByName(names[(i+1)%len(names)])
	if !ok {
		return nil
	}
	a.skin.theme, a.skin.dark, a.skin.chosen = t, t.Dark, true
	a.skin.mix()
	return a.view("theme " + t.Name)
}

// view confirms a change of what is shown.
func (a *app) view(text string) tea.Cmd { return a.say(themes.Note, text) }

// canvas is what a pane may know while it draws.
func (s *skin) canvas(focused bool) canvas {
	return canvas{paint: s.paint, depth: s.depth, ascii: s.ascii, dark: s.dark, focused: focused}
}
