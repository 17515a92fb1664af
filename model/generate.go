package model

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
)

// GenerateOptions say how Generate continues a prompt.
type GenerateOptions struct {
	Options
	Sampling
	Tokens    int     // at most so many
	Stop      []int32 // tokens that end a variant's text, usually eos
	Reference int     // index of the variant others are held against

	// Step is called, by one goroutine, when every variant has one more token. What
	// it gets is overwritten later.
	Step func(*Generation)
}

// Generation is what several variants make of one prompt.
type Generation struct {
	Prompt   []int32
	Variants []Generated
}

// Generated is the text of one variant.
type Generated struct {
	Tokens   []int32
	LogProbs []float64 // of each token before sampling cut or heated anything, nats
	End      End

	// KL is KL(reference || variant) before each token, nats, as long as both had the
	// same text before it.
	KL []float64

	// Divergence is the first place where the variant has another token than the
	// reference, or one of both has ended; nil if there is none yet.
	Divergence *Divergence
}

// Divergence says how likely two variants found both tokens at the place where
// they part. A token that is not there is -1, its probabilities are NaN.
type Divergence struct {
	At                 int        // index of the token
	Reference, Variant int32      // tokens
	ByReference        [2]float64 // probability of both by the reference
	ByVariant          [2]float64 // and by the variant
}

// End is why a text ends.
type End string

// A text ends because it is as long as asked for, because of a token that ends
// it, which is its last one, or because the logits were NaN or infinite. It is
// "" while it goes on.
const (
	EndLength    End = "length"
	EndStop      End = "stop"
	EndNonFinite End = "not finite"
)

// Generate continues the prompt with every variant at once, each by its own
// tokens. All variants draw with the same random numbers, so that what differs
// comes from their logits. A result does not depend on the number of workers
// nor on the other variants.
func Generate(ctx context.Context, c *Config, variants []Variant, prompt []int32, opt GenerateOptions) (*Generation, error) {
	switch {
	case len(prompt) == 0:
		return nil, errors.New("the prompt has no tokens")
	case opt.Tokens < 1:
		return nil, fmt.Errorf("%d tokens are nothing to generate", opt.Tokens)
	case opt.Reference < 0 || opt.Reference >= len(variants):
		return nil, fmt.Errorf("no variant %d to hold others against", opt.Reference)
	}
	if err := opt.Sampling.Check(); err != nil {
		return nil, err
	}
	s, err := NewSession(c, variants, 1, len(prompt)+opt.Tokens, opt.Options)
	if err != nil {
		return nil, err
	}
	g := &Generation{Prompt: prompt, Variants: make([]Generated, len(variants))}
	next := slices.Repeat([][]int32{prompt}, len(variants))
	for range opt.Tokens {
		logits, err := s.Append(ctx, next)
		if err != nil {
			return g, err
		}
		next = g.step(logits, opt)
		if opt.Step != nil {
			opt.Step(g)
		}
		if !slices.ContainsFunc(g.Variants, func(v Generated) bool { return v.End == "" }) {
			break
		}
	}
	return g, nil
}

// step takes up one token of every variant and returns them. A variant that has
// ended gets one nobody looks at.
func (g *Generation) step(logits [][]float32, opt GenerateOptions) (next [][]int32) {
	s := NewScores([]int32{-1}, len(logits), opt.Reference)
	s.Logits(0, 0, logits)
	for v := range g.Variants {
		x, id := &g.Variants[v], int32(-1)
		if x.End == "" {
			if !math.IsInf(s.lse(v), 0) && !math.IsNaN(s.lse(v)) {
				id = opt.choose(logits[v], len(x.Tokens))
			}
			x.take(id, func() float64 { return float64(logits[v][id]) - s.lse(v) }, opt)
		}
		next = append(next, []int32{max(id, 0)})
	}
	ref := &g.Variants[opt.Reference]
	for v := range g.Variants {
		x := &g.Variants[v]
		if v == opt.Reference || x.Divergence != nil || x.ended(len(x.KL)) && ref.ended(len(x.KL)) {
			continue
		}
		at := len(x.KL)
		x.KL = append(x.KL, s.Token(v, 0).KL)
		d := &Divergence{At: at, Reference: ref.token(at), Variant: x.token(at)}
		if d.Reference == d.Variant {
			continue
		}
		for i, id := range []int32{d.Reference, d.Variant} {
			d.ByReference[i], d.ByVariant[i] = math.NaN(), math.NaN()
			if id >= 0 {
				d.ByReference[i] = math.Exp(float64(logits[opt.Reference][id]) - s.lse(opt.Reference))
				d.ByVariant[i] = math.Exp(float64(logits[v][id]) - s.lse(v))
			}
		}
		x.Divergence = d
	}
	return next
}

// take puts a token behind the text; -1 if there is none.
func (x *Generated) take(id int32, logProb func() float64, opt GenerateOptions) {
	if id < 0 {
		x.End = EndNonFinite
		return
	}
	x.Tokens, x.LogProbs = append(x.Tokens, id), append(x.LogProbs, logProb())
	switch {
	case slices.Contains(opt.Stop, id):
		x.End = EndStop
	case len(x.Tokens) == opt.Tokens:
		x.End = EndLength
	}
}

// token returns the token at an index, -1 if there is none.
func (x *Generated) token(at int) int32 {
	if at < len(x.Tokens) {
		return x.Tokens[at]
	}
	return -1
}

func (x *Generated) ended(at int) bool { return x.End != "" && at >= len(x.Tokens) }
