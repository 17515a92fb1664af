package tui

import (
	"maps"
	"slices"
)

// chosen returns what an edit is about: the marked layers, or those under the
// cursor; of a group those that the filter shows.
func (p *layersPane) chosen() []int {
	if marked := p.marks(); len(marked) > 0 {
		return marked
	}
	set := map[int]bool{}
	if p.node() != nil {
		p.addMarks(set, p.cur)
	}
	return slices.Sorted(maps.Keys(set))
}

// marks returns the marked layers, those of an unfinished range included.
func (p *layersPane) marks() []int {
	set := maps.Clone(p.marked)
	if p.anchor >= 0 {
		for row := min(p.anchor, p.cur); row <= max(p.anchor, p.cur); row++ {
			p.addMarks(set, row)
		}
	}
	return slices.Sorted(maps.Keys(set))
}

func (p *layersPane) addMarks(set map[int]bool, row int) {
	for l := range p.inside(p.rows[row]) {
		if p.filter.match(p.book, l) {
			set[l] = true
		}
	}
}

// mark toggles the row under the cursor, or ends a range.
func (p *layersPane) mark() {
	if p.node() == nil {
		return
	}
	if p.anchor >= 0 {
		p.endRange()
		return
	}
	row := map[int]bool{}
	p.addMarks(row, p.cur)
	on := false // a group is marked unless all of it is
	for l := range row {
		on = on || !p.marked[l]
	}
	for l := range row {
		if on {
			p.marked[l] = true
		} else {
			delete(p.marked, l)
		}
	}
	p.move(1)
}

func (p *layersPane) beginRange() {
	if p.node() != nil {
		p.anchor = p.cur
	}
}

func (p *layersPane) endRange() {
	for _, l := range p.marks() {
		p.marked[l] = true
	}
	p.anchor = -1
}

// markAll marks every layer that the filter shows, or unmarks all.
func (p *layersPane) markAll(on bool) {
	p.anchor = -1
	clear(p.marked)
	if on {
		for i := range p.book.layers {
			if p.filter.match(p.book, i) {
				p.marked[i] = true
			}
		}
	}
}
