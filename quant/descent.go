package quant

import (
	"math"
	"slices"
)

// descentGain is how much of its own square s^2 M_jj a change of a weight by s
// must save at least: less is rounding.
const descentGain = 1e-5

// Descend lowers the sum that Loss returns by coordinate descent, from any
// codes, packed as those of the panel, which it replaces: weight by weight it
// takes the code that is best while all others stay, at most so many times over
// all weights, and no longer than codes change. It returns what is left of the
// sum by row, never more than that of the codes it began with. Weights that no
// input reaches get the code nearest to the base. It needs Load as Choose does.
//
// With Z = (E U + Y) D, the gradient of half the sum is E M + G = Z U^T, so the
// factor of M is enough: a pass takes half of the columns of multiply-adds per
// weight, as much again where a weight of 12 rows changed, and no more memory
// than Z. Rows do not depend on each other, nor on how many there are.
func (c *Chooser) Descend(codes []byte, s Spec, passes int) (losses []float64) {
	l := latticeOf(s.Format)
	c.take(l, codes)
	first := slices.Clone(c.codes)
	before := slices.Clone(c.settle(l))
	c.idle = make([]bool, c.tiles)
	still := make([]bool, c.rows)
	for range passes {
		if !c.descendOnce(l, still) {
			break
		}
	}
	c.idle = nil
	c.settle(l)
	for r, was := range before {
		if !(c.losses[r] <= was) {
			c.copyRow(first, r)
			c.losses[r] = was
		}
	}
	c.pack(codes, l)
	return c.losses[:c.rows]
}

// take takes up codes, and at dead columns those of the base.
func (c *Chooser) take(l *lattice, codes []byte) {
	f := c.f
	c.unpack(codes, l)
	for at, j := range f.order {
		if !f.dead[j] {
			continue
		}
		for r := range c.rows {
			i := c.index(r, at)
			scale, inverse := c.scaleAt(r, at)
			c.codes[i], _ = l.nearest(c.target[i], scale, inverse)
		}
	}
}

// settle works out E, Z and the losses of codes.
func (c *Chooser) settle(l *lattice) []float64 {
	const n, size = ProductCols, ProductCols * ProductRows
	w := c.f.width()
	c.slope = grow(c.slope, len(c.errs))
	return c.sweep(math.Inf(1), func(s *strip) {
		for k, code := range s.codes {
			s.given[k] = l.value(code, s.scales[int(s.where[k/ProductRows])+k%ProductRows])
		}
	}, func(s *strip) {
		slope := c.slope[(s.tile*w+s.block*n)*ProductRows:][:size]
		for k, v := range s.given {
			slope[k] = s.diag[k/ProductRows] * (v - s.aims[k])
		}
	})
}

// descendOnce goes once over the weights of all rows that are not still, the
// last block first, notes which are now and reports whether any is not.
func (c *Chooser) descendOnce(l *lattice, still []bool) bool {
	const n = ProductCols
	moved := make([]bool, c.rows)
	steps := make([]float32, c.tiles*ProductRows*n) // by tile [32][12]
	for b := len(c.f.near) - 1; b >= 0; b-- {
		c.slopes(b)
		clear(steps)
		changed := false
		for r := range c.rows {
			if !still[r] && c.descendRow(l, b, r, steps[r/ProductRows*ProductRows*n+r%ProductRows:]) {
				moved[r], changed = true, true
			}
		}
		if changed {
			c.carry(b, steps)
		}
	}
	for r, m := range moved {
		still[r] = !m
	}
	for t := range c.idle {
		c.idle[t] = !slices.Contains(still[t*ProductRows:min((t+1)*ProductRows, c.rows)], false)
	}
	return slices.Contains(moved, true)
}

// slopes sets sums to E M + G at a block.
func (c *Chooser) slopes(b int) {
	const n = ProductCols
	f := c.f
	if f.low != nil {
		c.lowSlopes(b)
		return
	}
	clear(c.sums)
	c.multiplyTurned(c.slope, b, b+1, len(f.above))
	for r := range c.rows {
		row := c.sums[r*n : (r+1)*n]
		at := c.index(r, b*n)
		for i := n - 1; i >= 0; i-- {
			z := c.slope[at+i*ProductRows]
			addScaled(row[:i], f.nearT[b][i*n:], z)
			row[i] += z
		}
	}
}

// descendRow goes over a row's weights of a block, of which sums holds the
// slopes, and notes changes in steps, 12 apart.
func (c *Chooser) descendRow(l *lattice, b, r int, steps []float32) (moved bool) {
	const n = ProductCols
	f := c.f
	row := c.sums[r*n : (r+1)*n]
	at := c.index(r, b*n)
	for i := n - 1; i >= 0; i-- {
		place := b*n + i
		if f.diag[place] == 0 {
			continue
		}
		m := f.own[b][i*n : (i+1)*n]
		code := &c.codes[at+i*ProductRows]
		scale, inverse := c.scaleAt(r, place)
		old := l.value(*code, scale)
		best, value := l.nearest(old-row[i]/m[i], scale, inverse)
		s := value - old
		if square := float32(float32(s*s) * m[i]); !(float32(2*s*row[i])+square < -descentGain*square) {
			continue
		}
		*code = best
		addScaled(row, m, s)
		steps[i*ProductRows] = s
		c.errs[at+i*ProductRows] += s
		moved = true
	}
	return moved
}

// carry adds to Z what changes of a block's weights do to it.
func (c *Chooser) carry(b int, steps []float32) {
	const n = ProductCols
	f, w := c.f, c.f.width()
	if f.low != nil {
		c.after(b, steps, n*ProductRows)
		return
	}
	var y [ProductRows * n]float32
	for t := range c.tiles {
		x := steps[t*ProductRows*n:][:ProductRows*n]
		if !slices.ContainsFunc(x, func(s float32) bool { return s != 0 }) {
			continue
		}
		for to := b; to < len(f.near); to++ {
			f.product(y[:], n, x, f.above[to][b*n*n:], n, false)
			for i := 0; to == b && i < len(x); i++ { // U's diagonal is 1
				y[i%ProductRows*n+i/ProductRows] += x[i]
			}
			addTurned(c.slope[(t*w+to*n)*ProductRows:], y[:], f.diag[to*n:])
		}
	}
}
