package tui

import (
	"fmt"
	"math"
	"slices"
	"strings"

	tea "charm.land/bubbletea/v2"

	"mergescope/themes"
)

// Where all charts have room at once.
const (
	allChartsW = 100
	allChartsH = 24
)

func (x *insightBox) box(c canvas, w, h int) (title string, lines []string, cursor *tea.Position) {
	w -= 2
	points := x.points()
	title = "insight  " + plural(len(points), "layer")
	if x.inputs {
		title += "  " + x.metric()
	}
	if len(points) == 0 {
		return title, c.message(w+2, h, "no figures yet", "D runs the merge without writing"), nil
	}
	detail := x.detail(c, w)
	lines = append(lines, c.tabs(chartNames[:], int(x.chart), w))
	room := max(0, h-len(lines)-len(detail))
	if w >= allChartsW && h >= allChartsH {
		lw := w*11/20 - 3
		rw := w - lw - 3
		hist := x.histogram(c, points, rw, bins+1)
		right := append(hist, "")
		right = append(right, x.overDepth(c, points, rw, room-len(right))...)
		lines = append(lines, c.beside(x.scatter(c, points, lw, room), lw, "   ", right, rw)...)
	} else {
		switch x.chart {
		case scatterChart:
			lines = append(lines, x.scatter(c, points, w, room)...)
		case histogramChart:
			lines = append(lines, x.histogram(c, points, w, room)...)
		case depthChart:
			lines = append(lines, x.overDepth(c, points, w, room)...)
		}
	}
	lines = append(exactly(c, lines, w, max(0, h-len(detail))), detail...)
	lines = lines[:min(len(lines), h)]
	for i, l := range lines {
		lines[i] = " " + c.fit(l, w) + " "
	}
	return title, lines, nil
}

// detail is the layer under the cursor and how it compares with the curve.
func (x *insightBox) detail(c canvas, w int) []string {
	p, ok := x.at()
	if !ok {
		return blank(w, 2)
	}
	g := c.glyphs()
	name := x.book.short(x.book.layers[p.layer].Weight.Name)
	r := x.book.report(p.layer)
	parts := []string{
		x.metric() + " " + c.paint.text(keptRole(p.kept), g.percent(p.kept)), "delta ratio " + g.percent(p.ratio),
		"codes " + g.percent(float64(r.CodesChanged)), "snr " + g.decibels(float64(r.SNR)),
	}
	forms := layerForms(name)
	figures := strings.Join(parts, "  ")
	for len(parts) > 1 && width(forms[min(1, len(forms)-1)])+2+width(figures) > w {
		parts = parts[:len(parts)-1]
		figures = strings.Join(parts, "  ")
	}
	first := c.paint.text(themes.Accent, layerTitle(name, max(8, w-width(figures)-2))) + "  " + figures
	return []string{c.fit(first, w), c.fit(c.paint.text(themes.Dim, c.plain(x.against(p, g))), w)}
}

// against compares a layer with what the curve says of it.
func (x *insightBox) against(p point, g *glyphs) string {
	if x.note != "" {
		return x.note
	}
	if r := x.book.report(p.layer); r.Peft != nil {
		return "kept " + g.percent(float64(r.Kept)) + ", " + g.percent(float64(r.KeptOnInputs)) + " on inputs; " + asPeft(r, g)
	}
	e := x.expected(p)
	if math.IsNaN(e) {
		return "the curve is being worked out"
	}
	said := fmt.Sprintf("theory %s (rank %d, %s): ", g.percent(e), p.rank, curveName(p.curve))
	switch d := p.kept - e; {
	case d > 0.05:
		return said + "more, it has larger elements"
	case d < -0.05:
		return said + "less, it sits on wide steps"
	}
	return said + "as its delta ratio says"
}

func curveName(k curveKey) string {
	if k.format.Is4Bit() {
		return fmt.Sprintf("%s/%d", k.format, k.n)
	}
	return k.format.String()
}

// decibels writes a signal-to-noise ratio.
func (g *glyphs) decibels(v float64) string {
	if math.IsNaN(v) {
		return g.dash
	}
	return fmt.Sprintf("%.1f dB", v+0)
}

// scatter draws delta ratio against kept with the curves of the formats.
func (x *insightBox) scatter(c canvas, points []point, w, h int) []string {
	const gutter = 6
	if w < 24 || h < 5 {
		return blank(w, h)
	}
	p := newPlot(c, w-gutter, h-2)
	xs := dots{lo: 1, hi: 0, log: true, n: p.w * p.dw}
	ys := dots{lo: 0, hi: 1, n: p.h * p.dh}
	for _, pt := range points {
		xs.lo, xs.hi = min(xs.lo, pt.ratio), max(xs.hi, pt.ratio)
		ys.lo, ys.hi = min(ys.lo, max(pt.kept, -0.5)), max(ys.hi, min(pt.kept, 1.5))
	}
	xs.lo, xs.hi = math.Pow(10, math.Floor(math.Log10(xs.lo))), math.Pow(10, math.Ceil(math.Log10(xs.hi)))
	if xs.lo >= xs.hi {
		xs.hi = 10 * xs.lo
	}
	flip := func(v float64) int { return ys.n - 1 - ys.at(v) }
	if !x.inputs { // theory speaks of the matrix
		x.drawCurves(p, points, xs, flip)
	}
	for _, pt := range points {
		if pt.layer != x.layer {
			p.mark(xs.at(pt.ratio)/p.dw, flip(pt.kept)/p.dh, c.glyphs().mark, keptRole(pt.kept))
		}
	}
	if at, ok := x.at(); ok {
		p.mark(xs.at(at.ratio)/p.dw, flip(at.kept)/p.dh, c.cursorGlyph(), themes.Cursor)
	}
	return append(leftAxis(c, p.draw(c), ys, flip, p.dh, gutter), bottomAxis(c, xs, p.dw, gutter, w)...)
}

// cursorGlyph marks a place in a chart.
func (c canvas) cursorGlyph() string {
	if c.ascii {
		return "O"
	}
	return "◉"
}

// drawCurves draws the theoretical curve of every format there is, for the rank
// of the layer under the cursor.
func (x *insightBox) drawCurves(p *plot, points []point, xs dots, flip func(float64) int) {
	rank := points[0].rank
	if at, ok := x.at(); ok {
		rank = at.rank
	}
	var done []curveKey
	for _, pt := range points {
		curve := x.curves[pt.curve]
		if curve == nil || slices.Contains(done, pt.curve) || len(done) == 4 {
			continue
		}
		done = append(done, pt.curve)
		for i := 1; i < xs.n; i++ {
			from, to := curve.LowRank(xs.value(i-1), rank), curve.LowRank(xs.value(i), rank)
			p.line(i-1, flip(from), i, flip(to), themes.Note)
		}
	}
}

// leftAxis puts labels of kept before the lines of a plot.
func leftAxis(c canvas, lines []string, ys dots, row func(float64) int, dh, gutter int) []string {
	labels := make([]string, len(lines))
	step := 0.25
	if len(lines) < 9 {
		step = 0.5
	}
	for v := math.Ceil(ys.lo/step) * step; v <= ys.hi+1e-9; v += step {
		if y := row(v) / dh; y < len(labels) && labels[y] == "" {
			labels[y] = fmt.Sprintf("%.0f%%", v*100+0)
		}
	}
	edge := c.glyphs().thin.v
	for i, l := range lines {
		lines[i] = c.paint.text(themes.Dim, right(labels[i], gutter-2)+" "+edge) + l
	}
	return lines
}

// bottomAxis is the axis of delta ratios, a label at each power of ten and
// between.
func bottomAxis(c canvas, xs dots, dw, gutter, w int) []string {
	g := c.glyphs()
	line, text := newStrip(w), newStrip(w)
	line.put(gutter-1, strings.Repeat(g.thin.h, w-gutter+1), themes.Dim)
	line.put(gutter-1, g.thin.bl, themes.Dim)
	for _, part := range []float64{1, 3} { // the powers first, so that they win the room
		for v := xs.lo * part; v <= xs.hi*1.001; v *= 10 {
			at := gutter + xs.at(v)/dw
			line.put(at, c.axisGlyphs().tick, themes.Dim)
			text.putIfFree(at, strings.TrimPrefix(fmt.Sprintf("%g%%", roundTo(v*100, 2)), "+"), themes.Dim)
		}
	}
	return []string{line.draw(c), text.draw(c)}
}

// roundTo rounds to some significant digits.
func roundTo(v float64, digits int) float64 {
	if v == 0 {
		return 0
	}
	m := math.Pow(10, float64(digits-1)-math.Floor(math.Log10(math.Abs(v))))
	return math.Round(v*m) / m
}

// histogram draws how many layers keep how much, with their share of all
// weights.
func (x *insightBox) histogram(c canvas, points []point, w, h int) []string {
	var count [bins]int
	var weights [bins]float64
	total := 0.0
	for _, p := range points {
		b := binOf(p.kept)
		count[b]++
		weights[b] += p.weights
		total += p.weights
	}
	at, _ := x.at()
	cur := binOf(at.kept)
	top := max(1, slices.Max(count[:]))
	tail := fmt.Sprintf("%*s of weights", len(plural(top, "layer"))+6, "")
	barW := max(1, w-9-len(tail))
	lines := []string{c.paint.text(themes.Dim, right("kept", 7)+"  layers, and their share of the weights")}
	for b := range bins {
		if h < bins+1 && count[b] == 0 { // no room for empty ones
			continue
		}
		label := right(binName(b, c), 7)
		if b == cur {
			label = c.paint.text(themes.Accent, label)
		} else {
			label = c.paint.text(themes.Dim, label)
		}
		line := label + "  " + c.meter(float64(count[b])/float64(top), barW, keptRole(float64(b-1)/10+0.05))
		if count[b] > 0 {
			line += fmt.Sprintf(" %s %s of weights", right(plural(count[b], "layer"), len(plural(top, "layer"))), right(c.glyphs().percent(weights[b]/total), 4))
		}
		line = c.fit(line, w)
		if b == cur {
			line = c.paint.selected(line)
		}
		lines = append(lines, line)
	}
	return lines[:min(len(lines), max(0, h))]
}

func binName(b int, c canvas) string {
	switch b {
	case 0:
		return "below 0"
	case bins - 1:
		return "100%"
	}
	return c.plain(fmt.Sprintf("%d–%d%%", (b-1)*10, b*10))
}
