package tui

import (
	tea "charm.land/bubbletea/v2"
)

// explainBox is the lesson over one weight, over the panes.
type explainBox struct {
	lensOf
	view  explainView
	layer string
}

func (a *app) openExplain() tea.Cmd {
	l := a.book.layer(a.sight.layer)
	if l == nil || a.sight.trace == nil {
		return nil
	}
	x := &explainBox{layer: a.book.short(l.Weight.Name)}
	x.view.of = a.book.report(a.sight.layer)
	i := a.sight.trace.Cursor
	if a.focus == blockID {
		i = a.block.weight()
	}
	x.view.set(a.sight.trace, x.layer, i)
	a.push(x)
	return nil
}

// showExplain follows the block under the cursor while the lesson is open.
func (a *app) showExplain() {
	if x, ok := a.topOverlay().(*explainBox); ok {
		x.view.of = a.book.report(a.sight.layer)
		x.view.set(a.sight.trace, x.layer, a.sight.trace.Cursor)
	}
}

func (x *explainBox) scope() scope       { return inExplain }
func (x *explainBox) end(a *app)         { a.pop(x) }
func (x *explainBox) worst(*app)         { x.view.worst() }
func (x *explainBox) next(a *app, d int) { a.blocks.next(d) }

// move steps through the lesson (sideways) or the weights (up and down).
func (x *explainBox) move(_ *app, dr, dc int) tea.Cmd {
	if dc != 0 {
		x.view.step(dc)
	}
	if dr != 0 {
		x.view.weight(dr)
	}
	return nil
}

func (x *explainBox) hints() []lensHint {
	return []lensHint{
		{"move.left move.right", "step"},
		{"move.up move.down", "weight"},
		{"blocks.worst", "worst weight"},
		{"blocks.next", "next block"},
		{"app.copy", "copy"},
	}
}

func (x *explainBox) box(c canvas, w, h int) (title string, lines []string, cursor *tea.Position) {
	w, h = min(w-2, 98), min(h, 30)
	left, right := x.view.title(w)
	title = left
	if right != "" {
		title += "  " + right
	}
	lines = x.view.draw(c, w, h)
	for i, l := range lines {
		lines[i] = " " + c.fit(l, w) + " "
	}
	return title, lines, nil
}
