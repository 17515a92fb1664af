package tui

import (
	"sort"
	"strconv"
)

// geometry is where everything of the blocks pane is: a pure function of the
// pane's state and shape, used by drawing, clicks, movement and zoom alike.
//
// A cell is what the heatmap shows as one value. It covers one or more weight
// rows and block columns and is drawn wide characters wide and tall half lines
// (whole lines without half blocks) high.
type geometry struct {
	shape
	ruler, legend, footer bool
	gutter                int // characters left of the map, for row numbers
	lines                 int // lines of the map

	levels []int // rows shown at each zoom level, falling
	level  int

	top, rows          int // weight rows shown
	left, cols         int // block columns shown
	cellRows, cellCols int
	wide, tall         int
	rowUnits, colUnits int  // cells of the data along the axes, between which those of the view begin; 0 anywhere
	windowed           bool // zoomed in on a part of the columns
	total              int  // block columns of the weight
}

// zoomStep is how much closer each level looks.
const zoomStep = 4

// geometry lays the pane out at its zoom and at the resolution of its data.
func (b *blocksPane) geometry(s shape) geometry {
	g := b.layout(s, b.level)
	return g.resolve(b.best(g))
}

// layout lays the pane out at a zoom level, with as many cells as there is room
// for.
func (b *blocksPane) layout(s shape, level int) geometry {
	g := geometry{shape: s, total: b.grid.Cols}
	g.footer, g.legend, g.ruler = s.h >= 1, s.h >= 2, s.h >= 5
	g.lines = max(0, s.h-count(g.footer, g.legend, g.ruler))
	if s.w >= 16 {
		g.gutter = len(strconv.Itoa(max(0, b.grid.Rows-1))) + 1
		if s.w >= 60 {
			g.gutter = max(g.gutter, 5)
		}
	}
	room := max(0, s.w-g.gutter)
	if b.grid.Rows <= 0 || b.grid.Cols <= 0 || g.lines == 0 || room == 0 {
		return g
	}
	g.levels = zoomLevels(b.grid.Rows, g.lines*s.stacked, g.lines)
	g.level = between(level, 0, len(g.levels)-1)

	g.rows = g.levels[g.level]
	if g.level > 0 {
		g.top = window(b.top, b.row, g.rows, b.grid.Rows)
	}
	g.cols = b.grid.Cols
	if g.windowed = g.level > 0 && g.cols > room; g.windowed {
		g.cols = room
		g.left = window(b.left, b.col, g.cols, b.grid.Cols)
	}
	return g.divide(g.rows, g.cols)
}

// divide gives the view at most rows by cols cells.
func (g geometry) divide(rows, cols int) geometry {
	lines, room := g.lines*g.stacked, g.w-g.gutter
	g.cellRows, g.cellCols = min(rows, g.rows, lines), min(cols, g.cols, room)
	g.tall, g.wide = lines/g.cellRows, room/g.cellCols
	return g
}

// resolve fits the cells of a view to those of data that cover the same rows:
// each cell of the data then belongs to one cell of the view, so that a single
// bad block is drawn once.
func (g geometry) resolve(m matrix) geometry {
	if m == nil || g.cellRows == 0 || g.cellCols == 0 {
		return g
	}
	rows, cols := m.size()
	at := m.region()
	if at.r0 != g.top || at.r1 != g.top+g.rows || rows == 0 || cols == 0 {
		return g
	}
	if g.windowed {
		g = g.divide(rows, g.cols)
	} else {
		g = g.divide(rows, cols)
		g.colUnits = cols
	}
	g.rowUnits = rows
	return g
}

func count(bs ...bool) (n int) {
	for _, b := range bs {
		if b {
			n++
		}
	}
	return n
}

// zoomLevels returns how many rows each zoom level shows: all of them, bands
// four times narrower each, one row a cell, and one row a line.
func zoomLevels(rows, cells, lines int) []int {
	levels := []int{rows}
	for n := rows; n >= 2*zoomStep*cells; {
		n = (n + zoomStep - 1) / zoomStep
		levels = append(levels, n)
	}
	for _, n := range []int{cells, lines} {
		if n < levels[len(levels)-1] {
			levels = append(levels, n)
		}
	}
	return levels
}

// window returns the first of n positions shown of limit, near from, such that
// at is among them; it is centred anew where at has left.
func window(from, at, n, limit int) int {
	if at < from || at >= from+n {
		from = at - n/2
	}
	return between(from, 0, max(0, limit-n))
}

// row and col return the first weight row and block column of a cell; the last
// index returns the end of the axis.
func (g geometry) row(i int) int { return g.top + begin(i, g.rows, g.cellRows, g.rowUnits) }
func (g geometry) col(i int) int { return g.left + begin(i, g.cols, g.cellCols, g.colUnits) }

// begin returns where part i of k of n positions begins: a multiple of n/units,
// if units is not 0.
func begin(i, n, k, units int) int {
	if units > 0 {
		return i * units / k * n / units
	}
	return i * n / k
}

// region returns the blocks of a cell.
func (g geometry) region(row, col int) region {
	return region{g.row(row), g.row(row + 1), g.col(col), g.col(col + 1)}
}

// cell returns the cell of a block; ok is false if it is not shown.
func (g geometry) cell(row, col int) (r, c int, ok bool) {
	if row < g.top || row >= g.top+g.rows || col < g.left || col >= g.left+g.cols || g.cellRows == 0 {
		return 0, 0, false
	}
	r = sort.Search(g.cellRows, func(i int) bool { return g.row(i+1) > row })
	c = sort.Search(g.cellCols, func(i int) bool { return g.col(i+1) > col })
	return r, c, true
}

// at returns the blocks under a character of the pane's inside.
func (g geometry) at(x, y int) (region, bool) {
	x -= g.gutter
	y -= count(g.ruler)
	if x < 0 || y < 0 || y >= g.lines || g.wide == 0 || x >= g.wide*g.cellCols {
		return region{}, false
	}
	upper := y * g.stacked / g.tall
	lower := ((y+1)*g.stacked - 1) / g.tall
	if upper >= g.cellRows {
		return region{}, false
	}
	lower = min(lower, g.cellRows-1)
	c := x / g.wide
	return region{g.row(upper), g.row(lower + 1), g.col(c), g.col(c + 1)}, true
}

// line returns the first line of the map that shows row r of cells.
func (g geometry) line(r int) int { return r * g.tall / g.stacked }

// wantCols returns how many columns of cells data for this view should have.
// Examine always covers whole rows, so a window on columns needs all of them.
func (g geometry) wantCols() int {
	if g.windowed {
		return g.total
	}
	return g.cellCols
}
