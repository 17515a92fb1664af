package model

import (
	"context"
	"errors"
	"fmt"
)

// Session runs one sequence of each variant, some tokens at a time, and keeps
// keys and values between the times. Its logits are those of Forward over the
// whole sequence, to the last bit. It is not safe for concurrent use.
type Session struct {
	r      *runner
	tokens [][]int32 // by variant, all of one length
}

// cache holds what a session keeps. Its capacity is that of a sequence.
type cache struct {
	capacity int
	filled   int       // tokens whose keys and values are there
	tokens   [][]int32 // of the step at hand, by variant
	heads    [][]kept  // [layer][variant*KVHeads+head]
}

func (c *cache) at(layer, head int) *kept { return &c.heads[layer][head] }

// maxCache bounds the keys and values of a session, in bytes.
const maxCache int64 = 8 << 30

// NewSession has room for sequences of up to so many tokens. It is an error if
// their keys and values take more than 8 GiB.
func NewSession(c *Config, variants []Variant, capacity int, opt Options) (*Session, error) {
	if capacity < 1 {
		return nil, fmt.Errorf("a session of %d tokens", capacity)
	}
	perToken := 4 * int64(len(c.Layers)) * int64(len(variants)) * int64(c.KVHeads) * int64(c.HeadDim+roundUp(c.HeadDim, panelCols))
	if int64(capacity) > maxCache/max(perToken, 1) {
		return nil, fmt.Errorf("keys and values of %d tokens take more than %d bytes", capacity, maxCache)
	}
	r, err := newRunner(context.Background(), c, variants, opt)
	if err != nil {
		return nil, err
	}
	r.cache = &cache{capacity: capacity}
	for range c.Layers {
		list := make([]kept, len(variants)*c.KVHeads)
		for i := range list {
			list[i].resize(capacity, c.HeadDim)
		}
		r.cache.heads = append(r.cache.heads, list)
	}
	return &Session{r, make([][]int32, len(variants))}, nil
}

// Len returns how many tokens the sequences have.
func (s *Session) Len() int { return len(s.tokens[0]) }

// Append puts tokens behind the sequence of every variant, as many for each, and
// returns the logits [vocab] that follow, by variant. Rotary embeddings whose
// frequencies depend on the length (dynamic, longrope) may make it run the whole
// sequences once more. After an error the session is not to be used any more.
func (s *Session) Append(ctx context.Context, tokens [][]int32) ([][]float32, error) {
	r := s.r
	if len(tokens) != len(s.tokens) {
		return nil, fmt.Errorf("tokens for %d variants of %d", len(tokens), len(s.tokens))
	}
	for _, list := range tokens {
		if len(list) == 0 || len(list) != len(tokens[0]) || s.Len()+len(list) > r.cache.capacity {
			return nil, errors.New("tokens are none, differ in number or are more than the session has room for")
		}
		if err := r.c.known(list); err != nil {
			return nil, err
		}
	}
	before := s.Len()
	for v, list := range tokens {
		s.tokens[v] = append(s.tokens[v], list...)
	}
	for _, l := range r.c.Layers {
		if l.Rope.regime(before) != l.Rope.regime(s.Len()) {
			before = 0 // all of it has other frequencies now
			clear(r.rope)
		}
	}
	r.ctx, r.cache.filled, r.cache.tokens = ctx, before, nil
	for _, list := range s.tokens {
		r.cache.tokens = append(r.cache.tokens, list[before:])
	}
	if err := r.load(r.cache.tokens[:1]); err != nil {
		return nil, err
	}
	if err := r.blocks(Sink{}); err != nil {
		return nil, err
	}
	r.last()
	logits := make([][]float32, len(s.tokens))
	for v := range logits {
		logits[v] = make([]float32, r.c.Vocab)
	}
	return logits, r.head(func(_, first int, part [][]float32) {
		for v, l := range part {
			copy(logits[v][first:], l)
		}
	})
}

// last leaves the last token of every variant only.
func (r *runner) last() {
	for v := range r.variants {
		copy(r.x.row(v*tileRows), r.x.row(v*r.rows+r.tokens-1))
	}
	r.tokens, r.rows = 1, tileRows
	r.x.resize(tileRows*len(r.variants), r.c.Hidden)
}
