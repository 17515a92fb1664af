package model

import (
	"math"
	"unsafe"

	"golang.org/x/sys/cpu"

	"mergescope/quant"
)

// Products of inputs with inputs are sums over tokens, of which there are many. There
// each input is rounded to 12 bits for pairTokens tokens, in units of its own, and
// what comes of them is added up exactly in int32: as fast again as float32, and
// far more exact than so many tokens say what moments are.
const (
	pairTokens = 8 * chainLen // pairTokens pairMax^2 < 2^31
	pairMax    = 2047
)

// noSignal is the largest input of some tokens below which all are taken to be 0.
// Their squares are 0 in float32.
const noSignal = 1e-30

// roundPairs rounds x to multiples of a unit that it returns, in dst. Behind an odd number
// is a 0. If x is not finite, no unit is.
func roundPairs(dst []int16, x []float32) (unit float32) {
	most := math.Float32frombits(topBits(x))
	if len(x)%2 == 1 {
		dst[len(x)] = 0
	}
	switch {
	case most-most != 0:
		unit = float32(math.NaN())
		fallthrough
	case most < noSignal:
		clear(dst[:len(x)])
	default:
		roundAll(dst, x, pairMax/most)
		unit = most / pairMax
	}
	return unit
}

// topBitsGo returns the bits of the largest magnitude, NaN's if there is one.
func topBitsGo(x []float32) (top uint32) {
	for _, v := range x {
		top = max(top, math.Float32bits(v)&^(1<<31))
	}
	return top
}

// roundAllGo rounds x times per, all below 2^15, to nearest integers.
func roundAllGo(dst []int16, x []float32, per float32) {
	const whole = 3 << 22 // its last bit is 1
	for i, v := range x {
		dst[i] = int16(math.Float32bits(float32(v*per) + whole))
	}
}

// useVNNI has kernels with AVX-512 multiply and add pairs in one instruction.
var useVNNI = cpu.X86.HasAVX512VNNI

// dotPairsGo is the twin of the vector kernels: y [12, 32], rows stride apart, is set
// to x [k][12][2] times w [k][32][2] in the units of rows and columns, or that
// is added. k is at most pairTokens/2.
func dotPairsGo(y []float32, stride int, x, w []int16, units *pairUnits, k int, add bool) {
	for r := range tileRows {
		var acc [panelCols]int32
		for i := range k {
			a, b := int32(x[2*(i*tileRows+r)]), int32(x[2*(i*tileRows+r)+1])
			for c, row := 0, w[2*i*panelCols:2*(i+1)*panelCols]; c < panelCols; c++ {
				acc[c] += a*int32(row[2*c]) + b*int32(row[2*c+1])
			}
		}
		row := y[r*stride : r*stride+panelCols]
		for c, v := range acc {
			z := float32(float32(float32(v)*units[r]) * units[tileRows+c])
			if add {
				z += row[c]
			}
			row[c] = z
		}
	}
}

// pairUnits are those of 12 rows and of 32 columns.
type pairUnits = quant.PairUnits

// pairs holds some rounded vectors in groups of so many, each [tokens/2][width][2].
type pairs struct {
	width  int
	values []int16
	units  []float32
}

func (p *pairs) resize(width, groups int) {
	p.width = width
	p.values, p.units = grow(p.values, groups*width*pairTokens), grow(p.units, groups*width)
}

// words are pairs as numbers of 4 bytes each, to be moved only.
func words(p []int16) []float32 {
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(p))), len(p)/2)
}

// group returns what is of one group, of which any number of tokens may be used.
func (p *pairs) group(g int) (values []int16, units []float32) {
	return p.values[g*p.width*pairTokens : (g+1)*p.width*pairTokens], p.units[g*p.width : (g+1)*p.width]
}

// times sets y [12, 32] to scale times the product of group t of a and group g of b, over
// so many tokens, or adds it.
func (p *pairs) times(y []float32, stride int, b *pairs, t, g, tokens int, scale float32, add bool) {
	x, rows := p.group(t)
	w, cols := b.group(g)
	var units pairUnits
	for r, unit := range rows {
		units[r] = scale * unit
	}
	copy(units[tileRows:], cols)
	dotPairs(y, stride, x, w, &units, (tokens+1)/2, add)
}
