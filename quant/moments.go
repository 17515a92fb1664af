package quant

import "math"

// Memory is what a Feedback takes: for n columns n^2/2 floats for U, and as much
// again for the Moments it is made of, or n^2 with cross moments, which take their
// place; what is rounded of U and of these takes no more. It serves one Feedback at a time and may be used for the next.
type Memory struct{ half, rest []float32 }

// Reserve makes room for layers of cols inputs.
func (m *Memory) Reserve(cols int, cross bool) {
	w := blocksOf(cols) * ProductCols
	m.half = grow(m.half, upperSize(cols))
	if n := upperSize(cols); cross {
		m.rest = grow(m.rest, max(n, blocksOf(cols)*rowsOf(w)*ProductCols))
	} else {
		m.rest = grow(m.rest, n)
	}
}

// Bytes is what it takes by now.
func (m *Memory) Bytes() int64 { return 4 * int64(cap(m.half)+cap(m.rest)) }

// Moments are second moments E[x x^T] of the inputs of layers: the upper half, by
// blocks of 32 columns.
type Moments struct {
	cols    int
	panels  [][]float32
	memory  *Memory
	product Product
	pairs   PairProduct
}

// NewMoments returns moments of no defined value. They are in memory, and valid
// until a Feedback is made in the same.
func NewMoments(memory *Memory, cols int, product Product, pairs PairProduct) *Moments {
	memory.Reserve(cols, false)
	return &Moments{cols: cols, panels: upperPanels(memory.rest, cols), memory: memory, product: product, pairs: pairs}
}

func blocksOf(cols int) int { return (cols + ProductCols - 1) / ProductCols }

// rowsOf rounds up to whole tiles.
func rowsOf(n int) int { return (n + ProductRows - 1) / ProductRows * ProductRows }

// upperSize is how many values upperPanels takes.
func upperSize(cols int) (n int) {
	for b := range blocksOf(cols) {
		n += rowsOf((b+1)*ProductCols) * ProductCols
	}
	return n
}

// upperPanels cuts x into blocks of the upper half of a matrix: the first
// 32 (b+1) rows, rounded up to whole tiles, of columns [32 b, 32 b + 32).
func upperPanels(x []float32, cols int) [][]float32 {
	list := make([][]float32, blocksOf(cols))
	for b := range list {
		n := rowsOf((b+1)*ProductCols) * ProductCols
		list[b], x = x[:n:n], x[n:]
	}
	return list
}

// Cols returns in_features.
func (m *Moments) Cols() int { return m.cols }

// Panels returns the blocks [rows][32]: block b has columns [32 b, 32 b + 32) and
// at least 32 (b+1) rows, of which those below its own columns say nothing.
// Columns from Cols on must be 0, and the square on the diagonal whole.
func (m *Moments) Panels() [][]float32 { return m.panels }

// at returns an element. It has no branch that elements in no order would mislead.
func (m *Moments) at(i, j int) float32 {
	lo, hi := min(i, j), max(i, j)
	return m.panels[uint(hi)/ProductCols][lo*ProductCols+int(uint(hi)%ProductCols)]
}

// Upper fills dst with row i from the diagonal on, Cols()-i values.
func (m *Moments) Upper(dst []float32, i int) {
	for j := i; j < m.cols; {
		b := j / ProductCols
		j += copy(dst[j-i:m.cols-i], m.panels[b][i*ProductCols+j%ProductCols:(i+1)*ProductCols])
	}
}

// SetUpper sets row i from the diagonal on, and what mirrors it. All rows must be
// set.
func (m *Moments) SetUpper(i int, row []float32) {
	at := i / ProductCols
	for k, v := range row {
		j := i + k
		b := j / ProductCols
		m.panels[b][i*ProductCols+j%ProductCols] = v
		if b == at {
			m.panels[b][j*ProductCols+i%ProductCols] = v
		}
	}
	if i == m.cols-1 {
		m.pad()
	}
}

// pad clears the columns from cols on, and the rows of the last square.
func (m *Moments) pad() {
	last := m.panels[len(m.panels)-1]
	for i := range len(last) / ProductCols {
		from := m.cols - (len(m.panels)-1)*ProductCols
		if i >= m.cols {
			from = 0
		}
		clear(last[i*ProductCols+from : (i+1)*ProductCols])
	}
}

// Times returns a times the moments, both [rank, Cols].
func (m *Moments) Times(a []float32, rank int) []float32 {
	const n = ProductCols
	dst := make([]float32, rank*m.cols)
	x := make([]float32, len(m.panels)*n*ProductRows)
	y, turned := make([]float32, ProductRows*n), make([]float32, n*n)
	for r0 := 0; r0 < rank; r0 += ProductRows {
		rows := min(ProductRows, rank-r0)
		clear(x)
		for r := range rows {
			for j, v := range a[(r0+r)*m.cols : (r0+r+1)*m.cols] {
				x[j*ProductRows+r] = v
			}
		}
		for b, p := range m.panels {
			m.product(y, n, x, p, (b+1)*n, false)
			for k := b + 1; k < len(m.panels); k++ {
				turn(turned, m.panels[k][b*n*n:])
				m.product(y, n, x[k*n*ProductRows:], turned, n, true)
			}
			for r := range rows {
				copy(dst[(r0+r)*m.cols+b*n:(r0+r+1)*m.cols], y[r*n:(r+1)*n])
			}
		}
	}
	return dst
}

// Squares returns the diagonal: E[x_j^2] by input.
func (m *Moments) Squares() []float64 {
	squares := make([]float64, m.cols)
	for j := range squares {
		squares[j] = float64(m.at(j, j))
	}
	return squares
}

// mean returns the mean of the diagonal where it is not 0, and ErrMoments if
// there is none or one is no number.
func (m *Moments) mean() (float64, error) {
	sum, live := 0.0, 0
	for j := range m.cols {
		if d := m.at(j, j); d > 0 {
			sum += float64(d)
			live++
		} else if d != 0 {
			return 0, ErrMoments
		}
	}
	mean := sum / float64(live)
	if !(mean > 0) || math.IsInf(sum, 0) {
		return 0, ErrMoments
	}
	return mean, nil
}
