package model

import (
	"cmp"
	"errors"
	"fmt"
	"math"
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

// candidate is a token that may be drawn.
type candidate struct {
	id    int32
	logit float64 // by temperature
}

// choose returns the token for one step. Logits are finite, or -Inf.
func (s Sampling) choose(logits []float32, step int) int32 {
	best, most := int32(0), math.Inf(-1)
	if s.Temperature == 0 {
		for id, l := range logits {
			if float64(l) > most {
				best, most = int32(id), float64(l)
			}
		}
		return best
	}
	for _, c := range s.candidates(logits) {
		if v := c.logit + s.noise(step, c.id); v > most {
			best, most = c.id, v
		}
	}
	return best
}

// candidates are the tokens that neither TopK nor TopP cuts.
func (s Sampling) candidates(logits []float32) []candidate {
	list := make([]candidate, len(logits))
	for id, l := range logits {
		list[id] = candidate{int32(id), float64(l) / s.Temperature}
	}
	all := (s.TopK == 0 || s.TopK >= len(list)) && (s.TopP == 0 || s.TopP == 1)
	if all {
		return list
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

// noise is from the standard Gumbel distribution.
func (s Sampling) noise(step int, id int32) float64 {
	r := rand.NewPCG(s.Seed, uint64(step)<<32|uint64(uint32(id)))
	u := (float64(r.Uint64()>>11) + 0.5) / (1 << 53) // in (0, 1)
	return -math.Log(-math.Log(u))
}
