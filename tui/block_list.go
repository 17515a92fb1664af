package tui

import (
	"fmt"
	"strings"

	"mergescope/quant"
	"mergescope/themes"
)

// numberWidth is the room of a number in the list of weights.
const numberWidth = 11

// drawWeights lists the weights around the cursor, one a line. Whole columns
// drop out where there is no room: error, before, after, delta.
func (b *blockPane) drawWeights(c canvas, w, h int) []string {
	t := b.trace
	code := 0
	if coded(t) {
		code = 8
		if t.Spec.Format == quant.Int8 {
			code = 13
		}
	}
	room := (w - 6 - code) / numberWidth
	columns := []struct {
		name string
		show bool
		of   func(i int) string
	}{
		{"before", room >= 3, func(i int) string { return four(t.W[i]) }},
		{"delta", room >= 1, func(i int) string { return signed(t.D[i]) }},
		{"after", room >= 2, func(i int) string { return four(t.Out[i]) }},
		{"error", room >= 4, func(i int) string { return signed(t.Out[i] - t.T[i]) }},
	}
	head := "weight"
	if code > 0 {
		head += fmt.Sprintf("  %-*s", code-2, "code")
	}
	for _, col := range columns {
		if col.show {
			head += fmt.Sprintf("%*s", numberWidth, col.name)
		}
	}
	out := []string{c.paint.text(themes.Dim, head)}
	rows := max(1, h-len(out))
	first := window(b.at-rows/2, b.at, rows, len(t.W))
	for i := first; i < min(len(t.W), first+rows); i++ {
		line := fmt.Sprintf("%6d", i)
		if code > 0 {
			line += b.codeChange(c, i, code)
		}
		for _, col := range columns {
			if col.show {
				line += fmt.Sprintf("%*s", numberWidth, col.of(i))
			}
		}
		if line = c.fit(line, w); i == b.at {
			line = highlight(c, line)
		}
		out = append(out, line)
	}
	return out
}

// codeChange spells the code of weight i in w characters: "  6", "  6 → 7".
func (b *blockPane) codeChange(c canvas, i, w int) string {
	t := b.trace
	s := "  " + codeText(t, t.OldCode[i])
	if !moved(t, i) {
		return fmt.Sprintf("%-*s", w, s)
	}
	change := c.plain(" → " + codeText(t, t.NewCode[i]))
	pad := strings.Repeat(" ", max(0, w-width(s)-width(change)))
	return s + c.paint.text(themes.Warn, change) + pad
}

// drawNibbles shows the stored bytes, and below each line those that change.
func (b *blockPane) drawNibbles(c canvas, w, h int) []string {
	t := b.trace
	if !coded(t) {
		return c.message(w, h, "the result has no codes", "i shows its values")
	}
	per := 1 // weights a byte
	if t.Spec.Format.Is4Bit() {
		per = 2
	}
	n := between((w-6)/3, 1, 16)
	bytes := (len(t.OldCode) + per - 1) / per
	rows := max(1, h/2)
	lines := (bytes + n - 1) / n
	first := window(b.at/per/n-rows/2, b.at/per/n, rows, lines)
	var out []string
	for l := first; l < min(lines, first+rows); l++ {
		before := c.paint.text(themes.Dim, fmt.Sprintf("%5d", l*n*per))
		after := strings.Repeat(" ", 5)
		for k := l * n; k < min(bytes, (l+1)*n); k++ {
			before += " " + b.stored(c, t.OldCode, k, per, true)
			if b.byteMoved(k, per) {
				after += " " + c.paint.text(themes.Warn, b.stored(c, t.NewCode, k, per, false))
			} else {
				after += " " + c.paint.text(themes.Dim, strings.Repeat(c.glyphs().dot, 2))
			}
		}
		out = append(out, before, after)
	}
	return out
}

// stored spells byte k of some codes, the element under the cursor marked.
func (b *blockPane) stored(c canvas, codes []uint8, k, per int, mark bool) string {
	if per == 1 {
		s := fmt.Sprintf("%02X", codes[k])
		if mark && k == b.at {
			s = highlight(c, s)
		}
		return s
	}
	s := ""
	for i := k * per; i < (k+1)*per; i++ {
		digit := " "
		if i < len(codes) {
			digit = fmt.Sprintf("%X", codes[i])
		}
		if mark && i == b.at {
			digit = highlight(c, digit)
		}
		s += digit
	}
	return s
}

func (b *blockPane) byteMoved(k, per int) bool {
	t := b.trace
	for i := k * per; i < min(len(t.OldCode), (k+1)*per); i++ {
		if moved(t, i) {
			return true
		}
	}
	return false
}

// codeText spells a code: a hexadecimal nibble, or the int8 value.
func codeText(t *quant.Trace, code uint8) string {
	if t.Spec.Format == quant.Int8 {
		return fmt.Sprint(int8(code))
	}
	return fmt.Sprintf("%X", code)
}
