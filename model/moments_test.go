package model

import (
	"context"
	"math"
	"testing"

	"mergescope/quant"
)

// Moments are those worked out in float64 from the rows, but for the rounding of
// inputs to half a unit, and their bits do not depend on workers.
func TestMoments(t *testing.T) {
	a := archNamed(t, "llama")
	l := randomLoRA(t, a.weights, linearsOf(a.c)[:1], 2)
	variants := []Variant{{Weights: a.weights}, {Weights: a.weights, LoRA: l}}
	seen := 0
	sink := Sink{Inputs: func(_ []string, in Inputs) error {
		checkMoments(t, in)
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

// checkMoments compares moments and cross moments of two variants with sums in float64.
func checkMoments(t *testing.T, in Inputs) {
	t.Helper()
	n := in.Features()
	x, y := make([]float32, in.Tokens()*n), make([]float32, in.Tokens()*n)
	in.Rows(x, 0, 0)
	in.Rows(y, 1, 0)
	for _, kind := range []momentsKind{halfCoarse, halfFine, crossed} {
		got, one := momentsOf(t, in, kind, 3), momentsOf(t, in, kind, 1)
		sameBits(t, "one worker", got, one)
		for i := range n {
			for j := range n {
				var want, a, b, mostA, mostB float64
				for k := range in.Tokens() {
					v := float64(y[k*n+i])
					if kind == crossed {
						v -= float64(x[k*n+i])
					}
					w := float64(y[k*n+j])
					want += v * w / float64(in.Tokens())
					a, b = a+math.Abs(v)/float64(in.Tokens()), b+math.Abs(w)/float64(in.Tokens())
					mostA, mostB = max(mostA, math.Abs(v)), max(mostB, math.Abs(w))
				}
				top := float64(byteMax)
				if kind == halfFine {
					top = shortMax
				}
				unitA, unitB := mostA/top, mostB/top
				if d := math.Abs(float64(got[i*n+j]) - want); d > 0.501*(a*unitB+b*unitA+unitA*unitB/2)+1e-12 {
					t.Fatalf("%d: moment %d %d is %v, want %v", kind, i, j, got[i*n+j], want)
				}
			}
		}
	}
}

// More tokens than are rounded at once, and the same bits from all kernels.
func TestMomentsOfRuns(t *testing.T) {
	const features, tokens = 70, 2*runTokens + 35
	rows := roundUp(tokens, tileRows)
	in := Inputs{r: &runner{tokens: tokens, rows: rows, in: tiles{cols: features, data: random(2 * rows * features)}}}
	checkMoments(t, in)
	for _, kind := range []momentsKind{halfCoarse, halfFine, crossed} {
		var want []float32
		at(t, quant.Go, func() { want = momentsOf(t, in, kind, 2) })
		for _, l := range vectorLevels() {
			atPairs(t, l, func(name string) { sameBits(t, name, momentsOf(t, in, kind, 2), want) })
		}
	}
}

type momentsKind int

const (
	halfCoarse momentsKind = iota
	halfFine
	crossed
)

// momentsOf returns the moments of variant 1 as a square; the cross moments are
// asked for in falling order of columns.
func momentsOf(t *testing.T, in Inputs, kind momentsKind, workers int) []float32 {
	t.Helper()
	n := in.Features()
	square := make([]float32, n*n)
	var memory quant.Memory
	if kind != crossed {
		m, err := in.Moments(context.Background(), 1, workers, kind == halfFine, &memory)
		if err != nil {
			t.Fatal(err)
		}
		row := make([]float32, n)
		for i := range n {
			m.Upper(row[:n-i], i)
			for k, v := range row[:n-i] {
				square[i*n+i+k], square[(i+k)*n+i] = v, v
			}
		}
		return square
	}
	order := make([]int, n)
	for i := range order {
		order[i] = n - 1 - i
	}
	panels := make([][]float32, roundUp(n, panelCols)/panelCols)
	for p := range panels {
		panels[p] = make([]float32, roundUp(len(panels)*panelCols, tileRows)*panelCols)
	}
	if err := in.Cross(context.Background(), 1, 0, workers, order, panels); err != nil {
		t.Fatal(err)
	}
	for k, i := range order {
		for at, j := range order {
			square[i*n+j] = panels[at/panelCols][k*panelCols+at%panelCols]
		}
	}
	return square
}
