package merge

import (
	"fmt"
	"math"
	"strings"

	"mergescope/quant"
)

// Explain is a block's way through a merge in words, for the command and for
// copying from the screen. Weights are counted from 0 in flat order.
type Explain struct {
	Trace  *quant.Trace
	Layer  string
	Report *LayerReport // of the whole layer, nil if there is none
}

// Text explains weight i of the block: where it is, the six steps, what became
// of the delta, and the block's figures.
func (e Explain) Text(i int) string {
	t := e.Trace
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %s  block at row %d, column %d  weight %d of 0 to %d\n\n",
		e.Layer, e.format(), t.Row, t.Col, i, len(t.W)-1)
	for _, s := range e.Steps(i) {
		b.WriteString(s + "\n")
	}
	fmt.Fprintf(&b, "\n%s\n%s\n", e.Verdict(i), e.Block())
	if s := e.Inputs(); s != "" {
		b.WriteString(s + "\n")
	}
	return b.String()
}

// Inputs says what the layer's inputs see of the delta, "" if that is not known.
func (e Explain) Inputs() string {
	if e.Report == nil || math.IsNaN(float64(e.Report.KeptOnInputs)) {
		return ""
	}
	s := "layer: kept on its inputs " + Percent(float64(e.Report.KeptOnInputs))
	if p := e.Report.Peft; p != nil {
		s += fmt.Sprintf(", with PEFT's codes %s (of the matrix %s, %s)", Percent(float64(p.OnInputs)), Percent(float64(e.Report.Kept)), Percent(float64(p.Kept)))
	}
	return s
}

// Steps returns the six steps of weight i, one line each. Nested absmax adds a
// part to the fourth.
func (e Explain) Steps(i int) []string {
	t := e.Trace
	steps := []string{e.unpack(i), e.dequantize(i)}
	to := ""
	if t.Onto != nil {
		to = "to the original weight " + plain(t.Onto[i]) + " "
	}
	steps = append(steps, fmt.Sprintf("3 add         %s+ scale × (B·A) = %s  →  %s", to, signed(t.D[i]), plain(t.T[i])))
	steps = append(steps, e.scale(), e.requantize(i))
	asked, got := t.D[i], t.Out[i]-t.W[i]
	return append(steps, fmt.Sprintf("6 result      %s   error %s   asked %s   got %s",
		e.decoded(i), signed(t.Out[i]-t.T[i]), signed(asked), signed(got)))
}

func (e Explain) format() string {
	s := e.Trace.Spec
	if s.Nested {
		return s.Format.String() + " with nested absmax"
	}
	return s.Format.String()
}

func (e Explain) unpack(i int) string {
	t := e.Trace
	switch f := t.Spec.Format; {
	case f.Is4Bit():
		// The first of two weights is the high nibble; blocks begin on a byte.
		hi, lo := t.OldCode[i&^1], uint8(0)
		if i|1 < len(t.OldCode) {
			lo = t.OldCode[i|1]
		}
		mine, other := "high", "low"
		if i&1 == 1 {
			mine, other = other, mine
		}
		return fmt.Sprintf("1 unpack      byte 0x%02X: %s nibble %X is this weight, the %s one its neighbour", hi<<4|lo, mine, t.OldCode[i], other)
	case f == quant.Int8:
		return fmt.Sprintf("1 unpack      byte 0x%02X is the int8 value %d", t.OldCode[i], int8(t.OldCode[i]))
	default:
		return fmt.Sprintf("1 unpack      stored as %s, nothing to unpack", f)
	}
}

func (e Explain) dequantize(i int) string {
	t := e.Trace
	f := t.Spec.Format
	switch {
	case f.Is4Bit():
		point := quant.CodeValue(f, t.OldCode[i])
		s := fmt.Sprintf("2 dequantize  %s[%X] × absmax = %s × %s = %s", f, t.OldCode[i], plain(point), plain(t.OldAbsmax), plain(point*t.OldAbsmax))
		if t.Spec.Dtype != quant.F32 {
			s += fmt.Sprintf(", rounded to %s: %s", t.Spec.Dtype, plain(t.W[i]))
		}
		return s
	case f == quant.Int8:
		return fmt.Sprintf("2 dequantize  %d × SCB / 127 = %d × %s / 127 = %s", int8(t.OldCode[i]), int8(t.OldCode[i]), plain(t.OldAbsmax), plain(t.W[i]))
	default:
		return fmt.Sprintf("2 dequantize  the value itself: %s", plain(t.W[i]))
	}
}

// scale explains where the new absmax comes from and how it is stored.
func (e Explain) scale() string {
	t := e.Trace
	f := t.Spec.Format
	if f.IsFloat() {
		return "4 new absmax  float weights have none"
	}
	if t.Kept {
		return fmt.Sprintf("4 absmax      the base's stays: %s; the largest of the block's new weights is %s", plain(t.OldAbsmax), plain(largest(t.T)))
	}
	if t.Moved {
		return fmt.Sprintf("4 absmax      moved for the inputs: %s (was %s%s); the largest of the block's new weights is %s",
			plain(t.NewAbsmax), plain(t.OldAbsmax), times(t.NewAbsmax, t.OldAbsmax), plain(largest(t.T)))
	}
	name, over := "absmax", fmt.Sprintf("largest magnitude of the %d new weights", len(t.T))
	if f == quant.Int8 {
		name, over = "SCB   ", "largest magnitude of the row's new weights in float16"
	}
	s := fmt.Sprintf("4 new %s  %s: %s (was %s%s", name, over, plain(t.RawAbsmax), plain(t.OldAbsmax), times(t.RawAbsmax, t.OldAbsmax))
	if t.Extreme >= 0 {
		s += fmt.Sprintf(", from weight %d", t.Extreme)
	}
	s += ")"
	if t.Spec.Nested {
		s += fmt.Sprintf("\n              stored in 8 bits (double quantization), read back as %s%s", plain(t.NewAbsmax), times(t.NewAbsmax, t.RawAbsmax))
	}
	return s
}

func (e Explain) requantize(i int) string {
	t := e.Trace
	f := t.Spec.Format
	switch {
	case f.IsFloat():
		return fmt.Sprintf("5 requantize  round %s to %s: %s", plain(t.T[i]), f, plain(t.Out[i]))
	case t.RawAbsmax == 0:
		return fmt.Sprintf("5 requantize  all new weights are 0, so the scale is 0  →  code %s", e.code(t.NewCode[i]))
	}
	divide := fmt.Sprintf("%s / %s", plain(t.T[i]), plain(t.RawAbsmax))
	if f == quant.Int8 {
		divide = fmt.Sprintf("%s × 127 / %s", plain(t.T[i]), plain(t.RawAbsmax))
	}
	if t.Choice != quant.ByDistance {
		code, _ := t.Nearest(i)
		how := "drawn for it"
		if t.Choice == quant.ForInputs {
			how = "chosen for the inputs"
		}
		return fmt.Sprintf("5 choose      %s = %s, nearest code %s; %s  →  code %s", divide, plain(t.X[i]), e.code(code), how, e.code(t.NewCode[i]))
	}
	return fmt.Sprintf("5 requantize  %s = %s, %s  →  code %s", divide, plain(t.X[i]), e.between(t.X[i]), e.code(t.NewCode[i]))
}

// between names the decision boundaries around x.
func (e Explain) between(x float32) string {
	if x != x {
		return "NaN, for which every comparison is false"
	}
	bounds := quant.Boundaries(e.Trace.Spec.Format, e.Trace.Profile)
	n := 0
	for n < len(bounds) && bounds[n] < x {
		n++
	}
	switch n {
	case 0:
		return "at or below the lowest boundary " + plain(bounds[0])
	case len(bounds):
		return "above the highest boundary " + plain(bounds[n-1])
	}
	return fmt.Sprintf("between the boundaries %s and %s", plain(bounds[n-1]), plain(bounds[n]))
}

func (e Explain) decoded(i int) string {
	t := e.Trace
	f := t.Spec.Format
	switch {
	case f.Is4Bit():
		return fmt.Sprintf("%s[%X] × %s = %s", f, t.NewCode[i], plain(t.NewAbsmax), plain(t.Out[i]))
	case f == quant.Int8:
		return fmt.Sprintf("%d × %s / 127 = %s", int8(t.NewCode[i]), plain(t.NewAbsmax), plain(t.Out[i]))
	default:
		return plain(t.Out[i])
	}
}

// code spells a code: a hexadecimal nibble, or the int8 value.
func (e Explain) code(c uint8) string {
	if e.Trace.Spec.Format == quant.Int8 {
		return fmt.Sprint(int8(c))
	}
	return fmt.Sprintf("%X", c)
}

// Verdict says what became of the delta of weight i.
func (e Explain) Verdict(i int) string {
	t := e.Trace
	f := t.Spec.Format
	if f.IsFloat() {
		return fmt.Sprintf("the result is the nearest %s: of the delta %s, %s arrived", f, signed(t.D[i]), signed(t.Out[i]-t.W[i]))
	}
	if t.Choice != quant.ByDistance {
		return e.choice(i)
	}
	if t.OldCode[i] != t.NewCode[i] {
		return fmt.Sprintf("code %s → %s: the weight moves by %s where the adapter asked for %s",
			e.code(t.OldCode[i]), e.code(t.NewCode[i]), signed(t.Out[i]-t.W[i]), signed(t.D[i]))
	}
	if t.D[i] == 0 {
		return fmt.Sprintf("code %s stays: the adapter asks for nothing here", e.code(t.OldCode[i]))
	}
	down, up := quant.DeadZone(f, t.Profile, t.OldCode[i])
	unit := quant.Unit(f, t.OldAbsmax)
	need := up * unit
	if t.D[i] < 0 {
		need = -down * unit
	}
	reach := fmt.Sprintf("it takes %s to reach the next one", signed(need))
	switch {
	case math.IsInf(float64(need), 0):
		reach = "no code lies beyond it"
	case math.Abs(float64(t.D[i])) > math.Abs(float64(need)):
		reach = "since the block's scale changed with it"
	}
	return fmt.Sprintf("code %s stays: the delta %s is swallowed, %s", e.code(t.OldCode[i]), signed(t.D[i]), reach)
}

// choice says what was chosen for weight i instead of the nearest code.
func (e Explain) choice(i int) string {
	t := e.Trace
	code, value := t.Nearest(i)
	off, least := t.Out[i]-t.T[i], value-t.T[i]
	mine := fmt.Sprintf("code %s instead of the nearest, %s: error %s, that had %s", e.code(t.NewCode[i]), e.code(code), signed(off), signed(least))
	if off == least {
		mine = fmt.Sprintf("code %s is the nearest to the sum: error %s", e.code(t.NewCode[i]), signed(off))
	}
	if t.Choice == quant.ByDraw {
		return mine + "; drawn between its two neighbours, so that it is right on average"
	}
	return mine + "; the row's other weights make up for it in what the inputs see, as it does for them"
}

func largest(v []float32) float32 {
	m := float32(0)
	for _, x := range v {
		if x < 0 {
			x = -x
		}
		if x > m || x != x {
			m = x
		}
	}
	return m
}

// Block sums up the block.
func (e Explain) Block() string {
	t := e.Trace
	kept := math.NaN()
	if t.Sum.DD > 0 {
		kept = float64(t.Sum.RD) / float64(t.Sum.DD)
	}
	s := fmt.Sprintf("block: %d of %d codes moved, kept %s", t.Sum.Codes, len(t.W), Percent(kept))
	if !t.Spec.Format.IsFloat() {
		s += fmt.Sprintf(", scale %s → %s%s", plain(t.OldAbsmax), plain(t.NewAbsmax), times(t.NewAbsmax, t.OldAbsmax))
	}
	if bad := t.Sum.Delta + t.Sum.Sum + t.Sum.Output; bad > 0 {
		s += fmt.Sprintf("; non-finite: %d in the delta, %d in the sum, %d in the result", t.Sum.Delta, t.Sum.Sum, t.Sum.Output)
	}
	return s
}

func plain(v float32) string  { return fmt.Sprintf("%.4g", v) }
func signed(v float32) string { return fmt.Sprintf("%+.4g", v) }

// times prints ", ×1.007", nothing if there is no ratio.
func times(a, b float32) string {
	if b == 0 {
		return ""
	}
	return fmt.Sprintf(", ×%.4g", a/b)
}
