package model

import (
	"context"
	"errors"
	"slices"
)

// Compose lets a variant write n sequences of so many tokens, begin and all,
// each with its own draws at temperature 1 (seed, seed+1, ...). Nothing ends
// one early: what follows a token that ends a text is another text. step, which
// may be nil, is told of every token. A result does not depend on workers.
func Compose(ctx context.Context, c *Config, v Variant, n, length int, begin int32, seed uint64, opt Options, step func(done int)) ([][]int32, error) {
	if n < 1 || length < 2 {
		return nil, errors.New("there is nothing to compose")
	}
	s, err := NewSession(c, []Variant{v}, n, length, opt)
	if err != nil {
		return nil, err
	}
	texts, next, draws := make([][]int32, n), make([][]int32, n), make([]draw, n)
	bad := make([]bool, n)
	for i := range n {
		texts[i] = []int32{begin}
	}
	for at := 1; at < length; at++ {
		for i := range n {
			next[i] = texts[i][at-1:]
			draws[i] = Sampling{Temperature: 1, Seed: seed + uint64(i)}.draw(at)
		}
		err := s.append(ctx, next, func(i, first int, logits [][]float32) {
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

func finite(x []float32) bool {
	for _, v := range x {
		if v-v != 0 {
			return false
		}
	}
	return true
}
