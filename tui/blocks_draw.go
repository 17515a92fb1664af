package tui

import (
	"fmt"
	"strconv"
	"strings"

	"mergescope/themes"
	"mergescope/tui/heat"
)

// draw draws rulers, map, legend and the figures under the cursor.
func (b *blocksPane) draw(c canvas, w, h int) []string {
	if w <= 0 || h <= 0 {
		return blank(w, h)
	}
	if what, todo := b.empty(); what != "" {
		return c.message(w, h, what, todo...)
	}
	name := b.mapName(c.paint.theme)
	p := b.cache.painter(painterKey{c.paint.theme, c.depth, name, c.ascii})
	b.seen = shape{w, h, p.Stacked()}
	g, data, done := b.shown()
	scale := b.scale(b.spread(g, data))
	out := make([]string, 0, h)
	if g.ruler {
		out = append(out, b.drawRuler(c, g))
	}
	out = append(out, b.drawMap(c, g, p, data, func(s sample) heat.Cell { return s.heat(scale, done) })...)
	if g.legend {
		l := b.legend(scale, name, c.glyphs())
		l.Notes = b.oneEnd(scale, data, c.glyphs())
		out = append(out, p.Legend(l, w))
	}
	if g.footer {
		out = append(out, b.drawFooter(c, g))
	}
	return out
}

// shown returns the map as it is on screen: where its cells are, their values,
// nil before there are any, and whether all of them are computed.
func (b *blocksPane) shown() (g geometry, data []sample, done bool) {
	g = b.geometry(b.shape())
	if m := b.best(g); m != nil && g.cellRows > 0 {
		data, done = b.cells(g, m), complete(m)
	}
	return g, data, done
}

// spread returns the values a fitted scale spans: those of the whole layer, so
// that zooming does not change colours.
func (b *blocksPane) spread(g geometry, shown []sample) []sample {
	if !b.fitted || b.coarse == nil || g.level == 0 {
		return shown
	}
	whole := b.layout(g.shape, 0).resolve(b.coarse)
	return append(b.cells(whole, b.coarse), shown...)
}

func (b *blocksPane) drawMap(c canvas, g geometry, p *heat.Painter, data []sample, place func(sample) heat.Cell) []string {
	if data == nil || g.cellRows == 0 {
		return b.drawWaiting(c, g)
	}
	grid := heat.Grid{Rows: g.cellRows, Cols: g.cellCols, CursorRow: -1, CursorCol: -1}
	grid.Cells = make([]heat.Cell, len(data))
	for i, s := range data {
		grid.Cells[i] = place(s)
	}
	if r, col, ok := g.cell(b.row, b.col); ok && !b.seeking {
		grid.CursorRow, grid.CursorCol = r, col
	}
	lines := p.Lines(grid, g.wide, g.tall)
	pad := strings.Repeat(" ", max(0, g.w-g.gutter-g.wide*g.cellCols))
	out := make([]string, g.lines)
	for y := range out {
		if y >= len(lines) {
			out[y] = c.fit("", g.w)
			continue
		}
		out[y] = b.rowLabel(c, g, y) + lines[y] + pad
	}
	return out
}

// drawWaiting fills the map before there is data.
func (b *blocksPane) drawWaiting(c canvas, g geometry) []string {
	out := blank(g.w, g.lines)
	if len(out) > 0 {
		text := c.plain("computing…")
		out[len(out)/2] = c.fit(strings.Repeat(" ", max(0, (g.w-width(text))/2))+c.paint.text(themes.Dim, text), g.w)
	}
	return out
}

// rowLabel is the number of the first weight row of a line of the map, nothing
// on further lines of the same row.
func (b *blocksPane) rowLabel(c canvas, g geometry, y int) string {
	if g.gutter == 0 {
		return ""
	}
	r := y * g.stacked / g.tall
	if r >= g.cellRows || g.line(r) != y {
		return strings.Repeat(" ", g.gutter)
	}
	text := fmt.Sprintf("%*d ", g.gutter-1, g.row(r))
	at, _, ok := g.cell(b.row, b.col)
	if last := ((y+1)*g.stacked - 1) / g.tall; ok && at >= r && at <= last {
		return c.paint.text(themes.Accent, text)
	}
	return c.paint.text(themes.Dim, text)
}

// drawRuler numbers the block columns.
func (b *blocksPane) drawRuler(c canvas, g geometry) string {
	room := g.w - g.gutter
	labels := []byte(strings.Repeat(" ", room))
	if g.cellCols == 0 {
		return c.fit("", g.w)
	}
	_, cursor, shown := g.cell(b.row, b.col)
	place := func(cell int, s string) (from, to int) {
		x := cell*g.wide + max(0, (g.wide-len(s))/2)
		x = max(0, min(x, room-len(s)))
		return x, min(x+len(s), room)
	}
	write := func(cell, value int) {
		s := strconv.Itoa(value)
		from, to := place(cell, s)
		before, after := max(0, from-1), min(room, to+1)
		if strings.TrimSpace(string(labels[before:after])) == "" {
			copy(labels[from:to], s)
		}
	}
	from, to := 0, 0
	if shown && !b.seeking {
		s := strconv.Itoa(b.col)
		from, to = place(cursor, s)
		copy(labels[from:to], s)
	}
	write(0, g.col(0))
	write(g.cellCols-1, g.col(g.cellCols)-1)
	step := labelStep(g)
	for i := range g.cellCols {
		if g.col(i)/step != (g.col(i+1)-1)/step || g.col(i)%step == 0 {
			write(i, ceilDiv(g.col(i), step)*step)
		}
	}
	corner := ""
	if g.gutter > 0 {
		corner = fmt.Sprintf("%*s ", g.gutter-1, longest([]string{"col", ""}, g.gutter-1))
	}
	line := string(labels)
	return c.paint.text(themes.Dim, corner+line[:from]) + c.paint.text(themes.Accent, line[from:to]) + c.paint.text(themes.Dim, line[to:])
}

// labelStep returns the distance of labels on the ruler in block columns: a
// power of two that leaves room between them.
func labelStep(g geometry) int {
	digits := len(strconv.Itoa(g.col(g.cellCols)))
	if g.wide > digits && g.cols == g.cellCols {
		return 1
	}
	step := 2
	for step*g.wide*g.cellCols < (digits+4)*g.cols {
		step *= 2
	}
	return step
}
