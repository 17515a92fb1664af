package quant

import "math"

// Dither rounds a value to one of the two code points around it, to the upper
// one with the probability that makes the result right on average: (v-lower) /
// (upper-lower). Unlike rounding to the nearest, it keeps deltas far below half
// a code step in expectation, at the price of noise that is independent from
// weight to weight.
//
// Draws come from a counter: the one of an element depends on the key and on
// the element's index alone, so results depend on neither panels nor workers. A
// Dither is safe for concurrent use.
type Dither struct{ key uint64 }

// NewDither returns the draws of one tensor under a seed.
func NewDither(seed uint64, tensor string) Dither {
	h := uint64(0xcbf29ce484222325) // FNV-1a
	for i := range len(tensor) {
		h = (h ^ uint64(tensor[i])) * 0x100000001b3
	}
	return Dither{mix(h ^ mix(seed+golden))}
}

const golden = 0x9e3779b97f4a7c15

// mix is the finalizer of SplitMix64 (Steele, Lea and Flood, 2014).
func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// uniform returns a multiple of 2^-24 in [0, 1) for element i.
func (d Dither) uniform(i int64) float32 {
	return float32(mix(d.key+uint64(i)*golden)>>40) * (1.0 / (1 << 24))
}

// Quantize4 codes src, whole blocks of a 4-bit format of which only the last may
// be shorter, on the scales of absmax, which stay as they are. first is the
// flat index of src[0] in its tensor. A value beyond the largest code point of
// its block gets that code point; a value that is a code point keeps its code.
// It panics if the lengths do not fit or s is no 4-bit format.
func (d Dither) Quantize4(codes []byte, src, absmax []float32, s Spec, first int64) {
	check4(len(src), codes, absmax, s)
	for b, am := range absmax {
		lo := b * s.Blocksize
		g := newGrid(s.Format, am)
		for i, v := range src[lo:min(lo+s.Blocksize, len(src))] {
			i += lo
			c := g.round(v, d.uniform(first+int64(i)))
			if i%2 == 0 {
				codes[i/2] = c<<4 | g.zero
			} else {
				codes[i/2] = codes[i/2]&0xf0 | c
			}
		}
	}
}

// grid holds the dequantized code points of a block, ascending.
type grid struct {
	value [16]float32
	code  [16]uint8
	n     int   // distinct points
	zero  uint8 // code of 0
}

func newGrid(f Format, absmax float32) grid {
	var g grid
	table := valuesOf(f)
	for k := range table {
		c := uint8(k)
		if f == FP4 {
			c = fp4Rising[k]
		}
		if g.n > 0 && table[c] == table[g.code[g.n-1]] {
			continue // FP4 has two zeros
		}
		g.code[g.n] = c
		g.n++
	}
	if f == NF4 {
		g.zero = 7
	}
	for k, c := range g.code[:g.n] {
		if absmax < 0 { // nested scales can decode to less than zero
			c = g.code[g.n-1-k]
		}
		g.value[k] = table[c] * absmax
	}
	if absmax < 0 {
		for i, j := 0, g.n-1; i < j; i, j = i+1, j-1 {
			g.code[i], g.code[j] = g.code[j], g.code[i]
		}
	}
	return g
}

// fp4Rising lists the FP4 codes by value, the zero of code 0 before code 8's.
var fp4Rising = [16]uint8{11, 10, 13, 12, 15, 14, 9, 0, 8, 1, 6, 7, 4, 5, 2, 3}

// round returns the code of v for a draw u in [0, 1).
func (g *grid) round(v, u float32) uint8 {
	if g.value[0] == g.value[g.n-1] || v != v {
		return g.zero // every code means the same, or none does
	}
	k := 0
	for k < g.n-1 && g.value[k+1] <= v {
		k++
	}
	if k < g.n-1 && u < (v-g.value[k])/(g.value[k+1]-g.value[k]) {
		k++
	}
	return g.code[k]
}

// QuantizeInt8 codes src, rows of len(src)/len(scb) values, on the scales of
// scb, which stay as they are. first is the flat index of src[0] in its tensor.
// Values beyond 127 steps get 127. It panics if the lengths do not fit.
func (d Dither) QuantizeInt8(codes []byte, src, scb []float32, first int64) {
	cols := checkInt8(len(src), codes, scb)
	for o, s := range scb {
		for i := o * cols; i < (o+1)*cols; i++ {
			codes[i] = uint8(roundInt8(src[i], s, d.uniform(first+int64(i))))
		}
	}
}

// roundInt8 returns the int8 value of v on a row's scale for a draw u in [0, 1).
func roundInt8(v, scb, u float32) int8 {
	value := func(q int) float32 { return float32(float32(float32(q)*scb) * int8Step) }
	if !(scb > 0) || v != v {
		return 0
	}
	q := int(math.Floor(max(-127, min(127, float64(v)/float64(value(1))))))
	if value(q) > v {
		q-- // the guess divided, the code point multiplies
	} else if value(q+1) <= v {
		q++
	}
	if q < 127 && u < (v-value(q))/(value(q+1)-value(q)) {
		q++
	}
	return int8(max(-127, min(127, q)))
}
