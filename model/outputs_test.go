package model

import (
	"context"
	"math"
	"testing"
)

// Outputs are products of inputs with the adapted weight, without biases, and asking
// for them changes nothing of what a pass computes, whatever the number of workers.
func TestOutputs(t *testing.T) {
	for _, a := range archCases(t) {
		modules := linearsOf(a.c)
		l := randomLoRA(t, a.weights, modules, 2)
		for name, pairs := range l {
			pairs[0].Bias = random(pairs[0].Out)
			l[name] = pairs
		}
		adapted := merged(t, a.weights, l)
		variants := []Variant{{Weights: a.weights, LoRA: l}, {Weights: a.weights}}
		var first [][]float32
		for _, workers := range []int{1, 3} {
			var panels [][]float32
			asked := 0
			see := func(names []string, in Inputs) error {
				if !in.HasOutputs() {
					return nil
				}
				for i, name := range names {
					got := outputsOf(t, in, i, l[name][0].Out, workers)
					panels = append(panels, got)
					checkOutputs(t, a.name+" "+name, in, adapted, name, got)
					asked++
				}
				return nil
			}
			got := logitsSeen(t, a.c, variants, a.sequences, Options{Workers: workers}, see)
			if asked != len(modules) {
				t.Fatalf("%s: %d outputs, want %d", a.name, asked, len(modules))
			}
			if first == nil {
				first = panels
			}
			for i, p := range panels {
				sameBits(t, a.name+" outputs", p, first[i])
			}
			for v, want := range logitsOf(t, a.c, variants, a.sequences, Options{}) {
				sameBits(t, a.name+" logits", got[v], want)
			}
		}
	}
}

// outputsOf returns E[y x^T] [rows, features] of variant 0's outputs and variant 1's
// inputs, which are asked for in falling order.
func outputsOf(t *testing.T, in Inputs, i, rows, workers int) []float32 {
	t.Helper()
	n := in.Features()
	order := make([]int, n)
	for k := range order {
		order[k] = n - 1 - k
	}
	panels := make([][]float32, roundUp(n, panelCols)/panelCols)
	for p := range panels {
		panels[p] = make([]float32, roundUp(rows, tileRows)*panelCols)
	}
	if err := in.Outputs(context.Background(), i, 0, 1, workers, order, panels); err != nil {
		t.Fatal(err)
	}
	got := make([]float32, rows*n)
	for r := range rows {
		for at, j := range order {
			got[r*n+j] = panels[at/panelCols][r*panelCols+at%panelCols]
		}
	}
	return got
}

func checkOutputs(t *testing.T, what string, in Inputs, adapted Weights, name string, got []float32) {
	t.Helper()
	m, err := adapted.Matrix(name + ".weight")
	if err != nil {
		t.Fatal(err)
	}
	rows, n := m.Size()
	w := make([]float32, rows*n)
	if err := m.Rows(w, 0); err != nil {
		t.Fatal(err)
	}
	tokens := in.Tokens()
	x, seen := make([]float32, tokens*n), make([]float32, tokens*n)
	in.Rows(x, 0, 0)
	in.Rows(seen, 1, 0)
	y := make([]float64, tokens)
	for r := range rows {
		mostY := 0.0
		for k := range y {
			y[k] = 0
			for j, v := range w[r*n : (r+1)*n] {
				y[k] += float64(v) * float64(x[k*n+j])
			}
			mostY = max(mostY, math.Abs(y[k]))
		}
		for j := range n {
			var want, a, b, mostX float64
			for k, v := range y {
				x := float64(seen[k*n+j])
				want += v * x / float64(tokens)
				a, b, mostX = a+math.Abs(v)/float64(tokens), b+math.Abs(x)/float64(tokens), max(mostX, math.Abs(x))
			}
			unitY, unitX := mostY/shortMax, mostX/shortMax
			if d := math.Abs(float64(got[r*n+j]) - want); d > 0.52*(a*unitX+b*unitY+unitX*unitY/2)+1e-5*(a*mostX) {
				t.Fatalf("%s: %d %d is %v, want %v", what, r, j, got[r*n+j], want)
			}
		}
	}
}
