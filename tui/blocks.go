package tui

import (
	"errors"

	"mergescope/merge"
)

// span is what the blocks pane wants to show: rows [r0, r1) of a layer as a
// tile of at most rows by cols cells. The app fetches it with Project.Examine.
type span struct {
	layer      string
	r0, r1     int
	rows, cols int
}

// blocksPane is the heatmap of one layer with its cursor and zoom.
//
// The cursor is a weight row and a block column, so it stays on the same block
// whatever the zoom and the size. Where a cell covers many blocks the cursor
// stands for all of them (reach) and rests on the worst that is known; the more
// is known, the nearer it gets to the single worst block.
type blocksPane struct {
	layer   *merge.Layer
	report  *merge.LayerReport
	problem string // why there is no tile, "" if that is not known
	todo    []string
	grid    merge.Grid

	coarse matrix // of the whole layer, or nil
	fine   matrix // of the span zoomed in on, or nil

	row, col int    // cursor: weight row and block column
	reach    region // blocks the cursor stands for
	seeking  bool   // the cursor waits for data to find the worst block

	level     int // zoom, 0 for the whole tensor
	top, left int // first weight row and block column shown while zoomed in

	blocksView
	seen  shape // size and looks when last asked for data or drawn
	cache painterCache
}

// shape is what drawing depends on besides the data. The pane remembers the
// last one, since zoom and move count in cells.
type shape struct {
	w, h    int
	stacked int // rows of cells a line of text shows
}

// region is a range of weight rows and block columns.
type region struct{ r0, r1, c0, c1 int }

func (r region) contains(row, col int) bool {
	return row >= r.r0 && row < r.r1 && col >= r.c0 && col < r.c1
}

func (r region) blocks() int { return (r.r1 - r.r0) * (r.c1 - r.c0) }

// setLayer shows another layer (nil: none); the zoom returns to the whole
// tensor and the cursor to its worst block. The same weight under another plan
// keeps both.
func (b *blocksPane) setLayer(l *merge.Layer) {
	same := l != nil && b.layer != nil && l.Weight.Name == b.layer.Weight.Name
	b.layer, b.report, b.problem, b.todo = l, nil, "", nil
	b.coarse, b.fine = nil, nil
	if same {
		return
	}
	b.level, b.top, b.left = 0, 0, 0
	b.grid = merge.Grid{}
	if l != nil {
		b.grid = gridOf(l.Weight)
	}
	b.seeking = true
	b.land(0, 0)
}

// setTile gives the pane data for the layer it shows, from a running job or
// from Examine: rows [r0, r1) of the weight, r1 <= 0 meaning all of them. nil
// takes the data away. The cursor stays on the same weight row and block.
func (b *blocksPane) setTile(t *merge.Tile, r0, r1 int) {
	if t == nil {
		b.coarse, b.fine = nil, nil
		return
	}
	b.setMatrix(newTileMatrix(t, r0, r1))
}

func (b *blocksPane) setMatrix(m matrix) {
	b.problem = ""
	b.grid = m.grid()
	at := m.region()
	switch {
	case at.r0 > 0 || at.r1 < b.grid.Rows:
		b.fine = m
	case !b.better(m):
		b.coarse = m
	}
	if b.seeking && b.coarse != nil && complete(b.coarse) {
		b.worst()
		return
	}
	b.row, b.col = min(b.row, max(0, b.grid.Rows-1)), min(b.col, max(0, b.grid.Cols-1))
	b.refine()
}

// better reports whether the data of the whole tensor that are there serve the
// view better than m of the same plan, for example a job's tile. Percentiles
// need the cells of the view.
func (b *blocksPane) better(m matrix) bool {
	if b.coarse == nil || !complete(b.coarse) || !complete(m) {
		return b.coarse != nil && complete(b.coarse)
	}
	if b.aggregate == merge.P99 {
		g := b.layout(b.shape(), 0)
		if now, then := aligned(b.coarse, g), aligned(m, g); now != then {
			return now
		}
	}
	return finer(b.coarse, m)
}

// setProblem says why no data comes, for example an error of Examine, and what to
// do about it.
func (b *blocksPane) setProblem(err error) {
	b.problem, b.todo = clean(err.Error()), nil
	if errors.Is(err, merge.ErrNotRun) {
		b.problem, b.todo = notRun, []string{"D runs the plan without writing and shows them"}
	}
}

// notRun is said of a calibrated layer before it is computed.
const notRun = "codes for the inputs of the whole model: known when the plan has run"

// setReport gives the figures of the whole layer, nil if there are none.
func (b *blocksPane) setReport(r *merge.LayerReport) {
	b.report = r
	if b.seeking && r != nil && r.WorstBlock != nil && b.metric == merge.MetricKept {
		b.worst()
	}
}

// want returns the span the pane needs for its zoom and size; ok is false if
// what it has is enough.
func (b *blocksPane) want(w, h int) (s span, ok bool) {
	b.seen.w, b.seen.h = w, h
	if b.layer == nil || !b.layer.Merges() || b.layer.Weight.Problem != nil || b.grid.Rows == 0 || b.grid.Cols == 0 {
		return span{}, false
	}
	g := b.layout(b.shape(), b.level)
	if m := b.source(g); g.cellRows == 0 || g.cellCols == 0 || m != nil && complete(m) {
		return span{}, false
	}
	return span{layer: b.layer.Weight.Name, r0: g.top, r1: g.top + g.rows, rows: g.cellRows, cols: g.wantCols()}, true
}

// cursor returns the weight row and column (first weight of the block).
func (b *blocksPane) cursor() (row, col int) { return b.row, b.col * b.grid.Width }

// jump puts the cursor on a weight. Where it is already it goes on waiting for
// the worst block, if it does.
func (b *blocksPane) jump(row, col int) {
	if r, c := b.cursor(); row == r && col == c {
		return
	}
	b.seeking = false
	b.land(row, col/max(1, b.grid.Width))
}

// land puts the cursor on one block.
func (b *blocksPane) land(row, col int) {
	b.row = between(row, 0, max(0, b.grid.Rows-1))
	b.col = between(col, 0, max(0, b.grid.Cols-1))
	b.reach = region{b.row, b.row + 1, b.col, b.col + 1}
	b.settle()
}

// settle scrolls so that the cursor is in view.
func (b *blocksPane) settle() {
	g := b.geometry(b.shape())
	b.top, b.left = g.top, g.left
}

// move moves the cursor by cells.
func (b *blocksPane) move(dr, dc int) {
	b.seeking = false
	g := b.geometry(b.shape())
	if g.cellRows == 0 || g.cellCols == 0 {
		return
	}
	cell := region{b.row, b.row + 1, b.col, b.col + 1}
	if pr, pc, ok := g.cell(b.row, b.col); ok {
		cell = g.region(pr, pc)
	}
	cell.r0, cell.r1 = stepTo(cell.r0, cell.r1, dr, g.row, g.cellRows, b.grid.Rows)
	cell.c0, cell.c1 = stepTo(cell.c0, cell.c1, dc, g.col, g.cellCols, b.grid.Cols)
	b.stand(cell)
}

// stepTo moves the range [lo, hi) by d cells of an axis of n cells, or by its
// own length where the axis ends.
func stepTo(lo, hi, d int, at func(int) int, n, limit int) (int, int) {
	for i := range n {
		if at(i) == lo && i+d >= 0 && i+d < n {
			return at(i + d), at(i + d + 1)
		}
	}
	size := hi - lo
	d = between(d, -limit, limit)
	lo = between(lo+d*size, 0, max(0, limit-size))
	return lo, lo + size
}

// stand puts the cursor on a range of blocks.
func (b *blocksPane) stand(r region) {
	b.reach = r
	if !r.contains(b.row, b.col) {
		b.row, b.col = r.r0, r.c0
	}
	b.refine()
	b.settle()
}

// refine moves the cursor within its reach to the worst block that is known.
func (b *blocksPane) refine() {
	if b.reach.blocks() <= 1 {
		return
	}
	if at, ok := b.pinpoint(b.reach); ok && !at.contains(b.row, b.col) {
		b.row, b.col = at.r0, at.c0
	}
}

// pinpoint returns where in a region the worst block is, as narrowly as the
// data say; ok is false without data.
func (b *blocksPane) pinpoint(in region) (at region, ok bool) {
	if w := b.reportedWorst(); w != nil {
		if row, col := w.Row, w.Col/b.grid.Width; in.contains(row, col) {
			return region{row, row + 1, col, col + 1}, true
		}
	}
	for _, m := range []matrix{b.fine, b.coarse} {
		if m == nil {
			continue
		}
		if at, ok = worstCell(m, b.metric, b.aggregate, in, b.worseIsLow()); ok {
			return at, true
		}
	}
	return region{}, false
}

// reportedWorst returns the worst block of the layer's report, nil if the report
// does not say it for the metric on screen.
func (b *blocksPane) reportedWorst() *merge.WorstBlock {
	if b.report == nil || b.metric != merge.MetricKept || b.grid.Width == 0 {
		return nil
	}
	return b.report.WorstBlock
}

// click puts the cursor on the cell at (x, y) of the pane's inside of w by h.
func (b *blocksPane) click(x, y, w, h int) {
	b.seen.w, b.seen.h = w, h
	g := b.geometry(b.shape())
	if r, ok := g.at(x, y); ok {
		b.seeking = false
		b.stand(r)
	}
}

// zoom goes one level in (+1) or out (-1) and reports whether it could.
func (b *blocksPane) zoom(d int) bool {
	g := b.geometry(b.shape())
	if len(g.levels) == 0 {
		return false
	}
	to := between(g.level+d, 0, len(g.levels)-1)
	if to == g.level {
		return false
	}
	b.level = to
	b.top = b.row - g.levels[to]/2
	b.left = b.col - g.cellCols/2
	b.settle()
	return true
}

// worst puts the cursor on the worst block, or on the worst cell if the report
// does not name one.
func (b *blocksPane) worst() {
	if w := b.reportedWorst(); w != nil {
		b.seeking = false
		b.land(w.Row, w.Col/b.grid.Width)
		return
	}
	if hot := b.hot(); len(hot) > 0 {
		b.seeking = false
		b.stand(hot[0])
	}
}

// next goes to the cell that is worse or better by d ranks, at the resolution
// of the whole tensor.
func (b *blocksPane) next(d int) {
	hot := b.hot()
	if len(hot) == 0 {
		return
	}
	at := -1
	for i, r := range hot {
		if r.contains(b.row, b.col) {
			at = i
			break
		}
	}
	if at < 0 && d < 0 {
		at = 0
	}
	b.seeking = false
	b.stand(hot[((at+d)%len(hot)+len(hot))%len(hot)])
}

// hot returns the cells of the whole tensor that have a value, worst first.
func (b *blocksPane) hot() []region {
	if b.coarse == nil {
		return nil
	}
	g := b.layout(b.shape(), 0).resolve(b.coarse)
	return b.ranked(g, b.cells(g, b.coarse))
}

// shape returns the last size and looks, with guesses before the first drawing.
func (b *blocksPane) shape() shape {
	s := b.seen
	if s.w == 0 || s.h == 0 {
		s.w, s.h = 80, 24
	}
	if s.stacked == 0 {
		s.stacked = 2
	}
	return s
}

// title names the layer, the metric and what a cell shows, each as fully as
// there is room.
func (b *blocksPane) title(w int) (l, r string) {
	if b.layer == nil {
		return "blocks", ""
	}
	const chrome = 12 // frame, number of the pane, gap
	name := b.layer.Weight.Name
	forms := layerForms(name)
	rights := []string{b.metric.Info().Name}
	if b.coarse != nil || b.fine != nil {
		long, short := b.density(b.geometry(b.shape()))
		rights = []string{b.metric.Info().Name + " · " + long, long, short}
	}
	for _, r := range rights {
		if full := "blocks  " + forms[0]; width(full)+width(r)+chrome <= w {
			return full, r
		}
		if room := w - width(r) - chrome; room >= width(forms[max(0, len(forms)-2)]) {
			return layerTitle(name, room), r
		}
	}
	return layerTitle(name, w-chrome+3), ""
}
