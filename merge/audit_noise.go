package merge

import (
	"context"
	"math"
	"math/rand/v2"

	"mergescope/quant"
)

// judgeNoise judges a layer that no simulated merge explains by the regression:
// R = f*D plus errors no larger than rounding makes, of the merged format alone
// (another program, rounding at random) or of the base's as well (a merge onto
// the weights the base was quantized from). It reports whether that is so.
func (la *layerAudit) judgeNoise(ctx context.Context, s auditSums) (bool, error) {
	f := s.applied()
	w, m := la.layer.Weight.Format, la.weight.Format
	// The factors may have been rounded to bfloat16 or multiplied in another
	// order: relative errors of 2^-8 of the delta and 2^-20 of the weights.
	rounding := s.Noise + f*f*s.DD/(1<<16) + s.WW/(1<<40)
	rest := s.residual(f)
	own := rest <= limit(m)*rounding
	both := float64(ratio(rest, s.Noise+s.BaseNoise))
	finer := !w.IsFloat() && both <= loudBase && (!own || both >= quietBase)
	if !own && !finer {
		return false, nil
	}
	ranked, err := la.structured(ctx, f, finer)
	if err != nil || ranked {
		return false, err
	}
	se := s.standardError(finer)
	slack := nearFactor
	if m.Is4Bit() {
		slack = clippingSlack
	}
	within := func(c float64) bool { return math.Abs(f-c) <= maxSigmas*se+slack*max(math.Abs(c), 0.5) }
	switch {
	case !(se <= blindAbove):
		la.say(VerdictUndecided, math.NaN(), "the adapter is too small beside the rounding errors to be measured: %.2f ± %.2f applied", f, se)
	case within(1):
		la.say(VerdictRight, 1, "%s of the adapter applied (± %s)", Percent(f), Percent(se))
	case within(0) && (finer || w != m):
		la.say(VerdictMissing, 0, "adapter missing: %.3f ± %.3f of it applied", f, se)
	case within(0):
		return false, nil // the base's format and codes, changed by something else
	default:
		la.scaled(la.nearest(f, within))
		la.out.regressed = true
	}
	la.noisy = true
	la.out.FinerBase = finer
	if finer {
		la.out.Explanation += ", onto the finer weights that the base was quantized from"
	}
	return true, nil
}

// nearest returns the factor of a usual mistake near f, else f.
func (la *layerAudit) nearest(f float64, within func(float64) bool) float64 {
	best := f
	for _, c := range causesOf(la.layer.Steps) {
		if within(c.factor) && (best == f || math.Abs(c.factor-f) < math.Abs(best-f)) {
			best = c.factor
		}
	}
	return best
}

// The largest singular value of rounding errors, which are as good as
// independent, is near that of a random matrix. Another adapter's delta has
// nearFactor all of its energy in a few.
const (
	powerSteps  = 8
	ranked      = 3.0 // largest squared singular value against the random one's
	rankedShare = 0.1 // of the energy applied that such a part must have
	closer      = 0.1 // how much nearer a quantized base must bring the prediction; nested scales and other rounding remain
	rowGroups   = 16  // of rows; fixed, so that sums do not depend on the workers
)

// structured reports whether R - f*D has a low-rank part, which rounding does
// not make: power iteration on the residual in units of its expected rms.
func (la *layerAudit) structured(ctx context.Context, f float64, finer bool) (bool, error) {
	p, err := la.predict(ctx, hypothesis{scale: 1})
	if err != nil {
		return false, err
	}
	rows, cols := p.sim.rows, p.sim.cols
	rng := rand.New(rand.NewPCG(1, 2))
	v := make([]float64, cols)
	for i := range v {
		v[i] = rng.NormFloat64()
	}
	normalize(v)
	var largest, energy float64
	for range powerSteps {
		if v, energy, err = la.multiply(ctx, p, v, f, finer); err != nil {
			return false, err
		}
		largest = normalize(v)
	}
	if energy == 0 {
		return false, nil
	}
	edge := math.Sqrt(float64(rows)) + math.Sqrt(float64(cols))
	sums := la.tried[hypothesis{scale: 1}]
	noise := sums.Noise
	if finer {
		noise += sums.BaseNoise
	}
	part := largest * noise / float64(sums.N) // energy of the first singular vector
	return largest > ranked*energy/float64(rows*cols)*edge*edge && part > rankedShare*f*f*sums.DD, nil
}

// multiply returns E'Ev and |E|^2 of the residual E [rows, cols].
func (la *layerAudit) multiply(ctx context.Context, p *prediction, v []float64, f float64, finer bool) ([]float64, float64, error) {
	s := p.sim
	unit := s.unit / gcd(s.unit, la.merged.unit) * la.merged.unit
	step := max(panelWeights/max(s.cols, 1)/unit, 1) * unit
	size := (s.rows + rowGroups - 1) / rowGroups
	size = (size + unit - 1) / unit * unit
	n := (s.rows + size - 1) / size
	sums, energies := make([][]float64, n), make([]float64, n)
	err := each(ctx, n, func(_ *work, g int) error {
		var k desk
		sums[g] = make([]float64, s.cols)
		for r0 := g * size; r0 < min((g+1)*size, s.rows); r0 += step {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := k.fill(p, la.merged, r0, min(step, (g+1)*size-r0, s.rows-r0)); err != nil {
				return err
			}
			energies[g] += k.project(sums[g], v, f, finer)
		}
		return nil
	})
	total, energy := make([]float64, s.cols), 0.0
	for g, x := range sums {
		for i, y := range x {
			total[i] += y
		}
		energy += energies[g]
	}
	return total, energy, err
}

// project adds E'(Ev) of the rows at hand and returns their |E|^2.
func (k *desk) project(sum, v []float64, f float64, finer bool) (energy float64) {
	cols := len(v)
	e := make([]float64, cols)
	for lo := 0; lo < len(k.w); lo += cols {
		var dot float64
		for j := range e {
			i := lo + j
			x := float64(k.merged[i]) - float64(k.w[i]) - f*float64(k.d[i])
			noise := float64(k.noise[i])
			if finer {
				noise += float64(k.baseNoise[i])
			}
			if e[j] = 0; noise > 0 && !math.IsNaN(x) && !math.IsInf(x, 0) {
				e[j] = x / math.Sqrt(noise)
			}
			dot += e[j] * v[j]
			energy += e[j] * e[j]
		}
		for j, x := range e {
			sum[j] += x * dot
		}
	}
	return energy
}

// normalize scales v to length 1 and returns the length it had.
func normalize(v []float64) float64 {
	var square float64
	for _, x := range v {
		square += x * x
	}
	n := math.Sqrt(square)
	if n > 0 {
		for i := range v {
			v[i] /= n
		}
	}
	return n
}

// judgeQuantized judges a layer of a float model that was quantized before the
// adapter was added, as it is when a QLoRA merge is compared with the original
// model. What such a merge leaves of the adapter is counted from the quantized
// weights.
func (la *layerAudit) judgeQuantized(ctx context.Context, s auditSums) (bool, error) {
	if !la.layer.Weight.Format.IsFloat() || fits(hypothesis{scale: 1}, s) {
		return false, nil
	}
	for _, f := range [...]quant.Format{quant.NF4, quant.FP4, quant.Int8} {
		t, err := la.try(ctx, hypothesis{scale: 1, through: f})
		if err != nil {
			return false, err
		}
		e := t.expected()
		if t.Miss > closer*s.Miss || math.Abs(t.applied()-e) > maxSigmas*t.standardError(false)+nearFactor*max(e, 0.5) {
			continue
		}
		la.show(t)
		la.right(t)
		la.out.Explanation += ", onto the model quantized to " + f.String()
		return true, nil
	}
	return false, nil
}
