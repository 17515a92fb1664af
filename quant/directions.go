package quant

import (
	"math"
	"slices"
)

// Directions are what is known of a layer's inputs where their second moments
// are too many to have: M = diag(Rest) + V^T V, and, with G = T Cross^T V, how
// far they are from those the layer should get.
type Directions struct {
	Cols    int
	Squares []float64 // E[x_j^2] by column; columns go by falling ones, those of 0 have no part
	Rest    []float64 // by column, above 0
	V       []float32 // [K, Cols]
	Cross   []float32 // [K, Cols]; nil if there is none
}

// Directions returns V [_, cols] with V^T V = A^T KA.
func (o *Own) Directions(cols int) []float32 {
	rows, values, _ := Principal(o.Rank, cols, func(m []float32) ([]float32, error) {
		y := make([]float32, len(m))
		for i := 0; i < len(m); i += cols {
			for k := range o.Rank {
				along := 0.0
				for j, a := range o.A[k*cols : (k+1)*cols] {
					along += float64(float64(a) * float64(m[i+j]))
				}
				for j, ka := range o.KA[k*cols : (k+1)*cols] {
					y[i+j] += float32(along * float64(ka))
				}
			}
		}
		return y, nil
	})
	for i, v := range values {
		for j := range cols {
			rows[i*cols+j] *= float32(math.Sqrt(v))
		}
	}
	return rows
}

// lowRank is a metric of Directions by places. k is a multiple of 32.
type lowRank struct {
	k     int
	rest  []float32   // by place
	gains [][]float32 // by block [k][32]
	v     [][]float32 // by block [k][32]
	vT    [][]float32 // by block and 32 directions [32 places][32]
	cross [][]float32 // by 32 directions [width][32], nil if there is none
}

// NewDirections returns a Feedback over a few directions: one loop over the
// weights of a row that keeps p = V (errors so far), K products and K more for
// each, instead of half of the columns and memory for all of M. What is called
// U_ij of a Feedback is v_i . g_j here: with N_j = (I + sum over later i of
// v_i v_i^T / rest_i)^-1, the errors of later weights are free to take up what
// they can, and D_j = rest_j + v_j N_j v_j, g_j = N_j v_j / D_j.
func NewDirections(d *Directions, product Product) (*Feedback, error) {
	f := &Feedback{cols: d.Cols, order: make([]int, d.Cols), dead: make([]bool, d.Cols), product: product}
	live := false
	for j, s := range d.Squares {
		f.order[j], f.dead[j] = j, s == 0
		live = live || s > 0
		if !(s >= 0) || math.IsInf(s, 0) || s > 0 && !(d.Rest[j] > 0) {
			return nil, ErrMoments
		}
	}
	if !live {
		return nil, ErrMoments
	}
	slices.SortStableFunc(f.order, func(a, b int) int {
		switch x, y := d.Squares[a], d.Squares[b]; {
		case x > y:
			return -1
		case x < y:
			return 1
		}
		return 0
	})
	f.low = &lowRank{k: blocksOf(max(1, len(d.V)/d.Cols)) * ProductCols}
	f.diag = make([]float32, f.width())
	f.placeDirections(d)
	f.gain()
	for _, x := range f.diag {
		if !(x-x == 0) {
			return nil, ErrMoments
		}
	}
	return f, nil
}

// placeDirections puts v and cross in the order of places.
func (f *Feedback) placeDirections(d *Directions) {
	const n = ProductCols
	x, w := f.low, f.width()
	x.rest = make([]float32, w)
	for lo := 0; lo < w; lo += n {
		v, vT := make([]float32, x.k*n), make([]float32, x.k*n)
		for c := range min(n, f.cols-lo) {
			j := f.order[lo+c]
			if f.dead[j] {
				continue
			}
			x.rest[lo+c] = float32(d.Rest[j])
			for k := range len(d.V) / f.cols {
				v[k*n+c] = d.V[k*f.cols+j]
				vT[k/n*n*n+c*n+k%n] = d.V[k*f.cols+j]
			}
		}
		x.v, x.vT = append(x.v, v), append(x.vT, vT)
	}
	if d.Cross == nil {
		return
	}
	for k := range len(d.V) / f.cols {
		if k%n == 0 {
			x.cross = append(x.cross, make([]float32, w*n))
		}
		for at, j := range f.order {
			if !f.dead[j] {
				x.cross[k/n][at*n+k%n] = d.Cross[k*f.cols+j]
			}
		}
	}
}

// gain works out D, the gains and U within blocks, the last place first.
func (f *Feedback) gain() {
	const n = ProductCols
	x := f.low
	k := x.k
	free := make([]float64, k*k) // N
	for i := range k {
		free[i*k+i] = 1
	}
	blocks := f.width() / n
	x.gains = make([][]float32, blocks)
	f.near, f.nearT, f.own = make([][]float32, blocks), make([][]float32, blocks), make([][]float32, blocks)
	v, m := make([]float64, k), make([]float64, k)
	for b := blocks - 1; b >= 0; b-- {
		gains := make([]float32, k*n)
		for c := n - 1; c >= 0; c-- {
			rest := float64(x.rest[b*n+c])
			if rest == 0 {
				continue
			}
			for i := range k {
				v[i] = float64(x.v[b][i*n+c])
			}
			d := rest
			for i := range k {
				m[i] = 0
				for j, u := range free[i*k : (i+1)*k] {
					m[i] += float64(u * v[j])
				}
				d += float64(m[i] * v[i])
			}
			f.diag[b*n+c] = float32(d)
			for i := range k {
				g := m[i] / d
				gains[i*n+c] = float32(g)
				for j := range i + 1 {
					free[i*k+j] -= float64(g * m[j])
					free[j*k+i] = free[i*k+j]
				}
			}
		}
		x.gains[b] = gains
		f.near[b], f.nearT[b], f.own[b] = x.within(b)
	}
}

// within returns U and M within a block [32][32], U also by columns.
func (x *lowRank) within(b int) (near, nearT, own []float32) {
	const n = ProductCols
	near, nearT, own = make([]float32, n*n), make([]float32, n*n), make([]float32, n*n)
	for i := range n {
		for c := range n {
			u, m := 0.0, 0.0
			for k := range x.k {
				v := float64(x.v[b][k*n+i])
				u += float64(v * float64(x.gains[b][k*n+c]))
				m += float64(v * float64(x.v[b][k*n+c]))
			}
			if i < c {
				near[i*n+c], nearT[c*n+i] = float32(u), float32(u)
			}
			if i == c {
				m += float64(x.rest[b*n+c])
			}
			own[i*n+c] = float32(m)
		}
	}
	return near, nearT, own
}

// begin sets the sums along directions to what the layer answers for.
func (c *Chooser) begin() {
	x := c.f.low
	if x == nil {
		return
	}
	c.along = grow(c.along, c.tiles*ProductRows*x.k)
	copy(c.along, c.begins)
}

// answer works out what begin begins with: T Cross^T.
func (c *Chooser) answer() {
	x := c.f.low
	c.begins = grow(c.begins, c.tiles*ProductRows*x.k)
	clear(c.begins)
	for g, cross := range x.cross {
		clear(c.sums)
		c.multiply(c.target, cross, 0, c.f.width())
		for t := range c.tiles {
			addTile(c.begins[(t*x.k+g*ProductCols)*ProductRows:], c.sums[t*ProductRows*ProductCols:])
		}
	}
}

// before sets sums to what errors before a block add to it.
func (c *Chooser) before(b int) {
	x := c.f.low
	if x == nil {
		first := b / spanBlocks * spanBlocks
		if b == first {
			c.beforeSpan(b / spanBlocks)
		}
		c.sums = c.sumsOf(b)
		c.multiply(c.errs, c.f.above[b][first*ProductCols*ProductCols:], first*ProductCols, b*ProductCols)
		return
	}
	for t := range c.tiles {
		c.f.product(c.sums[t*ProductRows*ProductCols:], ProductCols, c.along[t*ProductRows*x.k:], x.gains[b], x.k, false)
	}
}

// after adds the errors of a block, or steps of them, by tiles as far apart, to
// the sums along directions.
func (c *Chooser) after(b int, errs []float32, apart int) {
	x := c.f.low
	if x == nil {
		return
	}
	var y [ProductRows * ProductCols]float32
	for t := range c.tiles {
		for g := 0; g < x.k; g += ProductCols {
			c.f.product(y[:], ProductCols, errs[t*apart:], x.vT[b][g*ProductCols:], ProductCols, false)
			addTile(c.along[(t*x.k+g)*ProductRows:], y[:])
		}
	}
}

// addTile adds y [12][32] to dst [32][12].
func addTile(dst, y []float32) { addTurned(dst, y, ones[:]) }

var ones = func() (x [ProductCols]float32) {
	for i := range x {
		x[i] = 1
	}
	return x
}()

// lowSlopes is slopes of Directions: V^T (V E^T and what it begins with), and
// rest times E.
func (c *Chooser) lowSlopes(b int) {
	const n = ProductCols
	x, w := c.f.low, c.f.width()
	for t := range c.tiles {
		if c.idle[t] {
			continue
		}
		y := c.sums[t*ProductRows*n : (t+1)*ProductRows*n]
		c.f.product(y, n, c.along[t*ProductRows*x.k:], x.v[b], x.k, false)
		e := c.errs[(t*w+b*n)*ProductRows:]
		for i, rest := range x.rest[b*n : (b+1)*n] {
			for r := range ProductRows {
				y[r*n+i] += float32(rest * e[i*ProductRows+r])
			}
		}
	}
}
