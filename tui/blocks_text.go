package tui

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"mergescope/merge"
	"mergescope/themes"
)

// empty says why there is no map and what to do about it; "" if there is one or
// will be.
func (b *blocksPane) empty() (what string, todo []string) {
	l := b.layer
	switch {
	case l == nil:
		return "no layer chosen", []string{"↑ and ↓ in the layers pane choose one"}
	case l.Weight.Problem != nil:
		return fmt.Sprintf("%s cannot be decoded", l.Weight.Name),
			[]string{l.Weight.Problem.Error(), "its bytes are copied as they are"}
	case !l.Merges():
		return b.emptyPlan()
	case b.problem != "" && b.coarse == nil && b.fine == nil:
		return b.problem, b.todo
	case b.grid.Rows == 0 || b.grid.Cols == 0:
		return fmt.Sprintf("%s has no elements", l.Weight.Name), nil
	case b.metric == merge.MetricOnInputs && b.report != nil:
		return b.noInputs()
	}
	return "", nil
}

// noInputs says why there is no map of what inputs see, "" if there is one.
func (b *blocksPane) noInputs() (what string, todo []string) {
	calibrated := b.layer.Method.Kind == merge.MethodCalibrated
	if why := b.report.WhyNoInputs(calibrated); why != "" {
		todo = []string{why}
		if !calibrated {
			todo = append(todo, "R chooses calibrated, D runs it; v shows another metric")
		}
		return "kept on inputs is not known", todo
	}
	if b.coarse == nil || !complete(b.coarse) {
		return "", nil
	}
	if _, known := worstCell(b.coarse, b.metric, b.aggregate, b.coarse.region(), true); !known {
		return "kept on inputs: " + merge.Percent(float64(b.report.KeptOnInputs)) + " of the whole layer",
			[]string{"which rows keep how much is known only right after a run: D"}
	}
	return "", nil
}

// emptyPlan speaks of a layer whose weights the plan does not change.
func (b *blocksPane) emptyPlan() (what string, todo []string) {
	l := b.layer
	switch {
	case l.Output == merge.Separate && len(l.Steps) > 0:
		return "the adapter of this layer stays separate", []string{"it is written beside the checkpoint, so nothing of it is lost", "O changes the output form"}
	case l.Output == merge.Keep:
		return "the plan keeps this layer as it is", []string{"its bytes are copied and no adapter goes into it", "O changes the output form"}
	}
	if l.Reason != "" {
		todo = append(todo, l.Reason)
	}
	if f := l.Weight.Format; f.IsFloat() {
		todo = append(todo, fmt.Sprintf("stored as %s, not quantized: a merge here would only round to %s", f, f))
	}
	return "no adapter on this layer", append(todo, "a puts an adapter on it, A on every layer it fits")
}

// drawFooter is the cell under the cursor in numbers, as many as fit.
func (b *blocksPane) drawFooter(c canvas, g geometry) string {
	r, col, ok := g.cell(b.row, b.col)
	m := b.best(g)
	if !ok || m == nil || b.seeking {
		return b.wholeLayer(c, g.w)
	}
	cell := g.region(r, col)
	if s := b.sample(m, merge.MetricNonFinite, cell); s.state == merge.CellNaN || s.state == merge.CellInf {
		return b.brokenFooter(c, g, cell, s)
	}
	metrics := []merge.Metric{b.metric}
	for _, other := range []merge.Metric{merge.MetricKept, merge.MetricCodes, merge.MetricSNR, merge.MetricGrowth, merge.MetricError} {
		if other != b.metric {
			metrics = append(metrics, other)
		}
	}
	if s := b.sample(m, merge.MetricOnInputs, cell); s.state == merge.CellValue && b.metric != merge.MetricOnInputs {
		metrics = slices.Insert(metrics, min(2, len(metrics)), merge.MetricOnInputs)
	}
	figures := make([]string, len(metrics))
	for i, metric := range metrics {
		figures[i] = b.figureText(c, metric, b.sample(m, metric, cell), cell)
	}
	line := b.placeFor(c, cell, figures, g.w)
	for _, f := range figures {
		if width(line)+2+width(f) > g.w {
			break
		}
		line += "  " + f
	}
	return c.fit(line, g.w)
}

// placeFor names a cell as fully as three figures leave room in w cells, or two
// or one; without room for any, by its rows.
func (b *blocksPane) placeFor(c canvas, cell region, figures []string, w int) string {
	places := b.places(c, cell)
	for n := 3; n > 0; n-- {
		room := w - 2*n - width(strings.Join(figures[:n], ""))
		if s := longest(places[:len(places)-1], room); width(s) <= room {
			return s
		}
	}
	return places[len(places)-1]
}

// longest returns the first of some texts in falling length that fits in w
// cells, or the last.
func longest(texts []string, w int) string {
	for _, s := range texts {
		if width(s) <= w {
			return s
		}
	}
	return texts[len(texts)-1]
}

// brokenFooter is the footer of a cell with values that are not finite: no
// other figure of it means anything.
func (b *blocksPane) brokenFooter(c canvas, g geometry, cell region, s sample) string {
	name := "NaN"
	if s.state == merge.CellInf {
		name = "inf"
	}
	text := fmt.Sprintf("%s, %.0f values not finite", name, s.v)
	if cell.blocks() > 1 {
		text = fmt.Sprintf("%s, up to %.0f a block", name, math.Ceil(s.v))
	}
	line := longest(b.places(c, cell), g.w-2-width(text))
	return c.fit(line+"  "+c.paint.text(themes.Bad, text), g.w)
}

// places names a cell in falling length.
func (b *blocksPane) places(c canvas, cell region) []string {
	short := c.plain(rangeText("r", cell.r0, cell.r1) + " " + rangeText("c", cell.c0, cell.c1))
	cols := rangeText("", cell.c0*b.grid.Width, b.lastWeight(cell.c1))
	out := []string{"cell " + short, short, c.plain(rangeText("r", cell.r0, cell.r1))}
	if cell.blocks() == 1 {
		return append([]string{c.plain("block " + short + " (weights " + cols + ")"), "block " + short}, out[1:]...)
	}
	if at, ok := b.pinpoint(cell); ok && at.r1-at.r0 < cell.r1-cell.r0 {
		at := c.plain("  worst " + rangeText("r", at.r0, at.r1))
		out = append([]string{out[0] + at, short + at}, out...)
	}
	return out
}

// lastWeight returns the end of the weights of the block columns before col.
func (b *blocksPane) lastWeight(col int) int {
	return min(col*b.grid.Width, b.layer.Weight.Cols())
}

// rangeText writes [lo, hi): "r5", or "r5–9".
func rangeText(prefix string, lo, hi int) string {
	if hi-lo <= 1 {
		return fmt.Sprintf("%s%d", prefix, lo)
	}
	return fmt.Sprintf("%s%d–%d", prefix, lo, hi-1)
}

// figureText writes a metric of a cell: "kept 3%", and for a single block the
// codes that changed as a count.
func (b *blocksPane) figureText(c canvas, m merge.Metric, s sample, cell region) string {
	gl := c.glyphs()
	name := metricShort(m)
	if s.state != merge.CellValue {
		return name + " " + gl.dash
	}
	text := gl.figure(m, s.v)
	switch {
	case m == merge.MetricKept:
		text = c.paint.text(keptRole(s.v), text)
	case m == merge.MetricCodes && cell.blocks() == 1 && b.aligned():
		n := b.lastWeight(cell.c1) - cell.c0*b.grid.Width
		text = fmt.Sprintf("%.0f/%d", math.Round(s.v*float64(n)), n)
	}
	return name + " " + text
}

// aligned reports whether every block lies within one row.
func (b *blocksPane) aligned() bool {
	w := b.layer.Weight
	return !w.Format.Is4Bit() || w.Cols()%b.grid.Width == 0
}

// metricShort names a metric where there is little room.
func metricShort(m merge.Metric) string {
	return [...]string{
		merge.MetricKept:      "kept",
		merge.MetricSNR:       "snr",
		merge.MetricError:     "err",
		merge.MetricCodes:     "flips",
		merge.MetricGrowth:    "absmax",
		merge.MetricErrorMax:  "max err",
		merge.MetricNonFinite: "non-finite",
		merge.MetricOnInputs:  "inputs",
	}[m]
}

// wholeLayer is the footer without a cell: the figures of the layer.
func (b *blocksPane) wholeLayer(c canvas, w int) string {
	if b.report == nil {
		return c.fit("", w)
	}
	gl := c.glyphs()
	m := b.report.Metrics
	line := "whole layer"
	for _, f := range []struct {
		m merge.Metric
		v merge.Figure
	}{
		{merge.MetricKept, m.Kept},
		{merge.MetricOnInputs, m.KeptOnInputs},
		{merge.MetricCodes, m.CodesChanged},
		{merge.MetricSNR, m.SNR},
		{merge.MetricGrowth, m.AbsmaxGrowth},
		{merge.MetricError, m.ErrorRelative},
	} {
		if f.m == merge.MetricOnInputs && !seesInputs(b.report) {
			continue
		}
		text := metricShort(f.m) + " " + gl.figure(f.m, float64(f.v))
		if width(line)+2+width(text) > w {
			break
		}
		line += "  " + text
	}
	return c.fit(line, w)
}

// layerTitle shortens a module path to w cells: "layers.11 self_attn.v_proj",
// "L11 self_attn.v_proj", "L11 v_proj".
func layerTitle(path string, w int) string {
	forms := layerForms(path)
	for _, s := range forms {
		if width(s) <= w {
			return s
		}
	}
	return tailOf(forms[len(forms)-1], w)
}

// layerForms returns a module path in falling length. All but the last tell
// layers apart.
func layerForms(path string) []string {
	parts := strings.Split(clean(path), ".")
	leaf := parts[len(parts)-1]
	for i := len(parts) - 2; i > 0; i-- {
		if isNumber(parts[i]) {
			rest, number := strings.Join(parts[i+1:], "."), "L"+parts[i]
			return []string{parts[i-1] + "." + parts[i] + " " + rest, number + " " + rest, number + " " + leaf, leaf}
		}
	}
	return []string{strings.Join(parts, "."), leaf}
}
