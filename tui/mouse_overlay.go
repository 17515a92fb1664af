package tui

import (
	tea "charm.land/bubbletea/v2"
)

// A clicker is an overlay with lines to choose from by mouse. w and h are what
// box was given; line and x are inside what it returned.
type clicker interface {
	click(a *app, line, x, w, h int) tea.Cmd
}

// clickOverlay takes a click while a dialog is open: on a line of it, on a hint
// of the footer, or beside it, which is the way back where nothing that was
// typed would be lost.
func (a *app) clickOverlay(x, y int) tea.Cmd {
	top := a.topOverlay()
	if a.lay.footer.contains(x, y) {
		return a.clickLensHint(top, x)
	}
	in := a.overlayAt(top)
	if !in.contains(x, y) {
		switch o := top.(type) {
		case *picker, *pager:
			return a.press(tea.KeyPressMsg{Code: tea.KeyEscape})
		case *confirm:
			if !o.deaf {
				return a.press(tea.KeyPressMsg{Code: tea.KeyEscape})
			}
		}
		return nil
	}
	if o, ok := top.(clicker); ok {
		return o.click(a, y-in.y, x-in.x, a.w-4, a.h-4)
	}
	return nil
}

// clickLensHint runs what a hint in the footer stands for.
func (a *app) clickLensHint(top overlay, x int) tea.Cmd {
	l, ok := top.(lens)
	if !ok {
		return a.press(tea.KeyPressMsg{Code: tea.KeyEscape})
	}
	_, spans := a.lensHints(a.skin.canvas(false), l, a.w)
	for _, s := range spans {
		if x >= s.from && x < s.to {
			return a.runAction(s.action)
		}
	}
	return nil
}

// overlayAt returns the inside of a dialog on the screen.
func (a *app) overlayAt(o overlay) rect {
	_, lines, _ := o.box(a.skin.canvas(true), a.w-4, a.h-4)
	return a.boxAt(lines)
}

// boxAt returns where lines of a dialog are on the screen, the frame not counted.
func (a *app) boxAt(lines []string) rect {
	w, h := 0, min(len(lines), a.h-4)
	for _, l := range lines {
		w = max(w, width(l))
	}
	return rect{(a.w-w-2)/2 + 1, max(1, (a.h-h-2)/2) + 1, w, h}
}

// click chooses the item on a line.
func (p *picker) click(a *app, line, _, w, h int) tea.Cmd {
	head, top, room := p.place(w, h)
	row := top + line - head
	if line < head || line >= head+room || row >= len(p.matches) {
		return nil
	}
	p.cur = row
	return p.choose(a, func(it item) func(*app) tea.Cmd { return it.run })
}

// click chooses the answer on a line.
func (d *confirm) click(a *app, line, _, w, _ int) tea.Cmd {
	i := line - d.head(min(w, confirmWidth))
	if d.deaf || i < 0 || i >= len(d.choices) {
		return nil
	}
	return d.choose(a, i)
}
