package quant

import (
	"math"
	"math/bits"
)

// torch's reductions on CPU run in 8 float32 lanes, the width of AVX2, whatever
// the machine offers.
const torchLanes = 8

// Mean returns the mean of x with the bits of torch's Tensor.mean on one CPU
// thread: a cascade of float32 sums in 8 lanes and four interleaved rows,
// divided by the length (aten/src/ATen/native/cpu/SumKernel.cpp). With several
// threads torch splits vectors of more than 32768 elements, and its last bits
// depend on how many threads there are. Mean is NaN if x is empty.
func Mean(x []float32) float32 {
	if m := mean(x, true); m == m {
		return m
	}
	return mean(x, false) // which NaN it is depends on the order of operands
}

// mean is Mean, with vector kernels if they may be used.
func mean(x []float32, vector bool) float32 {
	lanes := torchLanes
	if len(x) < lanes {
		lanes, vector = 1, false
	}
	rows := len(x) / lanes
	acc := cascade(x, rows/4, lanes, vector)
	for i := rows / 4 * 4; i < rows; i++ {
		addRow(acc[0][:lanes], x[i*lanes:])
	}
	for k := 1; k < 4; k++ {
		addRow(acc[0][:lanes], acc[k][:])
	}
	var sum float32
	for _, v := range x[rows*lanes:] {
		sum += v
	}
	for _, v := range acc[0][:lanes] {
		sum += v
	}
	return sum / float32(len(x))
}

// cascade sums size groups of four rows of so many lanes, row k of every group
// into acc[k]. Partial sums move to a higher level when they hold 2^power
// groups, so that rounding errors grow with the logarithm of the length.
func cascade(x []float32, size, lanes int, vector bool) (acc [4][torchLanes]float32) {
	const levels = 4
	power := max(4, ceilLog2(size)/levels)
	step := 1 << power
	var level [levels][4][torchLanes]float32
	add := func(i, end int) {
		if vector {
			i += sumVector(&level[0], x[4*i*lanes:4*end*lanes])
		}
		for ; i < end; i++ {
			for k := range level[0] {
				addRow(level[0][k][:lanes], x[(4*i+k)*lanes:])
			}
		}
	}
	i := 0
	for i+step <= size {
		add(i, i+step)
		i += step
		for j := 1; j < levels; j++ {
			for k := range level[j] {
				addRow(level[j][k][:lanes], level[j-1][k][:])
			}
			level[j-1] = [4][torchLanes]float32{}
			if i&((step-1)<<(j*power)) != 0 {
				break
			}
		}
	}
	add(i, size)
	acc = level[0]
	for j := 1; j < levels; j++ {
		for k := range acc {
			addRow(acc[k][:lanes], level[j][k][:])
		}
	}
	return acc
}

// addRow adds row to acc element by element.
func addRow(acc, row []float32) {
	for i := range acc {
		acc[i] += row[i]
	}
}

// ceilLog2 is torch's utils::CeilLog2: 1 up to 2, then the exponent of the next
// power of two.
func ceilLog2(n int) int {
	if n <= 2 {
		return 1
	}
	return bits.Len(uint(n - 1))
}

// RowNorm returns the Euclidean norm of x with the bits of torch.linalg.norm
// over contiguous rows on CPU: squares, not fused, summed in 8 lanes that are
// added in order, then the rest of the row
// (aten/src/ATen/native/cpu/ReduceOpsKernel.cpp, norm_two_reduce_step).
func RowNorm(x []float32) float32 {
	var lanes [torchLanes]float32
	for len(x) >= torchLanes {
		for l := range lanes {
			lanes[l] += float32(x[l] * x[l])
		}
		x = x[torchLanes:]
	}
	sum := lanes[0]
	for _, v := range lanes[1:] {
		sum += v
	}
	for _, v := range x {
		sum += float32(v * v)
	}
	return float32(math.Sqrt(float64(sum)))
}

// AddSquares adds x[i]*x[i] to sums[i], not fused: one step of
// torch.linalg.norm over the columns of a matrix, which torch sums row by row.
// It panics if the lengths differ.
func AddSquares(sums, x []float32) {
	if len(sums) != len(x) {
		panic(badLength)
	}
	for i, v := range x {
		sums[i] += float32(v * v)
	}
}

// Sqrt replaces every element of x by its square root.
func Sqrt(x []float32) {
	for i, v := range x {
		x[i] = float32(math.Sqrt(float64(v)))
	}
}
