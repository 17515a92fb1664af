package quant

import (
	"math"
	"math/bits"
)

// lanes is how many partial sums a statistic of a block has.
const lanes = 16

// lane holds the partial sums of one statistic: lane l adds up the elements
// i = 16j + l of a block, j ascending.
type lane [lanes]float32

// sum adds the lanes as vector code folds a register: l += l+8, then +4, +2, +1.
func (l *lane) sum() float32 {
	var s [8]float32
	for i := range s {
		s[i] = l[i] + l[i+8]
	}
	for i := range 4 {
		s[i] += s[i+4]
	}
	return (s[0] + s[2]) + (s[1] + s[3])
}

// Finite reports whether no element of D, T and W' was NaN or infinite. Only
// then do the sums and MaxE hold values.
func (b *BlockSum) Finite() bool { return b.Delta|b.Sum|b.Output == 0 }

// Measure fills Sums after Requantize. scales are the effective new scales,
// which differ from NewAbsmax when absmax is quantized itself; nil means
// NewAbsmax.
//
// Each sum is one of float32 products, not fused, in 16 lanes that are then
// folded; R = W'-Ref and E = R-D are rounded to float32.
func (p *Panel) Measure(scales []float32) {
	if scales == nil {
		scales = p.NewAbsmax
	}
	n := p.Len()
	ref := p.reference()
	if len(ref) != n || len(p.D) != n || len(p.T) != n || len(p.Absmax) != len(p.NewAbsmax) ||
		len(scales) != len(p.NewAbsmax) || len(p.Codes) != len(p.NewCodes) {
		panic(badLength)
	}
	p.Sums = grow(p.Sums, p.Blocks())
	for b := range p.Sums {
		lo, hi := p.Block(b)
		p.out = grow(p.out, hi-lo)
		p.result(p.out, b, scales)
		s := measureBlock(ref[lo:hi], p.D[lo:hi], p.T[lo:hi], p.out)
		s.Codes = p.changed(lo, hi)
		s.Ambiguous = p.ambiguous[b]
		s.OldAbsmax, s.NewAbsmax = p.scale(b, p.Absmax), p.scale(b, scales)
		p.Sums[b] = s
	}
}

func (p *Panel) reference() []float32 {
	if p.Ref != nil {
		return p.Ref
	}
	return p.W
}

// scale returns the scale of block b out of those of the panel.
func (p *Panel) scale(b int, scales []float32) float32 {
	switch {
	case p.Spec.Format.Is4Bit():
		return scales[b]
	case p.Spec.Format == Int8:
		return scales[b/p.pieces()]
	default:
		return 0
	}
}

// result sets dst to the dequantized result W' of block b.
func (p *Panel) result(dst []float32, b int, scales []float32) {
	lo, hi := p.Block(b)
	switch f := p.Spec.Format; {
	case f.Is4Bit():
		dequantizeBlock(dst, p.NewCodes[lo/2:], scales[b], f)
		roundState(dst, p.OutDtype)
	case f == Int8:
		dequantizeRow(dst, p.NewCodes[lo:hi], p.scale(b, scales))
		roundState(dst, p.OutDtype)
	default:
		DecodeFloats(dst, p.NewCodes[f.Bytes(int64(lo)):f.Bytes(int64(hi))], f)
	}
}

// changed counts the stored elements of [lo, hi) that differ. Float values
// differ if they compare so, and NaN equals NaN.
func (p *Panel) changed(lo, hi int) (n uint32) {
	old, now := p.Codes, p.NewCodes
	switch f := p.Spec.Format; {
	case f.Is4Bit():
		for j := lo / 2; j < hi/2; j++ {
			x := old[j] ^ now[j]
			n += uint32(bits.OnesCount8((x | x>>1 | x>>2 | x>>3) & 0x11))
		}
		if hi%2 != 0 && old[hi/2]>>4 != now[hi/2]>>4 { // the low nibble is padding
			n++
		}
	case f == Int8:
		for i := lo; i < hi; i++ {
			if old[i] != now[i] {
				n++
			}
		}
	default:
		var a, b [StatBlock]float32
		from, to := f.Bytes(int64(lo)), f.Bytes(int64(hi))
		DecodeFloats(a[:hi-lo], old[from:to], f)
		DecodeFloats(b[:hi-lo], now[from:to], f)
		for i, v := range a[:hi-lo] {
			if v != b[i] && (v == v || b[i] == b[i]) {
				n++
			}
		}
	}
	return n
}

// measureBlock sums over one block: w is the reference, d the delta, t the
// target and out the result.
func measureBlock(w, d, t, out []float32) BlockSum {
	var ww, dd, tt, rd, ee lane
	var largest, maxE uint32
	d, t, out = d[:len(w)], t[:len(w)], out[:len(w)]
	for i, w := range w {
		l := i % lanes
		d, t, out := d[i], t[i], out[i]
		r := out - w
		e := r - d
		ww[l] += float32(w * w)
		dd[l] += float32(d * d)
		tt[l] += float32(t * t)
		rd[l] += float32(r * d)
		ee[l] += float32(e * e)
		maxE = max(maxE, magnitude(e))
		largest = max(largest, magnitude(d), magnitude(t), magnitude(out))
	}
	if largest >= infBits {
		return BlockSum{
			N:      uint32(len(w)),
			Delta:  countNonFinite(d),
			Sum:    countNonFinite(t),
			Output: countNonFinite(out),
		}
	}
	return BlockSum{
		N:  uint32(len(w)),
		WW: ww.sum(), DD: dd.sum(), TT: tt.sum(), RD: rd.sum(), EE: ee.sum(),
		MaxE: math.Float32frombits(maxE),
	}
}

func countNonFinite(x []float32) (n uint32) {
	for _, v := range x {
		if !finite(v) {
			n++
		}
	}
	return n
}
