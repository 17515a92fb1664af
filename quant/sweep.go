package quant

import "math"

// strip is a block of places of the rows of a tile on its way through a sweep.
type strip struct {
	tile, block int

	sums   []float32 // [12][32]: what errors before the block add to each place; of no value afterwards
	near   []float32 // U within the block [32][32]
	diag   []float32 // D [32]
	target []float32 // T [32][12]
	pull   []float32 // Y, as target
	scales []float32 // groups [2][12] of the tile, see Chooser
	where  []int32   // in scales [32]

	lattice *lattice  // of the codes to choose, nil: given says the values
	given   []float32 // W', as target

	codes  []byte    // as target
	errs   []float32 // E, as target
	aims   []float32 // what weights had best been, as target
	losses []float64 // by row [12], to which terms are added

	spare, none [ProductRows * ProductCols]float32
	values      [ProductRows * ProductCols]float32
}

// pick chooses codes, and sets aims, unless that is nil, to what each weight had
// best been, as target.
func (c *Chooser) pick(l *lattice, aims []float32) (losses []float64) {
	return c.sweepWith(l, math.Inf(1), aims, nil, nil)
}

// sweep works out errors and losses of values that given puts into strips. seen
// is called with each strip afterwards, unless it is nil.
func (c *Chooser) sweep(enough float64, given, seen func(s *strip)) (losses []float64) {
	return c.sweepWith(nil, enough, nil, given, seen)
}

// sweepWith goes through all places of all rows, until the losses of all rows are
// enough, and returns them.
func (c *Chooser) sweepWith(l *lattice, enough float64, aims []float32, given, seen func(s *strip)) (losses []float64) {
	const n, size = ProductCols, ProductCols * ProductRows
	f, w := c.f, c.f.width()
	c.losses = grow(c.losses, c.tiles*ProductRows)
	clear(c.losses)
	c.begin()
	s := &c.strip
	s.lattice, s.given, s.aims, s.pull = l, s.values[:], s.spare[:], s.none[:]
	for b := range f.near {
		c.before(b)
		s.block, s.near, s.diag, s.where = b, f.near[b], f.diag[b*n:(b+1)*n], c.where[b*n:(b+1)*n]
		for t := range c.tiles {
			lo := (t*w + b*n) * ProductRows
			s.tile, s.scales = t, c.tileScales(t)
			s.sums = c.sums[t*size : (t+1)*size]
			s.target, s.errs, s.codes = c.target[lo:lo+size], c.errs[lo:lo+size], c.codes[lo:lo+size]
			if len(c.pull) > 0 {
				s.pull = c.pull[lo : lo+size]
			}
			if aims != nil {
				s.aims = aims[lo : lo+size]
			}
			s.losses = c.losses[t*ProductRows : (t+1)*ProductRows]
			if given != nil {
				given(s)
			}
			s.run()
			if seen != nil {
				seen(s)
			}
		}
		c.after(b, c.errs[b*size:], w*ProductRows)
		if !math.IsInf(enough, 1) && c.lost() >= enough {
			break
		}
	}
	return c.losses[:c.rows]
}

// lost sums what is known of the losses.
func (c *Chooser) lost() (sum float64) {
	for _, l := range c.losses[:c.rows] {
		sum += l
	}
	return sum
}

// run goes through the places of a strip. An error is carried to the places after
// it in one chain of fused multiply-adds from sums on; it is 0 at dead columns.
func (s *strip) run() {
	if !s.runVector() {
		s.runPlain()
	}
}

func (s *strip) runPlain() {
	const n = ProductCols
	for i, d := range s.diag {
		near := s.near[i*n : (i+1)*n]
		for r := range ProductRows {
			k := i*ProductRows + r
			aim := s.target[k] - s.pull[k] - s.sums[r*n+i]
			v := s.given[k]
			if s.lattice != nil {
				scales := s.scales[int(s.where[i])+r:]
				s.codes[k], v = s.lattice.nearest(aim, scales[0], scales[ProductRows])
			}
			s.losses[r] += float64(float64(d) * square(v-aim))
			e := float32(0)
			if d != 0 {
				e = v - s.target[k]
			}
			s.errs[k], s.aims[k] = e, aim
			axpy(s.sums[r*n+i+1:(r+1)*n], near[i+1:], e)
		}
	}
}
