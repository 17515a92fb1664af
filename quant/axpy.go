package quant

// Axpy sets acc[i] = FMA32(b, a[i], acc[i]). It panics if a is shorter than acc.
func Axpy(acc, a []float32, b float32) { axpy(acc, a, b) }
