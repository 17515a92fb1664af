package merge

import (
	"mergescope/quant"
)

// apply runs updates up to and including last over the panel, each on the
// stored result of the one before, as PEFT merges adapters one by one. Then W
// is the base, D the sum of the deltas, T = W+D; codes and scales are those
// before the first and after the last.
func (s *subject) apply(w *work, r0, last int) {
	if s.onto != nil {
		last = len(s.updates) - 1
	}
	s.chain(w, r0, last)
	s.join(w, r0, last)
	if s.onto != nil {
		s.recast(w, r0)
	}
}

// join makes one step of those that chain took.
func (s *subject) join(w *work, r0, last int) {
	if last <= 0 || s.form != s.spec.Format {
		return
	}
	p := &w.p
	lo, hi := scaleRange(s.spec, r0, p.Rows, s.cols)
	p.Spec, p.Codes, p.Absmax = s.spec, w.raw, s.absmax[lo:hi]
	p.W, w.base = w.base, p.W
	p.D, w.sum = w.sum, p.D
	p.Add()
}

// chain is apply, but leaves the panel with the last update's own base, delta,
// codes and scales.
func (s *subject) chain(w *work, r0, last int) {
	p := &w.p
	s.dequantize(p, r0)
	s.reference(w)
	if s.form != s.spec.Format || len(s.updates) == 0 {
		s.applyFloat(w, r0)
		return
	}
	s.updates[0].add(p, r0)
	s.requantize(w, r0)
	if s.layer.misread() { // what was asked for is measured against the base as it is
		p.Dequantize()
		p.Add()
	}
	if last == 0 {
		return
	}
	w.base, w.sum = append(w.base[:0], p.W...), append(w.sum[:0], p.D...)
	for i, u := range s.updates[1 : last+1] {
		w.codes = append(w.codes[:0], p.NewCodes...)
		w.absmax = append(w.absmax[:0], s.stored(p, r0, i)...)
		p.Codes, p.Absmax = w.codes, w.absmax
		p.Spec.Dtype = s.dtypes[i+1]
		p.Dequantize()
		u.add(p, r0)
		p.Requantize()
		addTo(w.sum, p.D)
	}
}

// dequantize sets p.W to the base as the merge reads it.
func (s *subject) dequantize(p *quant.Panel, r0 int) {
	p.Dequantize()
	if s.layer.misread() {
		s.readWrongly(p, r0)
	}
}

// applyFloat adds all updates to the dequantized base and rounds once. From
// then on the panel is one of floats: its codes are the base in that form.
func (s *subject) applyFloat(w *work, r0 int) {
	p := &w.p
	if len(s.updates) == 0 {
		zero(quant.F32).add(p, r0)
	}
	for i, u := range s.updates {
		if i == 0 {
			u.add(p, r0)
			continue
		}
		if i == 1 {
			w.base, w.sum = append(w.base[:0], p.W...), append(w.sum[:0], p.D...)
		}
		p.W, p.T = p.T, p.W
		u.add(p, r0)
		addTo(w.sum, p.D)
	}
	if len(s.updates) > 1 {
		p.W, w.base = w.base, p.W
		p.D, w.sum = w.sum, p.D
	}
	w.codes = resize(w.codes, int(s.form.Bytes(int64(p.Len()))))
	quant.EncodeFloats(w.codes, p.W, s.form)
	p.Spec = quant.Spec{Format: s.form, Dtype: s.form}
	p.Codes, p.Absmax = w.codes, nil
	p.Requantize()
}

// reference sets what the figures compare with.
func (s *subject) reference(w *work) {
	if !s.inferred {
		return
	}
	spec := s.spec
	spec.Dtype = quant.F32
	w.ref = resize(w.ref, w.p.Len())
	quant.Dequantize4(w.ref, w.p.Codes, w.p.Absmax, spec)
	w.p.Ref = w.ref
}

func addTo(sum, d []float32) {
	for i, v := range d {
		sum[i] += v
	}
}
