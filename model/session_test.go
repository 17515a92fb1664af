package model

import (
	"context"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// stepped runs sequences, as many of each variant, through a session in steps of
// these sizes and asks for the logits of Forward after each.
func stepped(t *testing.T, name string, c *Config, variants []Variant, sequences [][]int32, steps []int) {
	t.Helper()
	each := len(sequences) / len(variants)
	s, err := NewSession(c, variants, each, len(sequences[0]), Options{})
	if err != nil {
		t.Fatal(err)
	}
	at := 0
	for _, n := range steps {
		var next [][]int32
		for _, ids := range sequences {
			next = append(next, ids[at:at+n])
		}
		at += n
		got, err := s.Append(context.Background(), next)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for i, ids := range sequences {
			v := i / each
			want := logitsOf(t, c, variants[v:v+1], [][]int32{ids[:at]}, Options{})[0]
			sameBits(t, name, got[i], want[(at-1)*c.Vocab:])
		}
	}
	if s.Len() != at {
		t.Errorf("%s: %d tokens, want %d", name, s.Len(), at)
	}
}

// A session has the logits of Forward to the last bit, for every architecture
// and form of rotary embedding, past windows and past the lengths where
// frequencies change, whatever the other variant reads.
func TestSessionIsForward(t *testing.T) {
	ones := slices.Repeat([]int{1}, 40)
	for _, a := range archCases(t) {
		first := a.sequences[0]
		second := slices.Clone(first)
		slices.Reverse(second[7:])
		variants := []Variant{{Weights: a.weights}, {Weights: a.weights, LoRA: randomLoRA(t, a.weights, linearsOf(a.c), 3)}}
		stepped(t, a.name, a.c, variants, [][]int32{first, second}, append([]int{5}, ones[:len(first)-5]...))
		stepped(t, a.name, a.c, variants[:1], [][]int32{first}, []int{1, 11, 1, 13, 10})
		third := slices.Concat(first[:2], second[2:])
		stepped(t, a.name, a.c, variants, [][]int32{first, second, third, third, second, first}, []int{5, 1, 13, 1, 1, len(first) - 21})
	}
}

// Sequences of many tiles and chains, and weights of two sources.
func TestLongSession(t *testing.T) {
	c, nf4 := openModel(t, filepath.Join(demoDir, "base-nf4"))
	_, int8 := openModel(t, filepath.Join(demoDir, "base-int8"))
	inputs, _, _ := windows(t, "eval.txt", 1)
	ids := inputs[0][:330]
	variants := []Variant{{Weights: nf4, LoRA: openLoRA(t, filepath.Join(demoDir, "adapter-gocode"))}, {Weights: int8}}
	stepped(t, "demo", c, variants, [][]int32{ids, ids}, []int{150, 1, 1, 40, 1, 95, 1, 1, 38, 1, 1})
	c.Layers = slices.Clone(c.Layers)
	for i := range c.Layers {
		c.Layers[i].Window = 100
	}
	stepped(t, "windows", c, variants, [][]int32{ids, ids}, []int{90, 1, 9, 1, 1, 93, 1, 1, 95, 1})
}

func TestSessionErrors(t *testing.T) {
	a := archNamed(t, "llama")
	one := []Variant{{Weights: a.weights}}
	if _, err := NewSession(a.c, one, 1, math.MaxInt, Options{}); err == nil || !strings.Contains(err.Error(), "more than 8589934592 bytes") {
		t.Errorf("%v", err)
	}
	if _, err := NewSession(a.c, one, 1, 0, Options{}); err == nil {
		t.Error("no room is no error")
	}
	if _, err := NewSession(a.c, nil, 1, 5, Options{}); err == nil || !strings.Contains(err.Error(), "no variants") {
		t.Errorf("%v", err)
	}
	for want, tokens := range map[string][][]int32{
		"tokens for 2 sequences of 1":        {{1}, {1}},
		"more than the session has room for": {{1, 2, 3}},
		"are none":                           {{}},
		"token 32 at position 0 is outside":  {{32}},
	} {
		s, err := NewSession(a.c, one, 1, 2, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Append(context.Background(), tokens); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	stopped, cancel := context.WithCancel(context.Background())
	cancel()
	s, err := NewSession(a.c, one, 1, 2, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Append(stopped, [][]int32{{1}}); err == nil {
		t.Error("no error after a cancelled context")
	}
}
