package quant

import "math"

// Nested scales are known only when the whole weight has been requantized: their
// mean is subtracted before they are quantized. Codes follow from the scales
// before that, so a merge needs no second look at the weights if each block
// keeps what its figures change by when its scale moves.
//
// With V the code points (in [-1, 1]), a the scale that coded the block, a' the
// scale as it is stored, m = a'-a, and R and E as of a (R = V*a-W, E = R-D):
//
//	sum (R + m*V)*D   = RD + m*VD
//	sum (E + m*V)^2   = EE + m*(2*EV + m*VV)
//
// This is how figures of nested 4-bit weights whose result is not rounded are
// defined, also where both scales are known. Only the largest error does not
// follow from sums; m bounds it.

// drift is what of a block its figures change by when its scale moves.
type drift struct {
	VD, EV, VV float32 // sums of V*D, E*V, V*V
	MaxE       float32 // largest |E| as of the other scale
}

// move takes RD and EE to another scale, and the largest error from x.
func (s *BlockSum) move(x *drift, from, to float32) {
	if m := float64(to) - float64(from); m != 0 {
		s.RD, s.EE = moved(s.RD, x.VD, m), movedSquare(s.EE, x.EV, x.VV, m)
	}
	s.MaxE, s.NewAbsmax = x.MaxE, to
}

// moved returns RD as of a scale that is m larger. NaN, which only sums that
// overflowed can give, becomes infinite like them.
func moved(rd, vd float32, m float64) float32 {
	v := float32(float64(rd) + float64(m*float64(vd)))
	if v != v {
		return inf
	}
	return v
}

// movedSquare does so for EE.
func movedSquare(ee, ev, vv float32, m float64) float32 {
	twice := float64(2*float64(ev)) + float64(m*float64(vv))
	v := float32(float64(ee) + float64(m*twice))
	switch {
	case v > 0:
		return v
	case v != v:
		return inf
	}
	return 0
}

// driftBlock sums over one block of code points v.
func driftBlock(w, d, v []float32, from, to float32) drift {
	var vd, ev, vv lane
	var largest uint32
	d, v = d[:len(w)], v[:len(w)]
	for i, w := range w {
		l := i % lanes
		d, v := d[i], v[i]
		e := float32(v*from) - w - d
		vd[l] += float32(v * d)
		ev[l] += float32(e * v)
		vv[l] += float32(v * v)
		largest = max(largest, magnitude(float32(v*to)-w-d))
	}
	return drift{VD: vd.sum(), EV: ev.sum(), VV: vv.sum(), MaxE: math.Float32frombits(largest)}
}

// drifting reports whether figures as of other scales than NewAbsmax follow from
// drifts.
func (p *Panel) drifting() bool {
	return p.Spec.Format.Is4Bit() && (p.OutDtype == Unknown || p.OutDtype == F32)
}

// measureDrift fills drifts of blocks [b, end), which hold the new codes.
func (p *Panel) measureDrift(b, end int, scales []float32) {
	lo, _ := p.Block(b)
	_, hi := p.Block(end - 1)
	w, d, codes := p.reference()[lo:hi], p.D[lo:hi], p.NewCodes[lo/2:(hi+1)/2]
	n := driftVector(p.drifts[b:end], w, d, codes, p.NewAbsmax[b:end], scales[b:end], p.Spec)
	var v []float32
	for b += n; b < end; b++ {
		from, to := p.Block(b)
		v = grow(v, to-from)
		dequantizeBlock(v, p.NewCodes[from/2:(to+1)/2], 1, p.Spec.Format)
		p.drifts[b] = driftBlock(p.reference()[from:to], p.D[from:to], v, p.NewAbsmax[b], scales[b])
	}
}

// Pending is what a BlockSum of a 4-bit weight follows from once its new scale,
// which is quantized itself, is known. The sums are as of the scale before that.
type Pending struct {
	WW, DD, TT, RD, EE float32
	MaxE               float32
	_                  uint32
	Codes              uint32
	VD, EV, VV         float32
	_                  float32
}

// MergePending is Merge for a weight with nested scales: it fills NewCodes,
// NewAbsmax and dst, one a block, from which Settle finds the figures that
// MergeWith finds with the stored scales. It reports false, having filled nothing
// that counts, if something is not finite or figures do not follow from Pending,
// which is so under the CUDA profile and where the result is rounded.
func (p *Panel) MergePending(dst []Pending, b []float32, f *Factor, scale float32) bool {
	if len(dst) != p.Blocks() {
		panic(badLength)
	}
	if !p.drifting() || p.Profile != CPU || p.Ref != nil {
		return false
	}
	if p.pendingVector(dst, b, f, scale) {
		return true
	}
	p.MergeSteps(b, f, scale, nil)
	p.drifts = grow(p.drifts, len(dst))
	for at := 0; at < len(p.Sums); at = p.span(at) {
		p.measureDrift(at, p.span(at), p.NewAbsmax)
	}
	for i := range dst {
		s, x := &p.Sums[i], &p.drifts[i]
		if !s.Finite() {
			return false
		}
		dst[i] = Pending{
			WW: s.WW, DD: s.DD, TT: s.TT, RD: s.RD, EE: s.EE, MaxE: s.MaxE, Codes: s.Codes,
			VD: x.VD, EV: x.EV, VV: x.VV,
		}
	}
	return allFinite(dst)
}

// allFinite reports whether all sums are; then so was every element.
func allFinite(blocks []Pending) bool {
	for i := range blocks {
		if q := &blocks[i]; !finite(q.DD + q.TT + q.EE + q.RD + q.VD + q.EV) {
			return false
		}
	}
	return true
}

// Settle sets dst to the sums of blocks of so many weights whose scales were old,
// became absmax and are stored as scales, which must be finite. MaxE is an upper bound,
// of which it returns the largest; LargestError has its value. All lengths must be equal.
func Settle(dst []BlockSum, pending []Pending, blocksize int, old, absmax, scales []float32) (largest float32) {
	pending, old, absmax, scales = pending[:len(dst)], old[:len(dst)], absmax[:len(dst)], scales[:len(dst)]
	largest, n := settleVector(dst, pending, blocksize, old, absmax, scales)
	for i := n; i < len(dst); i++ {
		s, q, before, from, to := &dst[i], &pending[i], old[i], absmax[i], scales[i]
		s.WW, s.DD, s.TT, s.RD, s.EE = q.WW, q.DD, q.TT, q.RD, q.EE
		if m := float64(to) - float64(from); m != 0 {
			s.RD, s.EE = moved(q.RD, q.VD, m), movedSquare(q.EE, q.EV, q.VV, m)
		}
		// Rounding of a result and of W adds less than 2^-20 of them to either error.
		slack := float32((q.MaxE + from + abs(to) + abs(before)) * 0x1p-20)
		s.MaxE = q.MaxE + abs(to-from) + slack
		largest = max(largest, s.MaxE)
		s.N, s.Codes = uint32(blocksize), q.Codes
		s.Delta, s.Sum, s.Output, s.Ambiguous = 0, 0, 0, 0
		s.OldAbsmax, s.NewAbsmax = before, to
	}
	return largest
}

// LargestError returns MaxE of block i as MergeWith finds it where the block's new
// scale is stored as stored. The panel holds Codes and Absmax, MergePending was
// done with the same adapter, and no block straddles two rows.
func (p *Panel) LargestError(i int, b []float32, f *Factor, scale, stored float32) float32 {
	lo, hi := p.Block(i)
	row, col := lo/p.Cols, lo%p.Cols
	if p.one == nil {
		p.one = new(Panel)
	}
	q, n := p.one, hi-lo
	q.Spec, q.Profile, q.OutDtype, q.Rows, q.Cols = p.Spec, p.Profile, p.OutDtype, 1, n
	q.Codes, q.Absmax = p.Codes[lo/2:(hi+1)/2], p.Absmax[i:i+1]
	part := f.columns(col, col+n)
	q.MergeWith(b[row*f.Rank:(row+1)*f.Rank], &part, scale, []float32{stored})
	return q.Sums[0].MaxE
}

// columns returns columns [lo, hi) of the factor, in one of its two orders only:
// A serves Delta at levels without kernels and where there is NaN.
func (f *Factor) columns(lo, hi int) Factor {
	part := Factor{Rank: f.Rank, Cols: hi - lo}
	if f.tiles != nil && lo%StatBlock == 0 && hi%StatBlock == 0 {
		part.tiles = f.tiles[lo*f.Rank : hi*f.Rank]
		return part
	}
	part.A = make([]float32, 0, f.Rank*part.Cols)
	for k := range f.Rank {
		part.A = append(part.A, f.A[k*f.Cols+lo:k*f.Cols+hi]...)
	}
	return part
}
