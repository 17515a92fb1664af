package merge

import (
	"math"

	"mergescope/quant"
)

// maxPending bounds the blocks of a weight that are merged in one pass, which
// take 48 bytes each until the scales are known. It is enough for the largest
// matrices of a model with 7e9 weights; what is beyond is merged in two passes.
const maxPending = 768 << 10

// once reports whether a weight with nested scales may be merged in one pass:
// codes and what the figures follow from at first, the figures when the scales
// are known.
func (s *subject) once() bool {
	return s.plain() != nil && s.profile == quant.CPU && s.cols%s.spec.Blocksize == 0
}

// mergePending merges the panel and fills dst, one a block. It reports false if
// the panel must be computed again when the scales are known.
func (s *subject) mergePending(w *work, r0 int, dst []quant.Pending) bool {
	l := s.plain()
	w.p.OutDtype = s.dtype()
	return w.p.MergePending(dst, l.b[r0*l.a.Rank:(r0+w.p.Rows)*l.a.Rank], l.a, l.scale)
}

// settle fills the sums of rows [r0, r0+n), which were merged before their scales
// were known.
func (f *flight) settle(w *work, r0, n int) error {
	s, p := f.sub, &w.p
	s.place(w, r0, n)
	lo, hi := s.scaleRange(r0, n)
	old, scales, pending := s.absmax[lo:hi], s.scales[0][lo:hi], f.pending[lo:hi]
	if f.odd {
		if err := s.read(w, r0, n); err != nil {
			return err
		}
		s.process(w, r0)
		return nil
	}
	p.Sums = resize(p.Sums, len(scales))
	bound := quant.Settle(p.Sums, pending, s.spec.Blocksize, old, f.raw[lo:hi], scales)
	w.lap(stageKernels, 0)
	if f.result.heat == nil && bound <= math.Float32frombits(f.largest.Load()) {
		return nil
	}
	return f.findLargest(w, r0, scales)
}

// findLargest replaces bounds of the largest error by its value in so many
// blocks that the largest of each cell, or of the weight if there are no cells,
// is right. What is left of the bounds is below it.
func (f *flight) findLargest(w *work, r0 int, scales []float32) error {
	x := exact{f: f, w: w, r0: r0, scales: scales}
	defer w.lap(stageKernels, 0)
	h := f.result.heat
	if h == nil {
		found, err := x.largest(0, 1, len(w.p.Sums), len(w.p.Sums), math.Float32frombits(f.largest.Load()))
		f.raiseLargest(found)
		return err
	}
	perRow := w.p.Cols / w.p.Spec.Blocksize
	for from, rows := r0, 0; from < r0+w.p.Rows; from += rows {
		rows = 1
		for from+rows < r0+w.p.Rows && h.rowOf(from+rows) == h.rowOf(from) {
			rows++
		}
		for c := 0; c < perRow; {
			n := 1
			for c+n < perRow && h.column[c+n] == h.column[c] {
				n++
			}
			if _, err := x.largest((from-r0)*perRow+c, rows, n, perRow, 0); err != nil {
				return err
			}
			c += n
		}
	}
	return nil
}

// exact computes single blocks of a panel, whose codes it reads when the first is
// asked for.
type exact struct {
	f      *flight
	w      *work
	r0     int
	scales []float32
}

// largest returns the largest error in rows of so many blocks, which begin at
// first and step apart, if it exceeds found.
func (x *exact) largest(first, rows, blocks, step int, found float32) (float32, error) {
	sums := x.w.p.Sums
	top := first
	for at := first; at < first+rows*step; at += step {
		for b := range sums[at : at+blocks] {
			if sums[at+b].MaxE > sums[top].MaxE {
				top = at + b
			}
		}
	}
	if !(sums[top].MaxE > found) {
		return found, nil
	}
	// The block with the largest bound first, which then rules out most others.
	err := x.raise(&found, top)
	for at := first; at < first+rows*step && err == nil; at += step {
		for b := at; b < at+blocks; b++ {
			if sums[b].MaxE > found && b != top {
				if err = x.raise(&found, b); err != nil {
					break
				}
			}
		}
	}
	return found, err
}

// raise finds the largest error of block b and raises found to it.
func (x *exact) raise(found *float32, b int) error {
	p, s := &x.w.p, x.f.sub
	if p.Codes == nil {
		if err := s.read(x.w, x.r0, p.Rows); err != nil {
			return err
		}
		p.OutDtype = s.dtype()
	}
	l := s.plain()
	p.Sums[b].MaxE = p.LargestError(b, l.b[x.r0*l.a.Rank:(x.r0+p.Rows)*l.a.Rank], l.a, l.scale, x.scales[b])
	*found = max(*found, p.Sums[b].MaxE)
	return nil
}

// raiseLargest notes an error; none is negative, so that bits compare as values.
func (f *flight) raiseLargest(e float32) {
	for bits := math.Float32bits(e); ; {
		old := f.largest.Load()
		if old >= bits || f.largest.CompareAndSwap(old, bits) {
			return
		}
	}
}
