package quant

// gather fills target: T by places, and of dead columns W.
func (c *Chooser) gather(p *Panel) {
	f, w := c.f, c.f.width()
	c.places = grow(c.places, f.cols)
	for at, j := range f.order {
		c.places[j] = int32(at * ProductRows)
	}
	for t := range c.tiles {
		tile := c.target[t*w*ProductRows : (t+1)*w*ProductRows]
		rows := min(ProductRows, c.rows-t*ProductRows)
		if rows < ProductRows {
			clear(tile)
		}
		clear(tile[f.cols*ProductRows:])
		src := p.T[t*ProductRows*f.cols:][:rows*f.cols]
		done := 0
		if rows == ProductRows {
			done = gatherVector(tile, src, c.places)
		}
		gatherPlain(tile, src, c.places, done)
	}
	for at, j := range f.order {
		if !f.dead[j] {
			continue
		}
		for r := range c.rows {
			c.target[c.index(r, at)] = p.W[r*f.cols+j]
		}
	}
}

// gatherPlain puts the columns from one on of at most 12 rows x into a tile, each where
// places says.
func gatherPlain(tile, x []float32, places []int32, from int) {
	for j := from; j < len(places); j++ {
		to := tile[places[j]:]
		for i := j; i < len(x); i += len(places) {
			to[i/len(places)] = x[i]
		}
	}
}

// index is where in tiles [width][12] a weight is.
func (c *Chooser) index(row, place int) int {
	return (row/ProductRows*c.f.width()+place)*ProductRows + row%ProductRows
}

// gatherStrip puts x, row-major, of the rows of a tile into dst [32][12], by the
// places of a block. Rows and places that there are not are 0.
func (c *Chooser) gatherStrip(dst, x []float32, tile, block int) {
	f := c.f
	rows := min(ProductRows, c.rows-tile*ProductRows)
	places := f.order[block*ProductCols : min((block+1)*ProductCols, f.cols)]
	if rows < ProductRows || len(places) < ProductCols {
		clear(dst[:ProductRows*ProductCols])
	}
	for i, j := range places {
		at := tile*ProductRows*f.cols + j
		to := dst[i*ProductRows : i*ProductRows+rows]
		for r := range to {
			to[r] = x[at]
			at += f.cols
		}
	}
}

// gatherScales lays out the scales of codes: a group for each block of columns, or, where
// blocks straddle rows, for each column.
func (c *Chooser) gatherScales(p *Panel, scales []float32) {
	f, l, size := c.f, latticeOf(p.Spec.Format), p.Spec.Blocksize
	const n = 2 * ProductRows
	c.where = grow(c.where, f.width())
	span := 1 // columns of a group
	switch {
	case !p.Spec.Format.Is4Bit():
		span, size = p.Cols, p.Cols
	case p.Cols%size == 0:
		span = size
	}
	none := p.Cols / span // of places that there are not
	c.groups = none + 1
	for at := range c.where {
		c.where[at] = int32(none * n)
	}
	for at, j := range f.order {
		c.where[at] = int32(j / span * n)
	}
	c.scales = grow(c.scales, c.tiles*c.groups*n)
	for t := range c.tiles {
		tile := c.tileScales(t)
		for i := range tile {
			group, r := i/n, i%n
			scale, row := float32(0), t*ProductRows+r%ProductRows
			if group < none && row < c.rows {
				scale = scales[(row*p.Cols+group*span)/size]
			}
			if tile[i] = scale; r >= ProductRows {
				tile[i] = l.inverse(scale)
			}
		}
	}
}

// tileScales are the groups of a tile.
func (c *Chooser) tileScales(t int) []float32 {
	n := c.groups * 2 * ProductRows
	return c.scales[t*n : (t+1)*n]
}

// scaleAt returns the scale of a weight and by what a lattice multiplies on it.
func (c *Chooser) scaleAt(row, place int) (scale, inverse float32) {
	s := c.tileScales(row / ProductRows)[int(c.where[place])+row%ProductRows:]
	return s[0], s[ProductRows]
}

// pack stores the chosen codes as those of a panel.
func (c *Chooser) pack(dst []byte, l *lattice) {
	cols, w := c.f.cols, c.f.width()
	for t := range c.tiles {
		tile, first := c.codes[t*w*ProductRows:(t+1)*w*ProductRows], t*ProductRows*cols
		rows := min(ProductRows, c.rows-t*ProductRows)
		done := 0
		if rows == ProductRows {
			done = packVector(dst, first, tile, c.places, l.format)
		}
		packPlain(dst, first, rows, tile, c.places, done, l.format)
	}
	if i := c.rows * cols; i%2 == 1 && l.format.Is4Bit() {
		dst[i/2] = dst[i/2]&0xf0 | l.zero
	}
}

// packPlain stores the codes of so many rows of a tile, the columns from one on. first
// is the first row's first in dst.
func packPlain(dst []byte, first, rows int, tile []byte, places []int32, from int, format Format) {
	for r := range rows {
		for j := from; j < len(places); j++ {
			i, code := first+r*len(places)+j, tile[int(places[j])+r]
			switch {
			case format == Int8:
				dst[i] = code
			case i%2 == 0:
				dst[i/2] = dst[i/2]&15 | code<<4
			default:
				dst[i/2] = dst[i/2]&0xf0 | code
			}
		}
	}
}

// unpack is the inverse of pack, up to codes that mean the same.
func (c *Chooser) unpack(src []byte, l *lattice) {
	f := c.f
	clear(c.codes)
	for r := range c.rows {
		for at, j := range f.order {
			i := r*f.cols + j
			var code byte
			if l.format == Int8 {
				code = src[i]
			} else {
				code = src[i/2] >> (4 * (1 - i%2)) & 15
			}
			c.codes[c.index(r, at)] = l.known(code)
		}
	}
}

// copyRow sets the codes of a row to those in src.
func (c *Chooser) copyRow(src []byte, row int) {
	for at := range c.f.width() {
		i := c.index(row, at)
		c.codes[i] = src[i]
	}
}

// addTurned adds y [12][32] times d [32] to z [32][12], product by product.
func addTurned(z, y, d []float32) {
	const size = ProductRows * ProductCols
	z, y, d = z[:size], y[:size], d[:ProductCols]
	if !addTurnedVector(z, y, d) {
		addTurnedPlain(z, y, d)
	}
}

func addTurnedPlain(z, y, d []float32) {
	for i, d := range d {
		for r := range ProductRows {
			z[i*ProductRows+r] += float32(d * y[r*ProductCols+i])
		}
	}
}
