package tui

import (
	"time"

	tea "charm.land/bubbletea/v2"

	"mergescope/themes"
)

// grace is how long a dialog that no key opened ignores keys, so that what is
// being typed does not answer it.
const grace = 400 * time.Millisecond

// confirm asks a question with a few answers.
type confirm struct {
	name    string
	lines   []string
	choices []choice
	cur     int
	deaf    bool // until the grace time is over
}

// choice is an answer; the last one of a dialog changes nothing.
type choice struct {
	key, text string
	run       func(*app) tea.Cmd // nil only closes
}

// armMsg ends the grace time of a dialog.
type armMsg struct{ dialog *confirm }

// ask opens a dialog. byEvent says that no key of the user opened it.
func (a *app) ask(d *confirm, byEvent bool) tea.Cmd {
	d.cur = len(d.choices) - 1
	a.push(d)
	if !byEvent {
		return nil
	}
	d.deaf = true
	return a.after(grace, armMsg{d})
}

func (d *confirm) key(a *app, k tea.KeyPressMsg) tea.Cmd {
	if d.deaf {
		return nil
	}
	switch s := k.String(); s {
	case "left", "up", "shift+tab", "h", "k":
		d.cur = (d.cur + len(d.choices) - 1) % len(d.choices)
	case "right", "down", "tab", "l", "j":
		d.cur = (d.cur + 1) % len(d.choices)
	case "enter":
		return d.choose(a, d.cur)
	default:
		for i, c := range d.choices {
			if c.key == s {
				return d.choose(a, i)
			}
		}
	}
	return nil
}

func (d *confirm) choose(a *app, i int) tea.Cmd {
	a.pop(d)
	if run := d.choices[i].run; run != nil {
		return run(a)
	}
	return nil
}

// confirmWidth is how wide a question gets where there is room.
const confirmWidth = 72

// head is how many lines come before the answers in w cells.
func (d *confirm) head(w int) int {
	n := 1
	for _, s := range d.lines {
		n += len(wrap(clean(s), w-4))
	}
	return n
}

func (d *confirm) box(c canvas, w, _ int) (title string, lines []string, cursor *tea.Position) {
	w = min(w, confirmWidth)
	for _, s := range d.lines {
		for _, l := range wrap(c.plain(s), w-4) {
			lines = append(lines, c.fit("  "+l, w))
		}
	}
	lines = append(lines, c.fit("", w))
	for i, ch := range d.choices {
		key := c.paint.text(themes.Key, right(ch.key, 5))
		line := " " + key + "  " + c.plain(ch.text)
		if i == d.cur {
			line = c.paint.selected(c.fit(c.paint.text(themes.Accent, c.glyphs().cursor)+line[1:], w))
		}
		lines = append(lines, c.fit(line, w))
	}
	return d.name, lines, nil
}
