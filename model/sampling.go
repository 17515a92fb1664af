package model

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
)

// Sampling says how the next token is chosen. The zero value takes the
// likeliest, of equals the first.
//
// Else logits are divided by Temperature, cut to the TopK likeliest and to the
// likeliest that together have the share TopP, in this order as transformers
// does, and one is drawn by the Gumbel-max rule: the largest sum of logit and a
// noise that depends on Seed, the step and the token only. Two distributions
// that are near each other so draw the same token most of the time.
type Sampling struct {
	Temperature float64 // 0: the likeliest
	TopK        int     // 0: all
	TopP        float64 // 0: all
	Seed        uint64
}

// Check reports what is out of range.
func (s Sampling) Check() error {
	switch {
	case !(s.Temperature >= 0) || math.IsInf(s.Temperature, 0):
		return fmt.Errorf("temperature %v is not a number from 0 on", s.Temperature)
	case s.TopK < 0:
		return fmt.Errorf("top-k %d is negative", s.TopK)
	case !(s.TopP >= 0 && s.TopP <= 1):
		return fmt.Errorf("top-p %v is not between 0 and 1", s.TopP)
	}
	return nil
}

// Greedy is the name of the zero value.
const Greedy = "greedy"

// ParseSampling reads Greedy, or some of temperature=T, top-k=K, top-p=P and
// seed=N with commas between; the temperature is 1 unless it is among them.
func ParseSampling(text string) (Sampling, error) {
	if text == Greedy {
		return Sampling{}, nil
	}
	s := Sampling{Temperature: 1}
	for part := range strings.SplitSeq(text, ",") {
		key, value, _ := strings.Cut(part, "=")
		var err error
		switch key {
		case "temperature":
			if s.Temperature, err = strconv.ParseFloat(value, 64); err == nil && s.Temperature == 0 {
				err = errors.New("0 is greedy")
			}
		case "top-k":
			s.TopK, err = strconv.Atoi(value)
		case "top-p":
			s.TopP, err = strconv.ParseFloat(value, 64)
		case "seed":
			s.Seed, err = strconv.ParseUint(value, 10, 64)
		default:
			err = errors.New("want " + Greedy + ", temperature=T, top-k=K, top-p=P or seed=N")
		}
		if err != nil {
			return s, fmt.Errorf("sampling %q: %w", part, err)
		}
	}
	return s, s.Check()
}

// String is what ParseSampling reads.
func (s Sampling) String() string {
	if s.Temperature == 0 {
		return Greedy
	}
	text := fmt.Sprintf("temperature=%v", s.Temperature)
	if s.TopK > 0 {
		text += fmt.Sprintf(",top-k=%d", s.TopK)
	}
	if s.TopP > 0 {
		text += fmt.Sprintf(",top-p=%v", s.TopP)
	}
	return text + fmt.Sprintf(",seed=%d", s.Seed)
}

// choose returns the token for one step. Logits are finite, or -Inf.
func (s Sampling) choose(logits []float32, step int) int32 {
	d := s.draw(step)
	if s.Temperature == 0 || !s.cuts(len(logits)) {
		d.add(0, logits)
		return d.id
	}
	for _, c := range s.candidates(logits) {
		d.token(c.id, c.logit)
	}
	return d.id
}

// cuts reports whether TopK or TopP may leave out some of n tokens.
func (s Sampling) cuts(n int) bool {
	return s.TopK > 0 && s.TopK < n || s.TopP > 0 && s.TopP < 1
}

// draw chooses the token of one step from logits that come bit by bit.
type draw struct {
	Sampling
	step int
	id   int32
	most float64 // logit, by temperature and with noise, of id
}

func (s Sampling) draw(step int) draw { return draw{s, step, 0, math.Inf(-1)} }

// add takes up the logits of tokens from first on. Nothing is cut.
func (d *draw) add(first int, logits []float32) {
	if d.Temperature == 0 {
		for i, l := range logits {
			if float64(l) > d.most {
				d.id, d.most = int32(first+i), float64(l)
			}
		}
		return
	}
	for i, l := range logits {
		d.token(int32(first+i), float64(l)/d.Temperature)
	}
}

// token takes up one token. Noise is at most -ln(1-u): where that cannot make up
// for what the token lacks, it is not worked out, which saves two logarithms for
// all but a few. 2^-m is above e^-lacks, by 0.1 % or more.
func (d *draw) token(id int32, logit float64) {
	m := 0
	if lacks := d.most - logit; lacks > 0 {
		m = int(1.44 * min(lacks, 60)) // 1/ln 2 is 1.4427
	}
	if m > 53 {
		return
	}
	r := rand.NewPCG(d.Seed, uint64(d.step)<<32|uint64(uint32(id)))
	k := r.Uint64() >> 11
	if m > 0 && bits.Len64(1<<53-1-k)+m > 53 {
		return // 1-u is 2^-m or more
	}
	if v := logit + gumbel(k); v > d.most {
		d.id, d.most = id, v
	}
}

// gumbel turns 53 bits into a number of the standard Gumbel distribution.
func gumbel(k uint64) float64 {
	u := (float64(k) + 0.5) / (1 << 53) // in (0, 1)
	return -math.Log(-math.Log(u))
}

// candidate is a token that may be drawn.
type candidate struct {
	id    int32
	logit float64 // by temperature
}

// candidates are the tokens that neither TopK nor TopP cuts.
func (s Sampling) candidates(logits []float32) []candidate {
	list := make([]candidate, len(logits))
	for id, l := range logits {
		list[id] = candidate{int32(id), float64(l) / s.Temperature}
	}
	slices.SortFunc(list, func(a, b candidate) int { return cmp.Or(cmp.Compare(b.logit, a.logit), cmp.Compare(a.id, b.id)) })
	if s.TopK > 0 {
		n := min(s.TopK, len(list))
		for n < len(list) && list[n].logit == list[n-1].logit {
			n++ // equals of the last one stay
		}
		list = list[:n]
	}
	if s.TopP == 0 {
		return list
	}
	total := 0.0
	for _, c := range list {
		total += math.Exp(c.logit - list[0].logit)
	}
	share := 0.0
	for i, c := range list {
		if share += math.Exp(c.logit-list[0].logit) / total; share >= s.TopP {
			return list[:i+1]
		}
	}
	return list
}
