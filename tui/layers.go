package tui

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
)

// layersPane is the tree of layers with what the plan does with each and what
// that came to. It shows a window of rows; the tree is flattened once.
type layersPane struct {
	book  *ledger
	nodes []node
	names map[string]string // short names of the adapters

	folded  map[string]bool
	settled bool  // the folds are those of the last session
	rows    []int // nodes shown, in order
	cur     int   // row of the cursor
	top     int   // first row of the window
	height  int   // rows of the window

	marked map[int]bool // layers
	anchor int          // row where a range begins, -1 without
	filter query
	typing bool // the filter is being typed
	input  *field
	order  int  // index into orders
	turned bool // the order is the other way round
	facts  facts
}

// orders lists the ways to sort the rows: nil is the model's order. Sorted rows
// are layers without groups.
var orders = func() []*layerFigure {
	all := []*layerFigure{nil}
	for i := range layerFigures {
		all = append(all, &layerFigures[i])
	}
	return all
}()

// sorting returns the figure that rows are sorted by, nil for the model's order.
func (p *layersPane) sorting() *layerFigure { return orders[p.order] }

// rising reports whether the least of the figure comes first.
func (p *layersPane) rising() bool { return p.sorting().rising != p.turned }

// sortBy sorts by a figure, nil for the model's order.
func (p *layersPane) sortBy(f *layerFigure, turned bool) {
	p.order, p.turned = slices.Index(orders, f), turned
	p.rebuild()
}

// setBook gives the pane the layers of a checkpoint. Of many groups only the
// first begins unfolded.
func (p *layersPane) setBook(b *ledger) {
	p.book = b
	p.nodes = flatten(b.layers)
	b.prefix = sharedPrefix(p.nodes)
	p.folded = map[string]bool{}
	p.marked = map[int]bool{}
	p.anchor = -1
	first := true
	for _, n := range p.nodes {
		if n.layer < 0 && n.depth == 0 {
			p.folded[n.path] = !first
			first = false
		} else if n.layer < 0 {
			p.folded[n.path] = true
		}
	}
	p.rebuild()
}

// rebuild lists the visible rows anew; the cursor stays on what it was on, or
// on the group that hides it.
func (p *layersPane) rebuild() {
	at := p.node()
	p.rows = p.rows[:0]
	if p.sorting() != nil {
		p.sorted()
	} else {
		p.tree()
	}
	p.anchor = -1
	if at != nil {
		p.find(at.path)
	}
	p.move(0)
}

// tree lists groups and layers in the model's order. A filter unfolds whatever
// holds a match.
func (p *layersPane) tree() {
	filtered := p.filter.active()
	for i := 0; i < len(p.nodes); {
		n := &p.nodes[i]
		switch {
		case n.layer >= 0:
			if p.filter.match(p.book, n.layer) {
				p.rows = append(p.rows, i)
			}
			i++
		case filtered:
			if p.anyMatch(i) {
				p.rows = append(p.rows, i)
				i++
			} else {
				i = n.end
			}
		default:
			p.rows = append(p.rows, i)
			i++
			if p.folded[n.path] {
				i = n.end
			}
		}
	}
}

func (p *layersPane) anyMatch(group int) bool {
	for l := range p.inside(group) {
		if p.filter.match(p.book, l) {
			return true
		}
	}
	return false
}

// sorted lists the layers by a figure, those without it last.
func (p *layersPane) sorted() {
	figure, rising := p.sorting(), p.rising()
	values := make([]float64, len(p.nodes)) // the least comes first
	for i := range p.nodes {
		l := p.nodes[i].layer
		if l < 0 || !p.filter.match(p.book, l) {
			continue
		}
		p.rows = append(p.rows, i)
		v := figure.of(p.book, l)
		if !rising {
			v = -v
		}
		if math.IsNaN(v) {
			v = math.Inf(1)
		}
		values[i] = v
	}
	slices.SortStableFunc(p.rows, func(a, b int) int { return cmp.Compare(values[a], values[b]) })
}

// find puts the cursor on the row of a path, or on the group that hides it.
func (p *layersPane) find(path string) {
	for i := p.index(path); i >= 0; i = p.nodes[i].parent {
		if r := slices.Index(p.rows, i); r >= 0 {
			p.cur = r
			return
		}
	}
}

// index returns the node of a path, -1 if there is none.
func (p *layersPane) index(path string) int {
	return slices.IndexFunc(p.nodes, func(n node) bool { return n.path == path })
}

// reveal unfolds the groups around a layer, drops a filter that hides it and
// puts the cursor on it.
func (p *layersPane) reveal(path string) {
	i := p.index(path)
	if i < 0 {
		return
	}
	if l := p.nodes[i].layer; l >= 0 && !p.filter.match(p.book, l) {
		p.filter = query{}
	}
	for up := p.nodes[i].parent; up >= 0; up = p.nodes[up].parent {
		p.folded[p.nodes[up].path] = false
	}
	p.rebuild()
	p.find(path)
	p.move(0)
}

// node returns what the cursor is on, nil if there are no rows.
func (p *layersPane) node() *node {
	if p.cur < 0 || p.cur >= len(p.rows) {
		return nil
	}
	return &p.nodes[p.rows[p.cur]]
}

// toMatch moves from a group to the first layer in it that the filter shows.
func (p *layersPane) toMatch() {
	for p.filter.active() && p.cur < len(p.rows)-1 && p.nodes[p.rows[p.cur]].layer < 0 {
		p.move(1)
	}
}

// current returns the layer to look at: the one under the cursor, or of a group
// the one that kept least, or its first with an adapter, of those the filter
// shows. -1 if there is none.
func (p *layersPane) current() int {
	n := p.node()
	if n == nil {
		return -1
	}
	if n.layer >= 0 {
		return n.layer
	}
	best, bestKept := -1, math.Inf(1)
	for l := range p.inside(p.rows[p.cur]) {
		if !p.filter.match(p.book, l) {
			continue
		}
		if best < 0 || !p.book.planned(best) && p.book.planned(l) {
			best = l
		}
		if r := p.book.report(l); r != nil && float64(r.Kept) < bestKept {
			best, bestKept = l, float64(r.Kept)
		}
	}
	return best
}

// inside yields the layers of a node: itself, or all of a group, hidden ones
// included.
func (p *layersPane) inside(i int) func(func(int) bool) {
	return func(yield func(int) bool) {
		for _, n := range p.nodes[i:max(i+1, p.nodes[i].end)] {
			if n.layer >= 0 && !yield(n.layer) {
				return
			}
		}
	}
}

// move moves the cursor by rows and keeps it in the window.
func (p *layersPane) move(d int) {
	p.cur = between(p.cur+d, 0, max(0, len(p.rows)-1))
	p.top = between(p.top, p.cur-p.height+1, p.cur)
	p.top = between(p.top, 0, max(0, len(p.rows)-p.height))
}

// step goes to the next layer in the order shown, whatever group hides it.
func (p *layersPane) step(d int) {
	if p.sorting() != nil {
		p.move(d)
		return
	}
	if p.node() == nil {
		return
	}
	for i := p.rows[p.cur] + d; i >= 0 && i < len(p.nodes); i += d {
		if l := p.nodes[i].layer; l >= 0 && p.filter.match(p.book, l) {
			p.reveal(p.nodes[i].path)
			return
		}
	}
}

// setFilter filters by the text of the filter line.
func (p *layersPane) setFilter(text string) {
	f := p.facts
	f.marked = maps.Clone(p.marked)
	p.filter = parseQuery(text, f)
	p.rebuild()
}

// refresh follows new figures where rows depend on them.
func (p *layersPane) refresh() {
	from := -1 // where a range begins, as rows come and go
	if p.anchor >= 0 {
		from = p.rows[p.anchor]
	}
	switch {
	case p.filter.live:
		p.setFilter(p.filter.text)
	case p.sorting() != nil:
		p.rebuild()
	}
	p.anchor = slices.Index(p.rows, from)
}

func (p *layersPane) title(int) (left, right string) {
	if p.sorting() == nil {
		return "layers", ""
	}
	arrow := unicodeGlyphs.down
	if p.rising() {
		arrow = unicodeGlyphs.up
	}
	return "layers", "sort: " + p.sorting().name + " " + arrow
}

// shown counts layers that pass the filter.
func (p *layersPane) shown() int {
	n := 0
	for i := range p.book.layers {
		if p.filter.match(p.book, i) {
			n++
		}
	}
	return n
}

// footnote is the last line of the pane.
func (p *layersPane) footnote() string {
	total := len(p.book.layers)
	s := fmt.Sprintf("%d/%d", min(p.cur+1, len(p.rows)), len(p.rows))
	if n := len(p.marks()); n > 0 {
		s = strconv.Itoa(n) + " marked · " + s
	}
	if p.filter.text != "" {
		s = fmt.Sprintf("%s · %d of %d match", s, p.shown(), total)
	}
	return s
}
