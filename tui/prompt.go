package tui

import (
	"strings"

	tea "charm.land/bubbletea/v2"

	"mergescope/themes"
)

// prompt asks for a line of text.
type prompt struct {
	name  string
	help  string
	in    *field
	bad   string // why the last answer was refused
	wait  bool   // the answer is being tried
	more  string // what tab found
	files bool   // tab completes the names of files
	done  func(a *app, p *prompt, text string) tea.Cmd
}

// newPrompt asks; done gets the answer without space around it. It closes the
// prompt with pop, or refuses the answer.
func newPrompt(name, help, value string, done func(a *app, p *prompt, text string) tea.Cmd) *prompt {
	return &prompt{name: name, help: help, in: newField(value, ""), done: done}
}

// refuse says why an answer will not do.
func (p *prompt) refuse(why string) tea.Cmd {
	p.bad, p.wait = why, false
	return nil
}

func (p *prompt) key(a *app, k tea.KeyPressMsg) tea.Cmd {
	switch {
	case p.wait:
	case k.String() == "enter":
		return p.done(a, p, strings.TrimSpace(p.in.value()))
	case k.String() == "tab" && p.files:
		return a.complete(p)
	case p.in.press(k):
		p.bad, p.more = "", ""
	}
	return nil
}

func (p *prompt) paste(text string) {
	if !p.wait {
		p.in.insert(text)
	}
}

func (p *prompt) box(c canvas, w, h int) (title string, lines []string, cursor *tea.Position) {
	w = min(w, 76)
	typed, column := p.in.view(c, w-4)
	lines = []string{c.fit("", w), "  " + typed + "  ", c.fit("", w)}
	text, role := p.help, themes.Dim
	switch {
	case p.wait:
		text = "one moment…"
	case p.bad != "":
		text, role = p.bad, themes.Bad
	case p.more != "":
		text = p.more
	}
	said := wrap(c.plain(text), w-4)
	for _, l := range said[:min(len(said), max(1, h-6))] {
		lines = append(lines, c.fit("  "+c.paint.text(role, l), w))
	}
	foot := "  enter accepts · esc back"
	if p.files {
		foot = "  enter accepts · tab completes · esc back"
	}
	lines = append(lines, c.fit(c.paint.text(themes.Dim, c.plain(foot)), w))
	return p.name, lines, &tea.Position{X: 2 + column, Y: 1}
}
