//go:build !amd64 || !gc || noasm

package model

// dotIsSlow tells tests that there are no vector kernels.
const dotIsSlow = true

func dot(y []float32, stride int, x, w []float32, k int, add bool) { dotGo(y, stride, x, w, k, add) }

func dotPairs(y []float32, stride int, x, w []int16, units *pairUnits, k int, add bool) {
	dotPairsGo(y, stride, x, w, units, k, add)
}

func quadsAreFast() bool { return false }

func dotQuads(y []float32, stride int, x, w []int8, units *pairUnits, k int, add bool) {
	dotQuadsGo(y, stride, x, w, units, k, add)
}

func topBits(x []float32) uint32 { return topBitsGo(x) }

func roundBytes(dst []int8, x []float32, per float32) { roundAllGo(dst, x, per) }

func roundShorts(dst []int16, x []float32, per float32) { roundAllGo(dst, x, per) }

func expAll(x []float32, shift float32) { expGo(x, shift) }

func scaleAll(x []float32, by float32) float32 { return scaleGo(x, by) }

func divide(x []float32, d float32) { divideGo(x, d) }
