package model

import (
	"context"

	"mergescope/quant"
)

// vectors are n vectors over tokens. get puts those of [at, at+count) in x, spread apart,
// for k tokens from first on, a multiple of tileRows. They are placed in that order,
// their own if it is nil.
type vectors struct {
	n     int
	order []int
	get   func(x []float32, at, count, first, k int)
}

const (
	someCols = 64                   // vectors that are rounded at once
	spread   = runTokens + tileRows // not a multiple of many cache lines
)

// rounding is the memory it takes.
type rounding struct {
	some [][someCols * spread]float32 // by worker
	all  rounded                      // each a group of its own
}

// round fills groups of several with vectors over k tokens from first on, those there are not
// with 0.
func (m *rounding) round(ctx context.Context, v vectors, first, k int, into ...*rounded) error {
	m.all.resize(1, roundUp(v.n, someCols))
	err := parallel(ctx, len(m.some), len(m.all.units)/someCols, func(w, i int) error {
		x, at := m.some[w][:], i*someCols
		count := min(someCols, v.n-at)
		v.get(x, at, count, first, k)
		for c := range count {
			m.all.set(at+c, x[c*spread:][:k])
		}
		return nil
	})
	for _, p := range into {
		if err == nil {
			err = p.regroup(ctx, &m.all, v, len(m.some), k)
		}
	}
	return err
}

// regroup fills groups with vectors that have each a group of its own.
func (p *rounded) regroup(ctx context.Context, all *rounded, v vectors, workers, tokens int) error {
	return parallel(ctx, workers, len(p.units)/p.width, func(_, g int) error {
		var some [panelCols * runTokens / 2]float32
		n := p.length()
		words, units := p.group(g)
		for c := range p.width {
			at, x := g*p.width+c, some[c*n:][:n]
			if at >= v.n { // to whole groups
				clear(x)
				units[c] = 0
				continue
			}
			if v.order != nil {
				at = v.order[at]
			}
			from, unit := all.group(at)
			units[c] = unit[0]
			copy(x, from)
		}
		quant.Interleave(words, p.width, some[:], n, p.width, p.used(tokens))
		return nil
	})
}

// features are the inputs of variant v, less minus those of another if that is not
// negative.
func (in Inputs) features(v, less int, order []int) vectors {
	return vectors{in.Features(), order, func(x []float32, at, count, first, k int) {
		for i := 0; i < k; i += tileRows {
			tile := in.r.in.tile((v*in.r.rows + first + i) / tileRows)[at*tileRows:]
			for c := range count {
				y := [tileRows]float32(tile[c*tileRows:])
				*(*[tileRows]float32)(x[c*spread+i:]) = y
			}
			if less < 0 {
				continue
			}
			tile = in.r.in.tile((less*in.r.rows + first + i) / tileRows)[at*tileRows:]
			for c := range count {
				y := x[c*spread+i:][:tileRows]
				for r, z := range tile[c*tileRows:][:tileRows] {
					y[r] -= z
				}
			}
		}
	}}
}

// columns are n columns of y from column col on, a row a token from row on.
func (y *matrix) columns(row, col, n int) vectors {
	return vectors{n, nil, func(x []float32, at, count, first, k int) {
		quant.Interleave(x, spread, y.data[(row+first)*y.stride+col+at:], y.stride, k, count)
	}}
}
