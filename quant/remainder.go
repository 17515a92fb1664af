package quant

import "math"

// Width is how many values a row of a Remainder has: cols rounded up to whole
// blocks of 32.
func (f *Feedback) Width() int { return f.width() }

// Remainder fills dst [rows, Width()] with what is left to add to values, so
// that a sum over its squares is Loss: sqrt(D_j) times minus (E U + Y)_j, by
// places. It needs Load as Choose does.
func (c *Chooser) Remainder(dst, values []float32) {
	w := c.f.width()
	c.sweep(math.Inf(1), func(s *strip) { c.gatherStrip(s.given, values, s.tile, s.block) }, func(s *strip) {
		for i, d := range s.diag {
			root := float32(math.Sqrt(float64(d)))
			for r := s.tile * ProductRows; r < min((s.tile+1)*ProductRows, c.rows); r++ {
				k := i*ProductRows + r%ProductRows
				dst[r*w+s.block*ProductCols+i] = root * (s.aims[k] - s.given[k])
			}
		}
	})
}

// Unweigh returns the row a [cols] of a matrix whose weighted form is x, a row as
// those of a Remainder: a U D^(1/2) = x. Dead columns are 0.
func (f *Feedback) Unweigh(x []float64) []float32 {
	const n = ProductCols
	solved := make([]float64, f.width())
	a := make([]float32, f.cols)
	if f.low != nil {
		f.unweighLow(a, x)
		return a
	}
	for at, j := range f.order {
		if f.dead[j] {
			continue
		}
		b, c := at/n, at%n
		v := x[at] / math.Sqrt(float64(f.diag[at]))
		for k, s := range solved[:b*n] {
			v -= float64(s * float64(f.above[b][k*n+c]))
		}
		for k, s := range solved[b*n : at] {
			v -= float64(s * float64(f.near[b][k*n+c]))
		}
		solved[at] = v
		a[j] = float32(v)
	}
	return a
}

// unweighLow is Unweigh of Directions.
func (f *Feedback) unweighLow(a []float32, x []float64) {
	const n = ProductCols
	along := make([]float64, f.low.k)
	for at, j := range f.order {
		if f.dead[j] {
			continue
		}
		gains, v := f.low.gains[at/n], f.low.v[at/n]
		s := x[at] / math.Sqrt(float64(f.diag[at]))
		for k, p := range along {
			s -= float64(p * float64(gains[k*n+at%n]))
		}
		for k := range along {
			along[k] += float64(s * float64(v[k*n+at%n]))
		}
		a[j] = float32(s)
	}
}
