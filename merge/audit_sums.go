package merge

import (
	"math"

	"mergescope/quant"
)

// auditSums adds up over weights of one layer. W is the base, D the delta at
// the plan's scale, R = merged - W, S the merge a hypothesis predicts minus W.
type auditSums struct {
	N              int64 // weights the sums cover: those that are finite in all four
	WW, DD, RR, RD float64
	SD, Miss       float64 // <S,D>, |R-S|^2
	Equal          int64   // weights with R = S
	Moved          int64   // weights with |R| above half the base's code step or ulp
	Off            int64   // weights with |R-S| above half the merged one
	Near           int64   // weights with |R-D| below four of its half steps
	scaleCount

	// Expected squared rounding error of the merged format and of the base's,
	// and the same weighted by D^2.
	Noise, BaseNoise   float64
	NoiseD, BaseNoiseD float64

	// Over runs of 64 weights, sums of products of their <R,D> and <D,D>.
	RDRD, RDDD, DDDD float64

	BadDelta, BadMerged, BadPredicted int64 // not finite
}

func (s *auditSums) add(o auditSums) {
	s.N += o.N
	s.WW += o.WW
	s.DD += o.DD
	s.RR += o.RR
	s.RD += o.RD
	s.SD += o.SD
	s.Miss += o.Miss
	s.Equal += o.Equal
	s.Moved += o.Moved
	s.Off += o.Off
	s.Near += o.Near
	s.scaleCount.add(o.scaleCount)
	s.Noise += o.Noise
	s.BaseNoise += o.BaseNoise
	s.NoiseD += o.NoiseD
	s.BaseNoiseD += o.BaseNoiseD
	s.RDRD += o.RDRD
	s.RDDD += o.RDDD
	s.DDDD += o.DDDD
	s.BadDelta += o.BadDelta
	s.BadMerged += o.BadMerged
	s.BadPredicted += o.BadPredicted
}

// comparison is a panel of a layer ready to be summed, by weight.
type comparison struct {
	w, d, merged, predicted []float32
	noise, baseNoise        []float32 // variances
}

func (c *comparison) sums() auditSums {
	var s auditSums
	for lo := 0; lo < len(c.w); lo += quant.StatBlock {
		hi := min(lo+quant.StatBlock, len(c.w))
		rd, dd := s.run(c, lo, hi)
		s.RDRD += rd * rd
		s.RDDD += rd * dd
		s.DDDD += dd * dd
	}
	return s
}

// run adds weights [lo, hi) and returns their <R,D> and <D,D>.
func (s *auditSums) run(c *comparison, lo, hi int) (rd, dd float64) {
	for i := lo; i < hi; i++ {
		if !isFinite(c.d[i]) || !isFinite(c.merged[i]) || !isFinite(c.predicted[i]) || !isFinite(c.w[i]) {
			s.BadDelta += count01(!isFinite(c.d[i]))
			s.BadMerged += count01(!isFinite(c.merged[i]))
			s.BadPredicted += count01(!isFinite(c.predicted[i]))
			continue
		}
		w, d := float64(c.w[i]), float64(c.d[i])
		r, p := float64(c.merged[i])-w, float64(c.predicted[i])-w
		n, b := float64(c.noise[i]), float64(c.baseNoise[i])
		s.N++
		s.WW += w * w
		s.RR += r * r
		s.SD += p * d
		s.Miss += (r - p) * (r - p)
		s.Noise += n
		s.BaseNoise += b
		s.NoiseD += d * d * n
		s.BaseNoiseD += d * d * b
		s.Equal += count01(r == p)
		s.Moved += count01(r*r > 3*b)
		// A base dequantized without rounding it to bfloat16 is no difference.
		s.Off += count01((r-p)*(r-p) > 3*n+w*w/(1<<16))
		s.Near += count01((r-d)*(r-d) <= 48*n)
		rd += r * d
		dd += d * d
	}
	s.RD += rd
	s.DD += dd
	return rd, dd
}

func count01(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// applied is the regression coefficient of R on D; expected that of S.
func (s *auditSums) applied() float64  { return float64(ratio(s.RD, s.DD)) }
func (s *auditSums) expected() float64 { return float64(ratio(s.SD, s.DD)) }

// residual is |R - f*D|^2.
func (s *auditSums) residual(f float64) float64 { return max(0, s.RR-2*f*s.RD+f*f*s.DD) }

// standardError of applied: the larger of what the residual shows, runs of 64
// weights taken as one since blocks share a scale, and what the expected
// rounding errors make. finer adds those of the base.
func (s *auditSums) standardError(finer bool) float64 {
	f := s.applied()
	seen := max(0, s.RDRD-2*f*s.RDDD+f*f*s.DDDD)
	model := s.NoiseD
	if finer {
		model += s.BaseNoiseD
	}
	return float64(ratio(math.Sqrt(max(seen, model)), s.DD))
}

// distance is how far the prediction of a hypothesis is from the merged values,
// in units of the delta, or of what the hypothesis says was added if that is
// more.
func (s *auditSums) distance(scale float64) float64 {
	return float64(ratio(s.Miss, s.DD*max(1, scale*scale)))
}

// variances sets dst to the expected squared rounding error of every weight of
// a panel whose W is filled: uniform over the values that its code, or its
// float, stands for.
func variances(dst []float32, p *quant.Panel) []float32 {
	dst = resize(dst, p.Len())
	switch f := p.Spec.Format; {
	case f.Is4Bit():
		var cell [16]float32
		for c := range cell {
			down, up := quant.DeadZone(f, p.Profile, uint8(c))
			cell[c] = uniform(down, up)
		}
		for i := range dst {
			nibble := p.Codes[i/2] >> (4 * (1 - i%2)) & 15
			a := p.Absmax[i/p.Spec.Blocksize]
			dst[i] = cell[nibble] * a * a
		}
	case f == quant.Int8:
		for i := range dst {
			step := quant.Unit(f, p.Absmax[i/p.Cols])
			dst[i] = step * step / 12
		}
	default:
		for i, w := range p.W {
			u := ulp(w, f)
			dst[i] = u * u / 12
		}
	}
	return dst
}

// uniform is the mean square of a value spread evenly over [-down, up]; an end
// that is not bounded counts as 0, since no weight exceeds its block's absmax.
func uniform(down, up float32) float32 {
	if down > 1 {
		down = 0
	}
	if up > 1 {
		up = 0
	}
	return (down*down - down*up + up*up) / 3
}

// ulp is the distance of neighbouring values of a float format around v.
func ulp(v float32, f quant.Format) float32 {
	digits, least := 23, -149
	switch f {
	case quant.BF16:
		digits, least = 7, -133
	case quant.F16:
		digits, least = 10, -24
	}
	if v == 0 {
		return 0
	}
	_, exp := math.Frexp(math.Abs(float64(v)))
	return float32(math.Ldexp(1, max(exp-1-digits, least)))
}

// AuditFigures are the figures of docs/audit.md over a layer or several.
type AuditFigures struct {
	Applied      Figure `json:"applied"`       // <R,D>/<D,D>
	AppliedError Figure `json:"applied_error"` // its standard error
	Expected     Figure `json:"expected"`      // the same for PEFT's merge into the merged format
	Z            Figure `json:"z"`             // (applied - expected) / applied_error
	Cosine       Figure `json:"cosine"`        // of R and D
	Residual     Figure `json:"residual_rms"`  // rms of R - applied*D
	Noise        Figure `json:"noise_rms"`     // what rounding to the merged format makes of it
	BaseNoise    Figure `json:"base_noise_rms"`
	ChangeRMS    Figure `json:"change_rms"`
	DeltaRMS     Figure `json:"delta_rms"`
	WeightRMS    Figure `json:"weight_rms"`
	Equal        Figure `json:"equal"`   // share of weights equal to PEFT's merge
	Changed      Figure `json:"changed"` // share of weights that left their code or rounding interval
	NonFinite    int64  `json:"nonfinite"`
}

func (s auditSums) figures() AuditFigures {
	f, e, se := s.applied(), s.expected(), s.standardError(false)
	out := AuditFigures{
		Applied: Figure(f), AppliedError: Figure(se), Expected: Figure(e),
		Z:        noFigure(),
		Cosine:   ratio(s.RD, math.Sqrt(s.RR*s.DD)),
		Residual: noFigure(),
		Noise:    Figure(rms(s.Noise, s.N)), BaseNoise: Figure(rms(s.BaseNoise, s.N)),
		ChangeRMS: Figure(rms(s.RR, s.N)), DeltaRMS: Figure(rms(s.DD, s.N)), WeightRMS: Figure(rms(s.WW, s.N)),
		Equal: ratio(float64(s.Equal), float64(s.N)), Changed: ratio(float64(s.Moved), float64(s.N)),
		NonFinite: s.BadMerged,
	}
	switch {
	case s.N > 0 && s.DD == 0:
		out.Residual = out.ChangeRMS
	case f == f:
		out.Residual = Figure(rms(s.residual(f), s.N))
	}
	if se > 0 {
		out.Z = Figure((f - e) / se)
	}
	return out
}

// noFigure is a figure that does not exist.
func noFigure() Figure { return Figure(math.NaN()) }
