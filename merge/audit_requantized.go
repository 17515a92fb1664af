package merge

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
)

// Requantization that weighs codes against each other, as method calibrated and
// GPTQ do, applies a part of the delta that depends on the layer's inputs. Weights
// alone do not say whether that part is right; they do say that it was done.
const (
	sameScales = 0.999 // share of scales that must be the base's
	neighbours = 0.99  // share of codes that must be near the sum
	leastPart  = 0.1   // of the delta that must be there, and beyond doubt
	mostPart   = 1.6   // and may be
)

// requantized reports whether a layer that nothing explains was changed along the
// delta by codes near the sum: a report beside it says so, or the scales do, which
// are the base's.
func (la *layerAudit) requantized(s auditSums) bool {
	f, se := s.applied(), s.standardError(false)
	if !(f > max(leastPart, maxSigmas*se)) || !la.sameStorage() || la.foreign {
		return false
	}
	if said := la.said(); said != nil {
		if factor := scaleSaid(said, la.out.Adapters); math.Abs(factor-1) > nearFactor {
			la.scaled(factor)
			la.out.Explanation += ", by the report beside the merged checkpoint"
			return true
		}
		la.say(VerdictRequantized, math.NaN(), "%s of the adapter applied by weight; the report beside the checkpoint says method %s", Percent(f), said.Method)
		return true
	}
	if f > mostPart || !s.keepsScales() || float64(s.Near) < neighbours*float64(s.N) {
		return false
	}
	la.say(VerdictRequantized, math.NaN(), "%s of the adapter applied by weight (± %s), on the base's scales and by codes next to the sum: calibrated?", Percent(f), Percent(se))
	return true
}

// said is what the report beside the merged checkpoint says of the layer if it
// calls it calibrated, else nil.
func (la *layerAudit) said() *LayerReport {
	said := la.written.Layer(la.out.Name)
	if said == nil || !strings.HasPrefix(said.Method, MethodCalibrated) {
		return nil
	}
	return said
}

// witness takes up the report that a merge left beside its checkpoint. One that
// cannot be read says nothing; one of a merge of other adapter files says that.
func (a *audit) witness(ctx context.Context, plan Plan) error {
	var err error
	if a.written, err = WrittenReport(a.merged); err != nil || a.written == nil {
		return nil
	}
	for _, ref := range plan.Adapters {
		f := a.p.Adapter(ref.Name).File
		if f == nil || len(a.written.Inputs) == 0 {
			continue
		}
		sum, err := f.SHA256(ctx)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(a.written.Inputs, func(d FileDigest) bool { return d.SHA256 == sum }) {
			a.foreign = true
		}
	}
	return nil
}

// sameStorage reports whether the merged weight is quantized as the base's is.
func (la *layerAudit) sameStorage() bool {
	w, m := la.layer.Weight.Spec(), la.weight.Spec()
	return !m.Format.IsFloat() && w.Format == m.Format && w.Blocksize == m.Blocksize
}

// sameStatistics reports whether both have double quantization with the same
// statistics.
func (la *layerAudit) sameStatistics() (bool, error) {
	w, m := la.layer.Weight, la.weight
	if !la.sameStorage() || w.State == nil || m.State == nil || !w.State.Nested {
		return false, nil
	}
	return sameStatistics(w, m)
}

// scaleSaid is the scale that a report says of its adapters, in units of those of
// the plan; 1 where they cannot be compared.
func scaleSaid(said *LayerReport, steps []LayerStep) float64 {
	if len(said.Adapters) != 1 || len(steps) != 1 || steps[0].Scale == 0 {
		return 1
	}
	return said.Adapters[0].Scale / steps[0].Scale
}

// scaleCount compares the scales of a merged weight with those of its base. All
// that are stored under the same statistics count as kept.
type scaleCount struct{ Scales, Kept int64 }

func (c *scaleCount) add(o scaleCount) { c.Scales, c.Kept = c.Scales+o.Scales, c.Kept+o.Kept }

func countScales(merged, base []float32) (c scaleCount) {
	if len(merged) != len(base) {
		return c
	}
	for i, v := range merged {
		c.Scales++
		c.Kept += count01(v == base[i])
	}
	return c
}

// keepsScales reports whether the scales are the base's, which no rounding to the
// nearest code leaves.
func (c scaleCount) keepsScales() bool {
	return c.Scales > 0 && float64(c.Kept) >= sameScales*float64(c.Scales)
}

// reconsider takes back what the regression said of single layers of a checkpoint
// that was requantized otherwise: there the part applied is no scale.
func (r *AuditReport) reconsider() {
	requantized, regressed := 0, []*AuditLayer{}
	for _, l := range r.Layers {
		switch {
		case l.Verdict == VerdictRequantized:
			requantized++
		case l.Verdict == VerdictScale && l.regressed && l.sums.keepsScales():
			regressed = append(regressed, l)
		}
	}
	if requantized <= len(regressed) {
		return
	}
	for _, l := range regressed {
		l.Verdict, l.Factor, l.Causes = VerdictRequantized, noFigure(), []string{}
		l.Explanation = fmt.Sprintf("%s of the adapter applied by weight, as in layers that were requantized otherwise", Percent(float64(l.Applied)))
	}
}
