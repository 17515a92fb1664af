package model

import (
	"context"
	"math"

	"golang.org/x/sys/cpu"
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

// roundPairs rounds x to multiples of a unit that it returns. Two that follow
// each other are neighbours in dst, pairs stride apart; behind an odd number is a 0. If x
// is not finite, no unit is.
func roundPairs(dst []int16, stride int, x []float32) (unit float32) {
	top := uint32(0) // bits of the largest
	for _, v := range x {
		top = max(top, math.Float32bits(v)&^(1<<31))
	}
	per, most := float32(0), math.Float32frombits(top)
	switch {
	case most-most != 0:
		unit = float32(math.NaN())
	case most >= noSignal:
		per, unit = pairMax/most, most/pairMax
	}
	at := 0
	for ; len(x) >= 2; x = x[2:] {
		dst[at], dst[at+1] = roundOne(float32(x[0]*per)), roundOne(float32(x[1]*per))
		at += stride
	}
	if len(x) == 1 {
		dst[at], dst[at+1] = roundOne(float32(x[0]*per)), 0
	}
	return unit
}

// roundOne rounds a number below 2^15 to the nearest integer.
func roundOne(v float32) int16 {
	const whole = 3 << 22 // its last bit is 1
	return int16(math.Float32bits(v + whole))
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
type pairUnits [tileRows + panelCols]float32

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

// group returns what is of one group, of which any number of tokens may be used.
func (p *pairs) group(g int) (values []int16, units []float32) {
	return p.values[g*p.width*pairTokens : (g+1)*p.width*pairTokens], p.units[g*p.width : (g+1)*p.width]
}

// times sets y [12, 32] to the product of group t of a and group g of b, over so
// many tokens, or adds it.
func (p *pairs) times(y []float32, stride int, b *pairs, t, g, tokens int, add bool) {
	x, rows := p.group(t)
	w, cols := b.group(g)
	var units pairUnits
	copy(units[:], rows)
	copy(units[tileRows:], cols)
	dotPairs(y, stride, x, w, &units, (tokens+1)/2, add)
}

// round fills groups with inputs of k tokens from first on of variant v, less minus those
// of another if that is not negative. Columns are in that order, their own if it
// is nil; those there are not are 0.
func (in Inputs) round(ctx context.Context, p *pairs, v, less, workers int, order []int, first, k int) error {
	n := in.Features()
	groups := len(p.units) / p.width
	return parallel(ctx, workers, groups, func(_, g int) error {
		values, units := p.group(g)
		var x [pairTokens]float32
		for c := range p.width {
			at := g*p.width + c
			if at >= n {
				clear(x[:k])
			} else {
				if order != nil {
					at = order[at]
				}
				in.column(x[:k], at, v, less, first)
			}
			units[c] = roundPairs(values[2*c:], 2*p.width, x[:k])
		}
		return nil
	})
}

// roundRows fills groups with the first n columns of y, one row a token; behind them are 0.
func (p *pairs) roundRows(ctx context.Context, workers int, y *matrix, n, tokens int) error {
	return parallel(ctx, workers, len(p.units)/p.width, func(_, g int) error {
		values, units := p.group(g)
		var x [pairTokens]float32
		for c := range p.width {
			clear(x[:tokens])
			if at := g*p.width + c; at < n {
				for i := range tokens {
					x[i] = y.data[i*y.stride+at]
				}
			}
			units[c] = roundPairs(values[2*c:], 2*p.width, x[:tokens])
		}
		return nil
	})
}

// regroup fills groups of 12 with what others hold.
func (p *pairs) regroup(ctx context.Context, from *pairs, workers, tokens int) error {
	return parallel(ctx, workers, len(p.units)/p.width, func(_, g int) error {
		values, units := p.group(g)
		for c := range p.width {
			at := g*p.width + c
			if at >= len(from.units) { // to whole groups
				units[c] = 0
				continue
			}
			x, u := from.group(at / from.width)
			at %= from.width
			units[c] = u[at]
			for i := range (tokens + 1) / 2 {
				k, l := 2*(i*p.width+c), 2*(i*from.width+at)
				values[k], values[k+1] = x[l], x[l+1]
			}
		}
		return nil
	})
}

// column fills x with feature j of tokens from first on, which begins a tile.
func (in Inputs) column(x []float32, j, v, less, first int) {
	for i := 0; i < len(x); i += tileRows {
		tile := in.r.in.tile((v*in.r.rows + first + i) / tileRows)[j*tileRows:][:tileRows]
		part := x[i:min(i+tileRows, len(x))]
		copy(part, tile)
		if less < 0 {
			continue
		}
		tile = in.r.in.tile((less*in.r.rows + first + i) / tileRows)[j*tileRows:][:tileRows]
		for k := range part {
			part[k] -= tile[k]
		}
	}
}
