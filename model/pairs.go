package model

import (
	"golang.org/x/sys/cpu"

	"mergescope/quant"
)

// useVNNI has kernels with AVX-512 multiply and add pairs in one instruction.
var useVNNI = cpu.X86.HasAVX512VNNI

// dotPairsGo is the twin of the vector kernels: y [12, 32], rows stride apart, is set
// to x [k][12][2] times w [k][32][2] in the units of rows and columns, or that
// is added. No sum exceeds an int32.
func dotPairsGo(y []float32, stride int, x, w []int16, units *pairUnits, k int, add bool) {
	for r := range tileRows {
		var acc [panelCols]int32
		for i := range k {
			a, row := x[2*(i*tileRows+r):][:2], (*[2 * panelCols]int16)(w[2*i*panelCols:])
			a0, a1 := int32(a[0]), int32(a[1])
			for c := range acc {
				acc[c] += a0*int32(row[2*c]) + a1*int32(row[2*c+1])
			}
		}
		setSums(y[r*stride:r*stride+panelCols], &acc, units, r, add)
	}
}

// setSums sets row r of y to sums in their units, or adds them.
func setSums(row []float32, sums *[panelCols]int32, units *pairUnits, r int, add bool) {
	for c, v := range sums {
		z := float32(float32(float32(v)*units[r]) * units[tileRows+c])
		if add {
			z += row[c]
		}
		row[c] = z
	}
}

// pairUnits are those of 12 rows and of 32 columns.
type pairUnits = quant.PairUnits
