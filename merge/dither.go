package merge

import "mergescope/quant"

// dither chooses a layer's codes at random between the two next to each value.
// It reads the base unrounded, as a float32 forward pass does: then a weight
// without a delta is a code point and stays one.
type dither struct {
	draws quant.Dither
	fresh bool // on PEFT's new scales, not the base's own
}

// newDither returns what a layer's method asks for, nil if that is nothing.
// Only a result that is quantized can be dithered.
func newDither(l *Layer) *dither {
	if l.Method.Kind != MethodDithered || l.Output.Dequantized() || l.Weight.Format.IsFloat() {
		return nil
	}
	return &dither{draws: quant.NewDither(l.Method.Seed, l.Weight.Param), fresh: l.Method.Scales == ScalesFresh}
}

// keepsScales reports whether the scales of the base stay byte for byte.
func (s *subject) keepsScales() bool {
	return s.dither != nil && !s.dither.fresh || s.choice != nil && s.choice.scales == ScalesKeep || s.layer.packedDefect()
}

// movesScales reports whether they move, within what their own statistics can say
// if they are nested.
func (s *subject) movesScales() bool { return s.choice != nil && s.choice.scales == ScalesMove }

// baseScales reports whether scales stay the base's, as they are or moved: nested
// statistics and the rest of the quant state are then the base's too.
func (s *subject) baseScales() bool { return s.keepsScales() || s.movesScales() }

// requantize fills NewCodes and NewAbsmax of the panel from T. Fresh nested
// scales are known only after a pass over the whole weight; until then the codes
// are PEFT's and not used.
func (s *subject) requantize(w *work, r0 int) {
	p := &w.p
	p.Requantize()
	if c, ok := s.updates[0].(*overCodes); ok {
		c.store(p, r0)
	}
	if s.dither == nil && s.choice == nil || s.into != nil || s.nested() && len(s.scales) == 0 {
		return
	}
	if s.choice != nil {
		s.choose(w, r0)
		return
	}
	scales := s.stored(p, r0, 0)
	if s.keepsScales() {
		p.NewAbsmax = append(p.NewAbsmax[:0], p.Absmax...)
		scales = p.NewAbsmax
	}
	if p.Spec.Format == quant.Int8 {
		s.dither.draws.QuantizeInt8(p.NewCodes, p.T, scales, p.First)
	} else {
		s.dither.draws.Quantize4(p.NewCodes, p.T, scales, p.Spec, p.First)
	}
}

// summed adds several updates as one: each of them sees the base.
type summed []update

func (u summed) add(p *quant.Panel, r0 int) {
	u[0].add(p, r0)
	sum := append([]float32(nil), p.D...)
	for _, v := range u[1:] {
		v.add(p, r0)
		addTo(sum, p.D)
	}
	copy(p.D, sum)
	p.Add()
	quant.RoundTo(p.T, u.dtype(p.Spec.Dtype))
}

func (u summed) dtype(base quant.Format) quant.Format {
	for _, v := range u {
		base = v.dtype(base)
	}
	return base
}

func (u summed) faults() factorFaults {
	all := u[0].faults()
	for _, v := range u[1:] {
		f := v.faults()
		if all.A+all.B == 0 {
			all.Origin, all.At = f.Origin, f.At
		}
		all.A, all.B = all.A+f.A, all.B+f.B
	}
	return all
}
