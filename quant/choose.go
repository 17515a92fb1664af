package quant

// Chooser is the memory in which a worker chooses the codes of some rows. It may
// be reused, also with another Feedback, but not by several at once.
type Chooser struct {
	f     *Feedback
	rows  int
	tiles int

	target []float32 // T by places, tiles [width][12]; of dead columns W
	scales []float32 // by places, rows of width
	errs   []float32 // E, as target
	pull   []float32 // Y, as target, zero without cross moments
	sums   []float32 // what errors before a block add to it, [rows of tiles][32]
	ranks  []byte    // by flat index
	losses []float64 // by row
}

// Load takes up rows of a panel: W and T as they are, and the scales codes are to
// be chosen on, one a block or row as p.Absmax has them. All must be finite.
func (c *Chooser) Load(f *Feedback, p *Panel, scales []float32) {
	c.f, c.rows = f, p.Rows
	c.tiles = (p.Rows + ProductRows - 1) / ProductRows
	w := f.width()
	n := c.tiles * ProductRows * w
	c.target, c.errs, c.pull = grow(c.target, n), grow(c.errs, n), grow(c.pull, n)
	clear(c.target)
	clear(c.pull)
	c.scales = grow(c.scales, p.Rows*w)
	c.gather(c.target, p.T, p.W)
	for r := range p.Rows {
		c.loadScales(c.scales[r*w:(r+1)*w], r, p, scales)
	}
	c.sums = grow(c.sums, c.tiles*ProductRows*ProductCols)
	if f.cross != nil {
		c.solvePull()
	}
}

// gather puts x, row-major, into tiles by places; of dead columns other.
func (c *Chooser) gather(dst, x, other []float32) {
	f := c.f
	for t := range c.tiles {
		tile := dst[t*ProductRows*f.width():]
		rows := min(ProductRows, c.rows-t*ProductRows)
		for at, j := range f.order {
			from := x
			if f.dead[j] {
				from = other
			}
			i := t*ProductRows*f.cols + j
			for r := range rows {
				tile[at*ProductRows+r] = from[i]
				i += f.cols
			}
		}
	}
}

// loadScales fills dst with the scales of a row by places, 0 for padding.
func (c *Chooser) loadScales(dst []float32, r int, p *Panel, scales []float32) {
	size := p.Spec.Blocksize
	switch {
	case !p.Spec.Format.Is4Bit():
		for at := range c.f.order {
			dst[at] = scales[r]
		}
	case p.Cols%size == 0:
		scales = scales[r*(p.Cols/size):]
		for at, j := range c.f.order {
			dst[at] = scales[uint32(j)/uint32(size)]
		}
	default:
		for at, j := range c.f.order {
			dst[at] = scales[(r*p.Cols+j)/size]
		}
	}
	clear(dst[c.f.cols:])
}

// multiply sets sums to rows [from, to) of w times those places of tiles x, or
// adds that.
func (c *Chooser) multiply(x, w []float32, from, to int, add bool) {
	const chunk = 192 // places, so that w stays in the first-level cache
	width := c.f.width()
	if from == to && !add {
		clear(c.sums)
	}
	for k := from; k < to; k += chunk {
		n := min(chunk, to-k)
		for t := range c.tiles {
			c.f.product(c.sums[t*ProductRows*ProductCols:], ProductCols,
				x[(t*width+k)*ProductRows:], w[(k-from)*ProductCols:], n, add || k > from)
		}
	}
}

// solvePull sets pull to Y = (T cross) U^-T D^-1, the last block first.
func (c *Chooser) solvePull() {
	const n = ProductCols
	f, w := c.f, c.f.width()
	z := c.errs // D Y, until there are errors
	g := make([]float32, len(c.sums))
	for b := len(f.near) - 1; b >= 0; b-- {
		lo := b * n
		c.multiply(c.target, f.cross[b], 0, w, false)
		copy(g, c.sums)
		c.multiply(z, f.right[b], lo+n, w, false)
		for r := range c.rows {
			row, known := g[r*n:(r+1)*n], c.sums[r*n:(r+1)*n]
			at := (r/ProductRows*w+lo)*ProductRows + r%ProductRows
			for i := range row {
				row[i] -= known[i]
			}
			for i := n - 1; i >= 0; i-- {
				v := row[i]
				addScaled(row[:i], f.nearT[b][i*n:], -v)
				z[at+i*ProductRows] = v
				if d := f.diag[lo+i]; d > 0 {
					c.pull[at+i*ProductRows] = v / d
				}
			}
		}
	}
}

// Choose fills codes, which are packed as those of the panel, and returns what
// is left of the sum, by row.
func (c *Chooser) Choose(codes []byte, s Spec) (losses []float64) {
	l := latticeOf(s.Format)
	cols := c.f.cols
	c.ranks = grow(c.ranks, c.rows*cols)
	c.sweep(func(r, at int, aim float32) float32 {
		rank, v := l.nearest(aim, c.scales[r*c.f.width()+at])
		if at < cols {
			c.ranks[r*cols+c.f.order[at]] = uint8(rank)
		}
		return v
	})
	l.pack(codes, c.ranks)
	return c.losses
}

// Loss returns the sum by row if the result were values, row-major as p.T.
func (c *Chooser) Loss(values []float32) (losses []float64) {
	w := c.f.width()
	c.gather(c.errs, values, values)
	c.sweep(func(r, at int, _ float32) float32 {
		if at < c.f.cols {
			return c.errs[(r/ProductRows*w+at)*ProductRows+r%ProductRows]
		}
		return 0
	})
	return c.losses
}

// sweep goes through all places of all rows. value says what becomes of one
// whose aim is given.
func (c *Chooser) sweep(value func(r, at int, aim float32) float32) {
	const n = ProductCols
	f, w := c.f, c.f.width()
	c.losses = grow(c.losses, c.rows)
	clear(c.losses)
	for b := range f.near {
		lo := b * n
		c.multiply(c.errs, f.above[b], 0, lo, false)
		for r := range c.rows {
			row := c.sums[r*n : (r+1)*n]
			at := (r/ProductRows*w+lo)*ProductRows + r%ProductRows
			for i := range n {
				t := c.target[at]
				aim := t - row[i] - c.pull[at]
				v := value(r, lo+i, aim)
				c.losses[r] += float64(f.diag[lo+i]) * square(v-aim)
				if d := f.order; lo+i < len(d) && f.dead[d[lo+i]] {
					c.errs[at] = 0
				} else {
					c.errs[at] = v - t
				}
				addScaled(row[i+1:], f.near[b][i*n+i+1:], c.errs[at])
				at += ProductRows
			}
		}
	}
}

// addScaled adds b times a to acc. The product is rounded.
func addScaled(acc, a []float32, b float32) {
	a = a[:len(acc)]
	for i, v := range a {
		acc[i] += float32(b * v)
	}
}

func square(x float32) float64 { return float64(float64(x) * float64(x)) }
