package quant

import "unsafe"

// A span is how many places share a unit where products are of integers. What is
// multiplied over whole spans is rounded once they are known; within a span, where
// each place has to know those before it, products are of float32.
const (
	spanBlocks = 6
	span       = spanBlocks * ProductCols
)

// Largest integers of a span: span times those of two factors is below 2^31. An error of
// T is an error of the weight wanted, which does little, but one of the cross moments
// or of U is noise in all directions, also in those in which inputs hardly vary and
// which codes answer to most. So cross moments have the bits that T can do without.
//
// Where outputs are answered for, E is the weight and Y as large, and what counts is
// the difference. So Z is not rounded then, which would add up to a third of the loss,
// nor E of int8, whose steps are finer.
const (
	factorLimit = 3344 // of E and U, Z and U^T
	wantedLimit = 511
	crossLimit  = 21887
)

// spansOf is how many spans there are of so many places.
func spansOf(width int) int { return (width + span - 1) / span }

// roundedPanel is a matrix [places][32] in integers: [places/2][32][2], in units of
// columns for each span.
type roundedPanel struct {
	values []int16
	units  []float32
}

// newRoundedPanel takes memory for so many places, which begin with a span.
func newRoundedPanel(memory []int16, places int) (p roundedPanel, rest []int16) {
	n := places * ProductCols
	return roundedPanel{memory[:n:n], make([]float32, spansOf(places)*ProductCols)}, memory[n:]
}

// round sets places from span s on to x, which may be where they are kept.
func (p *roundedPanel) round(x []float32, s int, limit float32) {
	for ; len(x) > 0; s++ {
		n := min(len(x), span*ProductCols)
		roundPairs(p.values[s*span*ProductCols:], p.units[s*ProductCols:(s+1)*ProductCols], x[:n], limit)
		x = x[n:]
	}
}

// int16s returns the memory of x as twice as many integers.
func int16s(x []float32) []int16 {
	return unsafe.Slice((*int16)(unsafe.Pointer(unsafe.SliceData(x))), 2*len(x))
}

// placesBefore is how many places are before the spans of all blocks up to b.
func placesBefore(b int) int {
	s, rest := b/spanBlocks, b%spanBlocks
	return span * (spanBlocks*s*(s-1)/2 + rest*s)
}

// roundedMemory is where what is rounded of U of a block, and of U^T unless f answers for
// outputs, is kept, in what U was made with: behind these means, or behind the
// rounded cross moments of each block if there is room for such.
func (f *Feedback) roundedMemory(b int) []int16 {
	w, rest := f.width(), f.memory.rest[:cap(f.memory.rest)]
	if f.behind > 0 {
		return int16s(rest[f.behind+placesBefore(b)*ProductCols/2:])
	}
	if n := rowsOf(w) * ProductCols; len(rest) >= len(f.above)*n {
		return int16s(rest[b*n : (b+1)*n])[n:]
	}
	n := w * ProductCols / 2
	return int16s(rest[b*n : (b+1)*n])
}

// roundFactor rounds what is of U before and, if it is to be turned too, of U^T after
// the span of each block.
func (f *Feedback) roundFactor(turned bool, parallel Parallel) error {
	const n = ProductCols
	w := f.width()
	f.before, f.after = make([]roundedPanel, len(f.above)), make([]roundedPanel, len(f.above))
	return parallel(len(f.above), func(b int) {
		lo := b / spanBlocks * span
		hi := min(lo+span, w)
		memory := f.roundedMemory(b)
		f.before[b], memory = newRoundedPanel(memory, lo)
		f.before[b].round(f.above[b][:lo*n], 0, factorLimit)
		if !turned {
			return
		}
		f.after[b], _ = newRoundedPanel(memory, w-hi)
		x := make([]float32, span*n)
		for at := hi; at < w; at += span {
			k := min(span, w-at)
			for i := 0; i < k; i += n {
				turn(x[i*n:], f.above[(at+i)/n][b*n*n:])
			}
			f.after[b].round(x[:k*n], (at-hi)/span, factorLimit)
		}
	})
}

// roundCross rounds cross moments where they are, by the scale of M. Dead places are 0.
func (f *Feedback) roundCross(cross [][]float32, parallel Parallel) error {
	const n = ProductCols
	f.cross = make([]roundedPanel, len(cross))
	return parallel(len(cross), func(b int) {
		x := cross[b][:f.width()*n]
		for at := range f.width() {
			if f.deadPlace(at) {
				clear(x[at*n : (at+1)*n])
			}
		}
		for c := range n {
			if f.deadPlace(b*n + c) {
				for i := c; i < len(x); i += n {
					x[i] = 0
				}
			}
		}
		p := &f.cross[b]
		*p, _ = newRoundedPanel(int16s(x), f.width())
		p.round(x, 0, crossLimit)
		for i := range p.units {
			p.units[i] *= f.scale
		}
	})
}

// deadPlace reports whether no input reaches a place, padding included.
func (f *Feedback) deadPlace(at int) bool { return at >= f.cols || f.dead[f.order[at]] }

// roundedTiles are tiles [width][12] in integers, [width/2][12][2] each, in units
// of rows for each span.
type roundedTiles struct {
	values []int16
	units  []float32 // by tile and span
}

// round sets a span to that of x, tiles of a width.
func (r *roundedTiles) round(x []float32, width, s int, limit float32) {
	spans := spansOf(width)
	for lo, t := s*span, 0; t*width*ProductRows < len(x); t++ {
		from, to := (t*width+lo)*ProductRows, (t*width+min(lo+span, width))*ProductRows
		roundPairs(r.values[from:to], r.units[(t*spans+s)*ProductRows:][:ProductRows], x[from:to], limit)
	}
}

// resize makes room for tiles of a width.
func (r *roundedTiles) resize(tiles, width int) {
	r.values = grow(r.values, tiles*width*ProductRows)
	r.units = grow(r.units, tiles*spansOf(width)*ProductRows)
}

// multiplyRounded adds the product of spans [from, to) of x and of panels, which begin
// with span from, to the sums of all blocks of span s.
func (c *Chooser) multiplyRounded(x *roundedTiles, panels []roundedPanel, s, from, to int) {
	const n = ProductCols
	w := c.f.width()
	for k := from; k < to; k++ {
		places := min(span, w-k*span)
		for b := s * spanBlocks; b < min((s+1)*spanBlocks, len(panels)); b++ {
			copy(c.units[ProductRows:], panels[b].units[(k-from)*n:])
			values := panels[b].values[(k-from)*span*n:]
			for t := range c.tiles {
				copy(c.units[:ProductRows], x.units[(t*spansOf(w)+k)*ProductRows:])
				c.f.pairs(c.sumsOf(b)[t*ProductRows*n:], n, x.values[(t*w+k*span)*ProductRows:], values, &c.units, places/2, true)
			}
		}
	}
}

// beforeSpan sets the sums of a span's blocks to what errors before it add to them.
func (c *Chooser) beforeSpan(s int) {
	clear(c.spanSums)
	if !c.exact {
		if s > 0 {
			c.known.round(c.errs, c.f.width(), s-1, factorLimit)
		}
		c.multiplyRounded(&c.known, c.f.before, s, 0, s)
		return
	}
	for from := 0; from < s*span; from += span {
		for b := s * spanBlocks; b < min((s+1)*spanBlocks, len(c.f.above)); b++ {
			c.sums = c.sumsOf(b)
			c.multiply(c.errs, c.f.above[b][from*ProductCols:], from, from+span)
		}
	}
}

// sumsOf returns the sums of a block.
func (c *Chooser) sumsOf(b int) []float32 {
	n := c.tiles * ProductRows * ProductCols
	return c.spanSums[b%spanBlocks*n:][:n]
}
