package merge

import "mergescope/quant"

// outcome is what a merge of some rows of a weight showed.
type outcome struct {
	sums  quant.Sums
	seen  []onInputs // by row, of layers whose inputs are known
	loss  [2]float64 // of the codes chosen and of the nearest, of calibrated layers
	codes *coded     // the result, nil if nobody runs the model
	worst worstBlock
	first strays
	heat  *heat // nil if no tile is wanted
	apart apartness
}

// worstBlock is the block with the least kept, the first of equals.
type worstBlock struct {
	found    bool
	row, col int
	kept     float64
}

func (w *worstBlock) take(o worstBlock) {
	if o.found && (!w.found || o.kept < w.kept) {
		*w = o
	}
}

// strays are the flat indices of the first elements of a weight that are not
// finite: of the delta, the sum and the result. -1 if there is none.
type strays struct{ delta, sum, output int64 }

func noStrays() strays { return strays{-1, -1, -1} }

func (s *strays) take(o strays) {
	for _, p := range [...]struct {
		to *int64
		v  int64
	}{{&s.delta, o.delta}, {&s.sum, o.sum}, {&s.output, o.output}} {
		if *p.to < 0 {
			*p.to = p.v
		}
	}
}

func (o *outcome) add(r *panelResult) {
	for i := range r.rows {
		o.sums.Merge(r.rows[i])
	}
	o.seen = append(o.seen, r.seen...)
	o.loss[0], o.loss[1] = o.loss[0]+r.loss[0], o.loss[1]+r.loss[1]
	o.worst.take(r.worst)
	o.first.take(r.first)
	o.apart.merge(r.apart)
	if o.heat != nil {
		o.heat.merge(r.part)
	}
}
