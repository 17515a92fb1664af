package tui

import (
	"fmt"
	"math"
	"strings"

	tea "charm.land/bubbletea/v2"

	"mergescope/merge"
	"mergescope/themes"
)

func (x *evalBox) box(c canvas, w, h int) (title string, lines []string, cursor *tea.Position) {
	w -= 2
	title = "run  " + c.plain(x.asked)
	lines = append(lines, x.status(c, w))
	if x.seen.Err != nil && x.seen.State == merge.Failed {
		lines = append(lines, c.message(w, h-1, "the run stopped: "+x.seen.Err.Error(), "F tries another text · esc goes back")...)
	} else {
		lines = append(lines, c.tabs(evalViewNames[:], int(x.view), w))
		said := x.said(c, w, between(h/4, 2, 6))
		room := max(0, h-len(lines)-len(said))
		lines = append(append(lines, exactly(c, x.page(c, w, room), w, room)...), said...)
	}
	lines = lines[:min(len(lines), h)]
	for i, l := range lines {
		lines[i] = " " + c.fit(l, w) + " "
	}
	return title, lines, nil
}

// status is how far the run is, and how much its figures are worth.
func (x *evalBox) status(c canvas, w int) string {
	s := x.seen
	text := fmt.Sprintf("%d of %s", s.WindowsDone, plural(s.WindowsAll, "window"))
	if s.Phase != "" {
		text = s.Phase
	}
	if r := s.Report; r != nil {
		text += fmt.Sprintf(", %stokens", quantity(float64(r.Tokens)))
	}
	switch {
	case x.ended && s.State == merge.Cancelled:
		return c.paint.text(themes.Warn, c.plain("stopped: "+text+"; the figures are of that part"))
	case x.ended && s.Report != nil && !s.Report.Complete:
		return c.paint.text(themes.Note, c.plain("budget used up: "+text+"; the figures are of that part"))
	case x.ended:
		return c.plain("done: " + text + ", " + brief(s.Elapsed))
	}
	if s.ETA > 0 {
		text += ", " + brief(s.ETA) + " to go"
	}
	return c.bar(s.Share, between(w/3, 8, 30)) + " " + c.plain(text)
}

// said is the summary, at most h lines.
func (x *evalBox) said(c canvas, w, h int) []string {
	if x.seen.Report == nil {
		return nil
	}
	var lines []string
	for _, s := range x.seen.Report.Summary() {
		lines = append(lines, wrap(c.plain(s), w)...)
	}
	for _, a := range x.seen.Report.Alerts {
		if a.Level == merge.Error {
			lines = append(wrap(c.plain(a.Message), w), lines...)
		}
	}
	lines = lines[:min(len(lines), h)]
	for i, l := range lines {
		lines[i] = c.paint.text(themes.Note, l)
	}
	return lines
}

// page draws the view.
func (x *evalBox) page(c canvas, w, h int) []string {
	r := x.seen.Report
	switch {
	case x.view == evalCurves:
		return x.curves(c, w, h)
	case r == nil:
		return c.message(w, h, "no pass is through yet")
	}
	var lines []string
	switch x.view {
	case evalFigures:
		lines = x.figures(c, w)
	case evalTexts:
		for i, t := range r.Texts {
			lines = append(lines, c.paint.text(themes.Title, c.plain(t.Name))+fmt.Sprintf("  %d of %d tokens", t.Run, t.Tokens))
			lines = append(lines, evalTable(c, w, r, func(v *merge.VariantReport) merge.EvalFigures { return v.Texts[i].Figures })...)
			lines = append(lines, "")
		}
	case evalLayers:
		lines = x.layers(c, w, h)
	case evalLadder:
		lines = x.rungs(c, w, h)
	}
	x.top = between(x.top, 0, max(0, len(lines)-h))
	return lines[x.top:]
}

// evalColumns are the figures of a table, the first ones where there is little
// room.
var evalColumns = []struct {
	name string
	w    int
	cell func(merge.EvalFigures) string
}{
	{"KL", 17, func(f merge.EvalFigures) string { return withError(f.KL.Value, f.KLSequences.Error) }},
	{"NLL", 8, func(f merge.EvalFigures) string { return fixed(f.NLL.Value, 3) }},
	{"TOP-1", 8, func(f merge.EvalFigures) string { return unicodeGlyphs.percent(float64(f.Top1.Value)) }},
	{"PPL", 9, func(f merge.EvalFigures) string { return fixed(f.PPL.Value, 3) }},
	{"ln PPL RATIO", 17, func(f merge.EvalFigures) string { return withError(f.LogRatio.Value, f.LogRatio.Error) }},
	{"KL 99%", 8, func(f merge.EvalFigures) string { return fixed(quantileAt(f.KLShares, 0.99), 2) }},
	{"DP", 8, func(f merge.EvalFigures) string { return unicodeGlyphs.percent(float64(f.DeltaP.Value)) }},
}

func fixed(v merge.Figure, digits int) string {
	if math.IsNaN(float64(v)) {
		return unicodeGlyphs.dash
	}
	return fmt.Sprintf("%.*f", digits, float64(v))
}

// withError writes a figure and its standard error.
func withError(v, e merge.Figure) string {
	switch {
	case math.IsNaN(float64(v)):
		return unicodeGlyphs.dash
	case math.IsNaN(float64(e)):
		return fmt.Sprintf("%.4f", float64(v))
	}
	return fmt.Sprintf("%.4f±%.4f", float64(v), float64(e))
}

func quantileAt(list []merge.Quantile, share float64) merge.Figure {
	for _, q := range list {
		if q.Share == share {
			return q.Value
		}
	}
	return merge.Figure(math.NaN())
}

// evalTable has a line for each variant.
func evalTable(c canvas, w int, r *merge.EvalReport, of func(*merge.VariantReport) merge.EvalFigures) []string {
	n, used := 0, 14
	for n < len(evalColumns) && used+evalColumns[n].w <= w {
		used += evalColumns[n].w
		n++
	}
	head := padded("  VARIANT", 14)
	for _, col := range evalColumns[:n] {
		head += right(col.name, col.w)
	}
	lines := []string{c.paint.text(themes.Dim, c.fit(head, w))}
	for _, v := range r.Variants {
		line := c.paint.text(variantRole(v.Name, r), "  "+c.fit(c.plain(v.Name), 12))
		for _, col := range evalColumns[:n] {
			line += right(c.plain(col.cell(of(v))), col.w)
		}
		lines = append(lines, line)
	}
	return lines
}

func (x *evalBox) figures(c canvas, w int) []string {
	r := x.seen.Report
	lines := evalTable(c, w, r, func(v *merge.VariantReport) merge.EvalFigures { return v.Figures })
	lines = append(lines, "")
	for _, v := range r.Variants {
		if v.Name == r.Reference {
			continue
		}
		lines = append(lines, c.paint.text(variantRole(v.Name, r), c.plain(v.Name)))
		for _, p := range v.Positions {
			lines = append(lines, fmt.Sprintf("  %9s  KL %s  top-1 %s", fmt.Sprintf("%d-%d", p.From, p.To),
				c.plain(withError(p.Figures.KL.Value, p.Figures.KL.Error)), c.plain(unicodeGlyphs.percent(float64(p.Figures.Top1.Value)))))
		}
		lines = append(lines, "  "+c.plain(trendWords(v.Trend)))
	}
	return lines
}

// trendWords says what the test of a trend found.
func trendWords(t merge.TrendReport) string {
	if t.Verdict == "unknown" {
		return "trend unknown: too few sequences"
	}
	return fmt.Sprintf("KL %s with the position from %d on: %+.2g a doubling (p %.2g, %s)", t.Verdict, t.From, float64(t.Slope.Value), float64(t.P), plural(t.Sequences, "sequence"))
}

// layers are the layers by their KL when merged alone.
func (x *evalBox) layers(c canvas, w, h int) []string {
	s := x.seen.Report.Sensitivity
	if s == nil {
		return c.message(w, h, "layers were not merged one at a time", "F, and the word layers behind the text, does that")
	}
	var parts []string
	for _, k := range s.Correlations {
		parts = append(parts, k.Figure+" "+fixed(k.Rank, 2))
	}
	lines := []string{
		c.plain("rank correlation with KL: " + strings.Join(parts, ", ")),
		c.paint.text(themes.Dim, c.fit(padded("MERGED ALONE", w-36)+right("KL", 18)+right("KEPT", 9)+right("ERROR", 9), w)),
	}
	g := c.glyphs()
	for _, l := range s.Layers {
		name := c.fit(layerTitle(l.Name, w-37), w-36)
		lines = append(lines, name+right(c.plain(fmt.Sprintf("%.5f±%.5f", float64(l.KL.Value), float64(l.KL.Error))), 18)+
			right(g.percent(float64(l.Kept)), 9)+right(g.percent(float64(l.ErrorRelative)), 9))
	}
	return lines
}

// variantRole colours a variant: the base is dim, what a merge made stands out.
func variantRole(name string, r *merge.EvalReport) themes.Role {
	switch name {
	case merge.VariantBase, r.Reference:
		return themes.Dim
	case merge.VariantPlan, merge.VariantMerged:
		return themes.Accent
	}
	return themes.Note
}

// curve is a line of a chart, NaN where it has no value.
type curve struct {
	name    string
	role    themes.Role
	at, err []float64
}

// curves draws KL over the position, and the error of hidden states over depth.
func (x *evalBox) curves(c canvas, w, h int) []string {
	position := func(w, h int) []string {
		labels, list := x.byPosition()
		if len(labels) == 0 {
			return c.message(w, h, "KL over the position: no pass is through yet")
		}
		return drawCurves(c, "KL from the separate adapter, by position", labels, list, w, h)
	}
	depth := func(w, h int) []string {
		labels, list := x.byDepth()
		if len(labels) == 0 {
			return c.message(w, h, "error over depth: no block is through yet")
		}
		return drawCurves(c, "error of the hidden state, by block", labels, list, w, h)
	}
	if w >= 76 {
		lw := (w - 3) / 2
		return c.beside(position(lw, h), lw, "   ", depth(w-3-lw, h), w-3-lw)
	}
	if h < 14 {
		if x.top > 0 {
			x.top = 1
			return depth(w, h)
		}
		return position(w, h)
	}
	x.top = 0
	return append(position(w, h/2), depth(w, h-h/2)...)
}

func (x *evalBox) byPosition() (labels []string, list []curve) {
	r := x.seen.Report
	if r == nil {
		return nil, nil
	}
	for _, p := range r.Variants[0].Positions {
		labels = append(labels, fmt.Sprint(p.From))
	}
	for _, v := range r.Variants {
		if v.Name == r.Reference {
			continue
		}
		l := curve{name: v.Name, role: variantRole(v.Name, r)}
		for _, p := range v.Positions {
			l.at, l.err = append(l.at, float64(p.Figures.KL.Value)), append(l.err, float64(p.Figures.KL.Error))
		}
		list = append(list, l)
	}
	return labels, list
}

func (x *evalBox) byDepth() (labels []string, list []curve) {
	for i, name := range x.seen.Names {
		if i == 1 {
			continue // the reference itself
		}
		role := themes.Note
		switch name {
		case merge.VariantBase:
			role = themes.Dim
		case merge.VariantPlan, merge.VariantMerged:
			role = themes.Accent
		}
		l := curve{name: name, role: role}
		for _, e := range x.seen.Depth[name] {
			l.at = append(l.at, float64(e))
		}
		for len(labels) < len(l.at) {
			labels = append(labels, fmt.Sprint(len(labels)))
		}
		list = append(list, l)
	}
	return labels, list
}

// drawCurves is a chart of w by h cells with a logarithmic axis. Standard errors
// are lines through the points.
func drawCurves(c canvas, title string, labels []string, list []curve, w, h int) []string {
	const gutter = 8
	legend := ""
	for _, l := range list {
		legend += c.paint.text(l.role, c.glyphs().mark+" "+c.plain(l.name)) + "  "
	}
	head := []string{c.paint.text(themes.Title, c.plain(title)), legend}
	p := newPlot(c, w-gutter-1, h-len(head)-1)
	if p.w < 8 || p.h < 3 {
		return head
	}
	ys := dots{lo: math.Inf(1), hi: math.Inf(-1), log: true, n: p.h * p.dh}
	for _, l := range list {
		for _, v := range l.at {
			if v > 0 && !math.IsInf(v, 0) {
				ys.lo, ys.hi = min(ys.lo, v/1.5), max(ys.hi, v*1.5)
			}
		}
	}
	if !(ys.hi > ys.lo) {
		return append(head, c.message(w, h-len(head), "nothing differs, or no figure exists")...)
	}
	row := func(v float64) int { return ys.n - 1 - ys.at(v) }
	column := func(i int) int { return (2*i + 1) * p.w * p.dw / (2 * len(labels)) }
	for _, l := range list {
		l.draw(c, p, column, row)
	}
	lines := p.draw(c)
	for y := range lines {
		label := ""
		if n := len(lines); y == 0 || y == n-1 || y == n/2 {
			label = fmt.Sprintf("%.2g", ys.value(ys.n-1-y*p.dh-p.dh/2))
		}
		lines[y] = c.paint.text(themes.Dim, right(label, gutter-2)+" "+c.glyphs().thin.v) + lines[y]
	}
	foot := newStrip(w)
	for i, l := range labels {
		foot.putIfFree(gutter+column(i)/p.dw-width(l)/2, l, themes.Dim)
	}
	return append(append(head, lines...), foot.draw(c))
}

func (l curve) draw(c canvas, p *plot, column func(int) int, row func(float64) int) {
	for i, v := range l.at {
		if !(v > 0) || math.IsInf(v, 0) {
			continue
		}
		x, y := column(i), row(v)
		if i > 0 && l.at[i-1] > 0 {
			p.line(column(i-1), row(l.at[i-1]), x, y, l.role)
		}
		if i < len(l.err) && l.err[i] > 0 {
			p.line(x, row(v+l.err[i]), x, row(max(v-l.err[i], v/1e3)), l.role)
		}
		p.mark(x/p.dw, y/p.dh, c.glyphs().mark, l.role)
	}
}
