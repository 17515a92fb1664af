package quant

// Interleave sets dst[k*width+r] to src[r*stride+k] for so many rows and columns:
// src's rows become dst's columns.
func Interleave(dst []float32, width int, src []float32, stride, rows, cols int) {
	r, c := interleaveVector(dst, width, src, stride, rows, cols)
	interleavePlain(dst, width, src, stride, 0, r, c, cols)
	interleavePlain(dst, width, src, stride, r, rows, 0, cols)
}

// interleavePlain is Interleave for rows [r0, r1) and columns [c0, c1).
func interleavePlain(dst []float32, width int, src []float32, stride, r0, r1, c0, c1 int) {
	const strip = 16 // columns, so that what is written stays in the first-level cache
	for c := c0; c < c1; c += strip {
		end := min(c+strip, c1)
		for r := r0; r < r1; r++ {
			for k := c; k < end; k++ {
				dst[k*width+r] = src[r*stride+k]
			}
		}
	}
}

// turn transposes a square of 32.
func turn(dst, src []float32) {
	Interleave(dst, ProductCols, src, ProductCols, ProductCols, ProductCols)
}

// turnTile transposes src [12][32].
func turnTile(dst, src []float32) {
	Interleave(dst, ProductRows, src, ProductCols, ProductRows, ProductCols)
}
