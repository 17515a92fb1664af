package tui

import (
	"fmt"
	"strings"

	"mergescope/themes"
)

// labelWidth is the room of the names of rows in the occupancy table.
const labelWidth = 7

// drawOccupancy shows how many weights have each code before and after, and
// what became of the delta. What fits least drops out first: bars, the weight
// under the cursor, the rows of the table from the last.
func (b *blockPane) drawOccupancy(c canvas, w, h int) []string {
	t := b.trace
	facts := factsOf(t)
	text := fmt.Sprintf("delta rms %s", scientific(facts.deltaRMS))
	if facts.halfStep == facts.halfStep {
		text += fmt.Sprintf("   half-step %s", scientific(facts.halfStep))
	}
	text += "   " + facts.sentence(t) + "."
	verdict := wrapWords(c.plain(text), w)
	room := h - min(len(verdict), h)
	lines := b.table(c, w, room)
	room -= len(lines)
	if room >= 1 {
		verdict = append(verdict, b.weightLine(c))
		room--
	}
	if n := min(8, room); n >= 2 {
		lines = append(b.bars(c, w, n), lines...)
	}
	return append(lines, verdict[:min(len(verdict), h)]...)
}

// binWidth returns the width of a column of the table: wide enough for its
// numbers with a space between, or 1 for bars.
func binWidth(h histogram, w int) int {
	widest := len(fmt.Sprint(h.top()))
	for n := 6; n > widest; n-- {
		if labelWidth+n*len(h.bins) <= w {
			return n
		}
	}
	return 1
}

// table is up to four lines: codes, before, after, moved.
func (b *blockPane) table(c canvas, w, h int) []string {
	hist := histogramOf(b.trace)
	n := binWidth(hist, w)
	name := "code"
	if !coded(b.trace) || !b.trace.Spec.Format.Is4Bit() {
		name = "value"
	}
	lines := []string{b.heading(c, name, hist, n)}
	for _, row := range []struct {
		name  string
		count func(bin) int
		role  themes.Role
	}{
		{"before", func(k bin) int { return k.before }, themes.NumRoles},
		{"after", func(k bin) int { return k.after }, themes.NumRoles},
		{"moved", func(k bin) int { return k.moved }, themes.Warn},
	} {
		lines = append(lines, hist.row(c, n, min(labelWidth, w), row.name, row.count, row.role))
	}
	return lines[:min(len(lines), max(0, h))]
}

// heading names the bins, the one of the weight under the cursor highlighted.
// Where bars replace numbers only labels of one character fit.
func (b *blockPane) heading(c canvas, name string, h histogram, n int) string {
	text := []byte(fmt.Sprintf("%-*s", labelWidth+n*len(h.bins), name))
	for i, k := range h.bins {
		if end := labelWidth + (i+1)*n; n > 1 || len(k.label) == 1 {
			copy(text[max(labelWidth, end-len(k.label)):], k.label)
		}
	}
	line := string(text)
	from := labelWidth + max(0, h.of[b.at])*n
	to := from + n
	if h.of[b.at] < 0 {
		to = from
	}
	return c.paint.text(themes.Dim, line[:from]) + c.paint.text(themes.Accent, line[from:to]) + c.paint.text(themes.Dim, line[to:])
}

// row is a line of the table in columns of n characters.
func (h histogram) row(c canvas, n, label int, name string, count func(bin) int, role themes.Role) string {
	top := h.top()
	line := c.paint.text(themes.Dim, c.fit(name, label))
	ramp := themes.Glyphs(c.ascii)
	for _, k := range h.bins {
		v := count(k)
		text := fmt.Sprintf("%*d", n, v)
		switch {
		case name == "moved" && v == 0:
			text = fmt.Sprintf("%*s", n, c.glyphs().dot)
		case n == 1 && v == 0:
			text = " "
		case n == 1:
			text = string(ramp[min(len(ramp)-1, v*len(ramp)/(top+1))])
		}
		if role < themes.NumRoles && v > 0 {
			text = c.paint.text(role, text)
		}
		line += text
	}
	return line
}

// bars draws before and after as two bars a code, h lines high.
func (b *blockPane) bars(c canvas, w, h int) []string {
	hist := histogramOf(b.trace)
	n, top := binWidth(hist, w), hist.top()
	if n < 3 {
		return nil
	}
	wide := max(1, (n-2)/2)
	out := make([]string, h)
	for y := range out {
		var line strings.Builder
		line.WriteString(strings.Repeat(" ", labelWidth))
		for _, k := range hist.bins {
			before, after := c.barCell(k.before, top, h-1-y, h), c.barCell(k.after, top, h-1-y, h)
			line.WriteString(strings.Repeat(" ", n-2*wide))
			line.WriteString(c.paint.text(themes.Dim, strings.Repeat(before, wide)))
			line.WriteString(c.paint.text(themes.Accent, strings.Repeat(after, wide)))
		}
		out[y] = line.String()
	}
	return out
}

// barCell is line y from below of a bar of v out of top that may be h lines high.
func (c canvas) barCell(v, top, y, h int) string {
	eighths := v*h*8/top - 8*y
	switch {
	case eighths <= 0 && !(v > 0 && y == 0):
		return " "
	case c.ascii:
		return "#"
	}
	ramp := themes.Glyphs(false)
	return string(ramp[between(eighths, 1, 8)-1])
}

// weightLine is the weight under the cursor in one line.
func (b *blockPane) weightLine(c canvas) string {
	t, i := b.trace, b.at
	s := fmt.Sprintf("weight %d: %s %s → %s", i, four(t.W[i]), signed(t.D[i]), four(t.Out[i]))
	if coded(t) {
		s += "   code " + codeText(t, t.OldCode[i])
		if moved(t, i) {
			s += " → " + codeText(t, t.NewCode[i])
		} else {
			s += " stays"
		}
	}
	return c.paint.text(themes.Dim, c.plain(s))
}
