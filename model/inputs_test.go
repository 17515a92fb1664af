package model

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"
)

// What is observed is what is multiplied: the head's inputs times the head are
// the logits, the inputs of q, k and v of layer 0 are the normed embeddings, and
// every linear layer is seen once.
func TestInputs(t *testing.T) {
	for _, a := range archCases(t) {
		l := randomLoRA(t, a.weights, linearsOf(a.c)[:1], 2)
		variants := []Variant{{Weights: a.weights}, {Weights: a.weights, LoRA: l}}
		var seen []string
		var first, head [2][]float32
		sink := Sink{Logits: func(int, int, [][]float32) {}, Inputs: func(modules []string, in Inputs) error {
			seen = append(seen, modules...)
			for v := range variants {
				x := make([]float32, in.Tokens()*in.Features())
				in.Rows(x, v, 0)
				part := make([]float32, 2*in.Features())
				in.Rows(part, v, 3)
				sameBits(t, a.name+" rows 3 and 4", part, x[3*in.Features():5*in.Features()])
				if len(first[v]) == 0 {
					first[v] = x
				}
				head[v] = x
			}
			return nil
		}}
		if err := Forward(context.Background(), a.c, variants, a.sequences, sink, Options{Workers: 2}); err != nil {
			t.Fatal(err)
		}
		name := "lm_head"
		if a.c.Tied {
			name = "model.embed_tokens"
		}
		want := append(linearsOf(a.c), name)
		slices.Sort(seen)
		slices.Sort(want)
		if !slices.Equal(seen, want) {
			t.Errorf("%s: %q, want %q", a.name, seen, want)
		}
		sameBits(t, a.name+" before the adapter", first[0], first[1])
		a.checkFirst(t, first[0])
		if !a.c.Tied {
			a.checkHead(t, head[0])
		}
	}
}

// checkFirst works the normed embeddings out from the tensors.
func (a archCase) checkFirst(t *testing.T, got []float32) {
	t.Helper()
	table, err := a.weights.Matrix("model.embed_tokens.weight")
	if err != nil {
		t.Fatal(err)
	}
	gain, err := a.weights.Vector("model.layers.0.input_layernorm.weight")
	if err != nil {
		t.Fatal(err)
	}
	x, at := make([]float32, a.c.Hidden), 0
	for _, id := range slices.Concat(a.sequences...) {
		if err := table.Rows(x, int(id)); err != nil {
			t.Fatal(err)
		}
		sum := 0.0
		for _, v := range x {
			sum += float64(v) * float64(v) * float64(a.c.EmbedScale) * float64(a.c.EmbedScale)
		}
		for i, v := range x {
			g := float64(gain[i])
			if a.c.UnitOffset {
				g++
			}
			want := float64(v) * float64(a.c.EmbedScale) / math.Sqrt(sum/float64(len(x))+a.c.Eps) * g
			if d := math.Abs(float64(got[at]) - want); !(d <= 1e-5*max(1, math.Abs(want))) {
				t.Fatalf("%s: input %d is %v, want %v", a.name, at, got[at], want)
			}
			at++
		}
	}
}

// checkHead multiplies the inputs with the head and compares with the logits of
// transformers.
func (a archCase) checkHead(t *testing.T, in []float32) {
	t.Helper()
	m, err := a.weights.Matrix("lm_head.weight")
	if err != nil {
		t.Fatal(err)
	}
	rows, cols := m.Size()
	w := make([]float32, rows*cols)
	if err := m.Rows(w, 0); err != nil {
		t.Fatal(err)
	}
	got := make([]float32, len(in)/cols*rows)
	for i := range got {
		sum := 0.0
		for k := range cols {
			sum += float64(in[i/rows*cols+k]) * float64(w[i%rows*cols+k])
		}
		if s := float64(a.c.LogitSoftcap); s > 0 {
			sum = s * math.Tanh(sum/s)
		}
		got[i] = float32(sum)
	}
	if d := worst(got, a.logits) / largest(a.logits); !(d < 1e-5) {
		t.Errorf("%s: inputs of the head give logits %.3g off", a.name, d)
	}
}

func TestInputsError(t *testing.T) {
	a := archNamed(t, "llama")
	full := errors.New("full")
	sink := Sink{Inputs: func([]string, Inputs) error { return full }}
	if err := Forward(context.Background(), a.c, []Variant{{Weights: a.weights}}, a.sequences, sink, Options{}); !errors.Is(err, full) {
		t.Errorf("%v", err)
	}
}
