package tui

import (
	tea "charm.land/bubbletea/v2"

	"mergescope/themes"
)

// prompt asks for a line of text.
type prompt struct {
	name string
	help string
	in   *field
	bad  string // why the last answer was refused
	done func(a *app, text string) (tea.Cmd, string)
}

// newPrompt asks; done returns why an answer will not do, "" closes the prompt.
func newPrompt(name, help, value string, done func(a *app, text string) (tea.Cmd, string)) *prompt {
	return &prompt{name: name, help: help, in: newField(value, ""), done: done}
}

func (p *prompt) key(a *app, k tea.KeyPressMsg) tea.Cmd {
	if k.String() != "enter" {
		if p.in.press(k) {
			p.bad = ""
		}
		return nil
	}
	cmd, bad := p.done(a, p.in.value())
	if p.bad = bad; bad == "" {
		a.pop(p)
	}
	return cmd
}

func (p *prompt) paste(_ *app, text string) tea.Cmd {
	p.in.insert(text)
	return nil
}

func (p *prompt) box(c canvas, w, _ int) (title string, lines []string, cursor *tea.Position) {
	w = min(w, 76)
	typed, column := p.in.view(c, w-4)
	lines = []string{c.fit("", w), "  " + typed + "  ", c.fit("", w)}
	text, role := p.help, themes.Dim
	if p.bad != "" {
		text, role = p.bad, themes.Bad
	}
	for _, l := range wrap(c.plain(text), w-4) {
		lines = append(lines, c.fit("  "+c.paint.text(role, l), w))
	}
	lines = append(lines, c.fit(c.paint.text(themes.Dim, c.plain("  enter accepts · esc back")), w))
	return p.name, lines, &tea.Position{X: 2 + column, Y: 1}
}
