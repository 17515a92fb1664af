package tui

import (
	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"

	"mergescope/themes"
)

// skin is how the screen is drawn: theme, depth of colour, characters.
type skin struct {
	paint  *paint
	theme  themes.Theme
	depth  themes.Depth
	dark   bool // the theme is for a dark background
	seen   bool // the terminal's background is dark, as far as is known
	ascii  bool
	plain  bool // sentences instead of panes
	forced bool // the depth is prescribed
	chosen bool // the user picked the theme, so the background does not

	user  []themes.Theme
	stamp string // of the user's themes, see themeDir.stamp
	watch int    // of the last watch over them
}

func newSkin(opt Options) skin {
	s := skin{ascii: opt.ASCII, plain: opt.Plain, dark: true}
	if opt.Dark != nil {
		s.dark = *opt.Dark
	}
	s.seen = s.dark
	s.depth, s.forced = forcedDepth(opt)
	s.theme = themes.Default(s.dark)
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
	s.seen = dark
	if !s.chosen {
		s.dark, s.theme = dark, themes.Default(dark)
		s.mix()
	}
}

// view confirms a change of what is shown.
func (a *app) view(text string) tea.Cmd { return a.say(themes.Note, text) }

// canvas is what a pane may know while it draws.
func (s *skin) canvas(focused bool) canvas {
	if s.plain {
		return canvas{paint: newPaint(themes.Theme{}, themes.NoColor), ascii: true, dark: s.dark}
	}
	return canvas{paint: s.paint, depth: s.depth, ascii: s.ascii, dark: s.dark, focused: focused}
}
