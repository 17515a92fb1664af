package quant

import (
	"errors"
	"math"
	"slices"
)

// Sizes of what a Product multiplies.
const (
	ProductRows = 12
	ProductCols = 32
)

// Product is a kernel for matrix products: it sets y [12, 32], rows stride
// apart, to the product of x [k][12] and w [k][32], or adds it. model.Product
// is one. Results are the same on any machine if its are.
type Product func(y []float32, stride int, x, w []float32, k int, add bool)

// Parallel calls do for every i in [0, n), in any order and perhaps several at
// a time, and returns when all have returned. An error says that some were left
// out.
type Parallel func(n int, do func(i int)) error

// Feedback chooses codes one column after the other so that errors cancel in
// what a layer's inputs see. With E = W'-T it lowers tr(E M E^T) + 2 tr(E G^T),
// which is, up to a constant and the damping, the mean square of
// W' x' - T x over the inputs x' the layer gets and those x it should get, if
// M = E[x' x'^T] and G = T E[(x'-x) x'^T].
//
// M = U D U^T with U unit upper triangular, its columns by falling diagonal,
// turns the sum into D_j ((E U)_j + Y_j)^2 with Y = G U^-T D^-1, and each code
// is the nearest to what makes its own term 0, the errors before it given.
// This is the order of GPTQ (Frantar et al., 2022) in the form of LDLQ (Chee et
// al., QuIP, 2023), which needs no inverse; G is the asymmetry of GPTAQ (Li et
// al., 2025). Blocks of 32 columns take the errors of all earlier ones by
// Product, so nearly all of the work is matrix products: half of the columns
// per weight, twice that with G.
//
// A Feedback is read only once made, and safe for concurrent use.
type Feedback struct {
	cols  int
	order []int     // column by place; places from len(order) on are padding
	dead  []bool    // by column: no input reaches it
	diag  []float32 // D by place, 0 at dead columns

	// By block of places: U above the block [32*b][32], right of it, transposed
	// [rest][32], and within [32][32], and within by columns.
	above, right, near, nearT [][]float32

	cross   [][]float32 // E[(x'-x) x'^T] by block [width][32], nil if there is none
	product Product
}

// ErrMoments says that second moments are not finite or all zero.
var ErrMoments = errors.New("the inputs' second moments are not finite or all zero")

// NewFeedback factors M, which is h over its mean diagonal with damping added
// to the diagonal. h and cross are [cols, cols], row-major, h symmetric; cross
// is nil if the layer gets the inputs it should get. Columns whose diagonal is 0
// get no part in it: their weights stay those of the base.
func NewFeedback(h, cross []float32, cols int, damping float64, product Product, parallel Parallel) (*Feedback, error) {
	f := &Feedback{cols: cols, order: make([]int, cols), dead: make([]bool, cols), product: product}
	sum, live := 0.0, 0
	for j := range cols {
		f.order[j] = j
		if d := h[j*cols+j]; d > 0 {
			sum += float64(d)
			live++
		} else if f.dead[j] = true; d != 0 {
			return nil, ErrMoments
		}
	}
	scale := float64(live) / sum
	if !(scale > 0) || math.IsInf(scale, 0) || math.IsInf(sum, 0) {
		return nil, ErrMoments
	}
	slices.SortStableFunc(f.order, func(a, b int) int {
		switch x, y := h[a*cols+a], h[b*cols+b]; {
		case x > y:
			return -1
		case x < y:
			return 1
		}
		return 0
	})
	w := f.width()
	f.diag = make([]float32, w)
	var err error
	if f.above, err = f.panels(h, float32(scale), func(b int) int { return (b + 1) * ProductCols }, parallel); err != nil {
		return nil, err
	}
	for b, p := range f.above {
		for c := range ProductCols {
			if at := b*ProductCols + c; at < cols {
				p[at*ProductCols+c] += float32(damping)
			} else {
				p[at*ProductCols+c] = 1
			}
		}
	}
	if err := f.factor(float32(damping), parallel); err != nil {
		return nil, err
	}
	for at, j := range f.order {
		if f.dead[j] {
			f.diag[at] = 0
		}
	}
	clear(f.diag[cols:])
	if cross != nil {
		if f.cross, err = f.panels(cross, float32(scale), func(int) int { return w }, parallel); err != nil {
			return nil, err
		}
	}
	for _, d := range f.diag {
		if !(d-d == 0) {
			return nil, ErrMoments
		}
	}
	return f, nil
}

// width is cols rounded up to whole blocks.
func (f *Feedback) width() int { return (f.cols + ProductCols - 1) / ProductCols * ProductCols }

// panels returns m times scale in the order of places, by blocks of columns
// [rows(b)][32]. Dead columns are zero.
func (f *Feedback) panels(m []float32, scale float32, rows func(b int) int, parallel Parallel) ([][]float32, error) {
	list := make([][]float32, f.width()/ProductCols)
	err := parallel(len(list), func(b int) {
		p := make([]float32, rows(b)*ProductCols)
		for k := range min(rows(b), f.cols) {
			row := m[f.order[k]*f.cols:]
			for c, j := range f.order[min(b*ProductCols, f.cols):min((b+1)*ProductCols, f.cols)] {
				if !f.dead[j] && !f.dead[f.order[k]] {
					p[k*ProductCols+c] = row[j] * scale
				}
			}
		}
		list[b] = p
	})
	return list, err
}

// factor turns the upper half of M in f.above into U and D, the last block
// first. No pivot of M is below the damping, so one that rounding brought there
// is lifted to it.
func (f *Feedback) factor(damping float32, parallel Parallel) error {
	w := f.width()
	blocks := w / ProductCols
	f.right, f.near, f.nearT = make([][]float32, blocks), make([][]float32, blocks), make([][]float32, blocks)
	tiles := make([][]float32, (w+ProductRows-1)/ProductRows) // U by rows as Product reads them: [places][12]
	for t := range tiles {
		tiles[t] = make([]float32, w*ProductRows)
	}
	for b := blocks - 1; b >= 0; b-- {
		lo := b * ProductCols
		hi := lo + ProductCols
		right := make([]float32, (w-hi)*ProductCols)
		weighted := make([]float32, len(right))
		for i := hi; i < w; i++ {
			for c := range ProductCols {
				u := tiles[(lo+c)/ProductRows][i*ProductRows+(lo+c)%ProductRows]
				right[(i-hi)*ProductCols+c] = u
				weighted[(i-hi)*ProductCols+c] = u * f.diag[i]
			}
		}
		f.right[b] = right
		p := f.above[b]
		update := func(t, from, to int) {
			if w == hi {
				return
			}
			var y [ProductRows * ProductCols]float32
			f.product(y[:], ProductCols, tiles[t][hi*ProductRows:], weighted, w-hi, false)
			for k := max(t*ProductRows, from); k < min((t+1)*ProductRows, to); k++ {
				for c, v := range y[(k-t*ProductRows)*ProductCols:][:ProductCols] {
					p[k*ProductCols+c] -= v
				}
			}
		}
		for t := lo / ProductRows; t*ProductRows < hi; t++ {
			update(t, lo, hi)
		}
		f.factorBlock(b, damping)
		store := func(k int) {
			for c, u := range p[k*ProductCols:][:ProductCols] {
				tiles[k/ProductRows][(lo+c)*ProductRows+k%ProductRows] = u
			}
		}
		err := parallel((lo+ProductRows-1)/ProductRows, func(t int) {
			update(t, 0, lo)
			for k := t * ProductRows; k < min((t+1)*ProductRows, lo); k++ {
				f.solveRow(b, p[k*ProductCols:][:ProductCols])
				store(k)
			}
		})
		if err != nil {
			return err
		}
		for k := range ProductCols {
			copy(p[(lo+k)*ProductCols:], f.near[b][k*ProductCols:][:ProductCols])
			store(lo + k)
		}
		f.above[b] = p[:lo*ProductCols]
	}
	return nil
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
	near, nearT := make([]float32, n*n), make([]float32, n*n)
	for c := n - 1; c >= 0; c-- {
		d := max(m[c][c], float64(damping))
		f.diag[b*n+c] = float32(d)
		for k := range c {
			u := m[k][c] / d
			for l := k; l < c; l++ {
				m[k][l] -= float64(u * m[l][c])
			}
			near[k*n+c], nearT[c*n+k] = float32(u), float32(u)
		}
	}
	f.near[b], f.nearT[b] = near, nearT
}

// solveRow turns a row of what is left of M above a block into one of U.
func (f *Feedback) solveRow(b int, row []float32) {
	const n = ProductCols
	for c := n - 1; c >= 0; c-- {
		v := row[c]
		addScaled(row[:c], f.nearT[b][c*n:], -v)
		row[c] = v / f.diag[b*n+c]
	}
}
