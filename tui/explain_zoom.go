package tui

import (
	"fmt"
	"math"
	"strings"

	"mergescope/quant"
	"mergescope/themes"
)

// zoomCodes returns the codes around the old and the new one, in units of the
// scale, with one more on each side.
func (e *explainView) zoomCodes() []tick {
	t, f := e.trace, e.trace.Spec.Format
	old, now := float64(quant.CodeValue(f, t.OldCode[e.at])), float64(quant.CodeValue(f, t.NewCode[e.at]))
	lo, hi := min(old, now), max(old, now)
	if f == quant.Int8 {
		var out []tick
		step := max(1, int(hi-lo)/8)
		for q := int(lo) - step; q <= int(hi)+step; q += step {
			if q >= -127 && q <= 127 {
				out = append(out, tick{float64(q), fmt.Sprint(q)})
			}
		}
		return out
	}
	all := ticksOf(f)
	first, last := 0, len(all)-1
	for first+1 < len(all) && all[first+1].at < lo {
		first++
	}
	for last > 0 && all[last-1].at > hi {
		last--
	}
	return all[first : last+1]
}

// zoomLeft is the margin of the zoom on either side.
const zoomLeft = 6

// zoom draws the neighbouring codes with their boundaries, the way the delta
// takes the weight and the way rounding does.
func (e *explainView) zoom(c canvas, w int) []string {
	t, g := e.trace, c.axisGlyphs()
	if e.shown < explainSteps {
		return blank(w, 5)
	}
	codes := e.zoomCodes()
	unit := float64(quant.Unit(t.Spec.Format, t.RawAbsmax))
	from, to := float64(t.W[e.at])/unit, float64(t.X[e.at])
	end := float64(quant.CodeValue(t.Spec.Format, t.NewCode[e.at]))
	a := axis{codes[0].at, codes[len(codes)-1].at, w - 2*zoomLeft}
	if math.IsNaN(to) || math.IsInf(to, 0) || !(unit > 0) {
		return append([]string{c.plain("the merged value is not a number: no comparison places it")}, blank(w, 4)...)
	}
	way, text := e.way(c, w, a, [3]float64{from, to, end})
	line, labels := newStrip(w), newStrip(w)
	line.put(zoomLeft, strings.Repeat(g.line, a.w), themes.Dim)
	for _, b := range quant.Boundaries(t.Spec.Format, t.Profile) {
		if v := float64(b); v > a.lo && v < a.hi && (t.Spec.Format != quant.Int8 || a.hi-a.lo <= 12) {
			line.put(zoomLeft+a.x(v), g.cut, themes.Dim)
		}
	}
	for _, k := range codes {
		line.put(zoomLeft+a.x(k.at), g.tick, themes.NumRoles)
		labels.putIfFree(zoomLeft+a.x(k.at), k.label, themes.NumRoles)
	}
	head := fmt.Sprintf("zoom on codes %s to %s", codes[0].label, codes[len(codes)-1].label)
	return []string{c.paint.text(themes.Dim, head), text, way, line.draw(c), labels.draw(c)}
}

// way draws the delta from the stored value to the exact one and the code or
// value it rounds to, and the line of text above.
func (e *explainView) way(c canvas, w int, a axis, at [3]float64) (way, text string) {
	t, g := e.trace, c.axisGlyphs()
	from, to, end := zoomLeft+a.x(at[0]), zoomLeft+a.x(at[1]), zoomLeft+a.x(at[2])
	marks, above := newStrip(w), newStrip(w)
	arrow(marks, from, to, g, themes.Warn)
	marks.put(end, g.snapped, themes.Good)
	marks.put(from, g.stored, themes.Accent)
	marks.put(to, g.exact, themes.Warn)
	above.putIfFree((from+to)/2, "delta "+signed(t.D[e.at]), themes.NumRoles)
	rounding := "rounding " + signed(t.Out[e.at]-t.T[e.at])
	above.putIfFree(end, rounding, themes.Dim)
	if !strings.Contains(string(above.text), "rounding") {
		x := max(from, to, end) + 3 + len(rounding)/2
		marks.putIfFree(min(w-len(rounding)/2-1, x), rounding, themes.Dim)
	}
	return marks.draw(c), above.draw(c)
}

// zoomFloat draws the values a float format has around the merged one.
func (e *explainView) zoomFloat(c canvas, w int) []string {
	t, g := e.trace, c.axisGlyphs()
	from, to, end := float64(t.W[e.at]), float64(t.T[e.at]), float64(t.Out[e.at])
	sum := from + to + end
	if e.shown < explainSteps || !t.Spec.Format.IsFloat() || math.IsNaN(sum) || math.IsInf(sum, 0) {
		return blank(w, 5)
	}
	ulp := ulpOf(t.Spec.Format, end)
	a := axis{min(from, to, end) - ulp, max(from, to, end) + ulp, w - 2*zoomLeft}
	way, text := e.way(c, w, a, [3]float64{from, to, end})
	line, labels := newStrip(w), newStrip(w)
	line.put(zoomLeft, strings.Repeat(g.line, a.w), themes.Dim)
	head := "zoom"
	if steps := (a.hi - a.lo) / ulp; steps < float64(a.w/3) {
		head = fmt.Sprintf("zoom, a mark for each value of %s", t.Spec.Format)
		for v := math.Ceil(a.lo/ulp) * ulp; v <= a.hi; v += ulp {
			line.put(zoomLeft+a.x(v), g.tick, themes.NumRoles)
		}
	}
	for _, v := range []float64{end, from} {
		labels.putIfFree(zoomLeft+a.x(v), four(float32(v)), themes.NumRoles)
	}
	return []string{c.paint.text(themes.Dim, head), text, way, line.draw(c), labels.draw(c)}
}

// ulpOf returns the distance of a value of a float format to the next larger
// one in magnitude.
func ulpOf(f quant.Format, v float64) float64 {
	digits, least := 23, -126 // bits of the mantissa, smallest normal exponent
	switch f {
	case quant.F16:
		digits, least = 10, -14
	case quant.BF16:
		digits = 7
	}
	exp := least
	if v != 0 {
		exp = max(least, math.Ilogb(v))
	}
	return math.Ldexp(1, exp-digits)
}

// arrow draws an arrow between two columns, if there is room.
func arrow(s *strip, from, to int, g axisGlyphs, role themes.Role) {
	head, lo, hi := g.arrowRight, from+1, to-1
	at := hi
	if to < from {
		head, lo, hi = g.arrowLeft, to+1, from-1
		at = lo
	}
	if hi < lo {
		return
	}
	s.put(lo, strings.Repeat(g.arrow, hi-lo+1), role)
	s.put(at, head, role)
}
