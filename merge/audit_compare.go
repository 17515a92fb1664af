package merge

import (
	"context"
	"slices"
	"sync"

	"mergescope/loader"
	"mergescope/quant"
)

// hypothesis is one way in which merged values may have come about.
type hypothesis struct {
	scale   float64      // what was added, in units of the plan's delta
	twice   bool         // merged, stored, and merged again
	through quant.Format // what the base was quantized to before; Unknown: nothing
	rows    permutation  // in which order rows were taken
	lora    LoRADtype    // how the adapter was loaded
	safe    bool         // rounded as PEFT's safe merge rounds float layers
	peft    bool         // by PEFT's method, whatever the plan's is
}

// prediction is a hypothesis worked out for one layer: the merge it says, and
// how the result becomes values of the merged format.
type prediction struct {
	hypothesis
	sim    *subject
	spec   quant.Spec // of the merged weight
	direct bool       // sim's own result is in the merged format already
}

// predict prepares the simulation of a hypothesis. Where the merged weight is
// stored as the base is, or as plain floats, that is the engine's merge;
// otherwise the sum in float32 is quantized to the merged format at once.
func (la *layerAudit) predict(ctx context.Context, h hypothesis) (*prediction, error) {
	l := *la.layer
	w, m := l.Weight.Spec(), la.weight.Spec()
	same := w.Format == m.Format && w.Blocksize == m.Blocksize && w.Nested == m.Nested
	p := &prediction{hypothesis: h, spec: m, direct: h.through == quant.Unknown && (same || m.Format.IsFloat() && !h.twice)}
	l.Output = AsF32
	switch {
	case p.direct && same:
		l.Output = Same
	case p.direct:
		l.Output = floatOutput(m.Format)
	}
	if h.peft {
		l.Method = Method{Kind: MethodPeft}
	}
	l.Steps = slices.Clone(l.Steps)
	for i := range l.Steps {
		l.Steps[i].Scale *= h.scale
		l.Steps[i].Factor *= h.scale
	}
	if h.twice && p.direct {
		l.Steps = append(l.Steps, l.Steps...)
	}
	opt := la.opt
	opt.lora, opt.unsafe = h.lora, !h.safe
	var err error
	if p.sim, err = la.open(&l, opt); err != nil {
		return nil, err
	}
	if h.rows.kind != asIs && !p.sim.permute(h.rows) {
		return nil, nil
	}
	return p, p.sim.settleAll(ctx)
}

// open opens a layer of the model, over the tensor that replaces it if an
// adapter brings one.
func (la *layerAudit) open(l *Layer, opt mergeOptions) (*subject, error) {
	s, err := openSubject(l, opt)
	if err != nil {
		return nil, err
	}
	if r := la.replaced[l.Weight.Param]; r != nil && r.old == l.Weight.Data {
		t, err := r.tensor(la.opt)
		if err != nil {
			return nil, err
		}
		if t.dtype == l.Weight.Data.DType {
			s.data = t.from
			if t.through != nil {
				s.data = t.through
			}
		}
	}
	return s, nil
}

// floatOutput is the inverse of outputFormats.
func floatOutput(f quant.Format) Output {
	for o, g := range outputFormats {
		if f == g {
			return o
		}
	}
	return AsF32
}

// openMerged opens a weight of the merged checkpoint.
func openMerged(w *loader.Weight, opt mergeOptions) (*subject, error) {
	return openSubject(&Layer{Weight: w, Output: Same}, opt)
}

// desk is the memory one worker needs beside its work.
type desk struct {
	comparison
	sim, other work
	out, q     quant.Panel // the prediction read back; the merged format's quantizer
	sum        []float32
	quantized  []float32
	scales     scaleCount // of the rows at hand
}

// fill reads and computes weight rows [r0, r0+n) of a prediction and of the
// merged weight.
func (k *desk) fill(p *prediction, merged *subject, r0, n int) error {
	s := p.sim
	if err := s.read(&k.sim, r0, n); err != nil {
		return err
	}
	s.apply(&k.sim, r0, len(s.updates)-1)
	if err := merged.read(&k.other, r0, n); err != nil {
		return err
	}
	k.other.p.Dequantize()
	k.w, k.d, k.merged = k.sim.p.W, k.sim.p.D, k.other.p.W
	k.predicted = k.result(p, r0)
	k.noise = variances(k.noise, &k.other.p)
	base := quant.Panel{Spec: s.spec, Profile: s.profile, Rows: n, Cols: s.cols, Codes: k.sim.raw, W: k.w}
	lo, hi := s.scaleRange(r0, n)
	base.Absmax = s.absmax[lo:hi]
	k.scales = scaleCount{}
	if p.direct && !s.form.IsFloat() {
		k.scales = countScales(k.other.p.Absmax, base.Absmax)
	}
	k.baseNoise = variances(k.baseNoise, &base)
	return nil
}

// result returns the values a prediction gives after storing.
func (k *desk) result(p *prediction, r0 int) []float32 {
	from := &k.sim.p
	// Programs differ in the dtype they note in a quant state; codes and scales
	// are what counts.
	k.out = quant.Panel{
		Spec: quant.Spec{Format: p.sim.form, Blocksize: p.sim.spec.Blocksize, Dtype: p.spec.Dtype},
		Rows: from.Rows, Cols: from.Cols, Codes: from.NewCodes, Absmax: p.sim.stored(from, r0, len(p.sim.updates)-1), W: k.out.W,
	}
	if p.sim.form.IsFloat() {
		k.out.Absmax = nil
	}
	k.out.Dequantize()
	if p.direct {
		return k.out.W
	}
	if p.through != quant.Unknown {
		// What was quantized is the base, for all figures.
		spec := quant.Spec{Format: p.through, Blocksize: 64, Dtype: quant.BF16}
		if p.through == quant.Int8 {
			spec.Dtype = quant.F32
		}
		k.quantized = append(k.quantized[:0], k.store(from.W, from, spec)...)
		k.w = k.quantized
		return k.store(k.plus(k.w, from.D), from, p.spec)
	}
	v := k.store(k.out.W, from, p.spec)
	if p.twice {
		v = k.store(k.plus(v, from.D), from, p.spec)
	}
	return v
}

// plus returns the sum of values and deltas.
func (k *desk) plus(v, d []float32) []float32 {
	k.sum = append(k.sum[:0], v...)
	addTo(k.sum, d)
	return k.sum
}

// store returns values as they are read back from a format.
func (k *desk) store(v []float32, like *quant.Panel, spec quant.Spec) []float32 {
	q := &k.q
	q.Spec, q.Profile, q.Rows, q.Cols = spec, like.Profile, like.Rows, like.Cols
	q.T = append(q.T[:0], v...)
	q.Requantize()
	q.Codes, q.Absmax = q.NewCodes, q.NewAbsmax
	q.Dequantize()
	return q.W
}

// compare sums over all panels of the layer, in their order.
func (la *layerAudit) compare(ctx context.Context, p *prediction) (auditSums, error) {
	var desks sync.Pool
	s := p.sim
	per := max(panelWeights/max(s.cols, 1), 1)
	unit := s.unit / gcd(s.unit, la.merged.unit) * la.merged.unit
	per = (per + unit - 1) / unit * unit
	parts := make([]auditSums, (s.rows+per-1)/per)
	err := each(ctx, len(parts), func(_ *work, i int) error {
		k, _ := desks.Get().(*desk)
		if k == nil {
			k = &desk{}
		}
		defer desks.Put(k)
		if err := k.fill(p, la.merged, i*per, min(per, s.rows-i*per)); err != nil {
			return err
		}
		parts[i] = k.sums()
		parts[i].scaleCount = k.scales
		return nil
	})
	var sum auditSums
	for _, x := range parts {
		sum.add(x)
	}
	if err == nil && sum.Kept < sum.Scales {
		var same bool
		if same, err = la.sameStatistics(); same {
			sum.Kept = sum.Scales // moved, but under statistics that no new scales have
		}
	}
	return sum, err
}
