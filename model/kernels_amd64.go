//go:build amd64 && gc && !noasm

package model

import (
	"math"
	"slices"

	"mergescope/quant"
)

//go:generate go -C gen run . -out ../vector_amd64.s -stubs ../vector_amd64.go -pkg model

// dotIsSlow tells tests that there are no vector kernels.
const dotIsSlow = false

// dot is dotGo by the kernels in use.
func dot(y []float32, stride int, x, w []float32, k int, add bool) {
	level := quant.Kernels()
	if level == quant.Go || k == 0 {
		dotGo(y, stride, x, w, k, add)
		return
	}
	_, _, _ = y[(tileRows-1)*stride+panelCols-1], x[k*tileRows-1], w[k*panelCols-1]
	more := 0
	if add {
		more = 1
	}
	if level == quant.AVX512 {
		dotAVX512(&y[0], stride, &x[0], &w[0], k, more)
	} else {
		dotAVX2(&y[0], stride, &x[0], &w[0], k, more)
	}
}

// dotPairs is dotPairsGo by the kernels in use.
func dotPairs(y []float32, stride int, x, w []int16, units *pairUnits, k int, add bool) {
	level := quant.Kernels()
	if level == quant.Go || k == 0 {
		dotPairsGo(y, stride, x, w, units, k, add)
		return
	}
	_, _, _ = y[(tileRows-1)*stride+panelCols-1], x[2*k*tileRows-1], w[2*k*panelCols-1]
	more := 0
	if add {
		more = 1
	}
	switch {
	case level == quant.AVX512 && useVNNI:
		dotPairsVNNI(&y[0], stride, &x[0], &w[0], &units[0], k, more)
	case level == quant.AVX512:
		dotPairsAVX512(&y[0], stride, &x[0], &w[0], &units[0], k, more)
	default:
		dotPairsAVX2(&y[0], stride, &x[0], &w[0], &units[0], k, more)
	}
}

// quadsAreFast reports whether the kernels in use multiply quads faster than pairs.
func quadsAreFast() bool { return useVNNI && quant.Kernels() == quant.AVX512 }

// dotQuads is dotQuadsGo by the kernels in use.
func dotQuads(y []float32, stride int, x, w []int8, units *pairUnits, k int, add bool) {
	if !quadsAreFast() || k == 0 {
		dotQuadsGo(y, stride, x, w, units, k, add)
		return
	}
	_, _, _ = y[(tileRows-1)*stride+panelCols-1], x[4*k*tileRows-1], w[4*k*panelCols-1]
	more := 0
	if add {
		more = 1
	}
	dotQuadsVNNI(&y[0], stride, &x[0], &w[0], &units[0], k, more)
}

// topBits is topBitsGo by the kernels in use.
func topBits(x []float32) uint32 {
	var most [16]uint32
	n := 0
	switch quant.Kernels() {
	case quant.AVX512:
		if n = len(x) &^ 15; n > 0 {
			topBitsAVX512(&x[0], n/16, &most[0])
		}
	case quant.AVX2:
		if n = len(x) &^ 7; n > 0 {
			topBitsAVX2(&x[0], n/8, &most[0])
		}
	}
	return max(slices.Max(most[:]), topBitsGo(x[n:]))
}

// roundBytes is roundAllGo by the kernels in use.
func roundBytes(dst []int8, x []float32, per float32) {
	roundBy(dst, x, per, roundBytesAVX512, roundBytesAVX2)
}

// roundShorts is roundAllGo by the kernels in use.
func roundShorts(dst []int16, x []float32, per float32) {
	roundBy(dst, x, per, roundShortsAVX512, roundShortsAVX2)
}

// roundBy is roundAllGo by kernels for 16 values at a time, and for 8.
func roundBy[T int8 | int16](dst []T, x []float32, per float32, wide, narrow func(dst *T, x *float32, n int, per float32)) {
	n := 0
	_ = dst[:len(x)]
	switch quant.Kernels() {
	case quant.AVX512:
		if n = len(x) &^ 15; n > 0 {
			wide(&dst[0], &x[0], n/16, per)
		}
	case quant.AVX2:
		if n = len(x) &^ 7; n > 0 {
			narrow(&dst[0], &x[0], n/8, per)
		}
	}
	roundAllGo(dst[n:], x[n:], per)
}

// expAll sets x[i] to exp32(x[i]-shift).
func expAll(x []float32, shift float32) {
	n := 0
	switch quant.Kernels() {
	case quant.AVX512:
		if n = len(x) &^ 15; n > 0 {
			expAVX512(&x[0], n/16, shift)
		}
	case quant.AVX2:
		if n = len(x) &^ 7; n > 0 {
			expAVX2(&x[0], n/8, shift)
		}
	}
	expGo(x[n:], shift)
}

// scaleAll multiplies x by a factor and returns the largest result, -Inf if
// there is none; NaN does not count.
func scaleAll(x []float32, by float32) float32 {
	most := lowest
	n := 0
	switch quant.Kernels() {
	case quant.AVX512:
		if n = len(x) &^ 15; n > 0 {
			scaleAVX512(&x[0], n/16, by, &most[0])
		}
	case quant.AVX2:
		if n = len(x) &^ 7; n > 0 {
			scaleAVX2(&x[0], n/8, by, &most[0])
		}
	}
	return max(scaleGo(most[:], 1), scaleGo(x[n:], by))
}

// lowest is -Inf in every lane.
var lowest = func() (v [16]float32) {
	for i := range v {
		v[i] = float32(math.Inf(-1))
	}
	return v
}()

// divide sets x[i] to x[i]/d.
func divide(x []float32, d float32) {
	n := 0
	switch quant.Kernels() {
	case quant.AVX512:
		if n = len(x) &^ 15; n > 0 {
			divideAVX512(&x[0], n/16, d)
		}
	case quant.AVX2:
		if n = len(x) &^ 7; n > 0 {
			divideAVX2(&x[0], n/8, d)
		}
	}
	divideGo(x[n:], d)
}
