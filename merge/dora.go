package merge

import (
	"mergescope/quant"
)

// dora is DoRA over a LoRA delta: W' = m/|V| * V with V = W + delta, one
// magnitude m and norm |V| an output (peft/tuners/lora/variants.py,
// DoraLinearVariant.merge_safe). The result is rounded to the base's dtype, so
// a 4-bit layer keeps the dtype of its quant state.
type dora struct {
	*lora
	magnitude []float32
	byColumn  bool      // outputs are the columns of the stored weight (Conv1D, embeddings)
	norms     []float32 // |V| over the base; nil until needed, see prepare
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

func (d *dora) dtype(base quant.Format) quant.Format { return base }

func (d *dora) add(p *quant.Panel, r0 int) {
	d.unscaled(p, r0)
	for i, v := range p.T {
		row, col := i/p.Cols, i%p.Cols
		f := d.factor(p, r0, row, col)
		if d.minus {
			// The delta of an unmerge is negative already.
			p.T[i] = p.W[i]/f + p.D[i]
		} else {
			p.T[i] = f * v
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

// factor is m/|V| of the output that weight (row, col) of the panel belongs to.
func (d *dora) factor(p *quant.Panel, r0, row, col int) float32 {
	output := r0 + row
	if d.byColumn {
		output = col
	}
	return d.magnitude[output] / d.norms[output]
}

// prepare computes the norms of DoRA updates, which are those over the base
// whatever was merged before (lora/layer.py, _unmerged_base_weight).
func (s *subject) prepare() error {
	var w work
	for _, u := range s.updates {
		d, ok := u.(*dora)
		if !ok {
			continue
		}
		minus := d.minus
		d.minus = false
		if err := s.norms(d, &w); err != nil {
			return err
		}
		d.minus = minus
	}
	return nil
}

func (s *subject) norms(d *dora, w *work) error {
	outputs := s.rows
	if d.byColumn {
		outputs = s.cols
	}
	d.norms = make([]float32, outputs)
	step := s.panelRows(panelWeights)
	for r0 := 0; r0 < s.rows; r0 += step {
		if err := s.read(w, r0, min(step, s.rows-r0)); err != nil {
			return err
		}
		p := &w.p
		p.Dequantize()
		d.unscaled(p, r0)
		for row := range p.Rows {
			v := p.T[row*s.cols : (row+1)*s.cols]
			if d.byColumn {
				quant.AddSquares(d.norms, v)
			} else {
				d.norms[r0+row] = quant.RowNorm(v)
			}
		}
	}
	if d.byColumn {
		quant.Sqrt(d.norms)
	}
	quant.RoundTo(d.norms, promote(s.spec.Dtype, d.kind))
	return nil
}
