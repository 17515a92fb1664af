package tui

import (
	"fmt"
	"math"
	"slices"

	"mergescope/merge"
	"mergescope/quant"
	"mergescope/themes"
)

// still merges nothing: requantization alone.
func (s *stage) still() *merge.Trial { return s.with(func(x *merge.Setting) { x.Factor = 0 }) }

// gaps returns the distances of neighbouring code points around 0 and at the
// upper end.
func gaps(f quant.Format) (near, far float64) {
	var values []float64
	for _, code := range codesByValue(f) {
		values = append(values, float64(quant.CodeValue(f, code)))
	}
	n := len(values)
	return values[n/2] - values[n/2-1], values[n-1] - values[n-2]
}

func median(x []float64) float64 {
	if len(x) == 0 {
		return math.NaN()
	}
	x = slices.Sorted(slices.Values(x))
	return x[len(x)/2]
}

// shortLayer drops what all layers of the demo begin with.
func shortLayer(name string) string { return layerForms(name)[0] }

// drawScales draws how the scales of the blocks are spread.
func drawScales(s *stage, c canvas, w, h int) []string {
	scales := s.trial.Panel.Absmax
	lo, hi := float64(slices.Min(scales)), float64(slices.Max(scales))
	n := between(h-1, 1, 12)
	count := make([]int, n)
	for _, v := range scales {
		count[between(int((float64(v)-lo)/(hi-lo)*float64(n)), 0, n-1)]++
	}
	top := slices.Max(count)
	lines := []string{c.paint.text(themes.Dim, fmt.Sprintf("%15s  %s", "absmax", c.plain("blocks")))}
	for i, k := range count {
		from, to := lo+(hi-lo)*float64(i)/float64(n), lo+(hi-lo)*float64(i+1)/float64(n)
		lines = append(lines, c.paint.text(themes.Dim, c.plain(fmt.Sprintf("%.3f to %.3f", from, to)))+
			"  "+c.meter(float64(k)/float64(top), max(1, w-25), themes.Accent)+right(fmt.Sprint(k), 6))
	}
	return lines[:min(len(lines), max(0, h))]
}

// drawRounding is the staircase beside what rounding costs in each format.
func drawRounding(s *stage, c canvas, w, h int) []string {
	rows := [][]string{{"format", "block", "rounding"}}
	for _, try := range []merge.Setting{
		{Format: quant.NF4, Blocksize: 64},
		{Format: quant.NF4, Blocksize: 256},
		{Format: quant.FP4, Blocksize: 64},
	} {
		t := s.with(func(x *merge.Setting) { x.Format, x.Blocksize = try.Format, try.Blocksize })
		rows = append(rows, []string{try.Format.String(), fmt.Sprint(try.Blocksize), c.glyphs().percent(t.Off)})
	}
	if w < 70 {
		return c.table(rows, w, h)
	}
	lw := w - 34
	return c.beside(drawStairs(s, c, lw, h), lw, "   ", c.table(rows, 31, h), 31)
}

// drawNested follows some scales through double quantization.
func drawNested(s *stage, c canvas, w, h int) []string {
	p := s.trial.Panel
	n := quant.QuantizeAbsmax(slices.Clone(p.NewAbsmax), p.Profile)
	rows := [][]string{{"block", "absmax", "minus mean", "÷ largest", "code", "comes back as", "off by"}}
	blocks := len(p.NewAbsmax)
	for i := range max(1, h-2) {
		b := i * blocks / max(1, h-2)
		if b >= blocks || len(rows) > 12 {
			break
		}
		v, group := p.NewAbsmax[b], n.Absmax[b/n.Blocksize]
		back := float64(s.trial.Scales[b])
		rows = append(rows, []string{
			fmt.Sprint(b), fmt.Sprintf("%.5f", v), fmt.Sprintf("%+.5f", v-n.Offset), fmt.Sprintf("%+.4f", (v-n.Offset)/group),
			fmt.Sprint(n.Codes[b]), fmt.Sprintf("%.5f", back), fmt.Sprintf("%+.2f%%", (back/float64(v)-1)*100),
		})
	}
	out := c.table(rows, w, h)
	if len(out) < h {
		out = append(out, c.paint.text(themes.Dim, fmt.Sprintf("mean %.6f, largest of the first %d: %.6f", n.Offset, min(n.Blocksize, blocks), n.Absmax[0])))
	}
	return out
}
