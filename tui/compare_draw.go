package tui

import (
	"fmt"
	"math"
	"strings"

	tea "charm.land/bubbletea/v2"

	"mergescope/themes"
)

// compareChrome is how many lines of a comparison are not map: names, figures,
// and the difference.
const compareChrome = 3

// size returns the room of each of the two maps in a box of at most w by h.
func (x *compareBox) size(w, h int) (int, int) {
	return max(0, (w-2-3)/2), max(0, h-compareChrome)
}

func (x *compareBox) box(c canvas, w, h int) (title string, lines []string, cursor *tea.Position) {
	mw, mh := x.size(w, h)
	b := x.lead()
	title = "compare"
	if b.layer == nil {
		return title, c.message(w, h, "no layer chosen", "esc, then choose one in the layers pane"), nil
	}
	title += "  " + layerTitle(b.layer.Weight.Name, max(8, w-40)) + "  " + b.metric.Info().Name
	if long, _ := b.density(b.geometry(b.shape())); b.coarse != nil {
		title += " " + c.glyphs().dot + " " + long
	}
	var cols [2][]string
	for i := range x.sides {
		s := &x.sides[i]
		cols[i] = append([]string{x.name(c, i, mw), x.figures(c, s, mw)}, exactly(c, s.pane.draw(c, mw, mh), mw, mh)...)
	}
	lines = c.beside(cols[0], mw, c.paint.text(themes.Border, " "+c.glyphs().thin.v+" "), cols[1], mw)
	lines = append(lines, x.difference(c))
	lines = lines[max(0, len(lines)-h):]
	for i, l := range lines {
		lines[i] = " " + c.fit(l, w-2) + " "
	}
	return title, lines, nil
}

// name is the heading of a side.
func (x *compareBox) name(c canvas, i, w int) string {
	s := &x.sides[i]
	what := s.plan.Method
	if l := s.pane.layer; l != nil {
		what = string(l.Output)
		if what == "same" {
			what = l.Weight.Format.String()
		}
		if !l.Output.Dequantized() {
			what += ", " + l.Method.String()
		}
	}
	return c.fit(c.paint.text(themes.Title, string(rune('A'+i))+" "+c.plain(s.name))+c.paint.text(themes.Dim, "  "+c.plain(what)), w)
}

// figures are those of the whole layer.
func (x *compareBox) figures(c canvas, s *side, w int) string {
	g, m := c.glyphs(), s.metrics()
	kept := float64(m.Kept)
	text := "kept "
	if math.IsNaN(kept) {
		text += g.dash
	} else {
		text += c.paint.text(keptRole(kept), g.percent(kept))
	}
	for _, part := range []string{
		fileSize(s.pane.layer.OutBytes()),
		"error " + g.percent(float64(m.ErrorRelative)),
		"snr " + g.decibels(float64(m.SNR)),
		"codes " + g.percent(float64(m.CodesChanged)),
	} {
		if width(text)+2+width(part) > w {
			break
		}
		text += "  " + part
	}
	return c.fit(text, w)
}

// difference says what the second plan changes against the first.
func (x *compareBox) difference(c canvas) string {
	g := c.glyphs()
	a, b := x.sides[0].metrics(), x.sides[1].metrics()
	la, lb := x.sides[0].pane.layer, x.sides[1].pane.layer
	if la == nil || lb == nil {
		return ""
	}
	if signature(la, x.sides[0].plan) == signature(lb, x.sides[1].plan) {
		return c.paint.text(themes.Dim, "both plans do the same with this layer")
	}
	text := c.paint.text(themes.Title, "B against A") + "  kept "
	if d := float64(b.Kept - a.Kept); math.IsNaN(d) {
		text += g.dash
	} else {
		role := themes.Good
		if d < 0 {
			role = themes.Bad
		}
		text += c.paint.text(role, fmt.Sprintf("%+.1f points", d*100+0))
	}
	na, nb := la.OutBytes(), lb.OutBytes()
	text += "  size " + sizeChange(na, nb, g)
	if r := float64(b.ErrorRelative) / float64(a.ErrorRelative); !math.IsNaN(r) && !math.IsInf(r, 0) {
		text += "  error " + g.times + fmt.Sprintf("%.2g", r)
	}
	return text
}

// sizeChange writes how many bytes more or less, and how many times.
func sizeChange(from, to int64, g *glyphs) string {
	switch {
	case from == to:
		return "the same"
	case to > from:
		return "+" + fileSize(to-from) + " (" + g.times + strings.TrimSuffix(fmt.Sprintf("%.2f", float64(to)/float64(from)), ".00") + ")"
	}
	return "-" + fileSize(from-to) + " (" + g.times + strings.TrimSuffix(fmt.Sprintf("%.2f", float64(to)/float64(from)), ".00") + ")"
}
