package tui

import (
	"strings"

	"mergescope/themes"
)

// strip is a line of text put together from pieces of different roles.
type strip struct {
	text  []rune
	roles []themes.Role // NumRoles is the terminal's foreground
}

func newStrip(w int) *strip {
	s := &strip{text: make([]rune, w), roles: make([]themes.Role, w)}
	for i := range s.text {
		s.text[i], s.roles[i] = ' ', themes.NumRoles
	}
	return s
}

// put writes text from column x, as far as there is room.
func (s *strip) put(x int, text string, role themes.Role) {
	for _, r := range text {
		if x >= 0 && x < len(s.text) {
			s.text[x], s.roles[x] = r, role
		}
		x++
	}
}

// putIfFree writes text centred on x unless it would touch other text.
func (s *strip) putIfFree(x int, text string, role themes.Role) {
	n := len([]rune(text))
	from := between(x-n/2, 0, max(0, len(s.text)-n))
	for i := max(0, from-1); i < min(len(s.text), from+n+1); i++ {
		if s.text[i] != ' ' {
			return
		}
	}
	s.put(from, text, role)
}

func (s *strip) draw(c canvas) string {
	var out strings.Builder
	for from := 0; from < len(s.text); {
		to := from
		for to < len(s.text) && s.roles[to] == s.roles[from] {
			to++
		}
		text := string(s.text[from:to])
		if s.roles[from] < themes.NumRoles {
			text = c.paint.text(s.roles[from], text)
		}
		out.WriteString(text)
		from = to
	}
	return out.String()
}
