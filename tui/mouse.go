package tui

import (
	tea "charm.land/bubbletea/v2"
)

// wheelRows is how far one notch of the wheel goes.
const wheelRows = 3

// mouse handles clicks, the wheel and dragged borders against the layout. Nothing can be done by
// mouse alone.
func (a *app) mouse(msg tea.MouseMsg) tea.Cmd {
	m := msg.Mouse()
	if top := a.topOverlay(); top != nil {
		if w, ok := msg.(tea.MouseWheelMsg); ok {
			return a.wheelOverlay(w)
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
	for _, s := range a.lay.slots {
		switch {
		case !s.at.contains(x, y):
		case y == s.at.y && len(s.tabs) == 2: // the pane that is not shown
			a.setFocus(s.tabs[0] + s.tabs[1] - s.pane)
		default:
			a.setFocus(s.pane)
			if s.inside.contains(x, y) {
				return a.clickInside(s, x-s.inside.x, y-s.inside.y)
			}
		}
	}
	return nil
}

// clickInside puts a pane's cursor on a cell. A second click opens.
func (a *app) clickInside(s slot, x, y int) tea.Cmd {
	switch s.pane {
	case layersID:
		head := 0
		if a.tree.chrome(s.inside.h) > 1 {
			head = 1
		}
		row := a.tree.top + y - head
		if y < head || row >= len(a.tree.rows) || y-head >= a.tree.height {
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
