package tui

import "mergescope/themes"

// paint turns roles into escape sequences for one theme and colour depth.
type paint struct {
	theme themes.Theme
	depth themes.Depth
	on    [themes.NumRoles]string // SGR that switches a role on, "" if none
}

// text returns s in the colour of role, reset after it.
func (p *paint) text(role themes.Role, s string) string {
	if p.on[role] == "" {
		return s
	}
	return p.on[role] + s + "\x1b[0m"
}

// newPaint prepares the sequences of a theme.
func newPaint(t themes.Theme, d themes.Depth) *paint { return &paint{theme: t, depth: d} }
