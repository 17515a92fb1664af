package quant

import "math"

// lattice is what codes of a format can say, in units of a block's scale, and
// finds the nearest of it quickly. Ranks count its points from the lowest.
type lattice struct {
	format Format
	points []float32 // ascending; nil for int8, whose points are -127 to 127
	codes  []uint8   // by rank
	zero   int       // rank of 0
	rankOf [16]uint8 // by 4-bit code

	// Cell i covers [i, i+1) / 64 - 1. It has at most one bound between two
	// points: above it the rank is one more.
	ranks  [128]uint8
	bounds [128]float32
}

var nf4Lattice, fp4Lattice = newLattice(NF4), newLattice(FP4)

var int8Lattice = &lattice{format: Int8, zero: 127}

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
	l := &lattice{format: f, points: g.value[:g.n], codes: g.code[:g.n]}
	for k, c := range l.codes {
		if c == g.zero {
			l.zero = k
		}
		l.rankOf[c] = uint8(k)
	}
	if f == FP4 {
		l.rankOf[8] = l.rankOf[0] // the other zero
	}
	k := 0
	for i := range l.ranks {
		lo, hi := float32(float32(i)/64)-1, float32(float32(i+1)/64)-1
		for k < g.n-1 && l.bound(k) < lo {
			k++
		}
		l.ranks[i], l.bounds[i] = uint8(k), float32(math.Inf(1))
		if k < g.n-1 && l.bound(k) < hi {
			l.bounds[i] = l.bound(k)
		}
	}
	return l
}

// bound lies between the points of rank k and k+1.
func (l *lattice) bound(k int) float32 { return (l.points[k] + l.points[k+1]) / 2 }

// nearest returns the rank of the point nearest to x on a scale and what it
// stands for. Beyond the ends, and where x is a tie, it takes the end and the
// lower one; on a scale that is 0 or not finite, and for NaN, it takes 0.
func (l *lattice) nearest(x, scale float32) (rank int, value float32) {
	unit := scale
	if l.points == nil {
		unit = scale * int8Step
	}
	q := x / unit
	if q != q || unit == 0 || unit-unit != 0 {
		return l.zero, 0
	}
	if l.points == nil {
		q := math.RoundToEven(float64(max(-127, min(127, q))))
		return int(q) + 127, float32(float32(float32(q)*scale) * int8Step)
	}
	q = max(-1, min(1, q))
	i := min(int((q+1)*64), len(l.ranks)-1)
	rank = int(l.ranks[i]) + int(math.Float32bits(l.bounds[i]-q)>>31)
	return rank, l.points[rank] * scale
}

// value returns what a rank stands for on a scale.
func (l *lattice) value(rank int, scale float32) float32 {
	if l.points == nil {
		return float32(float32(float32(rank-127)*scale) * int8Step)
	}
	return l.points[rank] * scale
}

// pack stores the ranks of consecutive weights as codes.
func (l *lattice) pack(codes, ranks []byte) {
	if l.points == nil {
		for i, r := range ranks {
			codes[i] = uint8(int8(int(r) - 127))
		}
		return
	}
	for i := 0; i < len(ranks); i += 2 {
		low := l.codes[l.zero]
		if i+1 < len(ranks) {
			low = l.codes[ranks[i+1]]
		}
		codes[i/2] = l.codes[ranks[i]]<<4 | low
	}
}

// unpack is the inverse of pack. Codes of the same point, and int8's -128 and
// -127, have one rank.
func (l *lattice) unpack(ranks, codes []byte) {
	if l.points == nil {
		for i := range ranks {
			ranks[i] = uint8(max(int(int8(codes[i])), -127) + 127)
		}
		return
	}
	for i := range ranks {
		ranks[i] = l.rankOf[codes[i/2]>>(4*(1-i%2))&15]
	}
}
