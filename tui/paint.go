package tui

import (
	"fmt"
	"strings"

	"mergescope/themes"
)

const sgrReset = "\x1b[0m"

// paint turns roles into escape sequences for one theme and colour depth. It
// does not change once made.
type paint struct {
	theme themes.Theme
	depth themes.Depth
	on    [themes.NumRoles]string // SGR that switches a role on, "" if none
}

// attributes are what a role has besides its colour. They also carry the
// meaning where there are no colours.
var attributes = [themes.NumRoles]string{
	themes.Accent:      "1",
	themes.BorderFocus: "1",
	themes.Title:       "1",
	themes.Key:         "1",
	themes.Bad:         "1",
	themes.Mark:        "1",
}

// newPaint prepares the sequences of a theme.
func newPaint(t themes.Theme, d themes.Depth) *paint {
	p := &paint{theme: t, depth: d}
	for r := range themes.NumRoles {
		p.on[r] = sequence(attributes[r], colorCode(t.Colors[r], d, r == themes.Select))
	}
	if p.on[themes.Select] == "" {
		p.on[themes.Select] = sequence("7") // reverse video
	}
	return p
}

// sequence joins SGR parameters, "" if there are none.
func sequence(codes ...string) string {
	var set []string
	for _, c := range codes {
		if c != "" {
			set = append(set, c)
		}
	}
	if len(set) == 0 {
		return ""
	}
	return "\x1b[" + strings.Join(set, ";") + "m"
}

// colorCode returns the SGR parameters of a colour at a depth, "" for the
// terminal's default.
func colorCode(c themes.Color, d themes.Depth, background bool) string {
	if c == (themes.Color{}) || d == themes.NoColor {
		return ""
	}
	ground := 38
	if background {
		ground = 48
	}
	switch d {
	case themes.TrueColor:
		return fmt.Sprintf("%d;2;%d;%d;%d", ground, c.R, c.G, c.B)
	case themes.ANSI256:
		return fmt.Sprintf("%d;5;%d", ground, c.Index256())
	default:
		if background { // 16 colours have no quiet background
			return ""
		}
		n := c.Index16()
		if n >= 8 {
			return fmt.Sprint(90 + n - 8)
		}
		return fmt.Sprint(30 + n)
	}
}

// text returns s in the colour of role, reset after it.
func (p *paint) text(role themes.Role, s string) string {
	if p.on[role] == "" || s == "" {
		return s
	}
	return p.on[role] + s + sgrReset
}

// selected lays the background of a selected row under a line that may hold
// colours of its own: it is switched on again after each reset.
func (p *paint) selected(line string) string {
	on := p.on[themes.Select]
	return on + strings.ReplaceAll(line, sgrReset, sgrReset+on) + sgrReset
}
