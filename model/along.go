package model

import "context"

// Along returns m E[b a^T], row-major [len(m)/Features, Features], for m of as
// many features: what Moments(v, less) would be multiplied with from the left and
// transposed, without it. b is the input of variant v, and a the same, or what
// it has more than the input of variant less if that is not negative. Terms are
// added as doc.go says, tokens in order, whatever the number of workers.
func (in Inputs) Along(ctx context.Context, m []float32, v, less, workers int) ([]float32, error) {
	const chunk = 8 * chainLen // tokens
	n := in.Features()
	k := len(m) / n
	wide := roundUp(k, panelCols)
	packed := make([]float32, wide*n)
	packPanels(packed, m, k, n)
	tiles := roundUp(n, tileRows) / tileRows
	sum := make([]float32, tiles*tileRows*wide) // [features][wide]
	rows, other := make([]float32, chunk*n), []float32(nil)
	if less >= 0 {
		other = make([]float32, chunk*n)
	}
	a := make([]float32, tiles*tileRows*chunk)
	p := make([]float32, wide*chunk) // m b by panels, each [tokens][32]
	for first := 0; first < in.Tokens(); first += chunk {
		c := min(chunk, in.Tokens()-first)
		err := parallel(ctx, workers, roundUp(c, tileRows)/tileRows, func(_, i int) error {
			lo, hi := i*tileRows*n, min((i+1)*tileRows, c)*n
			in.Rows(rows[lo:hi], v, first+i*tileRows)
			if less >= 0 {
				in.Rows(other[lo:hi], less, first+i*tileRows)
			}
			x := in.r.in.tile((v*in.r.rows+first)/tileRows + i)
			for g := range wide / panelCols {
				dot(p[g*panelCols*chunk+i*tileRows*panelCols:], panelCols, x, packed[g*panelCols*n:], n, false)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		tilesOf(a[:tiles*tileRows*c], rows, c, n, other)
		err = parallel(ctx, workers, tiles, func(_, t int) error {
			for g := range wide / panelCols {
				dot(sum[t*tileRows*wide+g*panelCols:], wide, a[t*tileRows*c:], p[g*panelCols*chunk:], c, first > 0)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	out, scale := make([]float32, k*n), 1/float32(in.Tokens())
	for i := range k {
		for j := range n {
			out[i*n+j] = sum[j*wide+i] * scale
		}
	}
	return out, nil
}

// tilesOf rearranges x [k, n], less minus if that is not nil, to groups of 12
// columns, each [k][12]; columns beyond n are zero.
func tilesOf(dst, x []float32, k, n int, minus []float32) {
	for g := range len(dst) / (tileRows * k) {
		part := dst[g*tileRows*k:]
		first := min(g*tileRows, n)
		cols := min(tileRows, n-first)
		for i := range k {
			row := part[i*tileRows : (i+1)*tileRows]
			copy(row, x[i*n+first:][:cols])
			clear(row[cols:])
			if minus == nil {
				continue
			}
			for c, v := range minus[i*n+first:][:cols] {
				row[c] -= v
			}
		}
	}
}

// Squares returns the mean square of each feature of a variant.
func (in Inputs) Squares(v int) []float64 {
	n := in.Features()
	row, sums := make([]float32, n), make([]float64, n)
	for t := range in.Tokens() {
		in.Rows(row, v, t)
		for i, x := range row {
			sums[i] += float64(float64(x) * float64(x))
		}
	}
	for i := range sums {
		sums[i] /= float64(in.Tokens())
	}
	return sums
}
