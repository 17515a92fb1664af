package quant

import "math"

// Chooser is the memory in which a worker chooses the codes of some rows. It may
// be reused, also with another Feedback, but not by several at once.
type Chooser struct {
	f     *Feedback
	rows  int
	tiles int

	target []float32 // T by places, tiles [width][12]; of dead columns W
	errs   []float32 // E, as target
	pull   []float32 // Y, as target, nil without cross moments
	owned  []float32 // T A^T of an own metric, by tile [rank][12]
	sums   []float32 // what errors before a place add to it, [rows of tiles][32]
	turned []float32 // a part of U transposed
	slope  []float32 // Z of Descend, as target
	along  []float32 // V E^T and what it begins with, of Directions, by tile [k][12]
	begins []float32
	idle   []bool    // tiles that products leave out, by Descend
	codes  []byte    // as target, a byte each
	losses []float64 // by row, of whole tiles
	aims   []float32 // of ChooseMoving, as target
	places []int32   // where in a tile a column's are
	strip  strip

	// Of each tile so many groups [2][12], the rows' scales and by what a lattice
	// multiplies on them, and where in that those of a place are.
	scales []float32
	groups int
	where  []int32

	// Products of whole spans.
	wanted   roundedTiles // T
	known    roundedTiles // E or Z, as far as spans of them are known
	exact    bool         // E is not to be rounded
	spanSums []float32    // sums of the blocks of a span
	units    PairUnits
}

// Load takes up rows of a panel: W and T as they are, and the scales codes are to
// be chosen on, one a block or row as p.Absmax has them. All must be finite. The
// panel's rows are those of the layer from first on.
func (c *Chooser) Load(f *Feedback, p *Panel, scales []float32, first int) {
	c.f, c.rows = f, p.Rows
	c.tiles = (p.Rows + ProductRows - 1) / ProductRows
	n := c.tiles * ProductRows * f.width()
	c.target, c.errs, c.codes = grow(c.target, n), grow(c.errs, n), grow(c.codes, n+4) // packing reads 16 bytes at 12
	c.codes = c.codes[:n]
	c.gather(p)
	c.gatherScales(p, scales)
	c.spanSums = grow(c.spanSums, spanBlocks*c.tiles*ProductRows*ProductCols)
	c.sums = c.sumsOf(0)
	c.known.resize(c.tiles, f.width())
	c.exact = f.outputs != nil && !p.Spec.Format.Is4Bit()
	switch c.pull = c.pull[:0]; {
	case f.outputs != nil:
		c.pull = grow(c.pull, n)
		c.loadOutputs()
		c.solvePull(func(s int) { c.askOutputs(s, first) })
	case f.cross != nil:
		c.pull = grow(c.pull, n)
		c.wanted.resize(c.tiles, f.width())
		for s := range spansOf(f.width()) {
			c.wanted.round(c.target, f.width(), s, wantedLimit)
		}
		c.solvePull(c.askCross)
	}
	if f.low != nil {
		c.answer()
	}
}

// multiply adds places [from, to) of tiles x times as many rows of w to sums.
func (c *Chooser) multiply(x, w []float32, from, to int) {
	width := c.f.width()
	for k := from; k < to; k += span {
		n := min(span, to-k)
		for t := range c.tiles {
			if c.idle != nil && c.idle[t] {
				continue
			}
			c.f.product(c.sums[t*ProductRows*ProductCols:], ProductCols,
				x[(t*width+k)*ProductRows:], w[(k-from)*ProductCols:], n, true)
		}
	}
}

// multiplyTurned adds places of tiles x, those of blocks [from, to) after block b, times
// U^T to its sums.
func (c *Chooser) multiplyTurned(x []float32, b, from, to int) {
	const n = ProductCols
	c.turned = grow(c.turned, span*n)
	above := c.f.above
	for first := from; first < to; first += spanBlocks {
		last := min(first+spanBlocks, to)
		for k := first; k < last; k++ {
			turn(c.turned[(k-first)*n*n:], above[k][b*n*n:])
		}
		c.multiply(x, c.turned, first*n, last*n)
	}
}

// askCross sets the sums of a span's blocks to T times the cross moments.
func (c *Chooser) askCross(s int) {
	clear(c.spanSums)
	c.multiplyRounded(&c.wanted, c.f.cross, s, 0, spansOf(c.f.width()))
}

// solvePull sets pull to Y = G U^-T D^-1, the last span first. ask sets the sums of
// a span's blocks to G.
func (c *Chooser) solvePull(ask func(s int)) {
	f, w := c.f, c.f.width()
	z := c.errs // -D Y, until there are errors
	spans := spansOf(w)
	for s := spans - 1; s >= 0; s-- {
		ask(s)
		first, end := s*spanBlocks, min((s+1)*spanBlocks, len(f.near))
		if f.outputs == nil {
			c.multiplyRounded(&c.known, f.after, s, s+1, spans)
		} else {
			for from := end; from < len(f.near); from += spanBlocks {
				for b := first; b < end; b++ {
					c.sums = c.sumsOf(b)
					c.multiplyTurned(z, b, from, min(from+spanBlocks, len(f.near)))
				}
			}
		}
		for b := end - 1; b >= first; b-- {
			c.sums = c.sumsOf(b)
			c.multiplyTurned(z, b, b+1, end)
			c.solveBlock(z, b)
		}
		if f.outputs == nil {
			c.known.round(z, w, s, factorLimit)
		}
	}
}

// solveBlock sets z and pull at a block, of which sums is what is left to solve.
func (c *Chooser) solveBlock(z []float32, b int) {
	const n, size = ProductCols, ProductCols * ProductRows
	f := c.f
	var x, y [size]float32
	for t := range c.tiles {
		at := (t*f.width() + b*n) * ProductRows
		pull, z := c.pull[at:at+size], z[at:at+size]
		turnTile(x[:], c.sums[t*size:])
		f.product(y[:], n, x[:], f.inverse[b], n, false)
		turnTile(pull, y[:])
		for i, d := range f.diag[b*n : (b+1)*n] {
			pull, z := (*[ProductRows]float32)(pull[i*ProductRows:]), (*[ProductRows]float32)(z[i*ProductRows:])
			if d == 0 {
				clear(pull[:])
			}
			for r, v := range pull {
				z[r] = -d * v
			}
		}
	}
}

// Choose fills codes, which are packed as those of the panel, and returns what
// is left of the sum, by row.
func (c *Chooser) Choose(codes []byte, s Spec) (losses []float64) {
	l := latticeOf(s.Format)
	losses = c.pick(l, nil)
	c.pack(codes, l)
	return losses
}

// Loss returns the sum by row if the result were values, row-major as p.T.
func (c *Chooser) Loss(values []float32) (losses []float64) {
	return c.LossUpTo(values, math.Inf(1))
}

// LossUpTo does so until the sum over all rows is known to be enough or more: then
// losses are what is known of them.
func (c *Chooser) LossUpTo(values []float32, enough float64) (losses []float64) {
	return c.sweep(enough, func(s *strip) { c.gatherStrip(s.given, values, s.tile, s.block) }, nil)
}

// addScaled adds b times a to acc. The product is rounded.
func addScaled(acc, a []float32, b float32) {
	a = a[:len(acc)]
	for i, v := range a {
		acc[i] += float32(b * v)
	}
}

func square(x float32) float64 { return float64(float64(x) * float64(x)) }
