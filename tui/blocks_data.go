package tui

import (
	"cmp"
	"math"
	"slices"

	"mergescope/loader"
	"mergescope/merge"
	"mergescope/tui/heat"
)

// matrix is what the pane reads of a tile. Tests put their own in its place.
type matrix interface {
	grid() merge.Grid
	region() region           // blocks it covers
	size() (rows, cols int)   // its cells
	span(row, col int) region // blocks of a cell
	at(m merge.Metric, a merge.Aggregate, row, col int) (v float64, state int)
}

// tileMatrix is a tile over rows [r0, r1) of its weight.
type tileMatrix struct {
	t      *merge.Tile
	r0, r1 int
}

func newTileMatrix(t *merge.Tile, r0, r1 int) tileMatrix {
	if r1 <= 0 {
		r1 = t.Grid.Rows
	}
	return tileMatrix{t, r0, r1}
}

func (m tileMatrix) grid() merge.Grid { return m.t.Grid }
func (m tileMatrix) region() region   { return region{m.r0, m.r1, 0, m.t.Grid.Cols} }
func (m tileMatrix) size() (int, int) { return m.t.Rows, m.t.Cols }

func (m tileMatrix) span(row, col int) region {
	r0, r1, c0, c1 := m.t.Span(row, col)
	return region{r0, r1, c0, c1}
}

func (m tileMatrix) at(metric merge.Metric, a merge.Aggregate, row, col int) (float64, int) {
	return m.t.At(metric, a, row, col)
}

// gridOf places the blocks of a weight before a tile says where they are.
func gridOf(w *loader.Weight) merge.Grid {
	width := blockWidth(w.Spec())
	return merge.Grid{Rows: w.Rows(), Cols: ceilDiv(w.Cols(), width), Width: width}
}

// source returns the data that show a view as finely as it can be shown, nil if
// there are none.
func (b *blocksPane) source(g geometry) matrix {
	switch {
	case exact(b.coarse):
		return b.coarse
	case b.aggregate == merge.P99: // percentiles of parts do not add up
		for _, m := range []matrix{b.coarse, b.fine} {
			if aligned(m, g) {
				return m
			}
		}
	case g.level == 0 && fine(b.coarse, min(g.cellRows, merge.TileRows), min(g.cellCols, merge.TileCols)):
		return b.coarse
	case g.level > 0 && b.fine != nil && b.fine.region().r0 == g.top && b.fine.region().r1 == g.top+g.rows &&
		fine(b.fine, g.cellRows, g.wantCols()):
		return b.fine
	}
	return nil
}

// best returns the data to draw from, however coarse, nil if there are none.
func (b *blocksPane) best(g geometry) matrix {
	if m := b.source(g); m != nil {
		return m
	}
	if b.fine != nil && g.level > 0 {
		if at := b.fine.region(); at.r0 <= g.top && at.r1 >= g.top+g.rows {
			return b.fine
		}
	}
	return b.coarse
}

// aligned reports whether the cells of m are those of a view.
func aligned(m matrix, g geometry) bool {
	if m == nil {
		return false
	}
	at := m.region()
	r, c := m.size()
	return r == g.cellRows && c == g.wantCols() && at.r0 == g.top && at.r1 == g.top+g.rows
}

// fine reports whether m has at least so many cells.
func fine(m matrix, rows, cols int) bool {
	if m == nil {
		return false
	}
	r, c := m.size()
	return r >= rows && c >= cols
}

// finer reports whether a has more cells than m.
func finer(a, m matrix) bool {
	r0, c0 := a.size()
	r1, c1 := m.size()
	return r0*c0 > r1*c1
}

// exact reports whether m has a cell for every block.
func exact(m matrix) bool { return m != nil && fine(m, m.grid().Rows, m.grid().Cols) }

func ceilDiv(a, b int) int { return (a + b - 1) / max(1, b) }

// complete reports whether all of m is computed: each row of cells holds a
// block. Single cells may hold none, where blocks straddle rows.
func complete(m matrix) bool {
	rows, cols := m.size()
	for r := range rows {
		found := false
		for c := 0; c < cols && !found; c++ {
			_, state := m.at(merge.MetricNonFinite, merge.Worst, r, c)
			found = state != merge.CellEmpty
		}
		if !found {
			return false
		}
	}
	return rows > 0
}

// sample is the value of one or more cells of a matrix.
type sample struct {
	v     float64
	state int
}

// cells resamples a matrix onto the cells of a view: the worst of what a cell
// touches, or the mean weighted by how much of it.
func (b *blocksPane) cells(g geometry, m matrix) []sample {
	out := make([]sample, g.cellRows*g.cellCols)
	rows, cols := m.size()
	if rows == 0 || cols == 0 {
		return out
	}
	rowEdges, colEdges := edges(m, rows, cols)
	for r := range g.cellRows {
		i0, i1 := touched(rowEdges, g.row(r), g.row(r+1))
		for c := range g.cellCols {
			j0, j1 := touched(colEdges, g.col(c), g.col(c+1))
			out[r*g.cellCols+c] = b.combine(m, b.metric, g.region(r, c), i0, i1, j0, j1)
		}
	}
	return out
}

// edges returns where the rows and the columns of a matrix begin and end.
func edges(m matrix, rows, cols int) (r, c []int) {
	r, c = make([]int, rows+1), make([]int, cols+1)
	for i := range rows {
		s := m.span(i, 0)
		r[i], r[i+1] = s.r0, s.r1
	}
	for j := range cols {
		s := m.span(0, j)
		c[j], c[j+1] = s.c0, s.c1
	}
	return r, c
}

// touched returns which of the ranges between edges overlap [lo, hi).
func touched(edges []int, lo, hi int) (from, to int) {
	n := len(edges) - 1
	from, _ = slices.BinarySearch(edges[1:], lo+1)
	to, _ = slices.BinarySearch(edges[:n], hi)
	return from, max(from, to)
}

// sample returns one metric of the blocks in a region.
func (b *blocksPane) sample(m matrix, metric merge.Metric, in region) sample {
	rows, cols := m.size()
	if rows == 0 || cols == 0 {
		return sample{}
	}
	rowEdges, colEdges := edges(m, rows, cols)
	i0, i1 := touched(rowEdges, in.r0, in.r1)
	j0, j1 := touched(colEdges, in.c0, in.c1)
	return b.combine(m, metric, in, i0, i1, j0, j1)
}

// combine makes one sample of the cells [i0, i1) by [j0, j1) of m.
func (b *blocksPane) combine(m matrix, metric merge.Metric, in region, i0, i1, j0, j1 int) sample {
	out := sample{v: math.NaN()}
	low := metric.Info().BadIsLow
	var sum, weight float64
	var all []float64 // for a percentile
	for i := i0; i < i1; i++ {
		for j := j0; j < j1; j++ {
			v, state := m.at(metric, b.aggregate, i, j)
			if state == merge.CellEmpty {
				continue
			}
			switch {
			case state != merge.CellValue && out.state != merge.CellNaN:
				out.state = state
			case out.state == merge.CellEmpty:
				out.state = merge.CellValue
			}
			if state != merge.CellValue && metric != merge.MetricNonFinite {
				continue
			}
			switch {
			case b.aggregate == merge.Mean:
				s := m.span(i, j)
				n := float64(overlap(s.r0, s.r1, in.r0, in.r1) * overlap(s.c0, s.c1, in.c0, in.c1))
				sum, weight = sum+n*v, weight+n
				out.v = sum / weight
			case b.aggregate == merge.P99:
				all = append(all, v)
			case math.IsNaN(out.v) || v != out.v && (v < out.v) == low:
				out.v = v
			}
		}
	}
	if len(all) > 0 {
		out.v = percentile99(all, low)
	}
	return out
}

// percentile99 returns the figure that 99 of 100 are no worse than, as
// merge.P99 does; of single blocks it is exact. It sorts what it is given.
func percentile99(all []float64, low bool) float64 {
	slices.Sort(all)
	if low {
		return all[len(all)/100]
	}
	return all[len(all)-1-len(all)/100]
}

func overlap(a0, a1, b0, b1 int) int { return max(0, min(a1, b1)-max(a0, b0)) }

// heat places a sample on the ramp. Of complete data an empty cell is one that
// has no value, not one that will have it.
func (s sample) heat(scale heat.Scale, complete bool) heat.Cell {
	switch s.state {
	case merge.CellValue: // an infinite snr is a value: no error at all
		return scale.Cell(min(math.MaxFloat64, max(-math.MaxFloat64, s.v)))
	case merge.CellNaN:
		return heat.NaN
	case merge.CellInf:
		return heat.Inf
	}
	if complete {
		return heat.None
	}
	return heat.Blank
}

// worse orders samples by how bad they are: NaN, infinite, then values from bad
// to good. low says that small values are bad.
func worse(a, b sample, low bool) int {
	severity := [...]int{merge.CellEmpty: 3, merge.CellValue: 2, merge.CellInf: 1, merge.CellNaN: 0}
	if d := cmp.Compare(severity[a.state], severity[b.state]); d != 0 || a.state != merge.CellValue {
		return d
	}
	if low {
		return cmp.Compare(a.v, b.v)
	}
	return cmp.Compare(b.v, a.v)
}

// worstCell returns the blocks of the worst cell of m within a region, cut to
// the region.
func worstCell(m matrix, metric merge.Metric, a merge.Aggregate, in region, low bool) (region, bool) {
	rows, cols := m.size()
	if rows == 0 || cols == 0 {
		return region{}, false
	}
	rowEdges, colEdges := edges(m, rows, cols)
	i0, i1 := touched(rowEdges, in.r0, in.r1)
	j0, j1 := touched(colEdges, in.c0, in.c1)
	best, found := sample{}, region{}
	for i := i0; i < i1; i++ {
		for j := j0; j < j1; j++ {
			v, state := m.at(metric, a, i, j)
			if s := (sample{v, state}); worse(s, best, low) < 0 {
				best = s
				found = region{max(rowEdges[i], in.r0), min(rowEdges[i+1], in.r1), max(colEdges[j], in.c0), min(colEdges[j+1], in.c1)}
			}
		}
	}
	return found, best.state != merge.CellEmpty
}

// ranked returns the regions of the cells that hold something, worst first,
// ties in reading order.
func (b *blocksPane) ranked(g geometry, cells []sample) []region {
	order := make([]int, 0, len(cells))
	for i, s := range cells {
		if s.state != merge.CellEmpty {
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(i, j int) int { return worse(cells[i], cells[j], b.worseIsLow()) })
	out := make([]region, len(order))
	for i, k := range order {
		out[i] = g.region(k/g.cellCols, k%g.cellCols)
	}
	return out
}
