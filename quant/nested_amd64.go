//go:build amd64 && gc && !noasm

package quant

// The vector part of nested scales. Each function does the first n values or groups
// and returns n. Kernels are called by name, since arguments of function values
// would escape.

// farthestVector is farthest.
func farthestVector(x []float32, offset float32) (m float32, n int) {
	level := Kernels()
	if level == Go {
		return 0, 0
	}
	for len(x)-n >= chunk {
		c := min((len(x)-n)/chunk, callChunks)
		if level == AVX512 {
			m = max(m, farthestAVX512(&x[n], c, offset))
		} else {
			m = max(m, farthestAVX2(&x[n], c, offset))
		}
		n += c * chunk
	}
	return m, n
}

// placeVector is place; dst is short enough for a call.
func placeVector(dst []uint16, x []float32, offset, inv float32) (n int) {
	level, chunks := Kernels(), len(dst)/chunk
	switch {
	case level == Go || chunks == 0:
		return 0
	case level == AVX512:
		placeAVX512(&dst[0], &x[0], chunks, offset, inv)
	default:
		placeAVX2(&dst[0], &x[0], chunks, offset, inv)
	}
	return chunks * chunk
}

// scaleVector decodes nested scales of one block. NaN and infinities are left to Go.
func scaleVector(dst []float32, codes []byte, points *[256]float32, absmax, offset float32) (n int) {
	level := Kernels()
	if level == Go || !finite(absmax) || !finite(offset) {
		return 0
	}
	for len(dst)-n >= chunk {
		c := min((len(dst)-n)/chunk, callChunks)
		if level == AVX512 {
			scaleAVX512(&dst[n], &codes[n], points, c, absmax, offset)
		} else {
			scaleAVX2(&dst[n], &codes[n], points, c, absmax, offset)
		}
		n += c * chunk
	}
	return n
}

// sumVector adds groups of four rows of lanes to acc.
func sumVector(acc *[4][torchLanes]float32, x []float32) (n int) {
	const group, call = 4 * torchLanes, callChunks * chunk / (4 * torchLanes)
	level := Kernels()
	if level == Go {
		return 0
	}
	for len(x)/group > n {
		g := min(len(x)/group-n, call)
		if level == AVX512 {
			sumAVX512(acc, &x[n*group], g)
		} else {
			sumAVX2(acc, &x[n*group], g)
		}
		n += g
	}
	return n
}
