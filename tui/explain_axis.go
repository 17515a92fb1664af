package tui

import (
	"fmt"
	"math"
	"strings"

	"mergescope/quant"
	"mergescope/themes"
)

// axisGlyphs are the marks of the drawings.
type axisGlyphs struct {
	stored, exact, snapped       string // base value, merged value, code it rounds to
	line, tick, boundary, cut    string
	arrow, arrowLeft, arrowRight string
	divide                       string
}

func (c canvas) axisGlyphs() axisGlyphs {
	if c.ascii {
		return axisGlyphs{"*", "#", "o", "-", "+", "'", ":", "-", "<", ">", "/"}
	}
	return axisGlyphs{"●", "◆", "○", "─", "┴", "╵", "┊", "─", "◂", "▸", "÷"}
}

// axis maps values to columns.
type axis struct {
	lo, hi float64
	w      int
}

// x returns the column of a value, the nearest end if it is outside.
func (a axis) x(v float64) int {
	if !(a.hi > a.lo) || math.IsNaN(v) {
		return 0
	}
	return between(int(math.Round((v-a.lo)/(a.hi-a.lo)*float64(a.w-1))), 0, a.w-1)
}

// tick is a code on an axis, in units of the scale.
type tick struct {
	at    float64
	label string
}

// ticksOf returns the codes of a format in rising order, each value once; of
// int8 only the round ones.
func ticksOf(f quant.Format) []tick {
	var out []tick
	if f == quant.Int8 {
		for q := -127; q <= 127; q++ {
			if q%32 == 0 || q == -127 || q == 127 {
				out = append(out, tick{float64(q), fmt.Sprint(q)})
			}
		}
		return out
	}
	for _, code := range codesByValue(f) {
		v := float64(quant.CodeValue(f, code))
		if n := len(out); n > 0 && out[n-1].at == v {
			continue // the two zeros of FP4
		}
		out = append(out, tick{v, fmt.Sprintf("%X", code)})
	}
	return out
}

// figures draws what fits in h lines: the zoom on neighbouring codes, the axis
// after the merge with its boundaries, the axis before, the meaning of marks.
func (e *explainView) figures(c canvas, w, h int) []string {
	t := e.trace
	if !coded(t) {
		return append(blank(w, min(1, h-5)), e.zoomFloat(c, w)...)
	}
	zoom, after, before := e.zoom(c, w), e.after(c, w), e.before(c, w)
	if h < len(zoom)+len(after)+1 {
		return append(blank(w, min(1, h-len(zoom))), zoom...)
	}
	var out []string
	if h >= len(zoom)+len(after)+len(before)+1 {
		out = append(out, before...)
	}
	out = append(append(out, after...), e.marks(c))
	spare := h - len(out) - len(zoom)
	out = append(blank(w, min(1, max(0, spare-1))), out...)
	return append(append(out, blank(w, min(1, max(0, spare)))...), zoom...)
}

// marks explains the marks.
func (e *explainView) marks(c canvas) string {
	g := c.axisGlyphs()
	s := c.paint.text(themes.Accent, g.stored) + " stored code   " + c.paint.text(themes.Warn, g.exact) + " exact merged value   " +
		c.paint.text(themes.Good, g.snapped) + " " + e.became() + "   " + c.paint.text(themes.Dim, g.boundary) + " decision boundaries"
	return s
}

// became names the code of the result.
func (e *explainView) became() string {
	switch e.trace.Choice {
	case quant.ByDraw:
		return "code drawn for it"
	case quant.ForInputs:
		return "code chosen for the inputs"
	}
	return "code it rounds to"
}

// axis returns the axis of all codes of the format.
func (e *explainView) axis(w int) axis {
	if e.trace.Spec.Format == quant.Int8 {
		return axis{-127, 127, w - 2}
	}
	return axis{-1, 1, w - 2}
}

// before draws all codes with the stored one, and from the third step on where
// the delta takes the weight.
func (e *explainView) before(c canvas, w int) []string {
	t, g, a := e.trace, c.axisGlyphs(), e.axis(w)
	unit := float64(quant.Unit(t.Spec.Format, t.OldAbsmax))
	marks := newStrip(w)
	if e.shown >= 3 {
		marks.put(1+a.x(float64(t.T[e.at])/unit), g.exact, themes.Warn)
	}
	marks.put(1+a.x(float64(quant.CodeValue(t.Spec.Format, t.OldCode[e.at]))), g.stored, themes.Accent)
	head := c.paint.text(themes.Dim, "before ("+g.divide+" "+e.scaleName()+" "+four(t.OldAbsmax)+")")
	return append([]string{head, marks.draw(c)}, e.codes(c, a, w, t.OldCode[e.at])...)
}

// after draws all codes in the new scale with the merged value, from the fifth
// step on with the boundaries and the code it rounds to.
func (e *explainView) after(c canvas, w int) []string {
	t, g, a := e.trace, c.axisGlyphs(), e.axis(w)
	if e.shown < 4 {
		return blank(w, axisHeight)
	}
	marks := newStrip(w)
	x, code := float64(t.X[e.at]), t.NewCode[e.at]
	to := 1 + a.x(float64(quant.CodeValue(t.Spec.Format, code)))
	right := to
	if e.shown >= 5 {
		marks.put(to, g.snapped, themes.Good)
	}
	if x == x {
		marks.put(1+a.x(x), g.exact, themes.Warn)
		right = max(right, 1+a.x(x))
	}
	if e.shown >= 5 {
		text := " snaps to " + codeText(t, code)
		if t.Choice != quant.ByDistance {
			text = " becomes " + codeText(t, code)
		}
		if right+len(text) >= w {
			right = min(to, 1+a.x(x)) - len(text) - 2
		}
		marks.put(right+1, text, themes.NumRoles)
	}
	head := c.paint.text(themes.Dim, "after ("+g.divide+" "+e.scaleName()+" "+four(t.RawAbsmax)+")")
	lines := append([]string{head, marks.draw(c)}, e.codes(c, a, w, code)...)
	bounds := newStrip(w)
	if e.shown >= 5 && t.Spec.Format.Is4Bit() {
		for _, b := range quant.Boundaries(t.Spec.Format, t.Profile) {
			bounds.put(1+a.x(float64(b)), g.boundary, themes.Dim)
		}
	}
	return append(lines, bounds.draw(c))
}

func (e *explainView) scaleName() string {
	if e.trace.Spec.Format == quant.Int8 {
		return "scb"
	}
	return "absmax"
}

// codes draws the labels of all codes, one of them bright, and their axis.
func (e *explainView) codes(c canvas, a axis, w int, bright uint8) []string {
	g := c.axisGlyphs()
	labels, line := newStrip(w), newStrip(w)
	line.put(1, strings.Repeat(g.line, a.w), themes.Dim)
	own := codeText(e.trace, bright)
	at := float64(quant.CodeValue(e.trace.Spec.Format, bright))
	labels.putIfFree(1+a.x(at), own, themes.Accent)
	for _, k := range ticksOf(e.trace.Spec.Format) {
		line.put(1+a.x(k.at), g.tick, themes.Dim)
		if k.at != at {
			labels.putIfFree(1+a.x(k.at), k.label, themes.Dim)
		}
	}
	return []string{labels.draw(c), line.draw(c)}
}
