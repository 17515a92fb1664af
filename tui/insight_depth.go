package tui

import (
	"math"
	"slices"
	"strings"

	"mergescope/themes"
)

// overDepth draws kept over the depth of the model, a line for each kind of
// module.
func (x *insightBox) overDepth(c canvas, points []point, w, h int) []string {
	var kinds []string
	depths := 1
	for _, p := range points {
		if !slices.Contains(kinds, p.kind) {
			kinds = append(kinds, p.kind)
		}
		depths = max(depths, p.depth+1)
	}
	slices.SortFunc(kinds, compareKinds)
	label := 4
	for _, k := range kinds {
		label = max(label, width(shortKind(k)))
	}
	label = min(label, 14)
	const tail = 14
	room := max(1, w-label-3-tail)
	cells := min(depths, room)
	wide := min(room/cells, 6)
	tall := between((h-2)/max(1, len(kinds)), 1, 3)

	head := newStrip(w)
	head.put(label+2, "0", themes.Dim)
	head.putIfFree(label+2+cells*wide-1, c.plain(strings.TrimSpace(plural(depths, "layer"))), themes.Dim)
	head.put(max(0, w-tail+1), "least to most", themes.Dim)
	lines := []string{head.draw(c)}
	for i, k := range kinds {
		if left := len(kinds) - i; len(lines)+tall > h && left > 0 {
			lines = append(lines[:max(0, h-1)], c.paint.text(themes.Dim, plural(left, "more kind")))
			break
		}
		lines = append(lines, x.kindLine(c, points, k, spark{depths, cells, wide, tall, label}, w)...)
	}
	return lines[:min(len(lines), max(0, h))]
}

// spark is the shape of the lines over depth.
type spark struct{ depths, cells, wide, tall, label int }

// shortKind drops what most names end with.
func shortKind(k string) string { return strings.TrimSuffix(clean(k), "_proj") }

// kindLine is a sparkline, tall lines high. Where several depths share a cell
// the one that keeps least is shown.
func (x *insightBox) kindLine(c canvas, points []point, kind string, s spark, w int) []string {
	least := make([]float64, s.cells)
	for i := range least {
		least[i] = math.NaN()
	}
	low, high, cur := math.Inf(1), math.Inf(-1), -1
	for _, p := range points {
		if p.kind != kind {
			continue
		}
		i := max(0, p.depth) * s.cells / s.depths
		if !(least[i] < p.kept) {
			least[i] = p.kept
		}
		if p.layer == x.layer {
			cur = i
		}
		low, high = min(low, p.kept), max(high, p.kept)
	}
	name := c.fit(shortKind(kind), s.label)
	if cur >= 0 {
		name = c.paint.text(themes.Accent, name)
	}
	g := c.glyphs()
	out := make([]string, s.tall)
	for y := range out {
		line := strings.Repeat(" ", s.label)
		if y == s.tall-1 {
			line = name
		}
		line += "  "
		for i, v := range least {
			cell := strings.Repeat(c.sparkCell(v, s.tall-1-y, s.tall), max(1, s.wide-1)) + strings.Repeat(" ", min(1, s.wide-1))
			cell = c.paint.text(keptRole(v), cell)
			if i == cur {
				cell = c.paint.selected(cell)
			}
			line += cell
		}
		if y == s.tall-1 {
			line = c.fit(line, w-13) + c.paint.text(themes.Dim, right(g.percent(low), 5)+" "+g.dash+right(g.percent(high), 5))
		}
		out[y] = line
	}
	return out
}

// sparkCell is line y from below of a bar for a share of h lines; what is
// nothing still has a foot, and what is unknown a dot.
func (c canvas) sparkCell(v float64, y, h int) string {
	if math.IsNaN(v) {
		if y == 0 {
			return c.glyphs().dot
		}
		return " "
	}
	if c.ascii && h == 1 {
		ramp := themes.Glyphs(true)
		return string(ramp[between(int(v*float64(len(ramp))), 0, len(ramp)-1)])
	}
	return c.barCell(max(1, int(math.Round(min(max(v, 0), 1)*1000))), 1000, y, h)
}
