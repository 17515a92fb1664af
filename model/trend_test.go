package model

import (
	"math"
	"testing"
)

// Slopes 1, 2 and 6 by doubling: mean 3, standard error sqrt(14/3/2) over the
// population as everywhere here, t = 1.964. The p of t with two degrees of
// freedom is 1 - t/sqrt(t*t+2).
func TestKLTrend(t *testing.T) {
	var tokens []Token
	var positions []int
	for _, slope := range []float64{1, 2, 6} {
		for p := 1; p <= 64; p++ {
			kl := 3 + slope*math.Log2(float64(p))
			if p < 5 {
				kl = -100 // before what is looked at
			}
			tokens, positions = append(tokens, Token{KL: kl}), append(positions, p)
		}
	}
	got := KLTrend(tokens, positions, 5)
	se := math.Sqrt(14.0 / 3 / 2)
	stat := 3 / se
	p := 1 - stat/math.Sqrt(stat*stat+2)
	if got.From != 5 || got.Sequences != 3 || math.Abs(got.Slope.Value-3) > 1e-9 || math.Abs(got.Slope.Err-se) > 1e-9 || math.Abs(got.P-p) > 1e-9 {
		t.Errorf("%+v, want slope 3 +- %v, p %v", got, se, p)
	}
	if got := KLTrend(tokens[:64], positions[:64], 40); got.Sequences != 0 || !math.IsNaN(got.P) || !math.IsNaN(got.Slope.Value) {
		t.Errorf("nothing to fit gives %+v", got)
	}
	if got := KLTrend(tokens[:128], positions[:128], 5); got.Sequences != 2 || !math.IsNaN(got.P) {
		t.Errorf("two sequences give %+v", got)
	}
}

// Two sequences of 2 and 4 tokens with means 1 and 4: the mean is 3, the sums of
// differences are -4 and 4, the error sqrt((16+16)*2)/6.
func TestKLBySequence(t *testing.T) {
	tokens := []Token{{KL: 0}, {KL: 2}, {KL: 4}, {KL: 4}, {KL: 3}, {KL: 5}}
	got := KLBySequence(tokens, []int{1, 2, 1, 2, 3, 4})
	if got.Value != 3 || math.Abs(got.Err-8.0/6) > 1e-12 {
		t.Errorf("%+v", got)
	}
	if got := KLBySequence(tokens, []int{1, 2, 3, 4, 5, 6}); got.Value != 3 || !math.IsNaN(got.Err) {
		t.Errorf("one sequence: %+v", got)
	}
	if got := KLBySequence(nil, nil); !math.IsNaN(got.Value) {
		t.Errorf("no tokens: %+v", got)
	}
}
