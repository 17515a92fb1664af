package model

import (
	"context"
	"errors"
	"fmt"
)

// Session runs sequences of each variant, some tokens at a time, and keeps keys
// and values between the times. Its logits are those of Forward over the whole
// sequences, to the last bit. It is not safe for concurrent use.
type Session struct {
	r      *runner
	each   int       // sequences of a variant
	tokens [][]int32 // [variant*each+sequence], all of one length
}

// cache holds what a session keeps. Its capacity is that of a sequence.
type cache struct {
	capacity int
	filled   int       // tokens whose keys and values are there
	tokens   [][]int32 // of the step at hand, [variant*sequences+sequence]
	heads    [][]kept  // [layer][(variant*sequences+sequence)*KVHeads+head]
}

func (c *cache) at(layer, head int) *kept { return &c.heads[layer][head] }

// maxCache bounds the keys and values of a session, in bytes.
const maxCache int64 = 8 << 30

// NewSession has room for each sequences of every variant, of up to capacity
// tokens. It is an error if their keys and values take more than 8 GiB.
func NewSession(c *Config, variants []Variant, each, capacity int, opt Options) (*Session, error) {
	if each < 1 || capacity < 1 {
		return nil, fmt.Errorf("a session of %d sequences of %d tokens", each, capacity)
	}
	perToken := 4 * int64(len(c.Layers)) * int64(len(variants)) * int64(each) * int64(c.KVHeads) * int64(c.HeadDim+roundUp(c.HeadDim, panelCols))
	if int64(capacity) > maxCache/max(perToken, 1) {
		return nil, fmt.Errorf("keys and values of %d tokens take more than %d bytes", capacity, maxCache)
	}
	r, err := newRunner(context.Background(), c, variants, opt)
	if err != nil {
		return nil, err
	}
	r.cache = &cache{capacity: capacity}
	for range c.Layers {
		list := make([]kept, len(variants)*each*c.KVHeads)
		for i := range list {
			list[i].resize(capacity, c.HeadDim)
		}
		r.cache.heads = append(r.cache.heads, list)
	}
	return &Session{r, each, make([][]int32, len(variants)*each)}, nil
}

// Len returns how many tokens the sequences have.
func (s *Session) Len() int { return len(s.tokens[0]) }

// Append puts tokens behind every sequence, as many for each, and returns the
// logits [vocab] that follow; both are [variant*each+sequence]. Rotary embeddings
// whose frequencies depend on the length (dynamic, longrope) may make it run the
// whole sequences once more. After an error the session is not to be used any
// more.
func (s *Session) Append(ctx context.Context, tokens [][]int32) ([][]float32, error) {
	logits := make([][]float32, len(s.tokens))
	for i := range logits {
		logits[i] = make([]float32, s.r.c.Vocab)
	}
	return logits, s.append(ctx, tokens, func(sequence, first int, part [][]float32) {
		for v, l := range part {
			copy(logits[v*s.each+sequence][first:], l)
		}
	})
}

// append is Append that hands logits on as Sink.Logits does, a sequence for a
// token.
func (s *Session) append(ctx context.Context, tokens [][]int32, sink func(sequence, first int, logits [][]float32)) error {
	r := s.r
	if len(tokens) != len(s.tokens) {
		return fmt.Errorf("tokens for %d sequences of %d", len(tokens), len(s.tokens))
	}
	for _, list := range tokens {
		if len(list) == 0 || len(list) != len(tokens[0]) || s.Len()+len(list) > r.cache.capacity {
			return errors.New("tokens are none, differ in number or are more than the session has room for")
		}
		if err := r.c.known(list); err != nil {
			return err
		}
	}
	before := s.Len()
	for i, list := range tokens {
		s.tokens[i] = append(s.tokens[i], list...)
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
	if err := r.load(r.cache.tokens[:s.each]); err != nil {
		return err
	}
	if err := r.blocks(Sink{}); err != nil {
		return err
	}
	r.last()
	return r.head(sink)
}

// last leaves the last token of every sequence only.
func (r *runner) last() {
	n := len(r.sequences)
	rows := roundUp(n, tileRows)
	for v := range r.variants {
		for i, ids := range r.sequences {
			copy(r.x.row(v*rows+i), r.x.row(v*r.rows+r.starts[i]+len(ids)-1)) // never one that is still to be read
		}
	}
	r.tokens, r.rows = n, rows
	r.x.resize(rows*len(r.variants), r.c.Hidden)
}
