package merge

import "math/rand/v2"

// A task is one adapter's tensor in a combination; all tasks of a combination
// have the same length. The functions below are those of PEFT's
// utils/merge_utils.py in float32, sums taken in the order of the adapters.

// weightedSum returns sum_i weights[i]*tasks[i] (task_arithmetic).
func weightedSum(tasks [][]float32, weights []float32) []float32 {
	sum := make([]float32, len(tasks[0]))
	for i, t := range tasks {
		for j, v := range t {
			sum[j] += float32(v * weights[i])
		}
	}
	return sum
}

// pruneMagnitude zeroes all but the int(density*n) largest magnitudes.
func pruneMagnitude(t []float32, density float64) []float32 {
	if density >= 1 {
		return t
	}
	size := make([]float32, len(t))
	for i, v := range t {
		size[i] = max(v, -v)
	}
	keep := topK(size, int(density*float64(len(t))))
	out := make([]float32, len(t))
	for i, v := range t {
		if keep[i] {
			out[i] = v
		} else {
			out[i] = v * 0
		}
	}
	return out
}

// pruneRandom keeps each value with probability density and divides it by the
// density, so that the expected value stays (DARE). torch's draws are not
// reproduced: they depend on how many numbers the model drew before.
func pruneRandom(t []float32, density float64, rng *rand.Rand) []float32 {
	if density >= 1 {
		return t
	}
	out := make([]float32, len(t))
	for i, v := range t {
		if rng.Float64() < density {
			out[i] = v / float32(density)
		}
	}
	return out
}

// ties elects a sign for every element and averages the weighted values that
// have it: the sign of the sum of the unweighted values ("total") or of their
// signs ("frequency"), zero counting as positive. Values that are zero have no
// sign and never take part.
func ties(tasks [][]float32, weights []float32, frequency bool) []float32 {
	out := make([]float32, len(tasks[0]))
	for j := range out {
		var total float32
		for _, t := range tasks {
			if frequency {
				total += sign(t[j])
			} else {
				total += t[j]
			}
		}
		elected := float32(-1)
		if total >= 0 {
			elected = 1
		}
		var sum, count float32
		for i, t := range tasks {
			v, keep := float32(t[j]*weights[i]), float32(0)
			if sign(t[j]) == elected {
				keep = 1
				count++
			}
			sum += float32(v * keep)
		}
		out[j] = sum / max(count, 1)
	}
	return out
}

func sign(v float32) float32 {
	switch {
	case v > 0:
		return 1
	case v < 0:
		return -1
	default:
		return v
	}
}
