package model

import "math"

// Scores follows the distributions of several variants over the vocabulary as
// Forward hands them out piece by piece, so that no token's logits need be held
// together. Its Logits method fits Sink.Logits; distinct tokens may be added
// concurrently.
type Scores struct {
	targets   []int32
	variants  int
	reference int
	states    []stream // [token][variant]
}

// stream is what is known of one distribution so far.
type stream struct {
	most   float32 // largest logit
	target float32 // logit of the correct token
	best   int32   // first entry with the largest logit
	sum    float64 // of exp(logit-most)
	cross  float64 // of exp(r-most of r)*(r-logit), r the reference's logit
}

// NewScores scores tokens whose correct next tokens are targets, against the
// variant with index reference.
func NewScores(targets []int32, variants, reference int) *Scores {
	s := &Scores{targets: targets, variants: variants, reference: reference, states: make([]stream, len(targets)*variants)}
	for i := range s.states {
		s.states[i].most = float32(math.Inf(-1))
		s.states[i].target = float32(math.NaN())
		s.states[i].best = -1
	}
	return s
}

// pieceLen is how many entries are added at a time, in memory on the stack.
const pieceLen = 512

// Logits adds vocabulary entries from first on of one token. logits holds one
// slice of each variant, all of one length. Entries must come in ascending
// order.
func (s *Scores) Logits(token, first int, logits [][]float32) {
	states := s.states[token*s.variants : (token+1)*s.variants]
	if at := int(s.targets[token]) - first; at >= 0 && at < len(logits[0]) {
		for v := range states {
			states[v].target = logits[v][at]
		}
	}
	var ref, other [pieceLen]float32
	for lo := 0; lo < len(logits[0]); lo += pieceLen {
		hi := min(lo+pieceLen, len(logits[0]))
		r := logits[s.reference][lo:hi]
		p := ref[:hi-lo]
		if scale := states[s.reference].add(p, r, first+lo); scale != 1 {
			for v := range states {
				states[v].cross *= scale
			}
		}
		for v := range states {
			if v == s.reference {
				continue
			}
			q := logits[v][lo:hi]
			states[v].add(other[:hi-lo], q, first+lo)
			sum := states[v].cross
			for i, e := range p {
				if e != 0 { // else 0*Inf
					sum += float64(float64(e) * float64(r[i]-q[i]))
				}
			}
			states[v].cross = sum
		}
	}
}

// add takes up logits from entry first on and leaves exp(logit-most) in e. It
// returns what earlier sums were multiplied by.
func (d *stream) add(e, logits []float32, first int) (scale float64) {
	most, at := d.most, -1
	for i, v := range logits {
		if v > most || v != v {
			if most, at = v, i; v != v {
				break
			}
		}
	}
	scale = 1
	if at >= 0 {
		scale = float64(exp32(d.most - most))
		d.most, d.best = most, int32(first+at)
		d.sum *= scale
	}
	if math.IsInf(float64(d.most), -1) {
		clear(e)
		return scale
	}
	copy(e, logits)
	expAll(e, d.most)
	for _, v := range e {
		d.sum += float64(v)
	}
	return scale
}

// Token says how one variant predicts one token. Values are nats; NaN where
// logits are not finite.
type Token struct {
	NLL, RefNLL float64 // -log p of the correct token, of the variant and of the reference
	KL          float64 // KL(reference || variant)
	Same        bool    // both find the same token most likely
}

// Token returns the scores of a token once all its logits are added.
func (s *Scores) Token(variant, token int) Token {
	d, r := &s.states[token*s.variants+variant], &s.states[token*s.variants+s.reference]
	t := Token{NLL: d.lse() - float64(d.target), RefNLL: r.lse() - float64(r.target), Same: d.best == r.best}
	if variant != s.reference || math.IsNaN(t.NLL) {
		t.KL = d.cross/r.sum - r.lse() + d.lse()
	}
	return t
}

// Tokens returns the scores of every token.
func (s *Scores) Tokens(variant int) []Token {
	list := make([]Token, len(s.targets))
	for i := range list {
		list[i] = s.Token(variant, i)
	}
	return list
}

// lse is that of the first token.
func (s *Scores) lse(variant int) float64 { return s.states[variant].lse() }

// lse is the logarithm of the sum of exp(logit).
func (d *stream) lse() float64 { return float64(d.most) + math.Log(d.sum) }

// Depth follows how far the hidden states of variants are from those of the
// reference. Its Hidden method fits Sink.Hidden; distinct tokens may be added
// concurrently.
type Depth struct {
	variants, tokens, reference int
	squares                     [][2]float64 // of the difference and of the reference, [layer][variant][token]
}

// NewDepth has room for so many layers, variants and tokens.
func NewDepth(layers, variants, tokens, reference int) *Depth {
	return &Depth{variants, tokens, reference, make([][2]float64, layers*variants*tokens)}
}

// Hidden adds the hidden states of one token after one block.
func (d *Depth) Hidden(layer, token int, states [][]float32) {
	ref := states[d.reference]
	for v, h := range states {
		var diff, norm float64
		for i, r := range ref {
			e := float64(h[i]) - float64(r)
			diff += float64(e * e)
			norm += float64(float64(r) * float64(r))
		}
		d.squares[(layer*d.variants+v)*d.tokens+token] = [2]float64{diff, norm}
	}
}

// RelativeRMS is the rms of the difference after a block over that of the
// reference, over all tokens.
func (d *Depth) RelativeRMS(layer, variant int) float64 {
	diff, norm := d.Squares(layer, variant)
	return math.Sqrt(diff / norm)
}

// Squares returns the sums of squares, over all tokens, of the difference after
// a block and of the reference.
func (d *Depth) Squares(layer, variant int) (diff, norm float64) {
	at := (layer*d.variants + variant) * d.tokens
	for _, s := range d.squares[at : at+d.tokens] {
		diff, norm = diff+s[0], norm+s[1]
	}
	return diff, norm
}
