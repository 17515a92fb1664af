package merge

import (
	"math"

	"mergescope/quant"
)

// Aggregate says how the blocks under one cell become one value.
type Aggregate uint8

// Aggregates; Worst is the default, since a mean hides the single bad block.
// P99 is the figure that 99 of 100 blocks of the cell are no worse than: Worst
// without the few that are alone. Mean is the figure over all weights of the
// cell, not a mean of figures.
const (
	Worst Aggregate = iota
	P99
	Mean
	NumAggregates
)

// Largest grid of a tile kept per layer while a job runs. Larger weights share
// cells; exact figures come from Project.Examine.
const (
	TileRows = 128
	TileCols = 64
)

// tileBudget bounds the memory of all tiles of a job, in bytes. Beyond it tiles
// get fewer rows.
const tileBudget = 64 << 20

// cellBytes is what a cell of a finished tile takes.
const cellBytes = 1 + 4*int(NumAggregates)*int(NumMetrics)

// Grid places the blocks of one weight: Rows weight rows by Cols block columns
// of Width weights each.
type Grid struct {
	Rows, Cols int
	Width      int
}

// Cell states other than a value.
const (
	CellEmpty = iota // not computed yet, no block begins here, or no block has the metric
	CellValue        // a value
	CellNaN          // NaN among the blocks
	CellInf          // infinite, but no NaN
)

// Tile is a bounded map of block metrics of one weight. A Tile handed out by a
// snapshot is a copy and does not change.
type Tile struct {
	Grid Grid // of the weight
	Rows int  // cells, at most TileRows (or as asked in Examine)
	Cols int

	from, to int // weight rows the tile covers
	state    []uint8
	values   [NumMetrics][NumAggregates][]float32 // by metric and aggregate, row-major; NaN where there is none
}

// Span returns the weight rows [r0,r1) and block columns [c0,c1) under a cell.
func (t *Tile) Span(row, col int) (r0, r1, c0, c1 int) {
	n := t.to - t.from
	return t.from + row*n/t.Rows, t.from + (row+1)*n/t.Rows, col * t.Grid.Cols / t.Cols, (col + 1) * t.Grid.Cols / t.Cols
}

// At returns the value of a cell and its state; the value counts only when the
// state is CellValue, except that MetricNonFinite always has its count.
func (t *Tile) At(m Metric, a Aggregate, row, col int) (v float64, state int) {
	i := row*t.Cols + col
	v, state = float64(t.values[m][a][i]), int(t.state[i])
	if state == CellValue && math.IsNaN(v) {
		state = CellEmpty
	}
	return v, state
}

// WorstCell returns the cell with the worst value of a metric; ok is false if
// no cell has one. Cells with NaN or infinite blocks are worse than all others.
func (t *Tile) WorstCell(m Metric, a Aggregate) (row, col int, ok bool) {
	best, worst := -1, 0.0
	for i := range t.state {
		v, state := t.At(m, a, i/t.Cols, i%t.Cols)
		switch state {
		case CellNaN, CellInf:
			return i / t.Cols, i % t.Cols, true
		case CellValue:
			if best < 0 || m.worse(v, worst) {
				best, worst = i, v
			}
		}
	}
	if best < 0 {
		return 0, 0, false
	}
	return best / t.Cols, best % t.Cols, true
}

// worse reports whether v is a worse value of the metric than w.
func (m Metric) worse(v, w float64) bool {
	if metricInfos[m].BadIsLow {
		return v < w
	}
	return v > w
}

// gridOf places the blocks of a weight whose blocks have width weights.
func gridOf(rows, cols, width int) Grid {
	return Grid{Rows: rows, Cols: (cols + width - 1) / width, Width: width}
}

// cell collects the blocks under one cell.
type cell struct {
	sums     quant.Sums
	seen     onInputs            // of the rows it touches
	worst    [NumMetrics]float64 // Metric.order of the worst block, NaN if none
	tail     *tail               // nil while empty, and where no cell holds 100 blocks
	nan, inf bool
}

// add takes blocks.
func (c *cell) add(blocks []quant.BlockSum, depth int) {
	if c.sums.Blocks == 0 {
		c.clearWorst()
	}
	c.sums.AddAll(blocks)
	if depth > 1 && c.tail == nil {
		c.tail = &tail{}
	}
	for i := range blocks {
		b := &blocks[i]
		if c.tail == nil && b.Finite() {
			c.compare(b)
			continue
		}
		for m, v := range ordersOf(b) {
			c.take(Metric(m), v)
			if c.tail != nil {
				c.tail.add(Metric(m), v, depth)
			}
		}
	}
}

// compare is take of every metric of a block whose elements are finite. Most
// blocks are not worse than the worst before them, which a product shows: a/b is
// no less than w if a > w*b, rounded or not, and no more if a < w*b.
func (c *cell) compare(b *quant.BlockSum) {
	w := &c.worst
	rd, dd, tt, ee := float64(b.RD), float64(b.DD), float64(b.TT), float64(b.EE)
	if !(rd > float64(w[MetricKept]*dd)) {
		c.take(MetricKept, orderOf(b, MetricKept))
	}
	if !(dd > float64(w[MetricSNR]*ee)) {
		c.take(MetricSNR, orderOf(b, MetricSNR))
	}
	if !(ee < float64(w[MetricError]*tt)) {
		c.take(MetricError, orderOf(b, MetricError))
	}
	if !(float64(b.Codes) < float64(w[MetricCodes]*float64(b.N))) {
		c.take(MetricCodes, orderOf(b, MetricCodes))
	}
	if !(float64(b.NewAbsmax) < float64(w[MetricGrowth]*float64(b.OldAbsmax))) {
		c.take(MetricGrowth, orderOf(b, MetricGrowth))
	}
	if !(float64(b.MaxE) < w[MetricErrorMax]) {
		c.take(MetricErrorMax, orderOf(b, MetricErrorMax))
	}
	if !(w[MetricNonFinite] >= 0) {
		w[MetricNonFinite] = 0
	}
}

// see takes what inputs see of a row it touches.
func (c *cell) see(o onInputs, depth int) {
	c.seen.add(o)
	v := float64(ratio(o.RD, o.DD))
	c.take(MetricOnInputs, v)
	if c.tail != nil {
		c.tail.add(MetricOnInputs, v, depth)
	}
}

func (c *cell) clearWorst() {
	for m := range c.worst {
		c.worst[m] = math.NaN()
	}
}

// take keeps the worse of v and what is there.
func (c *cell) take(m Metric, v float64) {
	w := c.worst[m]
	keep := v <= w // false if w is NaN
	if metricInfos[m].BadIsLow {
		keep = v >= w
	}
	if !keep && v == v {
		c.worst[m] = v
	}
}

// merge adds the blocks of o.
func (c *cell) merge(o *cell, depth int) {
	if o.sums.Blocks == 0 {
		return
	}
	if c.sums.Blocks == 0 {
		c.clearWorst()
	}
	c.sums.Merge(o.sums)
	c.seen.add(o.seen)
	c.nan, c.inf = c.nan || o.nan, c.inf || o.inf
	for m := range NumMetrics {
		c.take(m, o.worst[m])
	}
	if o.tail != nil {
		if c.tail == nil {
			c.tail = &tail{}
		}
		c.tail.merge(o.tail, depth)
	}
}

// p99 is Metric.order of the block that 99 of 100 are no worse than.
func (c *cell) p99(m Metric) float64 {
	if c.tail == nil {
		return c.worst[m]
	}
	return c.tail.p99(m)
}

func (c *cell) state() uint8 {
	switch {
	case c.sums.Blocks == 0:
		return CellEmpty
	case c.nan:
		return CellNaN
	case c.inf:
		return CellInf
	default:
		return CellValue
	}
}

// heat is a tile while it is filled.
type heat struct {
	grid       Grid
	from, to   int // weight rows
	rows, cols int // cells
	depth      int // of the tails
	cells      []cell
	column     []int // of cells, by block column
}

// newHeat covers weight rows [from, to) with at most rows by cols cells.
func newHeat(g Grid, from, to, rows, cols int) *heat {
	h := &heat{grid: g, from: from, to: to, rows: max(min(rows, to-from), 1), cols: max(min(cols, g.Cols), 1)}
	h.depth = tailDepth(((to - from + h.rows - 1) / h.rows) * ((g.Cols + h.cols - 1) / h.cols))
	h.cells = make([]cell, h.rows*h.cols)
	h.column = make([]int, g.Cols)
	for c := range h.column {
		h.column[c] = ((c+1)*h.cols - 1) / g.Cols
	}
	return h
}

// rowOf returns the row of cells that weight row r belongs to, the inverse of
// Tile.Span.
func (h *heat) rowOf(r int) int { return ((r-h.from+1)*h.rows - 1) / (h.to - h.from) }

// part is the cells some rows of a weight fill, before they are merged into
// the others.
type part struct {
	first int // row of cells
	cells []cell
}

// newPart returns room for weight rows [r0, r1).
func (h *heat) newPart(r0, r1 int) *part {
	first := h.rowOf(r0)
	return &part{first: first, cells: make([]cell, (h.rowOf(r1-1)-first+1)*h.cols)}
}

// addRow puts blocks that begin in a row, as a panel's RowBlocks, into their
// cells.
func (h *heat) addRow(p *part, row int, blocks []quant.BlockSum) {
	cells := p.row(h, row)
	for i := 0; i < len(blocks); {
		at, end := h.column[i], i+1
		for end < len(blocks) && h.column[end] == at {
			end++
		}
		cells[at].add(blocks[i:end], h.depth)
		i = end
	}
}

// mark notes that a block of a row is not finite, and whether there is NaN in it.
func (h *heat) mark(p *part, row, block int, nan bool) {
	c := &p.row(h, row)[h.column[block]]
	c.nan, c.inf = c.nan || nan, c.inf || !nan
}

// see puts what inputs see of a weight row into the cells of the row.
func (h *heat) see(p *part, row int, o onInputs) {
	cells := p.row(h, row)
	for i := range cells {
		cells[i].see(o, h.depth)
	}
}

// row returns the cells under a weight row.
func (p *part) row(h *heat, row int) []cell {
	at := (h.rowOf(row) - p.first) * h.cols
	return p.cells[at : at+h.cols]
}

func (h *heat) merge(p *part) {
	at := h.cells[p.first*h.cols:]
	for i := range p.cells {
		at[i].merge(&p.cells[i], h.depth)
	}
}

// tile returns the state of things as a Tile of its own.
func (h *heat) tile() *Tile {
	t := &Tile{Grid: h.grid, Rows: h.rows, Cols: h.cols, from: h.from, to: h.to, state: make([]uint8, len(h.cells))}
	for m := range NumMetrics {
		for a := range NumAggregates {
			t.values[m][a] = make([]float32, len(h.cells))
		}
	}
	for i := range h.cells {
		c := &h.cells[i]
		t.state[i] = c.state()
		for m := range NumMetrics {
			t.values[m][Worst][i] = float32(m.value(c.worst[m]))
			t.values[m][P99][i] = float32(m.value(c.p99(m)))
			t.values[m][Mean][i] = float32(m.Of(c.sums))
		}
		t.values[MetricOnInputs][Mean][i] = float32(ratio(c.seen.RD, c.seen.DD))
	}
	return t
}

// tileRows returns how many rows of cells each of so many tiles may have.
func tileRows(tiles int) int {
	cells := tileBudget / max(tiles, 1) / cellBytes
	return min(max(cells/TileCols, 8), TileRows)
}
