package tui

import (
	tea "charm.land/bubbletea/v2"
)

// farAway is more rows than anything has.
const farAway = 1 << 30

// move moves the cursor of the focused pane, or of the lens over it.
func (a *app) move(dr, dc int) tea.Cmd {
	if l := a.topLens(); l != nil {
		return l.move(a, dr, dc)
	}
	switch a.focus {
	case layersID:
		if dc != 0 {
			return a.foldHere(dc < 0)
		}
		a.tree.move(dr)
	case blocksID:
		a.blocks.move(dr, dc)
	case blockID:
		a.block.move(dr + dc)
	case alertsID:
		if dc != 0 {
			a.feed.unfold(dc > 0)
		}
		a.feed.move(dr)
	}
	return nil
}

// foldHere closes or opens the group under the cursor; opening a layer goes to
// its blocks.
func (a *app) foldHere(closed bool) tea.Cmd {
	n := a.tree.node()
	if !closed && n != nil && n.layer >= 0 {
		a.setFocus(blocksID)
		return nil
	}
	a.tree.fold(closed)
	return nil
}

// page moves by the height of the focused pane divided by part.
func (a *app) page(d, part int) tea.Cmd {
	h := 10
	if s, ok := a.lay.slot(a.focus); ok {
		h = s.inside.h
	}
	return a.move(d*max(1, (h-2)/part), 0)
}

// goIn goes one step deeper: group, layer, blocks, block, explanation; or from
// an alert to its place.
func (a *app) goIn() tea.Cmd {
	if x, ok := a.topOverlay().(deeper); ok {
		return x.enter(a)
	}
	switch a.focus {
	case layersID:
		n := a.tree.node()
		switch {
		case n == nil:
		case n.layer < 0:
			a.tree.fold(!a.tree.folded[n.path])
		default:
			a.setFocus(blocksID)
		}
	case blocksID:
		if !a.blocks.zoom(1) {
			a.setFocus(blockID)
		}
	case blockID:
		return a.runAction(a.byID("block.explain"))
	case alertsID:
		return a.goToAlert()
	}
	return nil
}

// goToAlert shows the place of the alert under the cursor.
func (a *app) goToAlert() tea.Cmd {
	al := a.feed.current()
	if al == nil || a.feed.rows[a.feed.cur].n > 0 {
		if al != nil {
			a.feed.unfold(!a.feed.open[al.Code])
		}
		return nil
	}
	if a.book.index(al.Layer) < 0 {
		return a.openAlert()
	}
	a.tree.reveal(al.Layer)
	a.setFocus(blocksID)
	cmd := a.follow()
	if al.Place.Row >= 0 {
		a.blocks.jump(al.Place.Row, max(0, al.Place.Col))
	}
	return cmd
}

// goBack is the ladder of esc: range, filter, zoom, full screen, layers.
func (a *app) goBack() tea.Cmd {
	if l := a.topLens(); l != nil {
		l.end(a)
		return nil
	}
	switch {
	case a.focus == layersID && a.tree.anchor >= 0:
		a.tree.anchor = -1
	case a.tree.filter.text != "" && a.focus == layersID:
		a.tree.setFilter("")
	case a.focus == blocksID && a.blocks.zoom(-1):
	case a.full:
		a.full = false
		a.relayout()
	case a.focus == blockID && a.lay.form != onePane:
		a.setFocus(blocksID)
	default:
		a.setFocus(layersID)
	}
	return nil
}

// nextPane moves the focus along the panes.
func (a *app) nextPane(d int) tea.Cmd {
	a.setFocus((a.focus-layersID+paneID(d)+alertsID)%alertsID + layersID)
	return nil
}

func (a *app) toggleFull() tea.Cmd {
	a.full = !a.full
	a.relayout()
	return nil
}

// stepLayer looks at the next layer that the filter shows, from any pane.
func (a *app) stepLayer(d int) tea.Cmd {
	a.tree.step(d)
	return nil
}

// goWorst goes to what kept least where the focus is.
func (a *app) goWorst() tea.Cmd {
	if x, ok := a.topOverlay().(graded); ok {
		x.worst(a)
		return nil
	}
	if a.focus == blocksID {
		a.blocks.worst()
		return nil
	}
	worst := -1
	for i := range a.book.layers {
		if r := a.book.report(i); r != nil && (worst < 0 || r.Kept < a.book.reports[worst].Kept) {
			worst = i
		}
	}
	if worst >= 0 {
		a.tree.reveal(a.book.layers[worst].Weight.Name)
	}
	return nil
}

// goNext goes to the next layer with an alert, hot block, or block of the
// explanation.
func (a *app) goNext(d int) tea.Cmd {
	if x, ok := a.topOverlay().(graded); ok {
		x.next(a, d)
		return nil
	}
	if a.focus == blocksID {
		a.blocks.next(d)
		return nil
	}
	n := len(a.book.layers)
	at := a.tree.current()
	for step := 1; step <= n; step++ {
		i := ((at+d*step)%n + n) % n
		if a.tree.rankOf(i) == rankBad || a.tree.rankOf(i) == rankWarn {
			a.tree.reveal(a.book.layers[i].Weight.Name)
			return nil
		}
	}
	return nil
}

func (a *app) zoomIn() tea.Cmd {
	b, then := a.maps()
	b.zoom(1)
	then()
	return nil
}

func (a *app) zoomOut() tea.Cmd {
	b, then := a.maps()
	if !b.zoom(-1) && b == &a.blocks && a.noFigures() == "" {
		return a.openModel() // the whole of a layer is part of the model
	}
	then()
	return nil
}

func (a *app) markRange() tea.Cmd {
	if a.tree.anchor >= 0 {
		a.tree.endRange()
		return nil
	}
	a.tree.beginRange()
	return a.view("range: move, then V or space ends it, esc drops it")
}

func (a *app) markMatching() tea.Cmd {
	a.tree.markAll(true)
	return a.view(plural(len(a.tree.marked), "layer") + " marked; u unmarks")
}

func (a *app) acknowledge(all bool) tea.Cmd {
	n := a.feed.acknowledge(all)
	if n == 0 {
		return nil
	}
	return a.view(plural(n, "alert") + " acknowledged")
}

// byID returns an action of the registry, which a name in this package always
// has.
func (a *app) byID(id string) *action {
	for i := range a.actions {
		if a.actions[i].id == id {
			return &a.actions[i]
		}
	}
	panic("tui: internal error: no action " + id)
}
