package model

import (
	"context"
	"errors"
)

// Compose lets a variant write n sequences of so many tokens, begin and all,
// each with its own draws at temperature 1 (seed, seed+1, ...). Nothing ends
// one early: what follows a token that ends a text is another text. step, which
// may be nil, is told of every token. A result does not depend on workers.
func Compose(ctx context.Context, c *Config, v Variant, n, length int, begin int32, seed uint64, opt Options, step func(done int)) ([][]int32, error) {
	if n < 1 || length < 2 {
		return nil, errors.New("there is nothing to compose")
	}
	variants := make([]Variant, n)
	texts, next := make([][]int32, n), make([][]int32, n)
	for i := range n {
		variants[i], texts[i], next[i] = v, []int32{begin}, []int32{begin}
	}
	s, err := NewSession(c, variants, length, opt)
	if err != nil {
		return nil, err
	}
	for at := 1; at < length; at++ {
		logits, err := s.Append(ctx, next)
		if err != nil {
			return nil, err
		}
		for i, l := range logits {
			if !finite(l) {
				return nil, errors.New("the model's logits are not finite")
			}
			id := Sampling{Temperature: 1, Seed: seed + uint64(i)}.choose(l, at)
			texts[i], next[i] = append(texts[i], id), []int32{id}
		}
		if step != nil {
			step(at + 1)
		}
	}
	return texts, nil
}

func finite(x []float32) bool {
	for _, v := range x {
		if v-v != 0 {
			return false
		}
	}
	return true
}
