package merge

import (
	"sync"
	"sync/atomic"

	"mergescope/loader"
	"mergescope/quant"
)

// panelWeights is about how many weights a panel has: enough to hide the cost
// of scheduling, few enough that its arrays stay in a core's cache.
const panelWeights = 128 << 10

// flight is a weight while it is computed. Workers take panels of it in order
// and bring results in any order; they are added up in order, so that no sum
// depends on who was faster.
type flight struct {
	sub    *subject
	sink   layerSink // nil if nothing is written
	spare  *spares   // where its arrays come from and go to
	rows   int       // of a panel
	panels int

	// The pool's bookkeeping, under its lock.
	pass    int
	claimed int // panels handed out in this pass
	left    int // panels not finished in this pass

	done   atomic.Int64 // panels of all passes
	absmax []float32    // new scales of this pass, if they are nested; panels fill disjoint parts
	offset float32      // their mean after the last update

	raw     []float32       // new scales before they are quantized, once they are
	pending []quant.Pending // what the figures of blocks follow from once nested scales are known, nil if they do not
	settled []bool          // by panel: its blocks are pending
	odd     bool            // new scales may not be finite
	largest atomic.Uint32   // bits of the largest error found so far, if no cell wants its own

	mu      sync.Mutex
	next    int                  // panel whose result is added next
	waiting map[int]*panelResult // finished before their turn
	result  outcome
}

// newFlight prepares a subject for panels of about so many weights. spare may be
// nil.
func newFlight(s *subject, sink layerSink, weights int, spare *spares) *flight {
	if s.choice != nil {
		weights = max(weights, choiceRows*s.cols)
	}
	if spare == nil {
		spare = &spares{}
	}
	f := &flight{sub: s, sink: sink, spare: spare, rows: s.panelRows(weights), waiting: map[int]*panelResult{}}
	f.panels = (s.rows + f.rows - 1) / f.rows
	f.left = f.panels
	f.result.first = noStrays()
	if s.nested() {
		f.absmax = spare.floats.take(s.blocks())
		if s.once() {
			f.pending = spare.pending.take(min(len(s.absmax), maxPending))
			f.settled = make([]bool, f.panels)
		}
	}
	return f
}

// release gives back the arrays of a weight whose outcome is known. Nothing may be
// computed any more.
func (f *flight) release() {
	if f.pending != nil {
		f.spare.pending.give(f.pending)
		f.spare.floats.give(f.raw)
	}
	for _, scales := range f.sub.scales {
		f.spare.floats.give(scales)
	}
	f.pending, f.raw, f.sub.scales = nil, nil, nil
}

// flightBytes is about what a weight takes in memory while it is in flight: its
// scales, under double quantization also the new ones, before and after they are
// quantized, and what is pending.
func flightBytes(w *loader.Weight) int64 {
	switch {
	case w.State == nil || w.Problem != nil:
		return 0
	case !w.State.Nested:
		return 4 * w.State.Blocks()
	}
	return 12*w.State.Blocks() + 48*min(w.State.Blocks(), maxPending)
}

// fraction is how much of the work is done, 0..1.
func (f *flight) fraction() float64 {
	return float64(f.done.Load()) / float64(f.panels*f.sub.passes())
}

// compute does one panel of a pass.
func (f *flight) compute(w *work, pass, panel int) error {
	s := f.sub
	r0 := panel * f.rows
	n := min(f.rows, s.rows-r0)
	last := !s.nested() || pass == s.scalePasses()
	if last && f.settled != nil && f.settled[panel] {
		if err := f.settle(w, r0, n); err != nil {
			return err
		}
	} else {
		if err := s.read(w, r0, n); err != nil {
			return err
		}
		w.lap(stageRead, len(w.raw))
		if !last {
			return f.collectScales(w, pass, panel)
		}
		s.process(w, r0)
		w.lap(stageKernels, 0)
		if err := f.write(w, r0); err != nil {
			return err
		}
	}
	r := collect(&w.p, r0, r0+w.p.Rows, f.result.heat)
	r.apart = w.apart
	f.look(w, r, r0)
	f.add(panel, r)
	w.lap(stageCollect, 0)
	return nil
}

// look does what only layers of a calibrated job need: it keeps the result for the model that is run beside it, and sums what inputs see.
func (f *flight) look(w *work, r *panelResult, r0 int) {
	s := f.sub
	if s.choice != nil {
		r.loss = w.losses
	}
	if f.result.codes == nil && s.sight == nil {
		return
	}
	scales := s.stored(&w.p, r0, s.scalePasses()-1)
	if c := f.result.codes; c != nil {
		c.put(w.p.NewCodes, scales, r0)
	}
	if s.sight != nil {
		r.seen = s.sight.look(w, r0, s.values(w, scales))
		if r.part != nil {
			for i, o := range r.seen {
				f.result.heat.see(r.part, r0+i, o)
			}
		}
	}
}

// collectScales does a panel of a pass that ends in nested scales.
func (f *flight) collectScales(w *work, pass, panel int) error {
	s := f.sub
	r0 := panel * f.rows
	lo, hi := s.scaleRange(r0, w.p.Rows)
	once := hi <= len(f.pending) && f.result.codes == nil && s.mergePending(w, r0, f.pending[lo:hi])
	if !once {
		s.scaled(w, r0, pass)
	}
	copy(f.absmax[lo:hi], w.p.NewAbsmax)
	w.lap(stageKernels, 0)
	if !once {
		return nil
	}
	f.settled[panel] = true
	return f.write(w, r0)
}

// add brings the result of a panel, and adds up as far as there is no gap.
func (f *flight) add(panel int, r *panelResult) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.waiting[panel] = r
	for {
		r, ok := f.waiting[f.next]
		if !ok {
			return
		}
		delete(f.waiting, f.next)
		f.next++
		f.result.add(r)
	}
}
