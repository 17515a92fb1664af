package model

import (
	"math"

	"gonum.org/v1/gonum/mathext"
)

// Trend says whether a figure grows along a sequence.
type Trend struct {
	From      int      // first position it is about
	Sequences int      // that reach further than twice that position
	Slope     Estimate // mean over sequences of the change by doubling the position
	P         float64  // two-sided, that there is no trend; NaN if too few sequences tell
}

// KLTrend fits KL over the logarithm of the position in each sequence by itself,
// from a position on, and holds the slopes against 0 by Student's t. Sequences
// are independent of each other where tokens are not. A sequence begins where
// positions do not grow.
func KLTrend(tokens []Token, positions []int, from int) Trend {
	t := Trend{From: from, Slope: Estimate{math.NaN(), math.NaN()}, P: math.NaN()}
	var slopes []float64
	for _, s := range sequences(positions) {
		if s.hi > s.lo && positions[s.hi-1] > 2*from {
			slopes = append(slopes, slope(tokens[s.lo:s.hi], positions[s.lo:s.hi], from))
		}
	}
	t.Sequences = len(slopes)
	t.Slope = mean(slopes)
	if n := float64(len(slopes)); n >= 3 {
		square := t.Slope.Value * t.Slope.Value / (t.Slope.Err * t.Slope.Err)
		if t.P = mathext.RegIncBeta((n-1)/2, 0.5, (n-1)/(n-1+square)); math.IsNaN(square) {
			t.P = math.NaN()
		}
	}
	return t
}

type stretch struct{ lo, hi int }

// sequences cuts tokens where a sequence begins.
func sequences(positions []int) (list []stretch) {
	lo := 0
	for i := 1; i <= len(positions); i++ {
		if i == len(positions) || positions[i] <= positions[i-1] {
			list = append(list, stretch{lo, i})
			lo = i
		}
	}
	return list
}

// slope is that of the least-squares line of KL over log2 of the position.
func slope(tokens []Token, positions []int, from int) float64 {
	var n, mx, my, xx, xy float64
	for i, t := range tokens {
		if positions[i] >= from {
			n, mx, my = n+1, mx+math.Log2(float64(positions[i])), my+t.KL
		}
	}
	mx, my = mx/n, my/n
	for i, t := range tokens {
		if positions[i] >= from {
			x := math.Log2(float64(positions[i])) - mx
			xx, xy = xx+float64(x*x), xy+float64(x*(t.KL-my))
		}
	}
	return xy / xx
}

// KLBySequence is the mean KL with the standard error that sequences give, which
// are independent of each other where the tokens of one are not. The error is
// NaN for a single sequence.
func KLBySequence(tokens []Token, positions []int) Estimate {
	e := Estimate{math.NaN(), math.NaN()}
	if len(tokens) == 0 {
		return e
	}
	sum := 0.0
	for _, t := range tokens {
		sum += t.KL
	}
	e.Value = sum / float64(len(tokens))
	list, square := sequences(positions), 0.0
	for _, s := range list {
		d := 0.0
		for _, t := range tokens[s.lo:s.hi] {
			d += t.KL - e.Value
		}
		square += float64(d * d)
	}
	if k := float64(len(list)); k > 1 {
		e.Err = math.Sqrt(square*k/(k-1)) / float64(len(tokens))
	}
	return e
}
