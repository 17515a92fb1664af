package quant

const (
	stripCols  = 192 // columns that are factored at a time: whole tiles and blocks
	stripTiles = 8   // tiles of rows that go through a strip together
	// productPlaces is how many terms a product sums before that of the next block: what
	// a strip is multiplied with over so many stays in the second-level cache.
	productPlaces = 384
)

// factoring turns the upper half of M in above into U and D, strips of columns
// from the last to the first. M right of a strip is U there, so that what it adds
// to the strip is a matrix product; then its blocks follow, the last first.
type factoring struct {
	*Feedback
	tiles  [][]float32 // U by rows as Product reads them: [places][12], places from the first row on
	memory []float32   // where they are
	lo, hi int         // places of the strip

	// By block of the strip, what rows above it are multiplied with: (-D U^T) of the
	// block's rows, right of it, by places from the strip's first on [places][32].
	weighed [][]float32
}

// factor turns the upper half of M in f.above into U and D. No pivot of M is
// below the damping, so one that rounding brought there is lifted to it. memory is
// to use, n^2/2.
func (f *Feedback) factor(memory []float32, damping float32, parallel Parallel) error {
	w := f.width()
	f.near, f.nearT, f.inverse = make([][]float32, len(f.above)), make([][]float32, len(f.above)), make([][]float32, len(f.above))
	x := &factoring{Feedback: f, memory: memory, tiles: make([][]float32, rowsOf(w)/ProductRows)}
	for t := range x.tiles {
		n := (w - t*ProductRows) * ProductRows
		x.tiles[t], memory = memory[:n:n], memory[n:]
	}
	var first []float32
	for lo := (w - 1) / stripCols * stripCols; lo >= 0; lo -= stripCols {
		x.lo, x.hi = lo, min(lo+stripCols, w)
		x.weighed = make([][]float32, (x.hi-x.lo)/ProductCols)
		size := (w - lo) * ProductCols
		free := x.spent()
		if len(free) < size*len(x.weighed) {
			first = grow(first, size*len(x.weighed))
			free = first
		}
		for i := range x.weighed {
			x.weighed[i] = free[i*size : (i+1)*size]
		}
		if err := x.strip(damping, parallel); err != nil {
			return err
		}
	}
	return nil
}

// spent is the memory of tiles below the strip, which no strip needs any more.
func (x *factoring) spent() []float32 {
	at := 0
	for _, t := range x.tiles[:min(rowsOf(x.hi)/ProductRows, len(x.tiles))] {
		at += len(t)
	}
	return x.memory[at:]
}

// strip factors the strip, and what is above it.
func (x *factoring) strip(damping float32, parallel Parallel) error {
	const few = 4 // tiles, of which a strip has not many
	first, end := x.lo/ProductRows, rowsOf(x.hi)/ProductRows
	err := parallel(len(x.weighed), func(i int) { x.weigh(i, x.hi, x.width()) })
	if err == nil {
		err = parallel((end-first+few-1)/few, func(i int) { x.update(first+i*few, min(first+(i+1)*few, end)) })
	}
	if err != nil {
		return err
	}
	x.diagonal(damping)
	return parallel((first+stripTiles-1)/stripTiles, func(i int) {
		t0, t1 := i*stripTiles, min((i+1)*stripTiles, first)
		x.update(t0, t1)
		for i := len(x.weighed) - 1; i >= 0; i-- {
			for t := t0; t < t1; t++ {
				x.within(t, i)
				x.solve(t, i)
			}
		}
	})
}

// diagonal factors the strip's own rows.
func (x *factoring) diagonal(damping float32) {
	first := x.lo / ProductRows
	for i := len(x.weighed) - 1; i >= 0; i-- {
		at := x.lo + i*ProductCols
		x.weigh(i, at+ProductCols, x.hi)
		for t := first; t*ProductRows < at+ProductCols; t++ {
			x.within(t, i)
		}
		b := at / ProductCols
		x.factorBlock(b, damping)
		for t := first; t*ProductRows < at; t++ {
			x.solve(t, i)
		}
		copy(x.above[b][at*ProductCols:], x.near[b]) // a tile may end within the block
	}
}

// weigh fills a block's weighed at places [from, to), whole blocks of U.
func (x *factoring) weigh(i, from, to int) {
	const n = ProductCols
	for at := from; at < to; at += n {
		part := x.weighed[i][(at-x.lo)*n:][:n*n]
		turn(part, x.above[at/n][(x.lo+i*n)*n:])
		for k, d := range x.diag[at : at+n] {
			row := (*[n]float32)(part[k*n:])
			for c := range row {
				row[c] *= -d
			}
		}
	}
}

// update subtracts what is right of the strip from tiles [t0, t1).
func (x *factoring) update(t0, t1 int) {
	for from := x.hi; from < x.width(); from += productPlaces {
		to := min(from+productPlaces, x.width())
		for t := t0; t < t1; t++ {
			for i := max(0, t*ProductRows-x.lo) / ProductCols; i < len(x.weighed); i++ {
				x.subtract(t, i, from, to)
			}
		}
	}
}

// within subtracts from a tile's part in a block what is right of it in the strip.
func (x *factoring) within(t, i int) {
	if from := x.lo + (i+1)*ProductCols; from < x.hi {
		x.subtract(t, i, from, x.hi)
	}
}

// part is a tile's part in a block, [12][32].
func (x *factoring) part(t, i int) []float32 {
	const n = ProductRows * ProductCols
	return x.above[x.lo/ProductCols+i][t*n : (t+1)*n]
}

// subtract takes U D U^T over places [from, to) from a tile's part in a block.
func (x *factoring) subtract(t, i, from, to int) {
	x.product(x.part(t, i), ProductCols, x.tiles[t][(from-t*ProductRows)*ProductRows:],
		x.weighed[i][(from-x.lo)*ProductCols:], to-from, true)
}

// solve turns what is left of M in a tile's part of a block, above it, into U.
func (x *factoring) solve(t, i int) {
	y := x.part(t, i)
	u := x.tiles[t][(x.lo+i*ProductCols-t*ProductRows)*ProductRows:]
	turnTile(u, y)
	x.product(y, ProductCols, u, x.inverse[x.lo/ProductCols+i], ProductCols, false)
	turnTile(u, y)
}

// factorBlock factors the block on the diagonal.
func (f *Feedback) factorBlock(b int, damping float32) {
	const n = ProductCols
	var m [n][n]float64
	for k := range n {
		for c := range n {
			m[k][c] = float64(f.above[b][(b*n+k)*n+c])
		}
	}
	near, nearT, inverse := make([]float32, n*n), make([]float32, n*n), make([]float32, n*n)
	for c := n - 1; c >= 0; c-- {
		d := max(m[c][c], float64(damping))
		f.diag[b*n+c], m[c][c] = float32(d), d
		for k := range c {
			u := m[k][c] / d
			for l := k; l < c; l++ {
				m[k][l] -= float64(u * m[l][c])
			}
			near[k*n+c], nearT[c*n+k] = float32(u), float32(u)
		}
		for k := range c { // not before: m[l][c] is needed as it is
			m[k][c] /= d
		}
	}
	f.near[b], f.nearT[b], f.inverse[b] = near, nearT, inverse
	for c := range n { // row c of U^-1, by back substitution from the left
		var v [n]float64
		v[c] = 1
		for k := c; k < n; k++ {
			for l := k + 1; l < n; l++ {
				v[l] -= float64(v[k] * m[k][l])
			}
			inverse[k*n+c] = float32(v[k] / m[c][c])
		}
	}
}
