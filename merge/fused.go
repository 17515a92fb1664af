package merge

import "mergescope/quant"

// process computes rows [r0, r0+p.Rows) of the panel up to its figures.
func (s *subject) process(w *work, r0 int) {
	var scales []float32 // nil: those the panel finds
	if s.nested() {
		scales = s.stored(&w.p, r0, s.scalePasses()-1)
	}
	if s.fused(w, r0, scales) {
		return
	}
	s.apply(w, r0, len(s.updates)-1)
	s.measure(w, r0)
}

// fused is apply and measure of a single plain update in one pass over the
// weights. It reports false, having done nothing, for any other subject.
func (s *subject) fused(w *work, r0 int, scales []float32) bool {
	l := s.plain()
	if l == nil {
		return false
	}
	w.p.OutDtype = s.dtype()
	w.p.MergeWith(l.b[r0*l.a.Rank:(r0+w.p.Rows)*l.a.Rank], l.a, l.scale, scales)
	return true
}

// scaled fills the panel's new scales after updates up to and including last.
func (s *subject) scaled(w *work, r0, last int) {
	if l := s.plain(); l != nil {
		w.p.OutDtype = s.dtype()
		if w.p.MergeScales(l.b[r0*l.a.Rank:(r0+w.p.Rows)*l.a.Rank], l.a, l.scale) {
			return
		}
	}
	s.apply(w, r0, last)
}

// plain returns the only update if it adds scale*(B@A) in float32, rounded
// nowhere, to a 4-bit weight that stays one and that the figures compare with.
func (s *subject) plain() *lora {
	if len(s.updates) != 1 || s.dither != nil || s.choice != nil || s.sight != nil || s.form != s.spec.Format || !s.form.Is4Bit() || s.inferred || s.dtype() != quant.F32 || s.layer.misread() {
		return nil
	}
	l, ok := s.updates[0].(*lora)
	if !ok || l.kind != quant.F32 || l.minus || l.round != quant.Unknown && l.round != quant.F32 {
		return nil
	}
	return l
}
