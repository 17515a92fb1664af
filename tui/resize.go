package tui

import (
	tea "charm.land/bubbletea/v2"
)

// edge is a border between panes that can be moved.
type edge uint8

const (
	noEdge    edge = iota
	leftEdge       // between the layers and what is right of them
	lowEdge        // above the pane at the bottom
	blockEdge      // between the blocks and the block
)

// edgeAt returns the border at a cell. Titles that pick a tab are none.
func (l layout) edgeAt(x, y int) edge {
	layers, ok := l.slot(layersID)
	blocks, both := l.slot(blocksID)
	if !ok || !both {
		return noEdge
	}
	low := layers.at.y + layers.at.h
	switch {
	case !l.room.contains(x, y):
		return noEdge
	case y == low-1 || y == low && l.form == fourPanes:
		return lowEdge
	case y < low && (x == blocks.at.x || x == blocks.at.x-1):
		return leftEdge
	case l.form == fourPanes && x > blocks.at.x && y == blocks.at.y+blocks.at.h-1:
		return blockEdge
	}
	return noEdge
}

// size returns what an edge divides: the cells on its side and in all.
func (l layout) size(e edge) (part, all int) {
	layers, _ := l.slot(layersID)
	blocks, _ := l.slot(blocksID)
	top := layers.at.h
	switch e {
	case leftEdge:
		return layers.at.w, l.room.w
	case lowEdge:
		all = l.room.h
		if l.form == fourPanes { // the block needs its room too
			all -= minPaneH
		}
		return l.room.h - top, all
	default:
		return top - blocks.at.h, top
	}
}

// setEdge gives part cells to the side of an edge.
func (a *app) setEdge(e edge, part int) {
	now, all := a.lay.size(e)
	part = between(part, 1, all)
	if e == noEdge || part == now {
		return
	}
	*a.prefs.Split.of(e) = thousandths(part, all)
	a.relayout()
}

func (s *split) of(e edge) *int {
	switch e {
	case leftEdge:
		return &s.Left
	case lowEdge:
		return &s.Low
	default:
		return &s.Block
	}
}

// drag moves the edge that is held to the pointer.
func (a *app) drag(x, y int) {
	switch a.held {
	case leftEdge:
		a.setEdge(leftEdge, x+1-a.lay.room.x)
	case lowEdge:
		a.setEdge(lowEdge, a.lay.room.y+a.lay.room.h-1-y)
	case blockEdge:
		layers, _ := a.lay.slot(layersID)
		a.setEdge(blockEdge, layers.at.y+layers.at.h-1-y)
	}
}

// grow moves an edge by cells.
func (a *app) grow(e edge, d int) tea.Cmd {
	part, _ := a.lay.size(e)
	a.setEdge(e, part+d)
	return nil
}

// noSizes says why panes have no sizes to change.
func (a *app) noSizes() string {
	_, layers := a.lay.slot(layersID)
	_, blocks := a.lay.slot(blocksID)
	if !layers || !blocks {
		return "only one pane is shown"
	}
	return ""
}

// noBlockSize is noSizes for the height of the block.
func (a *app) noBlockSize() string {
	if why := a.noSizes(); why != "" {
		return why
	}
	if a.lay.form != fourPanes {
		return "the block and the alerts share their room here"
	}
	return ""
}

func (a *app) resetSizes() tea.Cmd {
	a.prefs.Split = split{}
	a.relayout()
	return a.view("panes as they were")
}

func sizeActions() []action {
	grow := func(e edge, d int) func(*app) tea.Cmd {
		return func(a *app) tea.Cmd { return a.grow(e, d) }
	}
	return []action{
		{"size.narrow", []string{"<"}, inPanes, "", "Narrower layers", "Move the border right of the layers to the left; the mouse drags it.", (*app).noSizes, grow(leftEdge, -2)},
		{"size.wide", []string{">"}, inPanes, "", "Wider layers", "Move the border right of the layers to the right.", (*app).noSizes, grow(leftEdge, 2)},
		{"size.low", []string{"}"}, inPanes, "", "Lower bottom pane", "Move the border above the bottom pane down.", (*app).noSizes, grow(lowEdge, -1)},
		{"size.high", []string{"{"}, inPanes, "", "Higher bottom pane", "Move the border above the bottom pane up.", (*app).noSizes, grow(lowEdge, 1)},
		{"size.block.low", []string{")"}, inPanes, "", "Lower block pane", "Move the border between blocks and block down.", (*app).noBlockSize, grow(blockEdge, -1)},
		{"size.block.high", []string{"("}, inPanes, "", "Higher block pane", "Move the border between blocks and block up.", (*app).noBlockSize, grow(blockEdge, 1)},
		{"size.reset", nil, inPanes, "", "Reset pane sizes", "Let the panes have the sizes that fit the screen.", (*app).noSizes, (*app).resetSizes},
	}
}
