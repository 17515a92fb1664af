package quant

import "math"

// lattice is what codes of a format can say, in units of a block's scale, and
// finds the nearest of it quickly. Of codes that mean the same it knows one.
type lattice struct {
	format Format
	zero   uint8       // code of 0
	one    [16]uint8   // of a 4-bit code: that of those that mean the same
	points pointTables // not of int8, whose points are -127 to 127
}

// pointTables find the nearest of the points of a 4-bit format, which ranks count
// from the lowest. They cut [-1, 1] into 32 cells that have one bound between two
// points at most. The generator knows the offsets.
type pointTables struct {
	bound [32]float32 // of a cell, +Inf if it has none
	below [32]uint32  // how many bounds lower cells have
	value [16]float32 // by rank
	code  [16]uint32  // by rank
	mids  [16]float32 // all bounds, and +Inf
	zero  uint32      // code of 0
}

var nf4Lattice, fp4Lattice = newLattice(NF4), newLattice(FP4)

var int8Lattice = &lattice{format: Int8}

// latticeOf panics unless f is NF4, FP4 or Int8.
func latticeOf(f Format) *lattice {
	switch f {
	case NF4:
		return nf4Lattice
	case FP4:
		return fp4Lattice
	case Int8:
		return int8Lattice
	}
	panic(badFormat)
}

func newLattice(f Format) *lattice {
	g := newGrid(f, 1)
	l := &lattice{format: f, zero: g.zero}
	t := &l.points
	t.zero = uint32(g.zero)
	for i := range t.bound {
		t.bound[i] = inf
	}
	for i := range t.mids {
		t.mids[i] = inf
	}
	for k, c := range g.code[:g.n] {
		t.value[k], t.code[k] = g.value[k], uint32(c)
		l.one[c] = c
		if k == g.n-1 {
			break
		}
		bound := (g.value[k] + g.value[k+1]) / 2
		t.mids[k] = bound
		cell := pointCell(bound)
		t.bound[cell] = bound
		for i := cell + 1; i < len(t.below); i++ {
			t.below[i]++
		}
	}
	if f == FP4 {
		l.one[8] = l.one[0] // the other zero
	}
	return l
}

// pointCell is the cell of a value in [-1, 1]. No bound is so near to the end of
// one that rounding counts.
func pointCell(q float32) int { return min(int(float32(q*16)+16), 31) }

// inverse returns by what nearest multiplies on a scale: NaN where that has no
// points but 0, since it is 0, too small to have a reciprocal, or not finite.
func (l *lattice) inverse(scale float32) float32 {
	if l.format == Int8 {
		scale *= int8Step
	}
	if v := 1 / scale; v != 0 && finite(v) {
		return v
	}
	return nan
}

var nan = float32(math.NaN())

// nearest returns the code of the point nearest to x on a scale of which inverse
// is known, and what it stands for: it rounds x times inverse. Beyond the ends, and
// where that is a tie, it takes the end and the lower one, for NaN 0. Int8 takes
// the even one of a tie.
func (l *lattice) nearest(x, scale, inverse float32) (code uint8, value float32) {
	q := x * inverse
	if q != q {
		return l.zero, 0
	}
	if l.format == Int8 {
		code = uint8(int8(math.RoundToEven(float64(max(-127, min(127, q))))))
		return code, l.value(code, scale)
	}
	q = max(-1, min(1, q))
	t := &l.points
	cell := pointCell(q)
	rank := t.below[cell]
	if q > t.bound[cell] {
		rank++
	}
	return uint8(t.code[rank&15]), t.value[rank&15] * scale
}

// value returns what a code stands for on a scale.
func (l *lattice) value(code uint8, scale float32) float32 {
	if l.format == Int8 {
		return float32(float32(float32(int8(code))*scale) * int8Step)
	}
	return valuesOf(l.format)[code] * scale
}

// known returns the code nearest takes of those that mean the same as one, or, of
// int8's -128, nearly.
func (l *lattice) known(code uint8) uint8 {
	if l.format == Int8 {
		return uint8(max(int8(code), -127))
	}
	return l.one[code]
}
