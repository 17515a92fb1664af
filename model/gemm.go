package model

import "mergescope/quant"

const (
	tileRows  = 12  // tokens a kernel works on
	panelCols = 32  // outputs a kernel works on
	chainLen  = 48  // terms of one chain of FMA
	blockLen  = 192 // terms a kernel sums before it moves on, some chains
)

// matrix is row-major with rows a multiple of tileRows and stride one of
// panelCols, so that kernels need no other sizes.
type matrix struct {
	rows, stride int
	data         []float32
}

func (m *matrix) row(i int) []float32 { return m.data[i*m.stride : (i+1)*m.stride] }

// resize gives m room for so many rows and columns. Contents are undefined.
func (m *matrix) resize(rows, cols int) {
	m.rows, m.stride = rows, roundUp(cols, panelCols)
	m.data = grow(m.data, m.rows*m.stride)
}

// tiles holds activations [rows, cols] as kernels read them: tiles of tileRows
// rows, each [cols][tileRows].
type tiles struct {
	cols int
	data []float32
}

func (t *tiles) resize(rows, cols int) {
	t.cols = cols
	t.data = grow(t.data, rows*cols)
}

func (t *tiles) tile(i int) []float32 {
	n := t.cols * tileRows
	return t.data[i*n : (i+1)*n]
}

// put stores tile i, whose rows are those of src, stride apart.
func (t *tiles) put(i int, src []float32, stride int) {
	quant.Interleave(t.tile(i), tileRows, src, stride, tileRows, t.cols)
}

// packPanels rearranges rows [n, cols] of a weight to panels of panelCols rows,
// each [cols][panelCols]; rows that are missing from the last one are zero.
func packPanels(dst, src []float32, n, cols int) {
	for p := range roundUp(n, panelCols) / panelCols {
		panel := dst[p*panelCols*cols : (p+1)*panelCols*cols]
		rows := min(n-p*panelCols, panelCols)
		if rows < panelCols {
			clear(panel)
		}
		quant.Interleave(panel, panelCols, src[p*panelCols*cols:], cols, rows, cols)
	}
}

// product is one term of y = sum of x w^T: x in tiles, w in panels, over the
// same columns.
type product struct {
	x     *tiles
	panel []float32 // panels of the outputs at hand, [cols][panelCols] each
}

// chunkTiles is how many tiles of x pass a chain of panels before the next: they
// should stay in the second-level cache.
const chunkTiles = 24

// multiply sets y[:, col:col+32*panels] to the sum of the products, over tiles
// [t0, t1). y's row 0 belongs to tile 0.
func multiply(y *matrix, col int, sum []product, panels, t0, t1 int) {
	for lo := t0; lo < t1; lo += chunkTiles {
		hi := min(lo+chunkTiles, t1)
		add := false
		for _, p := range sum {
			cols := p.x.cols
			for k := 0; k < cols; k += blockLen {
				n := min(blockLen, cols-k)
				for panel := range panels {
					w := p.panel[(panel*cols+k)*panelCols:]
					for t := lo; t < hi; t++ {
						at := t*tileRows*y.stride + col + panel*panelCols
						dot(y.data[at:], y.stride, p.x.tile(t)[k*tileRows:], w, n, add)
					}
				}
				add = true
			}
		}
	}
}

// dotGo is the twin of the vector kernels: y [12, 32] with rows stride apart is
// set to the product of x [k][12] and w [k][32], chain by chain, or added to.
func dotGo(y []float32, stride int, x, w []float32, k int, add bool) {
	for r := range tileRows {
		row := y[r*stride : r*stride+panelCols]
		for lo := 0; lo < k; lo += chainLen {
			var acc [panelCols]float32
			for i := lo; i < min(lo+chainLen, k); i++ {
				quant.Axpy(acc[:], w[i*panelCols:(i+1)*panelCols], x[i*tileRows+r])
			}
			if lo == 0 && !add {
				copy(row, acc[:])
				continue
			}
			for j, v := range acc {
				row[j] += v
			}
		}
	}
}

func roundUp(n, unit int) int { return (n + unit - 1) / unit * unit }

// grow returns a slice of n elements of no defined value, s itself if it is
// large enough.
func grow[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}
