package tui

import (
	"slices"
	"strings"

	tea "charm.land/bubbletea/v2"
)

// wheelRows is how far one notch of the wheel goes.
const wheelRows = 3

// mouse handles clicks, the wheel and dragged borders against the layout. Nothing can be done by
// mouse alone.
func (a *app) mouse(msg tea.MouseMsg) tea.Cmd {
	m := msg.Mouse()
	if a.lay.form == tooSmall {
		return nil
	}
	if top := a.topOverlay(); top != nil {
		switch msg := msg.(type) {
		case tea.MouseWheelMsg:
			return a.wheelOverlay(msg)
		case tea.MouseClickMsg:
			if m.Button == tea.MouseLeft {
				return a.clickOverlay(m.X, m.Y)
			}
		}
		return nil
	}
	switch msg := msg.(type) {
	case tea.MouseClickMsg:
		if m.Button == tea.MouseLeft {
			if a.held = a.lay.edgeAt(m.X, m.Y); a.held != noEdge {
				return nil
			}
			return a.click(m.X, m.Y)
		}
	case tea.MouseMotionMsg:
		if m.Button == tea.MouseLeft {
			a.drag(m.X, m.Y)
		}
	case tea.MouseReleaseMsg:
		a.held = noEdge
	case tea.MouseWheelMsg:
		return a.wheel(msg)
	}
	return nil
}

// wheelOverlay turns the wheel into arrow keys for the dialog on top.
func (a *app) wheelOverlay(m tea.MouseWheelMsg) tea.Cmd {
	key := tea.KeyPressMsg{Code: tea.KeyDown}
	if m.Button == tea.MouseWheelUp {
		key.Code = tea.KeyUp
	}
	return a.press(key)
}

// wheel moves in the pane under the pointer, focused or not.
func (a *app) wheel(m tea.MouseWheelMsg) tea.Cmd {
	d := wheelRows
	if m.Button == tea.MouseWheelUp {
		d = -d
	}
	for _, s := range a.lay.slots {
		if !s.at.contains(m.X, m.Y) {
			continue
		}
		switch s.pane {
		case layersID:
			a.tree.move(d)
		case blocksID:
			a.blocks.move(d/wheelRows, 0)
		case blockID:
			a.block.move(d / wheelRows)
		case alertsID:
			a.feed.move(d)
		}
	}
	return nil
}

// click focuses a pane and puts its cursor there; on a title it picks a tab, on
// a hint it runs the action.
func (a *app) click(x, y int) tea.Cmd {
	if a.lay.footer.contains(x, y) {
		_, spans := a.hints(a.skin.canvas(false), a.w)
		for _, s := range spans {
			if x >= s.from && x < s.to {
				return a.runAction(s.action)
			}
		}
		return nil
	}
	if p, ok := a.tabAt(x, y); ok {
		a.setFocus(p)
		return nil
	}
	for _, s := range a.lay.slots {
		if !s.at.contains(x, y) {
			continue
		}
		a.setFocus(s.pane)
		if s.inside.contains(x, y) {
			return a.clickInside(s, x-s.inside.x, y-s.inside.y)
		}
	}
	return nil
}

// tabAt returns the pane whose name is at a cell: in the header of a small
// screen, or in a title that several panes share.
func (a *app) tabAt(x, y int) (paneID, bool) {
	c := a.skin.canvas(false)
	if a.lay.form == onePane && a.lay.header.contains(x, y) {
		at := a.w - width(a.tabs(c))
		for p := layersID; p <= alertsID; p++ {
			n := width(a.tab(c, p))
			if x >= at && x < at+n {
				return p, true
			}
			at += n
		}
		return 0, false
	}
	for _, s := range a.lay.slots {
		if y != s.at.y || len(s.tabs) < 2 || a.lay.form == onePane {
			continue
		}
		at := s.at.x + 3
		for _, t := range a.slotTabs(c, s) {
			n := width(t.text)
			if x >= at && x < at+n {
				return t.pane, true
			}
			at += n + 3 // the line between
		}
	}
	return 0, false
}

// clickHead sorts by the column whose head is at x of w cells, the other way
// round if it does already; left of the figures is the model's order.
func (a *app) clickHead(x, w int) tea.Cmd {
	end := w - 2 // the state has no head
	for _, col := range slices.Backward(columns) {
		if w < col.from {
			continue
		}
		if x >= end-col.width && x < end {
			f, _ := figureNamed(strings.ToLower(col.name))
			return a.sortBy(f, a.tree.sorting() == f && !a.tree.turned)
		}
		end -= col.width
	}
	return a.sortBy(nil, false)
}

// clickInside puts a pane's cursor on a cell. A second click opens.
func (a *app) clickInside(s slot, x, y int) tea.Cmd {
	switch s.pane {
	case layersID:
		head := 0
		if a.tree.chrome(s.inside.h) > 1 {
			head = 1
		}
		if y < head {
			return a.clickHead(x, s.inside.w)
		}
		row := a.tree.top + y - head
		if row >= len(a.tree.rows) || y-head >= a.tree.height {
			return nil
		}
		n := a.tree.nodes[a.tree.rows[row]]
		again := row == a.tree.cur
		a.tree.move(row - a.tree.cur)
		if n.layer < 0 && (x < 2 || again) {
			return a.goIn()
		}
	case blocksID:
		a.blocks.click(x, y, s.inside.w, s.inside.h)
	case alertsID:
		if row := a.feed.top + y; row < len(a.feed.rows) && y < a.feed.height {
			again := row == a.feed.cur
			a.feed.move(row - a.feed.cur)
			if again {
				return a.goIn()
			}
		}
	}
	return nil
}
