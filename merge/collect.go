package merge

import (
	"math"

	"mergescope/quant"
)

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

// collect gathers the outcome of weight rows [from, to) of a measured panel,
// into cells if h is not nil.
func collect(p *quant.Panel, from, to int, h *heat) *panelResult {
	r := &panelResult{rows: make([]quant.Sums, to-from), first: noStrays()}
	if h != nil {
		r.part = h.newPart(from, to)
	}
	r0 := int(p.First / int64(p.Cols))
	for row := from; row < to; row++ {
		lo, hi := p.RowBlocks(row - r0)
		r.rows[row-from].AddAll(p.Sums[lo:hi])
		if h != nil {
			h.addRow(r.part, row, p.Sums[lo:hi])
		}
		sums := &r.rows[row-from]
		r.search(p, row, lo, hi, sums.Finite < sums.N, h)
	}
	return r
}

// search looks among blocks [lo, hi), which begin in a row, for the one with the
// least kept and, if there are odd ones, for elements that are not finite.
func (r *panelResult) search(p *quant.Panel, row, lo, hi int, odd bool, h *heat) {
	least := math.Inf(1)
	if r.worst.found {
		least = r.worst.kept
	}
	for b := lo; b < hi; b++ {
		s := &p.Sums[b]
		if odd && !s.Finite() {
			from, to := p.Block(b)
			nan := r.first.look(p, s, from, to)
			if h != nil {
				h.mark(r.part, row, b-lo, nan)
			}
			continue
		}
		rd, dd := float64(s.RD), float64(s.DD)
		if rd > float64(least*dd) { // the quotient is no less, since rounding keeps the order
			continue
		}
		if kept := float64(ratio(rd, dd)); kept < least || kept == kept && !r.worst.found {
			from, _ := p.Block(b)
			r.worst, least = worstBlock{true, row, from % p.Cols, kept}, kept
		}
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
