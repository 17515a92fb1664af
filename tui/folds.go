package tui

// resize tells how many lines the inside of the pane has. The first time, it
// unfolds as many groups as fit.
func (p *layersPane) resize(h int) {
	first := p.height == 0 && !p.settled
	p.height = max(1, h-p.chrome(h))
	if first {
		p.unfoldToFit()
		p.top = 0
	}
	p.move(0)
}

func (p *layersPane) unfoldToFit() {
	room := p.height - len(p.rows)
	for _, n := range p.nodes {
		if n.layer >= 0 || n.depth > 0 || !p.folded[n.path] {
			continue
		}
		if room -= p.childRows(n); room < 0 {
			break
		}
		p.folded[n.path] = false
	}
	p.rebuild()
}

// childRows counts the rows a group shows when it opens.
func (p *layersPane) childRows(n node) int {
	rows, at := 0, p.index(n.path)
	for i := at + 1; i < n.end; rows++ {
		if p.nodes[i].layer < 0 && p.folded[p.nodes[i].path] {
			i = p.nodes[i].end
		} else {
			i++
		}
	}
	return rows
}

// fold closes or opens the group under the cursor. Closing a layer closes the
// group it is in.
func (p *layersPane) fold(closed bool) {
	n := p.node()
	switch {
	case n == nil || p.sorting() != nil || p.filter.active():
		return
	case n.layer < 0 && p.folded[n.path] != closed:
		p.folded[n.path] = closed
	case closed && n.parent >= 0:
		p.folded[p.nodes[n.parent].path] = true
	}
	p.rebuild()
}

// foldAll closes or opens all groups.
func (p *layersPane) foldAll(closed bool) {
	for _, n := range p.nodes {
		if n.layer < 0 {
			p.folded[n.path] = closed
		}
	}
	p.rebuild()
}
