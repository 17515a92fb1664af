package heat

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// Legend says what the colours of a grid mean.
type Legend struct {
	Metric    string // name and, if the ends do not say it, the unit
	Low, High string // values at the ends of the ramp, units included
	Scale     string // "lin", "log", and whether the ends are fitted
	Map       string
	Flip      bool     // the hot end is at Low
	Notes     []string // what to know of this map before the rest, in falling length
}

// Legend draws l as one line of w characters: always the metric, the ramp and
// both ends, then as much of the notes, the scale, the map and the special glyphs as fits.
// Where not even that fits it is the ramp alone.
func (p *Painter) Legend(l Legend, w int) string {
	var out writer
	name, ends := utf8.RuneCountInString(l.Metric)+1, utf8.RuneCountInString(l.Low+l.High)+2
	switch {
	case w < ends+2: // the ends would be cut
		p.ramp(&out, w, l.Flip)
		out.reset()
		return string(out.buf)
	case w < name+ends+2:
		out.text(plainFg, l.Low+" ", w)
		p.ramp(&out, min(10, w-ends), l.Flip)
	default:
		out.text(plainFg, l.Metric+" "+l.Low+" ", w)
		p.ramp(&out, min(10, w-name-ends), l.Flip)
	}
	out.text(plainFg, " "+l.High, w)
	fits := func(s string) bool { return out.n+2+utf8.RuneCountInString(s) <= w }
	if i := slices.IndexFunc(l.Notes, fits); i >= 0 {
		out.text(p.inf, "  "+l.Notes[i], w)
	}
	for _, s := range []string{l.Scale, l.Map} {
		if fits(s) {
			out.text(p.none, "  "+s, w)
		}
	}
	gap := "   "
	for _, e := range []struct {
		st    style
		glyph rune
		name  string
	}{{p.nan, p.glyphNaN, "NaN"}, {p.inf, p.glyphInf, "Inf"}, {p.mark, p.glyphCursor, "cursor"}} {
		if out.n+len(gap)+2+len(e.name) > w {
			break
		}
		out.text(plainFg, gap, w)
		out.put(e.st, plainBg, e.glyph, 1)
		out.text(p.none, " "+e.name, w)
		gap = "  "
	}
	out.text(plainFg, strings.Repeat(" ", max(0, w-out.n)), w)
	out.reset()
	return string(out.buf)
}

// ramp draws n steps of the ramp, from the smallest value to the largest.
func (p *Painter) ramp(w *writer, n int, flip bool) {
	for i := range n {
		at := Cell(128)
		if n > 1 {
			at = Cell(i * 255 / (n - 1))
		}
		if flip {
			at = 255 - at
		}
		p.put(w, at, at, 1)
	}
}
