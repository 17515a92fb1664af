package tui

import (
	"fmt"
	"math"
	"slices"

	"mergescope/merge"
	"mergescope/quant"
)

// bin is a range of codes or values in the histogram of a block.
type bin struct {
	label         string
	before, after int
	moved         int // weights of before whose stored element changes
}

// histogram counts the weights of a block by what is stored for them, in rising
// order of value.
type histogram struct {
	bins []bin
	of   []int // bin of each weight before the merge, -1 for NaN
}

// histogramOf makes one bin a code for 4-bit formats and sixteen bins of values
// for the others.
func histogramOf(t *quant.Trace) histogram {
	var h histogram
	var place func(code uint8, v float32) int
	switch f := t.Spec.Format; {
	case coded(t) && f.Is4Bit():
		var rank [16]int
		for i, code := range codesByValue(f) {
			h.bins = append(h.bins, bin{label: fmt.Sprintf("%X", code)})
			rank[code] = i
		}
		place = func(code uint8, _ float32) int { return rank[code&15] }
	case coded(t):
		h.bins = make([]bin, 16)
		for k := 0; k < len(h.bins); k += 4 {
			h.bins[k].label = fmt.Sprint(16*k - 128)
		}
		place = func(code uint8, _ float32) int { return (int(int8(code)) + 128) / 16 }
	default:
		h.bins = make([]bin, 16)
		top := largest(t.W, t.Out)
		h.bins[0].label, h.bins[8].label, h.bins[15].label = fmt.Sprintf("%.1g", -top), "0", fmt.Sprintf("%.1g", top)
		place = func(_ uint8, v float32) int {
			if v != v {
				return -1
			}
			return int(min(15, max(0, 8+8*float64(v)/top)))
		}
	}
	for i := range t.W {
		old, now := place(codeAt(t.OldCode, i), t.W[i]), place(codeAt(t.NewCode, i), t.Out[i])
		h.of = append(h.of, old)
		if old >= 0 {
			h.bins[old].before++
			if moved(t, i) {
				h.bins[old].moved++
			}
		}
		if now >= 0 {
			h.bins[now].after++
		}
	}
	return h
}

// coded reports whether a weight has a code before and after; floats have none,
// and quantized weights lose theirs where they are written dequantized.
func coded(t *quant.Trace) bool {
	return len(t.OldCode) == len(t.W) && len(t.NewCode) == len(t.W)
}

// codeAt returns code i, 0 where there is none.
func codeAt(codes []uint8, i int) uint8 {
	if i >= len(codes) {
		return 0
	}
	return codes[i]
}

// top returns the largest count, at least 1.
func (h histogram) top() int {
	top := 1
	for _, k := range h.bins {
		top = max(top, k.before, k.after)
	}
	return top
}

// moved reports whether the stored element of a weight changes.
func moved(t *quant.Trace, i int) bool {
	if coded(t) {
		return t.OldCode[i] != t.NewCode[i]
	}
	return t.Out[i] != t.W[i]
}

// codesByValue returns the codes of a 4-bit format in rising order of their
// values; FP4's do not rise with the code.
func codesByValue(f quant.Format) []uint8 {
	codes := make([]uint8, 16)
	for i := range codes {
		codes[i] = uint8(i)
	}
	slices.SortStableFunc(codes, func(a, b uint8) int {
		x, y := quant.CodeValue(f, a), quant.CodeValue(f, b)
		switch {
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return 0
	})
	return codes
}

// largest returns the largest finite magnitude, 1 if all are zero.
func largest(sets ...[]float32) float64 {
	top := 0.0
	for _, set := range sets {
		for _, v := range set {
			if a := math.Abs(float64(v)); a > top && !math.IsInf(a, 0) {
				top = a
			}
		}
	}
	if top == 0 {
		return 1
	}
	return top
}

// blockFacts are the figures of a block that decide what became of its delta.
type blockFacts struct {
	deltaRMS  float64
	halfStep  float64 // least distance from a weight of the block to a boundary; NaN for floats
	reach     int     // deltas that reach half a step
	asked     int     // deltas that are not zero
	moved     int     // stored elements that change
	zeros     int     // of these, those that only change the sign of FP4's zero
	nonfinite int
	kept      float64 // NaN if nothing was asked
}

func factsOf(t *quant.Trace) blockFacts {
	f := blockFacts{halfStep: math.NaN(), kept: math.NaN()}
	n, squares := 0, 0.0
	unit := float64(quant.Unit(t.Spec.Format, t.OldAbsmax))
	for i, d := range t.D {
		d := float64(d)
		if math.IsNaN(d) || math.IsInf(d, 0) {
			f.nonfinite++
			continue
		}
		n, squares = n+1, squares+d*d
		if d != 0 {
			f.asked++
		}
		if moved(t, i) {
			f.moved++
		}
		if !coded(t) {
			continue
		}
		if t.Spec.Format == quant.FP4 && t.OldCode[i]&7 == 0 && t.NewCode[i]&7 == 0 && t.OldCode[i] != t.NewCode[i] {
			f.zeros++
		}
		down, up := quant.DeadZone(t.Spec.Format, t.Profile, t.OldCode[i])
		for side, zone := range []float64{float64(down) * unit, float64(up) * unit} {
			if !(f.halfStep <= zone) {
				f.halfStep = zone
			}
			if side == 0 && -d >= zone || side == 1 && d >= zone {
				f.reach++
			}
		}
	}
	if n > 0 {
		f.deltaRMS = math.Sqrt(squares / float64(n))
	}
	if t.Sum.DD > 0 {
		f.kept = float64(t.Sum.RD) / float64(t.Sum.DD)
	}
	return f
}

// sentence says what became of the delta in a block.
func (f blockFacts) sentence(t *quant.Trace) string {
	scale := fmt.Sprintf("only the scale does (%s)", ratioText(t))
	if t.OldAbsmax == t.NewAbsmax {
		scale = "and the scale stays: nothing of it arrives"
	}
	switch {
	case f.nonfinite > 0:
		return fmt.Sprintf("%d values of the delta are not finite: a merge of this block is meaningless", f.nonfinite)
	case f.asked == 0 && f.moved == 0:
		return "the adapter asks for nothing here"
	case !coded(t):
		return fmt.Sprintf("%d of %d values change, kept %s: the result has no codes and is only rounded", f.moved, len(t.W), merge.Percent(f.kept))
	case f.moved == 0 && t.Choice != quant.ByDistance:
		return "no code moves here"
	case f.moved == 0 && f.reach == 0:
		return "no delta reaches half a step: no code moves, " + scale
	case f.moved == 0:
		return fmt.Sprintf("%s half a step, yet no code moves, %s", reachText(f.reach), scale)
	}
	s := fmt.Sprintf("%d of %d codes move, kept %s", f.moved, len(t.W), merge.Percent(f.kept))
	if t.Choice != quant.ByDistance {
		return s + ": " + chosenText(t)
	}
	if f.zeros > 0 {
		s += fmt.Sprintf("; %d only change the sign of zero", f.zeros)
	}
	if f.reach == 0 {
		s += ": no delta reaches half a step, the new scale moves them"
	}
	return s
}

// chosenText says what the codes of a block were chosen for.
func chosenText(t *quant.Trace) string {
	if t.Choice == quant.ByDraw {
		return "each is drawn between its two neighbours, right on average"
	}
	return "they make up for those of the other blocks in what the inputs see"
}

func reachText(n int) string {
	if n == 1 {
		return "1 delta reaches"
	}
	return fmt.Sprintf("%d deltas reach", n)
}
