package quant

import (
	"math"
	"math/rand/v2"
	"testing"
)

// slowSum is the contract of a block statistic, written from its definition:
// 16 lanes, lane l sums elements 16j+l, then l += l+8, +4, +2, +1.
func slowSum(x, y []float32) float32 {
	var lane [16]float32
	for l := range lane {
		for i := l; i < len(x); i += 16 {
			product := float32(x[i] * y[i])
			lane[l] = lane[l] + product
		}
	}
	for _, half := range []int{8, 4, 2, 1} {
		for l := range half {
			lane[l] = lane[l] + lane[l+half]
		}
	}
	return lane[0]
}

func TestMeasureBlockLanes(t *testing.T) {
	rng := rand.New(rand.NewPCG(39, 40))
	for _, n := range []int{1, 7, 15, 16, 17, 63, 64, 100, 4096} {
		w, d := gauss(rng, n, 0.02), gauss(rng, n, 0.002)
		target, out := make([]float32, n), make([]float32, n)
		r, e := make([]float32, n), make([]float32, n)
		var maxE float32
		for i := range w {
			target[i] = w[i] + d[i]
			out[i] = target[i] + float32(rng.NormFloat64()*0.001)
			r[i] = out[i] - w[i]
			e[i] = r[i] - d[i]
			maxE = max(maxE, abs(e[i]))
		}
		want := BlockSum{
			N: uint32(n), MaxE: maxE,
			WW: slowSum(w, w), DD: slowSum(d, d), TT: slowSum(target, target), RD: slowSum(r, d), EE: slowSum(e, e),
		}
		if got := measureBlock(w, d, target, out); got != want {
			t.Errorf("%d weights: %+v, want %+v", n, got, want)
		}
	}
}

// The order of the additions shows: other orders give other last bits.
func TestLaneOrderMatters(t *testing.T) {
	rng := rand.New(rand.NewPCG(41, 42))
	differ := 0
	for range 100 {
		x := gauss(rng, 64, 1)
		var plain float32
		for _, v := range x {
			plain += float32(v * v)
		}
		if plain != slowSum(x, x) {
			differ++
		}
	}
	if differ < 20 {
		t.Errorf("only %d of 100 sums depend on the order", differ)
	}
}

func TestMeasureBlockNonFinite(t *testing.T) {
	nan := float32(math.NaN())
	one := []float32{1, 1, 1, 1}
	for _, c := range []struct {
		d, t, out          []float32
		delta, sum, output uint32
	}{
		{[]float32{1, nan, 1, inf}, one, one, 2, 0, 0},
		{one, []float32{-inf, 1, 1, 1}, one, 0, 1, 0},
		{one, one, []float32{nan, nan, nan, nan}, 0, 0, 4},
		{[]float32{nan, 1, 1, 1}, []float32{nan, 1, 1, 1}, []float32{nan, nan, nan, nan}, 1, 1, 4},
	} {
		want := BlockSum{N: 4, Delta: c.delta, Sum: c.sum, Output: c.output}
		if got := measureBlock(one, c.d, c.t, c.out); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
		if want.Finite() {
			t.Error("a block with such elements is not finite")
		}
	}
}

func TestSums(t *testing.T) {
	blocks := []BlockSum{
		{WW: 1, DD: 2, TT: 3, RD: 4, EE: 5, MaxE: 0.5, N: 64, Codes: 3, OldAbsmax: 2, NewAbsmax: 2},
		{WW: 1, DD: 1, TT: 1, RD: -1, EE: 1, MaxE: 0.25, N: 10, Codes: 1, Ambiguous: 2, OldAbsmax: 2, NewAbsmax: 3},
		{N: 64, Codes: 60, Delta: 1, Sum: 2, Output: 64, OldAbsmax: 1, NewAbsmax: float32(math.NaN())},
		{WW: 0, N: 64, OldAbsmax: 0, NewAbsmax: 1},
	}
	var s Sums
	for _, b := range blocks {
		s.Add(b)
	}
	want := Sums{
		N: 202, Finite: 138, WW: 2, DD: 3, TT: 4, RD: 3, EE: 6, MaxE: 0.5, Codes: 64,
		Blocks: 4, Scales: 3, Growth: 1.5, Delta: 1, Sum: 2, Output: 64, Ambiguous: 2,
	}
	if s != want {
		t.Errorf("%+v, want %+v", s, want)
	}
	var a, b Sums
	for i := range blocks {
		if i < 2 {
			a.Add(blocks[i])
		} else {
			b.Add(blocks[i])
		}
	}
	a.Merge(b)
	if a != want {
		t.Errorf("merged %+v, want %+v", a, want)
	}
}
