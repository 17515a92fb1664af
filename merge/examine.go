package merge

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"

	"mergescope/quant"
)

// Examination is a weight recomputed on demand.
type Examination struct {
	Layer Layer
	Tile  *Tile
	Rows  []quant.Sums // one a weight row of the span; a block counts for the row of its first weight
	Sums  quant.Sums   // over the span
}

// Examine recomputes weight rows [r0, r1) of one layer under the plan, exactly
// as a job would, and returns them as a tile of at most rows by cols cells.
// r1 <= 0 means all rows. It allocates in proportion to the span's blocks.
//
// Weights with nested scales are computed as a whole first, since the scales
// depend on all of them; the last few are remembered. Examine and Explain are
// safe for concurrent use as long as the project's adapters stay the same.
func (p *Project) Examine(ctx context.Context, plan Plan, layer string, r0, r1, rows, cols int) (*Examination, error) {
	s, err := p.subject(ctx, plan, layer)
	if err != nil {
		return nil, err
	}
	if r1 <= 0 || r1 > s.rows {
		r1 = s.rows
	}
	if r0 < 0 || r0 >= r1 {
		return nil, fmt.Errorf("layer %s has no rows %d to %d, only %d", layer, r0, r1, s.rows)
	}
	return s.examine(ctx, r0, r1, rows, cols)
}

// examine is Examine of a settled subject.
func (s *subject) examine(ctx context.Context, r0, r1, rows, cols int) (*Examination, error) {
	h := s.newHeat(r0, r1, rows, cols)
	start := r0 / s.unit * s.unit
	per := s.panelRows(panelWeights)
	results := make([]*panelResult, (r1-start+per-1)/per)
	err := each(ctx, len(results), func(w *work, i int) error {
		from := start + i*per
		to := min(from+per, (r1+s.unit-1)/s.unit*s.unit, s.rows)
		if err := s.read(w, from, to-from); err != nil {
			return err
		}
		s.process(w, from)
		lo, hi := max(from, r0), min(to, r1)
		results[i] = collect(&w.p, lo, hi, h)
		if s.seen != nil {
			for r := lo; r < hi; r++ {
				h.see(results[i].part, r, s.seen[r])
			}
		}
		return nil
	})
	if err != nil {
		return nil, layerError(s.layer, err)
	}
	e := &Examination{Layer: *s.layer}
	o := outcome{heat: h}
	for _, r := range results {
		o.add(r)
		e.Rows = append(e.Rows, r.rows...)
	}
	e.Tile, e.Sums = h.tile(), o.sums
	return e, nil
}

// Explain recomputes the block that holds weight (row, col) of a layer under
// the plan and returns every step of it. Of several adapters it shows the last,
// on what those before it left.
func (p *Project) Explain(ctx context.Context, plan Plan, layer string, row, col int) (*quant.Trace, error) {
	s, err := p.subject(ctx, plan, layer)
	if err != nil {
		return nil, err
	}
	if row < 0 || row >= s.rows || col < 0 || col >= s.cols {
		return nil, fmt.Errorf("layer %s is %d by %d and has no weight at row %d, column %d", layer, s.rows, s.cols, row, col)
	}
	return s.explain(ctx, row, col)
}

// explain is Explain of a settled subject.
func (s *subject) explain(ctx context.Context, row, col int) (t *quant.Trace, err error) {
	err = each(ctx, 1, func(w *work, _ int) error {
		r0 := row / s.unit * s.unit
		if err := s.read(w, r0, min(s.unit, s.rows-r0)); err != nil {
			return err
		}
		if s.onto != nil {
			s.apply(w, r0, 0)
		} else {
			s.chain(w, r0, len(s.updates)-1)
		}
		s.measure(w, r0)
		var scales []float32
		if s.nested() {
			scales = s.stored(&w.p, r0, s.scalePasses()-1)
		}
		flat := (row-r0)*s.cols + col
		b := blockOf(&w.p, flat)
		t = quant.TraceBlock(&w.p, b, scales)
		lo, _ := w.p.Block(b)
		t.Cursor = flat - lo
		t.Choice, t.Kept, t.Moved = s.chosen(), s.keepsScales(), s.movesScales()
		if s.onto != nil {
			t.Onto = slices.Clone(w.other.W[lo : lo+len(t.W)])
		}
		return nil
	})
	if err != nil {
		return nil, layerError(s.layer, err)
	}
	return t, nil
}

// chosen is how the codes of the result are found.
func (s *subject) chosen() quant.Choice {
	switch {
	case s.choice != nil:
		return quant.ForInputs
	case s.dither != nil:
		return quant.ByDraw
	}
	return quant.ByDistance
}

// blockOf returns the block of a panel that holds a flat index.
func blockOf(p *quant.Panel, flat int) int {
	if p.Spec.Format.Is4Bit() {
		return flat / p.Spec.Blocksize
	}
	pieces := (p.Cols + quant.StatBlock - 1) / quant.StatBlock
	return flat/p.Cols*pieces + flat%p.Cols/quant.StatBlock
}

// settleAll computes the nested scales of all updates.
func (s *subject) settleAll(ctx context.Context) error {
	f := newFlight(s, nil, panelWeights, nil)
	f.pending = nil // only scales are wanted
	for ; f.pass < s.passes()-1; f.pass++ {
		err := each(ctx, f.panels, func(w *work, i int) error { return f.compute(w, f.pass, i) })
		if err != nil {
			return err
		}
		if err := f.endPass(); err != nil {
			return err
		}
	}
	return nil
}

// each calls do for 0 <= i < n from several goroutines, which have ended when
// it returns. The first error, or the end of ctx, keeps the rest from starting.
func each(ctx context.Context, n int, do func(w *work, i int) error) error {
	return eachOf(ctx, runtime.GOMAXPROCS(0), n, do)
}

// eachOf is each with so many goroutines.
func eachOf(ctx context.Context, workers, n int, do func(w *work, i int) error) error {
	var next atomic.Int64
	var wg sync.WaitGroup
	errs := make([]error, min(workers, n))
	for g := range errs {
		wg.Go(func() {
			defer func() {
				if v := recover(); v != nil {
					errs[g] = &PanicError{v, debug.Stack()}
				}
			}()
			var w work
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				errs[g] = ctx.Err()
				if errs[g] == nil {
					errs[g] = do(&w, i)
				}
				if errs[g] != nil {
					next.Store(int64(n))
					return
				}
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
