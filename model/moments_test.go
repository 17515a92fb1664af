package model

import (
	"context"
	"math"
	"testing"
)

// Moments are those worked out in float64 from the rows, and their bits do not
// depend on workers.
func TestMoments(t *testing.T) {
	a := archNamed(t, "llama")
	l := randomLoRA(t, a.weights, linearsOf(a.c)[:1], 2)
	variants := []Variant{{Weights: a.weights}, {Weights: a.weights, LoRA: l}}
	seen := 0
	sink := Sink{Inputs: func(_ []string, in Inputs) error {
		n := in.Features()
		x, y := make([]float32, in.Tokens()*n), make([]float32, in.Tokens()*n)
		in.Rows(x, 0, 0)
		in.Rows(y, 1, 0)
		for _, less := range []int{-1, 0} {
			got, err := in.Moments(context.Background(), 1, less, 3)
			if err != nil {
				return err
			}
			one, err := in.Moments(context.Background(), 1, less, 1)
			if err != nil {
				return err
			}
			sameBits(t, "one worker", got, one)
			for i := range n {
				for j := range n {
					var want, size float64
					for k := range in.Tokens() {
						v := float64(y[k*n+i])
						if less >= 0 {
							v -= float64(x[k*n+i])
						}
						want += v * float64(y[k*n+j]) / float64(in.Tokens())
						size += math.Abs(v*float64(y[k*n+j])) / float64(in.Tokens())
					}
					if d := math.Abs(float64(got[i*n+j]) - want); d > 1e-6*size+1e-12 {
						t.Fatalf("less %d: moment %d %d is %v, want %v", less, i, j, got[i*n+j], want)
					}
				}
			}
		}
		seen++
		return nil
	}}
	if err := Forward(context.Background(), a.c, variants, a.sequences, sink, Options{}); err != nil {
		t.Fatal(err)
	}
	if seen == 0 {
		t.Error("nothing was observed")
	}
}
