package quant

import (
	"fmt"
	"math"
	"testing"
)

// The experiment of TestDeadZone, worked out instead of run: shares of a delta of
// rank 16 that another program measured on 1024x1024 weights.
func TestKeptCurveAgainstAnExperiment(t *testing.T) {
	for _, c := range []struct {
		f      Format
		n      int
		points [][2]float64 // ratio, kept
	}{
		{NF4, 64, [][2]float64{{0.001, 1.0 / 64}, {0.01, 0.016}, {0.03, 0.038}, {0.1, 0.84}, {0.3, 0.99}}},
		{NF4, 128, [][2]float64{{0.03, 0.019}, {0.1, 0.81}}},
		{FP4, 64, [][2]float64{{0.01, 0.11}, {0.03, 0.09}, {0.1, 0.63}}},
		{Int8, 1024, [][2]float64{{0.001, 0}, {0.003, 0.009}, {0.01, 0.87}, {0.03, 1}, {0.1, 1}}},
	} {
		curve := NewKeptCurve(c.f, CPU, c.n)
		for _, p := range c.points {
			near(t, fmt.Sprintf("%v/%d, ratio %v", c.f, c.n, p[0]), curve.LowRank(p[0], 16), p[1], 0.02, 0.006)
		}
	}
}

// What PEFT and bitsandbytes themselves kept, testdata/golden/cases/sweep-*,
// layer 0 q_proj [64, 64]. The factors there are small integers with many equal
// values, so near the dead zone the curve only bounds them from below.
func TestKeptCurveAgainstPEFT(t *testing.T) {
	nf4, int8 := NewKeptCurve(NF4, CPU, 64), NewKeptCurve(Int8, CPU, 64)
	for _, c := range []struct {
		curve       *KeptCurve
		ratio, kept float64
	}{
		{nf4, 0.01, 0.0086},
		{nf4, 0.1, 0.8163},
		{nf4, 0.3, 0.9903},
		{int8, 0.001, 0.0251},
		{int8, 0.03, 1.0026},
		{int8, 0.3, 0.9997},
	} {
		near(t, fmt.Sprintf("ratio %v", c.ratio), c.curve.LowRank(c.ratio, 4), c.kept, 0.015, 0.01)
	}
	if got := nf4.LowRank(0.03, 4); got > 0.2133 || got < 1.0/64 {
		t.Errorf("ratio 0.03: %.4f, want between the extreme weight's share and PEFT's 0.2133", got)
	}
}

func TestKeptCurveEnds(t *testing.T) {
	for _, f := range []Format{NF4, FP4, Int8, F16, BF16, F32} {
		curve := NewKeptCurve(f, CUDA, 64)
		for _, ratio := range []float64{0, 1e-9, 1e-4, 0.02, 1, 2, 1e9, math.Inf(1)} {
			for _, v := range []float64{curve.Gauss(ratio), curve.LowRank(ratio, 1), curve.LowRank(ratio, 0)} {
				if !(v > 0 && v < 1.05) {
					t.Errorf("%v at %v: %v", f, ratio, v)
				}
			}
		}
		for ratio := 0.25; ratio < 2; ratio *= 1.1 {
			if curve.Gauss(ratio*1.1) < curve.Gauss(ratio)-1e-9 {
				t.Errorf("%v falls at %v", f, ratio)
			}
		}
		if f.IsFloat() && curve.Gauss(1e-3) != 1 {
			t.Errorf("%v has a dead zone", f)
		}
	}
}
