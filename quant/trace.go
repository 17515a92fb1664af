package quant

import "slices"

// Trace is one block's way through a merge, every intermediate value kept. All
// slices have one entry per weight of the block, in flat order.
type Trace struct {
	Spec    Spec
	Profile Profile
	Row     int // of the block's first weight
	Col     int
	First   int64 // flat index of the block's first weight
	Cursor  int   // index in the block of the weight asked for

	OldAbsmax float32 // scale before; SCB for int8, 0 for floats
	NewAbsmax float32 // scale stored after the merge, nested quantization applied
	RawAbsmax float32 // scale before nested quantization; equals NewAbsmax without
	Extreme   int     // index of the weight that sets RawAbsmax, -1 if none does or it is outside the block (int8)

	OldCode []uint8 // nibble, or the int8 value's bits
	NewCode []uint8
	W       []float32 // dequantized base, as the merge sees it
	Onto    []float32 // weight that D is added to if that is not W, else nil
	Ref     []float32 // base that Sum compares with
	D       []float32 // delta
	T       []float32 // W+D
	X       []float32 // T in units of RawAbsmax, what is compared with Boundaries; see Unit
	Out     []float32 // dequantized result W'
	Sum     BlockSum

	Choice Choice // how NewCode was found
	Kept   bool   // the scale is the old one whatever the new weights are
	Moved  bool   // it is one that serves the inputs
}

// Choice is how codes are found.
type Choice uint8

// Choices.
const (
	ByDistance Choice = iota // the nearest
	ByDraw                   // one of the two next to the weight
	ForInputs                // with other weights of the row, for what their inputs see
)

// Nearest returns the code whose value on the stored scale is nearest to the exact
// result of weight i, the lowest of those as near, and that value. Floats have no
// codes.
func (t *Trace) Nearest(i int) (code uint8, value float32) {
	first, n := 0, 16
	if t.Spec.Format == Int8 {
		first, n = -127, 255
	}
	dist := inf
	for k := range n {
		c := uint8(first + k)
		v := float32(CodeValue(t.Spec.Format, c) * Unit(t.Spec.Format, t.NewAbsmax))
		if d := abs(v - t.T[i]); d < dist {
			code, value, dist = c, v, d
		}
	}
	return code, value
}

// TraceBlock returns every step of block b of a panel that went through
// Measure(scales). Cursor is left to the caller. It keeps nothing of p.
func TraceBlock(p *Panel, b int, scales []float32) *Trace {
	if scales == nil {
		scales = p.NewAbsmax
	}
	lo, hi := p.Block(b)
	first := p.First + int64(lo)
	t := &Trace{
		Spec:      p.Spec,
		Profile:   p.Profile,
		Row:       int(first / int64(p.Cols)),
		Col:       int(first % int64(p.Cols)),
		First:     first,
		OldAbsmax: p.scale(b, p.Absmax),
		NewAbsmax: p.scale(b, scales),
		RawAbsmax: p.scale(b, p.NewAbsmax),
		OldCode:   p.elements(p.Codes, lo, hi),
		NewCode:   p.elements(p.NewCodes, lo, hi),
		W:         slices.Clone(p.W[lo:hi]),
		Ref:       slices.Clone(p.reference()[lo:hi]),
		D:         slices.Clone(p.D[lo:hi]),
		T:         slices.Clone(p.T[lo:hi]),
		Out:       make([]float32, hi-lo),
		Sum:       p.Sums[b],
	}
	p.result(t.Out, b, b+1, scales)
	t.X = p.relative(b)
	t.Extreme = p.extreme(t.T, t.RawAbsmax)
	return t
}

// elements returns the stored codes of [lo, hi), one a byte; nil for floats.
func (p *Panel) elements(codes []byte, lo, hi int) []uint8 {
	switch f := p.Spec.Format; {
	case f.Is4Bit():
		e := make([]uint8, hi-lo)
		for i := range e {
			e[i] = nibble(codes, lo+i)
		}
		return e
	case f == Int8:
		return slices.Clone(codes[lo:hi])
	default:
		return nil
	}
}

// relative returns T of block b in units of its new scale, as Requantize saw it.
func (p *Panel) relative(b int) []float32 {
	lo, hi := p.Block(b)
	x := slices.Clone(p.T[lo:hi])
	switch f := p.Spec.Format; {
	case f.Is4Bit():
		s := scaler(p.NewAbsmax[b], p.Profile, hi-lo < p.Spec.Blocksize)
		s.scale(x, x)
	case f == Int8:
		row := lo / p.Cols
		s := int8Scaler(p.T[row*p.Cols:(row+1)*p.Cols], p.Profile)
		for i, v := range x {
			x[i] = s.steps(v)
		}
	}
	return x
}

// extreme returns the first of t whose magnitude is the scale, or -1.
func (p *Panel) extreme(t []float32, absmax float32) int {
	if absmax == 0 || p.Spec.Format.IsFloat() {
		return -1
	}
	for i, v := range t {
		if p.Spec.Format == Int8 {
			v = half(v)
		}
		if abs(v) == absmax || v != v && absmax != absmax {
			return i
		}
	}
	return -1
}
