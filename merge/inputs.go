package merge

import (
	"cmp"
	"math"
	"slices"

	"mergescope/quant"
)

// layerInputs is what is known of the inputs of a layer.
type layerInputs struct {
	sight    *sight          // nil: nothing is known that figures could say
	own      *quant.Own      // of its delta, nil if it does not count for the codes
	feedback *quant.Feedback // nil if it is not to be calibrated
	codes    *coded          // chosen for them by an earlier job, instead of both
}

// newLayerInputs takes from the moments of a layer's inputs what figures need. They
// may be nil; along gives products with them.
func newLayerInputs(l *Layer, opt mergeOptions, moments *quant.Moments, along func(m []float32) ([]float32, error)) (*layerInputs, error) {
	if step, _ := l.refusal(opt); step != nil || !l.Merges() {
		return &layerInputs{}, nil
	}
	updates, err := openUpdates(l, opt)
	if err != nil {
		return nil, layerError(l, err)
	}
	sight, err := newSight(l, updates, moments, along)
	return &layerInputs{sight: sight, own: newOwn(updates, l.Method.mu())}, err
}

// wholeSight reports whether figures of a layer need the moments of its inputs as
// long as it is computed.
func (l *Layer) wholeSight() bool {
	return l.Merges() && slices.ContainsFunc(l.Steps, func(s Step) bool {
		m := s.Module
		return m.Tuner != "" || m.Magnitude != nil || s.Share != nil || m.A == nil
	})
}

// newOwn is mu times the metric D^T D of a delta, its trace brought to the rank. It
// is nil if mu is 0, the delta 0, or an update no product.
func newOwn(updates []update, mu float64) *quant.Own {
	var a, b []float32 // A [rank, cols], and B^T with the scales [rank, rows]
	rank := 0
	for _, u := range updates {
		l, ok := u.(*lora)
		if !ok || mu == 0 {
			return nil
		}
		rank += l.a.Rank
		a = append(a, l.a.A...)
		for k := range l.a.Rank {
			for i := k; i < len(l.b); i += l.a.Rank {
				b = append(b, l.scale*l.b[i])
			}
		}
	}
	if rank == 0 {
		return nil
	}
	own := &quant.Own{Rank: rank, A: a, KA: make([]float32, len(a))}
	rows, cols, trace := len(b)/rank, len(a)/rank, 0.0
	seen := make([]float64, len(a))
	for k := range rank {
		for l := range rank {
			g := 0.0 // of B^T B
			for i, v := range b[k*rows : (k+1)*rows] {
				g += float64(float64(v) * float64(b[l*rows+i]))
			}
			for j, v := range a[l*cols : (l+1)*cols] {
				seen[k*cols+j] += float64(g * float64(v))
			}
		}
	}
	for i, v := range seen {
		trace += float64(v * float64(a[i]))
	}
	if !(trace > 0) || math.IsInf(trace, 0) {
		return nil
	}
	for i, v := range seen {
		own.KA[i] = float32(v * mu * float64(rank) / trace)
	}
	return own
}

// choice is what the codes of a calibrated layer follow from.
type choice struct {
	feedback *quant.Feedback
	codes    *coded // the codes themselves, if they are known
	scales   string // the codes are chosen on
	passes   int    // of descent afterwards, at most
}

// newChoice returns what a layer's method asks for, nil if that is nothing.
func newChoice(l *Layer) *choice {
	in := l.inputs
	if !l.calibrated() || in == nil || in.feedback == nil && in.codes == nil {
		return nil
	}
	c := &choice{feedback: in.feedback, codes: in.codes, scales: cmp.Or(l.Method.Scales, ScalesKeep)}
	switch {
	case l.into != nil:
		c.scales = ScalesFresh
	case c.scales == ScalesMove && !l.Weight.Format.Is4Bit():
		c.scales = ScalesKeep
	}
	if l.Method.Optimizer == OptimizerDescent {
		c.passes = descentPasses
	}
	return c
}

// calibrated reports whether codes of the layer are chosen for its inputs: by its
// method, and because it is merged into codes of a matrix.
func (l *Layer) calibrated() bool {
	return l.Method.Kind == MethodCalibrated && l.Merges() && !l.Output.Dequantized() && !l.target().Format.IsFloat() && l.Weight.Problem == nil && len(l.Weight.Shape) == 2
}

// choiceRows is how many rows a panel of a calibrated layer has at least: each
// reads the whole of its metric.
const choiceRows = 192

// choose replaces PEFT's codes and scales of the panel, after Requantize, by
// codes chosen for the layer's inputs.
func (s *subject) choose(w *work, r0 int) {
	p := &w.p
	if c := s.choice.codes; c != nil {
		p.NewCodes = append(p.NewCodes[:0], c.take(r0, p.Rows)...)
		switch {
		case s.keepsScales():
			p.NewAbsmax = append(p.NewAbsmax[:0], p.Absmax...)
		case s.movesScales():
			lo, hi := s.scaleRange(r0, p.Rows)
			p.NewAbsmax = append(p.NewAbsmax[:0], c.scales[lo:hi]...)
		}
		return
	}
	last := s.scalePasses() - 1
	nearest := s.values(w, p.NewAbsmax)
	scales := s.stored(p, r0, last)
	switch {
	case s.keepsScales():
		scales = p.Absmax
	case s.movesScales():
		w.moved = append(w.moved[:0], p.Absmax...)
		scales = w.moved
	}
	w.losses = [2]float64{}
	if !allFinite(p.T) || !allFinite(nearest) || !allFinite(scales) {
		return // the layer is stopped
	}
	w.chooser.Load(s.choice.feedback, p, scales, r0)
	if s.movesScales() {
		w.losses[0] = total(w.chooser.ChooseMoving(p.NewCodes, p, scales, p.NewAbsmax, s.storedScale(r0)))
	} else {
		w.losses[0] = total(w.chooser.Choose(p.NewCodes, p.Spec))
	}
	if s.choice.passes > 0 {
		w.losses[0] = total(w.chooser.Descend(p.NewCodes, p.Spec, s.choice.passes))
	}
	w.losses[1] = total(w.chooser.LossUpTo(nearest, plainlyWorse*w.losses[0]))
	if s.baseScales() {
		p.NewAbsmax = append(p.NewAbsmax[:0], scales...)
	}
}

// storedScale says which scales blocks of rows from r0 on can have; nil: any.
func (s *subject) storedScale(r0 int) func(block int, scale float32) float32 {
	if s.nest == nil {
		return nil
	}
	first, _ := s.scaleRange(r0, 0)
	return func(block int, scale float32) float32 {
		_, v := s.nest.Nearest(first+block, scale)
		return v
	}
}

// plainlyWorse is how many times the loss of a panel's chosen codes that of the
// nearest ones may be before nobody wants to know it exactly.
const plainlyWorse = 2

func total(losses []float64) (sum float64) {
	for _, l := range losses {
		sum += l
	}
	return sum
}

// values reads the panel's new codes back in float32, not rounded to the dtype
// of a quant state. They are valid until the next call.
func (s *subject) values(w *work, scales []float32) []float32 {
	p := &w.p
	w.result = resize(w.result, p.Len())
	switch f := p.Spec.Format; {
	case f.Is4Bit():
		spec := p.Spec
		spec.Dtype = quant.F32
		quant.Dequantize4(w.result, p.NewCodes, scales, spec)
	case f == quant.Int8:
		quant.DequantizeInt8(w.result, p.NewCodes, scales)
	default:
		quant.DecodeFloats(w.result, p.NewCodes, f)
	}
	return w.result
}

func allFinite(x []float32) bool {
	n, _ := nonFinite(x)
	return n == 0
}

// sight tells how much of a layer's delta D arrives in what its inputs see:
// <R, Z> and <D, Z> of Z = D E[x x^T].
type sight struct {
	moments *quant.Moments // valid while the layer is computed only if there are no terms

	// For D = s B A, Z is s B (A E[x x^T]), which costs as much as D itself. These
	// are the terms of Z then; nil for a D of another kind, which costs a
	// multiply-add more for each column of a row.
	terms []*lora
}

// newSight is nil if a row of the weight is no output of the layer.
func newSight(l *Layer, updates []update, moments *quant.Moments, along func(m []float32) ([]float32, error)) (*sight, error) {
	if len(updates) == 0 || slices.ContainsFunc(l.Steps, func(s Step) bool { return s.Transpose }) {
		return nil, nil
	}
	s := &sight{moments: moments}
	if l.wholeSight() {
		if moments == nil {
			return nil, nil
		}
		return s, nil
	}
	if ok, err := s.add(updates, along); !ok {
		return nil, err
	}
	return s, nil
}

// add reports whether Z of all updates is a sum of small products, and lists them.
func (s *sight) add(updates []update, along func(m []float32) ([]float32, error)) (bool, error) {
	for _, u := range updates {
		switch u := u.(type) {
		case summed:
			if ok, err := s.add(u, along); !ok {
				return false, err
			}
		case *lora:
			if u.minus {
				return false, nil
			}
			seen, err := along(u.a.A)
			if err != nil {
				return false, err
			}
			s.terms = append(s.terms, &lora{a: quant.NewFactor(seen, u.a.Rank, u.a.Cols), b: u.b, scale: u.scale, kind: quant.F32})
		default:
			return false, nil
		}
	}
	return true, nil
}

// onInputs holds sums of a delta D and a realised change R in what inputs see.
type onInputs struct{ RD, DD float64 }

func (o *onInputs) add(p onInputs) { o.RD, o.DD = o.RD+p.RD, o.DD+p.DD }

func sumOf(rows []onInputs) (o onInputs) {
	for _, p := range rows {
		o.add(p)
	}
	return o
}

// look sums over each row of the panel, of which W, D and the values of the
// result are known.
func (s *sight) look(w *work, r0 int, result []float32) []onInputs {
	p := &w.p
	rows := make([]onInputs, p.Rows)
	if s.terms == nil {
		w.seen = s.moments.Times(p.D, p.Rows)
		addSeen(rows, w, p.D, result)
		return rows
	}
	d := p.D
	p.D = w.seen
	for _, l := range s.terms {
		l.delta(p, r0)
		w.seen = p.D
		addSeen(rows, w, d, result)
	}
	p.D = d
	return rows
}

// addSeen adds <R, Z> and <D, Z> of each row, Z being w.seen.
func addSeen(rows []onInputs, w *work, d, result []float32) {
	for i, z := range w.seen {
		o := &rows[i/w.p.Cols]
		o.RD += float64((float64(result[i]) - float64(w.p.W[i])) * float64(z))
		o.DD += float64(float64(d[i]) * float64(z))
	}
}
