package quant

import "math"

// PairUnits are those of the 12 rows and of the 32 columns of a PairProduct.
type PairUnits [ProductRows + ProductCols]float32

// PairProduct is a kernel for matrix products of integers: it sets y [12, 32], rows
// stride apart, to the exact product of x [k][12][2] and w [k][32][2], all sums of which
// are below 2^31, in the units of rows and columns, or adds it. model.PairProduct is one.
type PairProduct func(y []float32, stride int, x, w []int16, units *PairUnits, k int, add bool)

// RoundingUnit returns the unit in which values whose largest has these bits, but for its
// sign, are integers up to limit, and how many a 1 is. That is 0 where all are to be taken
// to be 0: if the largest is not finite, the unit being NaN then, or its square 0 in float32.
func RoundingUnit(largest uint32, limit float32) (unit, per float32) {
	const least = 1e-30
	switch most := math.Float32frombits(largest); {
	case most-most != 0:
		return float32(math.NaN()), 0
	case most >= least:
		return most / limit, limit / most
	}
	return 0, 0
}

// roundPairs rounds x [2k][width] to integers of dst [k][width][2], up to limit, each column
// in a unit of its own. It sets units, of which there are width, 12 or 32. If there are
// 32, dst may be where x is.
func roundPairs(dst []int16, units, x []float32, limit float32) {
	if len(units) == 0 || len(x) == 0 {
		return
	}
	var largest [ProductCols]uint32
	var per [ProductCols]float32
	largestOf(largest[:len(units)], x)
	for c := range units {
		units[c], per[c] = RoundingUnit(largest[c], limit)
	}
	pairsOf(dst, x, per[:len(units)])
}

// largestOfGo sets largest to the bits of the largest of each column of x.
func largestOfGo(largest []uint32, x []float32) {
	clear(largest)
	for ; len(x) > 0; x = x[len(largest):] {
		for c, v := range x[:len(largest)] {
			largest[c] = max(largest[c], math.Float32bits(v)&^(1<<31))
		}
	}
}

// pairsOfGo rounds x times per, all below 2^15, to the nearest integers.
func pairsOfGo(dst []int16, x, per []float32) {
	const whole = 3 << 22 // its last bit is 1
	for n := len(per); len(x) > 0; x, dst = x[2*n:], dst[2*n:] {
		for c, p := range per {
			dst[2*c], dst[2*c+1] = int16(math.Float32bits(float32(x[c]*p)+whole)), int16(math.Float32bits(float32(x[n+c]*p)+whole))
		}
	}
}
