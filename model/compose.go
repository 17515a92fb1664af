package model

import (
	"context"
	"errors"
	"slices"
)

// Writing says what Compose writes.
type Writing struct {
	N, Length int    // sequences, tokens of each with Begin
	Begin     int32  // token each begins with
	Seed      uint64 // of the first; then Seed+1 and so on

	// Guide times what a variant's logits are above those of Base is added to them, so
	// that the text is more of what the variant has and Base has not (as classifier-free
	// guidance does: Sanchez et al., 2023). 0: Base is not run.
	Guide float64
	Base  Variant
}

// Compose lets a variant write texts, each with its own draws at temperature 1.
// Nothing ends one early: what follows a token that ends a text is another text.
// step, which may be nil, is told of every token. A result does not depend on
// workers.
func Compose(ctx context.Context, c *Config, v Variant, w Writing, opt Options, step func(done int)) ([][]int32, error) {
	if w.N < 1 || w.Length < 2 {
		return nil, errors.New("there is nothing to compose")
	}
	variants := []Variant{v}
	if w.Guide != 0 {
		variants = append(variants, w.Base)
	}
	s, err := NewSession(c, variants, w.N, w.Length, opt)
	if err != nil {
		return nil, err
	}
	texts, last, draws := make([][]int32, w.N), make([][]int32, w.N), make([]draw, w.N)
	bad := make([]bool, w.N)
	for i := range texts {
		texts[i] = []int32{w.Begin}
	}
	for at := 1; at < w.Length; at++ {
		for i := range texts {
			last[i] = texts[i][at-1:]
			draws[i] = Sampling{Temperature: 1, Seed: w.Seed + uint64(i)}.draw(at)
		}
		err := s.append(ctx, slices.Repeat(last, len(variants)), func(i, first int, logits [][]float32) {
			if len(logits) > 1 {
				away(logits[0], logits[1], float32(w.Guide))
			}
			bad[i] = bad[i] || !finite(logits[0])
			draws[i].add(first, logits[0])
		})
		if err != nil {
			return nil, err
		}
		if slices.Contains(bad, true) {
			return nil, errors.New("the model's logits are not finite")
		}
		for i, d := range draws {
			texts[i] = append(texts[i], d.id)
		}
		if step != nil {
			step(at + 1)
		}
	}
	return texts, nil
}

// away adds so many times x-base to x.
func away(x, base []float32, by float32) {
	for i, b := range base {
		x[i] += float32(by * (x[i] - b))
	}
}

func finite(x []float32) bool {
	for _, v := range x {
		if v-v != 0 {
			return false
		}
	}
	return true
}
