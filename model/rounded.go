package model

import (
	"math"
	"unsafe"

	"mergescope/quant"
)

// Products of inputs with inputs are sums over tokens, of which there are many. There
// each input is rounded to 8 bits, or to 12, for runTokens tokens, in units of its own, and what
// comes of them is added up exactly in int32: with VNNI four times as fast as float32, or
// twice. What 8 bits leave out of x acts on E[x x^T] like damping, 1e-4 of the diagonal where inputs are normal.
const (
	runTokens = 8 * chainLen
	byteMax   = 127
	shortMax  = 2047 // runTokens shortMax^2 < 2^31
)

// roundRun rounds x to multiples of a unit that it returns, in dst, the largest to
// top, and sets what is missing to four to 0. If x is not finite, no unit is.
func roundRun[T int8 | int16](dst []T, x []float32, top float32, roundAll func(dst []T, x []float32, per float32)) (unit float32) {
	unit, per := quant.RoundingUnit(topBits(x), top)
	clear(dst[len(x):roundUp(len(x), 4)])
	if per == 0 {
		clear(dst[:len(x)])
	} else {
		roundAll(dst, x, per)
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

// roundAllGo rounds x times per, all of which T holds, to nearest integers.
func roundAllGo[T int8 | int16](dst []T, x []float32, per float32) {
	const whole = 3 << 22 // its last bit is 1
	for i, v := range x {
		dst[i] = T(math.Float32bits(float32(v*per) + whole))
	}
}

// dotQuadsGo is dotPairsGo for x [k][12][4] and w [k][32][4], of which none is -128. k is at
// most runTokens/4.
func dotQuadsGo(y []float32, stride int, x, w []int8, units *pairUnits, k int, add bool) {
	for r := range tileRows {
		var acc [panelCols]int32
		for i := range k {
			a := x[4*(i*tileRows+r):][:4]
			for c := range acc {
				b := w[4*(i*panelCols+c):][:4]
				acc[c] += int32(a[0])*int32(b[0]) + int32(a[1])*int32(b[1]) + int32(a[2])*int32(b[2]) + int32(a[3])*int32(b[3])
			}
		}
		setSums(y[r*stride:r*stride+panelCols], &acc, units, r, add)
	}
}

// rounded holds some rounded vectors in groups of so many, each [tokens/n][width][n], n the
// integers that take 4 bytes.
type rounded struct {
	precision
	width int
	words []float32 // 4 bytes each, to be moved only
	units []float32
}

// precision is what vectors are rounded to, and how that is kept.
type precision struct {
	top  float32 // byteMax or shortMax
	wide bool    // in 16 bits
}

func precisionOf(fine bool) precision {
	if fine {
		return precision{shortMax, true}
	}
	return precision{byteMax, !quadsAreFast()}
}

func (p *rounded) resize(width, groups int) {
	p.width = width
	p.words, p.units = grow(p.words, groups*width*p.length()), grow(p.units, groups*width)
}

// length is how many words a vector takes.
func (p *rounded) length() int {
	if p.wide {
		return runTokens / 2
	}
	return runTokens / 4
}

// used is how many words so many tokens of a vector take.
func (p *rounded) used(tokens int) int { return roundUp(tokens, 4) * p.length() / runTokens }

// group returns what is of one group, of which any number of tokens may be used.
func (p *rounded) group(g int) (words, units []float32) {
	n := p.width * p.length()
	return p.words[g*n : (g+1)*n], p.units[g*p.width : (g+1)*p.width]
}

// set rounds the only vector of a group.
func (p *rounded) set(g int, x []float32) {
	words, units := p.group(g)
	if p.wide {
		units[0] = roundRun(integers[int16](words), x, p.top, roundShorts)
	} else {
		units[0] = roundRun(integers[int8](words), x, p.top, roundBytes)
	}
}

// integers are what is in words.
func integers[T int8 | int16](words []float32) []T {
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(words))), len(words)*4/int(unsafe.Sizeof(T(0))))
}

// times sets y [12, 32] to scale times the product of group t of a and group g of b, over
// so many tokens, or adds it.
func (p *rounded) times(y []float32, stride int, b *rounded, t, g, tokens int, scale float32, add bool) {
	x, rows := p.group(t)
	w, cols := b.group(g)
	var units pairUnits
	for r, unit := range rows {
		units[r] = scale * unit
	}
	copy(units[tileRows:], cols)
	if k := p.used(tokens); p.wide {
		dotPairs(y, stride, integers[int16](x), integers[int16](w), &units, k, add)
	} else {
		dotQuads(y, stride, integers[int8](x), integers[int8](w), &units, k, add)
	}
}
