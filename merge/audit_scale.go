package merge

import (
	"cmp"
	"context"
	"math"
	"slices"
)

// cause is a mistake and the factor by which it misses the right scale.
type cause struct {
	factor float64
	text   string
}

// causesOf lists what can go wrong with the scale of a layer's adapters, the
// commonest first. Factors of 1 are no mistake and left out.
func causesOf(steps []Step) []cause {
	list := []cause{
		{2, "merged twice, or twice the scale"},
		{0.5, "half the scale"},
		{-1, "subtracted instead of added"},
	}
	if len(steps) > 0 && steps[0].Module.Rank > 0 && steps[0].Module.Scale != 0 {
		s := &steps[0]
		scale, alpha, r := s.Module.Scale, s.Module.Alpha, float64(s.Module.Rank)
		add := func(applied float64, text string) { list = append(list, cause{applied / scale, text}) }
		if s.Adapter.Config.UseRSLoRA {
			add(alpha/r, "rsLoRA ignored: alpha/r instead of alpha/sqrt(r)")
		} else {
			add(alpha/math.Sqrt(r), "taken for rsLoRA: alpha/sqrt(r) instead of alpha/r")
			add(scale/math.Sqrt(r), "divided by sqrt(r) once too often")
		}
		add(1, "alpha/r left out: scale 1")
		add(alpha, "not divided by the rank: alpha instead of alpha/r")
		add(scale*alpha, "alpha applied twice")
		add(scale/alpha, "alpha left out")
		add(scale*scale, "the scale applied twice")
		add(scale/r, "divided by the rank twice")
		if c := s.Adapter.Config.Alpha; c != alpha && c != 0 {
			add(scale*c/alpha, "alpha_pattern ignored")
		}
		add(scale*8/alpha, "PEFT's default alpha of 8 instead of the adapter's")
		if s.Factor != 1 && s.Factor != 0 {
			add(scale/s.Factor, "the plan's own scale left out")
		}
	}
	return slices.DeleteFunc(list, func(c cause) bool {
		return math.IsNaN(c.factor) || math.IsInf(c.factor, 0) || c.factor == 0 || math.Abs(c.factor-1) <= nearFactor
	})
}

// explain looks for the hypothesis whose simulated merge is what is there.
func (la *layerAudit) explain(ctx context.Context, one auditSums) (hypothesis, bool, error) {
	right := hypothesis{scale: 1}
	// The right merge, nothing at all, and a delta of zero stored anew.
	best, least := right, one
	for _, h := range la.guesses(one) {
		if s, err := la.try(ctx, h); err != nil {
			return best, false, err
		} else if s.Miss < least.Miss {
			best, least = h, s
		}
	}
	none, err := la.try(ctx, hypothesis{})
	if err != nil {
		return best, false, err
	}
	zero := none
	if one.RR <= none.Miss {
		zero.Miss, zero.Off = one.RR, one.Moved
	}
	if zero.Miss < least.Miss {
		best, least = hypothesis{}, zero
	}
	rival := one.Miss
	if best.scale == 1 && !best.twice {
		rival = zero.Miss
	}
	if fits(best, least) && least.Miss*4 <= rival {
		return la.refine(ctx, best, least)
	}
	h, s, err := la.search(ctx, one)
	if err != nil {
		return best, false, err
	}
	// A scale that no known mistake makes must fit clearly better.
	if s.Miss*4 < least.Miss {
		best, least = h, s
	}
	if !fits(best, least) {
		return best, false, nil
	}
	return la.refine(ctx, best, least)
}

// guesses are the other ways in which PEFT computes a right merge, and what
// explained the layer before.
func (la *layerAudit) guesses(one auditSums) []hypothesis {
	var list []hypothesis
	if !slices.ContainsFunc(la.layer.Steps, func(s Step) bool { return s.Module.Tuner != "" }) {
		list = append(list, hypothesis{scale: 1, lora: LoRALayer}, hypothesis{scale: 1, lora: LoRARounded})
	}
	if la.weight.Format.IsFloat() {
		list = append(list, hypothesis{scale: 1, safe: true})
	}
	if la.layer.Method.Kind != MethodPeft {
		list = append(list, hypothesis{scale: 1, peft: true})
	}
	if one.applied() > 1.2*one.expected() {
		list = append(list, hypothesis{scale: 1, twice: true})
	}
	if la.last != nil {
		list = append(list, *la.last)
	}
	return list
}

// refine compares a scale that fits with the usual mistakes around it, among
// them a merge that was done twice.
func (la *layerAudit) refine(ctx context.Context, h hypothesis, s auditSums) (hypothesis, bool, error) {
	total := h.scale
	if h.twice {
		total = 2
	}
	if total == 0 || total == 1 || s.Miss == 0 && !h.twice {
		return h, true, nil
	}
	var list []hypothesis
	for _, c := range causesOf(la.layer.Steps) {
		if math.Abs(total-c.factor) <= 0.2*math.Abs(c.factor) && c.factor != h.scale {
			list = append(list, hypothesis{scale: c.factor})
		}
	}
	if total > 1.5 && total < 2.7 && !h.twice {
		list = append(list, hypothesis{scale: 1, twice: true})
	}
	for _, n := range list {
		t, err := la.try(ctx, n)
		if err != nil {
			return h, false, err
		}
		// Where twice the scale gives the same, nobody can tell.
		if t.Miss < s.Miss || t.Miss == s.Miss && h.twice {
			h, s = n, t
		}
	}
	return h, true, nil
}

// search finds the scale whose simulated merge applies as much of the delta as
// there is. What a 4-bit merge applies rises with the scale, but not evenly.
func (la *layerAudit) search(ctx context.Context, one auditSums) (hypothesis, auditSums, error) {
	type point struct{ scale, applied float64 }
	f := one.applied()
	points := []point{{0, 0}, {1, one.expected()}}
	best, least := hypothesis{scale: 1}, one
	next := f
	for range 8 {
		h := hypothesis{scale: next}
		s, err := la.try(ctx, h)
		if err != nil {
			return best, least, err
		}
		if s.Miss < least.Miss {
			best, least = h, s
		}
		applied := s.expected()
		if fits(h, s) && s.distance(next) < 1e-3 || math.IsNaN(applied) {
			break
		}
		points = append(points, point{next, applied})
		slices.SortFunc(points, func(a, b point) int { return cmp.Compare(a.scale, b.scale) })
		lo, hi := points[0], points[len(points)-1]
		for _, p := range points {
			if p.applied <= f {
				lo = p
			}
		}
		for _, p := range slices.Backward(points) {
			if p.applied >= f {
				hi = p
			}
		}
		switch {
		case hi.applied < f: // beyond all points
			next = 2 * max(hi.scale, f)
		case lo.applied > f:
			next = 2 * min(lo.scale, f)
		case hi.applied == lo.applied:
			return best, least, nil
		default:
			t := (f - lo.applied) / (hi.applied - lo.applied)
			next = lo.scale + min(max(t, 0.1), 0.9)*(hi.scale-lo.scale)
		}
		if next == h.scale || math.IsInf(next, 0) {
			break
		}
	}
	return best, least, nil
}
