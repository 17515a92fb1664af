package merge

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"mergescope/loader"
	"mergescope/quant"
)

// panelWeights is about how many weights a panel has: enough to hide the cost
// of scheduling, few enough that its arrays stay in a core's cache.
const panelWeights = 96 << 10

// flight is a weight while it is computed. Workers take panels of it in order
// and bring results in any order; they are added up in order, so that no sum
// depends on who was faster.
type flight struct {
	sub    *subject
	sink   layerSink // nil if nothing is written
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
	largest atomic.Uint32   // bits of the largest error found so far, if no cell wants its own

	mu      sync.Mutex
	next    int                  // panel whose result is added next
	waiting map[int]*panelResult // finished before their turn
	result  outcome
}

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

// panelResult is the outcome of one panel.
type panelResult struct {
	rows  []quant.Sums // by row; blocks count for the row of their first weight
	worst worstBlock
	first strays
	part  *part
	apart apartness
	seen  []onInputs // by row, or nil
	loss  [2]float64
}

// newFlight prepares a subject for panels of about so many weights.
func newFlight(s *subject, sink layerSink, weights int) *flight {
	if s.choice != nil {
		weights = max(weights, choiceRows*s.cols)
	}
	f := &flight{sub: s, sink: sink, rows: s.panelRows(weights), waiting: map[int]*panelResult{}}
	f.panels = (s.rows + f.rows - 1) / f.rows
	f.left = f.panels
	f.result.first = noStrays()
	if s.nested() {
		f.absmax = make([]float32, s.blocks())
		if s.once() {
			f.pending = make([]quant.Pending, min(len(s.absmax), maxPending))
			f.settled = make([]bool, f.panels)
		}
	}
	return f
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

// collect gathers the outcome of weight rows [from, to) of a measured panel,
// into cells if h is not nil.
func collect(p *quant.Panel, from, to int, h *heat) *panelResult {
	r := &panelResult{rows: make([]quant.Sums, to-from), first: noStrays()}
	if h != nil {
		r.part = h.newPart(from, to)
	}
	r0 := int(p.First / int64(p.Cols))
	first, end, last := 0, len(p.Sums), from-1 // blocks [first, b) are of row last
	for b := range p.Sums {
		s := &p.Sums[b]
		lo, hi := p.Block(b)
		row, col := r0+lo/p.Cols, lo%p.Cols
		if row < from {
			continue
		}
		if row >= to {
			end = b
			break
		}
		if row != last {
			r.addRow(last-from, p.Sums[first:b])
			first, last = b, row
		}
		nan := false
		if s.Finite() {
			if s.DD > 0 {
				kept := float64(ratio(float64(s.RD), float64(s.DD)))
				r.worst.take(worstBlock{kept == kept, row, col, kept})
			}
		} else {
			nan = r.first.look(p, s, lo, hi)
		}
		if h != nil {
			h.add(r.part, row, col, s, nan)
		}
	}
	r.addRow(last-from, p.Sums[first:end])
	return r
}

// addRow adds blocks to a row, which may be none.
func (r *panelResult) addRow(row int, blocks []quant.BlockSum) {
	if row >= 0 {
		r.rows[row].AddAll(blocks)
	}
}

// look notes the first elements of block [lo, hi) that are not finite and
// reports whether there is NaN among them.
func (f *strays) look(p *quant.Panel, s *quant.BlockSum, lo, hi int) (nan bool) {
	at := strays{-1, -1, -1}
	for i := lo; i < hi; i++ {
		d, t := p.D[i], p.T[i]
		if !isFinite(d) && at.delta < 0 {
			at.delta = p.First + int64(i)
		}
		if !isFinite(t) && at.sum < 0 {
			at.sum = p.First + int64(i)
		}
		nan = nan || d != d || t != t
	}
	if s.Output > 0 {
		at.output = p.First + int64(lo)
	}
	f.take(at)
	return nan || s.NewAbsmax != s.NewAbsmax
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

// write stores the panel's codes, and its scales unless they are nested.
func (f *flight) write(w *work, r0 int) error {
	if f.sink == nil {
		return nil
	}
	p, s, l := &w.p, f.sub, f.sub.layer.target()
	at, _ := s.codeRange(s.outForm(), r0, 0)
	var err error
	if s.layer.turned {
		err = writeTurned(f.sink, l.Data.Name, p.NewCodes, p.Rows, r0, s.rows, int(s.form.Bytes(1)), &w.out)
	} else {
		err = f.sink.WriteAt(l.Data.Name, p.NewCodes, at)
	}
	w.lap(stageWrite, len(p.NewCodes))
	if err != nil {
		return err
	}
	if len(p.NewAbsmax) == 0 || s.nested() || s.keepsScales() {
		return nil
	}
	name := ""
	if l.SCB != nil {
		name = l.SCB.Name
	} else {
		name = l.State.Absmax.Name
	}
	first, _ := s.scaleRange(r0, p.Rows)
	err = writeFloats(f.sink, name, p.NewAbsmax, 4*int64(first), &w.out)
	w.lap(stageWrite, 4*len(p.NewAbsmax))
	return err
}

// writeTurned stores rows [r0, r0+n) of a matrix of so many rows as columns of
// its transpose. Elements have size bytes; buf is memory to use.
func writeTurned(sink layerSink, tensor string, codes []byte, n, r0, rows, size int, buf *[]byte) error {
	row := len(codes) / n // bytes
	*buf = resize(*buf, n*size)
	for at := 0; at < row; at += size {
		for i := range n {
			copy((*buf)[i*size:(i+1)*size], codes[i*row+at:])
		}
		if err := sink.WriteAt(tensor, *buf, int64(at)*int64(rows)+int64(r0*size)); err != nil {
			return err
		}
	}
	return nil
}

// writeFloats stores float32 values at byte off of a tensor; buf is memory to
// use.
func writeFloats(sink layerSink, tensor string, v []float32, off int64, buf *[]byte) error {
	*buf = resize(*buf, 4*len(v))
	quant.EncodeFloats(*buf, v, quant.F32)
	return sink.WriteAt(tensor, *buf, off)
}

// endPass does what needs the whole weight, after the last panel of a pass and
// before the first of the next.
func (f *flight) endPass() error {
	s := f.sub
	if !s.nested() || f.pass >= s.scalePasses() {
		return nil
	}
	if f.pending != nil {
		f.raw = slices.Clone(f.absmax)
	}
	n := s.settle(f.absmax)
	if f.pass < s.scalePasses()-1 {
		f.absmax = make([]float32, len(f.absmax))
		return nil
	}
	f.absmax, f.offset = nil, n.Offset
	if f.sink == nil {
		return nil
	}
	q := s.layer.target().State
	if err := f.sink.WriteAt(q.Absmax.Name, n.Codes, 0); err != nil {
		return err
	}
	var buf []byte
	if err := writeFloats(f.sink, q.NestedAbsmax.Name, n.Absmax, 0, &buf); err != nil {
		return err
	}
	return writeFloats(f.sink, q.NestedMap.Name, n.Map[:], 0, &buf)
}

// finish writes the quant state, whose dtype becomes that of what PEFT adds up,
// and the bias, and commits what was written, or undoes it if the layer was stopped.
func (f *flight) finish(ctx context.Context, stopped bool, note []byte) error {
	if f.sink == nil {
		return nil
	}
	if stopped {
		f.sink.revert()
		return f.sink.commit(ctx, note)
	}
	s, w := f.sub, f.sub.layer.target()
	if s.outForm().Is4Bit() && !s.keepsScales() {
		dtype := s.dtype()
		if s.into != nil {
			dtype = w.State.Dtype
		}
		if err := f.sink.WriteAt(w.State.JSON.Name, w.State.Encode(dtype, f.offset), 0); err != nil {
			return err
		}
	}
	if s.into != nil {
		if err := writeConstants(f.sink, s.into); err != nil {
			return err
		}
	}
	if s.bias != nil {
		if err := f.sink.WriteAt(w.Bias.Name, s.bias, 0); err != nil {
			return err
		}
	}
	return f.sink.commit(ctx, note)
}
