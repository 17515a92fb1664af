package tui

import (
	"fmt"
	"math"
	"strconv"

	"mergescope/quant"
)

// blockPane shows one block: code occupancy before and after, what moved, delta
// against half a code step, and on demand its weights.
type blockPane struct {
	trace *quant.Trace
	why   string // why there is no trace
	at    int    // weight under the cursor, index in the block
	form  blockForm
}

// blockForm is how the block pane shows its block.
type blockForm uint8

const (
	occupancy blockForm = iota // how many weights have each code
	weights                    // one line a weight
	nibbles                    // the stored bytes
	numBlockForms
)

// setTrace shows a block; nil shows why there is none. The cursor stays on its
// weight if the block is still the same.
func (b *blockPane) setTrace(t *quant.Trace, why string) {
	if t != nil && (b.trace == nil || t.First != b.trace.First || len(t.W) != len(b.trace.W)) {
		b.at = t.Cursor
	}
	b.trace, b.why = t, why
	if t != nil {
		b.at = between(b.at, 0, max(0, len(t.W)-1))
	}
}

// move moves the weight cursor; weight returns its index in the block.
func (b *blockPane) move(d int) {
	if b.trace != nil {
		b.at = between(b.at+d, 0, max(0, len(b.trace.W)-1))
	}
}

func (b *blockPane) weight() int { return b.at }

// cycle switches between occupancy, before/after/delta list and hex.
func (b *blockPane) cycle() string {
	b.form = (b.form + 1) % numBlockForms
	return [...]string{
		occupancy: "how many weights have each code",
		weights:   "each weight before, delta and after",
		nibbles:   "stored codes, those that change in the second line",
	}[b.form]
}

func (b *blockPane) title(w int) (l, r string) {
	t := b.trace
	if t == nil {
		return "block", ""
	}
	l = fmt.Sprintf("block  r%d c%d  weight %d", t.Row, blockColumn(t), b.at)
	if width(l)+9 > w {
		l = fmt.Sprintf("r%d c%d w%d", t.Row, blockColumn(t), b.at)
	}
	if !coded(t) {
		return l, t.Spec.Format.String()
	}
	name, ratio := "absmax", ratioText(t)
	if t.Spec.Format == quant.Int8 {
		name = "scb"
	}
	r = fmt.Sprintf("%s %s → %s  %s", name, four(t.OldAbsmax), four(t.NewAbsmax), ratio)
	if width(l)+width(r)+12 > w { // frame, number of the pane, gap
		r = ratio
	}
	return l, r
}

// blockColumn returns the column of a block in blocks.
func blockColumn(t *quant.Trace) int { return t.Col / blockWidth(t.Spec) }

// blockWidth returns how many weights a block of a format has.
func blockWidth(s quant.Spec) int {
	if s.Blocksize > 0 {
		return s.Blocksize
	}
	return quant.StatBlock
}

// ratioText is how much the scale grew: "×1.007", "×1" if not at all.
func ratioText(t *quant.Trace) string {
	if t.OldAbsmax == 0 {
		return "×–"
	}
	return "×" + strconv.FormatFloat(float64(t.NewAbsmax)/float64(t.OldAbsmax), 'g', 4, 64)
}

// four writes a number with four significant digits.
func four(v float32) string { return strconv.FormatFloat(float64(v), 'g', 4, 32) }

// signed writes a number with four significant digits and its sign.
func signed(v float32) string {
	if v != v || math.IsInf(float64(v), 0) {
		return strconv.FormatFloat(float64(v), 'g', 4, 32)
	}
	return fmt.Sprintf("%+.4g", v)
}

func (b *blockPane) draw(c canvas, w, h int) []string {
	if w <= 0 || h <= 0 {
		return blank(w, h)
	}
	if b.trace == nil || len(b.trace.W) == 0 {
		why := b.why
		if why == "" {
			why = "no block chosen"
		}
		return c.message(w, h, why, "enter in the blocks pane opens the block under its cursor")
	}
	var lines []string
	switch b.form {
	case weights:
		lines = b.drawWeights(c, w, h)
	case nibbles:
		lines = b.drawNibbles(c, w, h)
	default:
		lines = b.drawOccupancy(c, w, h)
	}
	for i := range lines {
		lines[i] = c.fit(lines[i], w)
	}
	return append(lines[:min(len(lines), h)], blank(w, h-len(lines))...)
}

// highlight lays the cursor's look under text.
func highlight(c canvas, s string) string { return c.paint.selected(s) }
