package merge

import (
	"context"
	"fmt"
	"math"

	"mergescope/loader"
	"mergescope/quant"
)

// Limits of the audit; docs/audit.md gives the reasons.
const (
	fitsWithin    = 0.02 // distance of a prediction that fits, in units of |D|^2
	fitsExactly   = 1e-4 // distance that needs no further proof
	nearFactor    = 0.03 // relative difference of applied and expected that still is none
	clippingSlack = 0.1  // the same for 4-bit rounding that keeps the scales: what is largest cannot grow
	maxSigmas     = 4.0  // standard errors that are no evidence
	blindAbove    = 0.25 // standard error of applied from which on nothing can be said
	loud4         = 4.0  // residual against 4-bit noise: rounding at random makes up to 3
	loud          = 2.0  // against the noise of finer formats
	loudBase      = 1.6  // against noise of the base's format
	quietBase     = 0.4  // less is no rounding of the base
	sameExactly   = 1e-4 // share of weights that may differ from what is computed exactly
	sameWeights   = 1e-3 // share of weights that may leave their code without a reason
)

// layerAudit is the audit of one layer.
type layerAudit struct {
	*audit
	layer  *Layer
	weight *loader.Weight // merged
	out    *AuditLayer

	merged *subject
	tried  map[hypothesis]auditSums
	broken bool // factors of the adapter are not finite
	peft   bool // merged by PEFT's method although the plan has another
}

// judge fills the result.
func (la *layerAudit) judge(ctx context.Context) (err error) {
	if la.merged, err = openMerged(la.weight, la.opt); err != nil {
		return err
	}
	la.tried = map[hypothesis]auditSums{}
	if !la.layer.Merges() {
		return la.judgeUntouched(ctx)
	}
	right := hypothesis{scale: 1}
	s, err := la.try(ctx, right)
	if err != nil {
		return err
	}
	la.show(s)
	switch {
	case s.BadDelta+s.BadPredicted+s.BadMerged > 0 || la.broken:
		return la.judgeBroken(ctx, s)
	case s.DD == 0:
		return la.judgeUntouched(ctx)
	}
	return la.judgeMerged(ctx, s)
}

// show publishes the sums of the layer.
func (la *layerAudit) show(s auditSums) {
	la.out.sums, la.out.AuditFigures = s, s.figures()
	la.out.Exact = s.N > 0 && s.Equal == s.N && s.BadMerged == 0
}

// say sets verdict and words.
func (la *layerAudit) say(v Verdict, factor float64, format string, args ...any) {
	la.out.Verdict, la.out.Factor, la.out.Causes, la.out.FinerBase = v, Figure(factor), []string{}, false
	la.out.regressed = false
	la.out.Explanation = fmt.Sprintf(format, args...)
}

// try returns the sums of a hypothesis; its Miss is infinite if it says nothing
// about this layer.
func (la *layerAudit) try(ctx context.Context, h hypothesis) (auditSums, error) {
	if s, ok := la.tried[h]; ok {
		return s, nil
	}
	p, err := la.predict(ctx, h)
	if err != nil {
		return auditSums{}, err
	}
	s := auditSums{Miss: math.Inf(1)}
	if p != nil {
		for _, u := range p.sim.updates {
			f := u.faults()
			la.broken = la.broken || f.A+f.B > 0
		}
		if s, err = la.compare(ctx, p); err != nil {
			return s, err
		}
		if one, ok := la.tried[hypothesis{scale: 1}]; ok && h.rows.kind == asIs && h.through == quant.Unknown && s.DD > 0 {
			// Figures are in units of the plan's delta, of which that of the
			// hypothesis is a multiple (DoRA's is not quite).
			s.SD *= math.Sqrt(one.DD/s.DD) * math.Copysign(1, h.scale)
			s.DD, s.RD = one.DD, one.RD
		} else if ok && h.rows.kind != asIs {
			s.DD = one.DD
		}
	}
	la.tried[h] = s
	return s, nil
}

// fits reports whether a prediction is what is there.
func fits(h hypothesis, s auditSums) bool {
	if h.scale == 0 {
		// Next to a large adapter a small one is no distance.
		return float64(s.Off) <= sameExactly*float64(s.N)
	}
	e, d := s.expected(), s.distance(h.scale)
	return d <= fitsExactly || d <= fitsWithin && math.Abs(s.applied()-e) <= nearFactor*max(math.Abs(e), erasedBelow)
}

// judgeMerged judges a layer with a finite delta.
func (la *layerAudit) judgeMerged(ctx context.Context, s auditSums) error {
	if s.Miss == 0 {
		la.right(s)
		return nil
	}
	if known, err := la.judgeQuantized(ctx, s); known || err != nil {
		return err
	}
	if la.layer.Method.Kind == MethodCalibrated && s.RR > 0 {
		la.say(VerdictUndecided, math.NaN(), "calibrated codes follow from inputs of the whole model, which the weights alone do not tell: run it over a text")
		return nil
	}
	if la.noisy {
		if v, err := la.judgeNoise(ctx, s); err != nil || v && la.out.Verdict == VerdictRight {
			return err
		}
	}
	best, found, err := la.explain(ctx, s)
	if err != nil {
		return err
	}
	if found {
		la.last = &best
		la.settle(best, s)
		return nil
	}
	for _, judge := range [...]func(context.Context, auditSums) (bool, error){la.judgeNoise, la.judgeRows} {
		known, err := judge(ctx, s)
		if err != nil || known && !(la.out.regressed && la.said() != nil) {
			return err
		}
	}
	if la.requantized(s) || la.out.regressed {
		return nil
	}
	la.say(VerdictUnexplained, math.NaN(), "changed by %.2g rms, of which the adapter explains %s", rms(s.RR, s.N), Percent(cosine2(s)))
	return nil
}

// cosine2 is the share of |R|^2 that lies along D.
func cosine2(s auditSums) float64 {
	c := float64(ratio(s.RD, math.Sqrt(s.RR*s.DD)))
	return c * c
}

// right says that the merge is the one expected, and what is left of it.
func (la *layerAudit) right(s auditSums) {
	how := "as " + la.method() + " merge"
	if la.out.Exact {
		how = "exactly " + la.method() + " merge"
	}
	if m := la.weight.Format; m != la.layer.Weight.Format {
		how += " into " + m.String()
	}
	e := s.expected()
	switch {
	case e < erasedBelow:
		la.say(VerdictErased, 1, "%s, which leaves %s of the adapter: requantization erased it", how, Percent(e))
	case e < weakBelow:
		la.say(VerdictWeak, 1, "%s, which leaves %s of the adapter", how, Percent(e))
	default:
		la.say(VerdictRight, 1, "%s, %s of the adapter applied", how, Percent(s.applied()))
	}
}

// method says whose merge the layer is held against.
func (la *layerAudit) method() string {
	if k := la.layer.Method.Kind; k != MethodPeft && !la.peft {
		return "the plan's (" + k + ")"
	}
	return "PEFT's"
}

// settle words what a hypothesis that fits means.
func (la *layerAudit) settle(h hypothesis, s auditSums) {
	switch {
	case h.twice:
		la.say(VerdictTwice, 2, "merged twice: the adapter was added, stored and added again")
	case h.scale == 0:
		what := "stored anew without the adapter"
		if s.RR == 0 {
			what = "the base's weights, untouched"
		}
		la.say(VerdictMissing, 0, "adapter missing: %s", what)
	case math.Abs(h.scale-1) <= nearFactor:
		la.peft = h.peft
		la.show(la.tried[h])
		la.right(la.tried[h])
	default:
		la.scaled(h.scale)
	}
}

// scaled says that the adapter was applied at a wrong scale.
func (la *layerAudit) scaled(factor float64) {
	causes := []string{}
	for _, c := range causesOf(la.layer.Steps) {
		if math.Abs(factor-c.factor) <= nearFactor*math.Abs(c.factor) {
			causes = append(causes, c.text)
		}
	}
	what := fmt.Sprintf("applied at ×%.4g of the scale it should have", factor)
	if len(causes) > 0 {
		what += ": " + causes[0]
	}
	la.say(VerdictScale, factor, "%s", what)
	la.out.Causes = causes
}

// judgeBroken judges a layer where something is not finite.
func (la *layerAudit) judgeBroken(ctx context.Context, s auditSums) error {
	plain, err := la.untouched(ctx)
	if err != nil {
		return err
	}
	switch {
	case s.BadMerged > 0:
		la.say(VerdictNonFinite, math.NaN(), "%s of the merged checkpoint not finite", count(int(s.BadMerged), "weight"))
	case plain.RR == 0 || float64(plain.Moved) <= sameWeights*float64(plain.N):
		la.say(VerdictMissing, 0, "adapter missing: its tensors are not finite, and the base's weights are untouched")
	case s.BadDelta+s.BadPredicted == 0 && fits(hypothesis{scale: 1}, s):
		la.right(s)
	default:
		la.say(VerdictLaundered, math.NaN(), "NaN, infinities or values beyond the format come from the adapter here, yet every merged weight is finite: they became ordinary numbers")
	}
	return nil
}

// untouched compares the merged weight with the base alone.
func (la *layerAudit) untouched(ctx context.Context) (auditSums, error) {
	l := *la.layer
	l.Steps, l.Output = nil, AsF32
	s, err := la.open(&l, la.opt)
	if err != nil {
		return auditSums{}, err
	}
	return la.compare(ctx, &prediction{sim: s, spec: la.weight.Spec(), direct: true})
}

// judgeUntouched judges a layer without a delta.
func (la *layerAudit) judgeUntouched(ctx context.Context) error {
	sums, err := la.untouched(ctx)
	if err != nil {
		return err
	}
	la.show(sums)
	w, m := la.layer.Weight.Format, la.weight.Format
	again := w != m || la.layer.Weight.Spec().Blocksize != la.weight.Spec().Blocksize // quantized anew
	moved := float64(sums.Moved) > sameWeights*float64(sums.N)
	noise := float64(ratio(sums.RR, sums.Noise))
	finer := float64(ratio(sums.RR, sums.Noise+sums.BaseNoise))
	switch {
	case sums.BadMerged > 0:
		la.say(VerdictNonFinite, math.NaN(), "%s of the merged checkpoint not finite", count(int(sums.BadMerged), "weight"))
	case sums.RR == 0:
		la.say(VerdictSame, 0, "the base's weights")
	case w == m && !w.IsFloat() && !moved:
		la.say(VerdictSame, 0, "the base's weights, stored anew")
	case again && noise <= limit(m):
		la.say(VerdictSame, 0, "the base's weights, rounded to %s", m)
	case again && !w.IsFloat() && quietBase <= finer && finer <= loudBase:
		la.say(VerdictSame, 0, "the weights that the base was quantized from")
		la.out.FinerBase = true
	default:
		la.say(VerdictChanged, math.NaN(), "changed by %s of the weights' rms although no adapter belongs here", Percent(math.Sqrt(sums.RR/sums.WW)))
	}
	return nil
}

// limit is how much louder than its noise a residual may be.
func limit(f quant.Format) float64 {
	if f.Is4Bit() {
		return loud4
	}
	return loud
}
