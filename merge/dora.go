package merge

import (
	"slices"

	"mergescope/loader"
	"mergescope/quant"
)

// dora is DoRA over a LoRA delta: W' = m/|V| * V with V = W + delta, one
// magnitude m and norm |V| an output (peft/tuners/lora/variants.py,
// DoraLinearVariant.merge_safe). The result is rounded to the base's dtype, so
// a 4-bit layer keeps the dtype of its quant state.
type dora struct {
	*lora
	magnitude []float32
	own       quant.Format // of a fresh adapter when it is created; Unknown: magnitude is the file's
	byColumn  bool         // outputs are the columns of the stored weight (Conv1D, embeddings)
	factors   []float32    // m/|V| over the base, see prepare
}

// openDoRA reads the magnitudes of a module, held in the given dtype.
func openDoRA(step *Step, l *lora, stored quant.Format) (*dora, error) {
	m, err := readFloats(step.Module.Magnitude)
	if err != nil {
		return nil, err
	}
	quant.RoundTo(m, stored)
	if n, first := nonFinite(m); n > 0 && l.bad.A+l.bad.B == 0 {
		l.bad.B, l.bad.Origin, l.bad.At = n, "lora_magnitude_vector", elementPlace(step.Module.Magnitude, first)
	}
	return &dora{lora: l, magnitude: m, byColumn: step.Transpose}, nil
}

// freshDoRA is what PEFT creates where the file has no tensors: a B of zero and
// magnitudes that are the norms of the base, in the dtype the adapter is created
// with (lora/dora.py, update_layer). The norms at the merge can be in a wider
// one; then W' is not quite W.
func freshDoRA(step *Step, w *loader.Weight, opt mergeOptions) *dora {
	_, kind := loadedAs(step, w, opt)
	none := &lora{a: quant.NewFactor(nil, 0, w.Cols()), kind: kind, minus: opt.unmerge == Subtract, bad: factorFaults{At: Nowhere()}}
	return &dora{lora: none, own: layerDtype(w, opt.compute)}
}

func (d *dora) dtype(base quant.Format) quant.Format { return base }

func (d *dora) add(p *quant.Panel, r0 int) {
	d.unscaled(p, r0)
	if d.minus {
		for i, v := range p.W {
			p.T[i] = v / d.factor(p, r0, i)
		}
		quant.RoundTo(p.T, promote(p.Spec.Dtype, d.kind))
		addTo(p.T, p.D) // which is negative
	} else {
		for i, v := range p.T {
			p.T[i] = d.factor(p, r0, i) * v
		}
	}
	for i, t := range p.T {
		p.D[i] = t - p.W[i]
	}
	quant.RoundTo(p.T, p.Spec.Dtype)
}

// unscaled sets p.D to the delta and p.T to V.
func (d *dora) unscaled(p *quant.Panel, r0 int) {
	d.delta(p, r0)
	p.Add()
	quant.RoundTo(p.T, promote(p.Spec.Dtype, d.kind))
}

// factor is m/|V| of the output that weight i of the panel belongs to.
func (d *dora) factor(p *quant.Panel, r0, i int) float32 {
	if d.byColumn {
		return d.factors[i%p.Cols]
	}
	return d.factors[r0+i/p.Cols]
}

// prepare computes the factors of DoRA updates, which are those over the base
// whatever was merged before (lora/layer.py, _unmerged_base_weight).
func (s *subject) prepare() error {
	var w work
	for _, u := range s.updates {
		if err := s.gather(u, &w); err != nil {
			return err
		}
		d, ok := u.(*dora)
		if !ok {
			continue
		}
		minus := d.minus
		d.minus = false
		if err := s.factors(d, &w); err != nil {
			return err
		}
		d.minus = minus
	}
	return nil
}

// gather lets an update see the whole base.
func (s *subject) gather(u update, w *work) error {
	if c, ok := u.(*overCodes); ok {
		u = c.update
	}
	g, ok := u.(gatherer)
	if !ok {
		return nil
	}
	step := s.panelRows(panelWeights)
	for r0 := 0; r0 < s.rows; r0 += step {
		if err := s.read(w, r0, min(step, s.rows-r0)); err != nil {
			return err
		}
		s.dequantize(&w.p, r0)
		g.gather(&w.p, r0)
	}
	g.gathered()
	return nil
}

func (s *subject) factors(d *dora, w *work) error {
	outputs := s.rows
	if d.byColumn {
		outputs = s.cols
	}
	norms := make([]float32, outputs)
	step := s.panelRows(panelWeights)
	for r0 := 0; r0 < s.rows; r0 += step {
		if err := s.read(w, r0, min(step, s.rows-r0)); err != nil {
			return err
		}
		p := &w.p
		s.dequantize(p, r0)
		d.unscaled(p, r0)
		for row := range p.Rows {
			v := p.T[row*s.cols : (row+1)*s.cols]
			if d.byColumn {
				quant.AddSquares(norms, v)
			} else {
				norms[r0+row] = quant.RowNorm(v)
			}
		}
	}
	if d.byColumn {
		quant.Sqrt(norms)
	}
	if d.own != quant.Unknown {
		d.magnitude = slices.Clone(norms)
		quant.RoundTo(d.magnitude, promote(s.spec.Dtype, d.own))
	}
	dtype := promote(s.spec.Dtype, d.kind)
	quant.RoundTo(norms, dtype)
	d.factors = make([]float32, outputs)
	for i, n := range norms {
		d.factors[i] = d.magnitude[i] / n
	}
	quant.RoundTo(d.factors, dtype)
	return nil
}
