package tui

import (
	tea "charm.land/bubbletea/v2"
)

// sortNext sorts by the next figure.
func (a *app) sortNext() tea.Cmd {
	return a.sortBy(orders[(a.tree.order+1)%len(orders)], false)
}

// sortTurn sorts by the same figure the other way round.
func (a *app) sortTurn() tea.Cmd { return a.sortBy(a.tree.sorting(), !a.tree.turned) }

func (a *app) noSort() string {
	if a.tree.sorting() == nil {
		return "the layers are in the model's order; o sorts them"
	}
	return ""
}

func (a *app) sortBy(f *layerFigure, turned bool) tea.Cmd {
	a.tree.sortBy(f, turned)
	switch {
	case f == nil:
		return a.view("in the model's order")
	case a.tree.rising():
		return a.view("sorted by " + f.name + ", least first")
	default:
		return a.view("sorted by " + f.name + ", most first")
	}
}

// chooseSort lists what the layers can be sorted by.
func (a *app) chooseSort() tea.Cmd {
	items := []item{{text: "model", note: "the order of the model, in groups", run: func(a *app) tea.Cmd { return a.sortBy(nil, false) }}}
	for _, f := range orders[1:] {
		items = append(items, item{text: f.name, note: f.help, run: func(a *app) tea.Cmd { return a.sortBy(f, false) }})
	}
	p := newPicker("sort layers by", "enter sorts · esc back", true, items)
	p.cur = a.tree.order
	a.push(p)
	return nil
}
