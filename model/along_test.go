package model

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"
)

// Along and Squares are what Moments says, and their bits do not depend on workers.
func TestAlong(t *testing.T) {
	a := archNamed(t, "llama")
	l := randomLoRA(t, a.weights, linearsOf(a.c)[:1], 2)
	variants := []Variant{{Weights: a.weights}, {Weights: a.weights, LoRA: l}}
	ctx, draws := context.Background(), rand.New(rand.NewPCG(1, 1))
	seen := 0
	sink := Sink{Inputs: func(_ []string, in Inputs) error {
		n := in.Features()
		for _, k := range []int{3, 40} {
			m := make([]float32, k*n)
			for i := range m {
				m[i] = float32(draws.NormFloat64())
			}
			for _, less := range []int{-1, 0} {
				moments := momentsInFull(in, less)
				got, err := in.Along(ctx, m, 1, less, 3)
				if err != nil {
					return err
				}
				one, err := in.Along(ctx, m, 1, less, 1)
				if err != nil {
					return err
				}
				sameBits(t, "one worker", got, one)
				for i := range k {
					for j := range n {
						var want, size float64
						for c := range n {
							term := float64(m[i*n+c]) * moments[j*n+c]
							want += term
							size += math.Abs(term)
						}
						if d := math.Abs(float64(got[i*n+j]) - want); d > 1e-5*size+1e-10 {
							t.Fatalf("less %d: direction %d, feature %d is %v, want %v", less, i, j, got[i*n+j], want)
						}
					}
				}
				if less >= 0 {
					continue
				}
				for j, s := range in.Squares(1) {
					if want := moments[j*n+j]; math.Abs(s-want) > 1e-5*want {
						t.Fatalf("feature %d: mean square %v, want %v", j, s, want)
					}
				}
			}
		}
		seen++
		return nil
	}}
	if err := Forward(ctx, a.c, variants, a.sequences, sink, Options{}); err != nil {
		t.Fatal(err)
	}
	if seen == 0 {
		t.Error("nothing was observed")
	}
}

// momentsInFull works out E[a b^T] of variant 1 in float64, see Along.
func momentsInFull(in Inputs, less int) []float64 {
	n := in.Features()
	x, y := make([]float32, in.Tokens()*n), make([]float32, in.Tokens()*n)
	in.Rows(y, 1, 0)
	if less >= 0 {
		in.Rows(x, less, 0)
	}
	m := make([]float64, n*n)
	for t := 0; t < len(x); t += n {
		for i := range n {
			for j := range n {
				m[i*n+j] += (float64(y[t+i]) - float64(x[t+i])) * float64(y[t+j]) / float64(in.Tokens())
			}
		}
	}
	return m
}
