package model

import "context"

// Product is the kernel of all products of matrices here, see quant.Product: y
// [12, 32], rows stride apart, becomes x^T w of x [k][12] and w [k][32], or that
// is added.
func Product(y []float32, stride int, x, w []float32, k int, add bool) { dot(y, stride, x, w, k, add) }

// Moments returns E[a b^T] over the tokens of a batch, row-major [Features,
// Features]: b is the input of variant v, and a the same, or what it has more
// than the input of variant less if that is not negative. Terms are added as
// doc.go says, tokens in order, whatever the number of workers.
func (in Inputs) Moments(ctx context.Context, v, less, workers int) ([]float32, error) {
	const chunk = 8 * chainLen // tokens
	const group = 8            // tiles that share a read of b
	n := in.Features()
	tiles, panels := roundUp(n, tileRows)/tileRows, roundUp(n, panelCols)/panelCols
	stride := panels * panelCols
	sum := make([]float32, tiles*tileRows*stride)
	rows := make([]float32, chunk*n)
	other := make([]float32, chunk*n)
	a, b := make([]float32, tiles*tileRows*chunk), make([]float32, panels*panelCols*chunk)
	for first := 0; first < in.Tokens(); first += chunk {
		k := min(chunk, in.Tokens()-first)
		err := parallel(ctx, workers, roundUp(k, tileRows)/tileRows, func(_, i int) error {
			lo, hi := i*tileRows*n, min((i+1)*tileRows, k)*n
			in.Rows(rows[lo:hi], v, first+i*tileRows)
			if less >= 0 {
				in.Rows(other[lo:hi], less, first+i*tileRows)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		columns(b, rows, panelCols, panels, k, n, nil)
		if less >= 0 {
			columns(a, rows, tileRows, tiles, k, n, other)
		} else {
			columns(a, rows, tileRows, tiles, k, n, nil)
		}
		err = parallel(ctx, workers, roundUp(tiles, group)/group, func(_, i int) error {
			for p := range panels {
				for t := i * group; t < min((i+1)*group, tiles); t++ {
					if less < 0 && (p+1)*panelCols <= t*tileRows {
						continue // symmetric
					}
					dot(sum[t*tileRows*stride+p*panelCols:], stride, a[t*tileRows*k:], b[p*panelCols*k:], k, first > 0)
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return square(sum, n, stride, less < 0, 1/float32(in.Tokens())), nil
}

// columns rearranges x [k, n], less minus if that is not nil, to groups of width
// columns, each [k][width]; columns beyond n are zero.
func columns(dst, x []float32, width, groups, k, n int, minus []float32) {
	for g := range groups {
		part := dst[g*width*k : (g+1)*width*k]
		cols := min(width, n-g*width)
		for i := range k {
			row := part[i*width : (i+1)*width]
			copy(row[:cols], x[i*n+g*width:])
			clear(row[cols:])
			if minus != nil {
				for c, v := range minus[i*n+g*width:][:cols] {
					row[c] -= v
				}
			}
		}
	}
}

// square scales the first n rows and columns of x, mirrored if only its upper
// half was computed, and puts them next to each other.
func square(x []float32, n, stride int, symmetric bool, scale float32) []float32 {
	for i := range n {
		for j := range n {
			from := x[i*stride+j]
			if symmetric && j < i {
				from = x[j*n+i] // scaled already
			} else {
				from *= scale
			}
			x[i*n+j] = from
		}
	}
	return x[:n*n]
}
