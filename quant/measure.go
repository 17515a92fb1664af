package quant

import (
	"encoding/binary"
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
// folded; R = W'-Ref and E = R-D are rounded to float32. If scales differ and W'
// is not rounded, RD and EE are those as of NewAbsmax and what the difference
// adds to them, see drift.go.
func (p *Panel) Measure(scales []float32) {
	if scales != nil && p.drifting() {
		p.measureMoved(scales)
		return
	}
	if scales == nil {
		scales = p.NewAbsmax
	}
	p.measure(scales)
}

// measureMoved is Measure by way of the figures as of NewAbsmax.
func (p *Panel) measureMoved(scales []float32) {
	p.measure(scales)
	plain := p.Sums
	p.Sums = p.spare
	p.measure(p.NewAbsmax)
	p.spare = plain
	p.drifts = grow(p.drifts, len(p.Sums))
	for b := 0; b < len(p.Sums); b = p.span(b) {
		p.measureDrift(b, p.span(b), scales)
	}
	for b := range p.Sums {
		if !plain[b].Finite() {
			p.Sums[b] = plain[b]
			continue
		}
		p.Sums[b].move(&p.drifts[b], p.NewAbsmax[b], scales[b])
	}
}

// measure fills Sums as of scales.
func (p *Panel) measure(scales []float32) {
	n := p.Len()
	ref := p.reference()
	if len(ref) != n || len(p.D) != n || len(p.T) != n || len(p.Absmax) != len(p.NewAbsmax) ||
		len(scales) != len(p.NewAbsmax) || len(p.Codes) != len(p.NewCodes) {
		panic(badLength)
	}
	p.Sums = grow(p.Sums, p.Blocks())
	for b := 0; b < len(p.Sums); {
		end := p.span(b)
		lo, _ := p.Block(b)
		_, hi := p.Block(end - 1)
		f := p.Spec.Format
		from, to := f.Bytes(int64(lo)), f.Bytes(int64(hi))
		done := b + measureHalfVector(p.Sums[b:end], ref[lo:hi], p.D[lo:hi], p.T[lo:hi], p.NewCodes[from:to], f)
		if done < end {
			lo, _ := p.Block(done)
			p.out = grow(p.out, hi-lo)
			p.result(p.out, done, end, scales)
			measureBlocks(p.Sums[done:end], ref[lo:hi], p.D[lo:hi], p.T[lo:hi], p.out, p.blocksize())
		}
		counted := b + changedVector(p.Sums[b:end], p.Codes[from:to], p.NewCodes[from:to], f)
		for i := counted; i < end; i++ {
			p.Sums[i].Codes = p.changed(p.Block(i))
		}
		old, now := p.scale(b, p.Absmax), p.scale(b, scales) // of one row, or else of each block
		for ; b < end; b++ {
			if f.Is4Bit() {
				old, now = p.Absmax[b], scales[b]
			}
			s := &p.Sums[b]
			s.Ambiguous, s.OldAbsmax, s.NewAbsmax = p.ambiguous[b], old, now
		}
	}
}

// spanWeights is about how many weights of W' are held at a time.
const spanWeights = 2048

// span returns the end of the blocks from b on that are decoded and measured
// together; those of int8 and float weights lie in one row.
func (p *Panel) span(b int) (end int) {
	end = b + max(spanWeights/p.blocksize(), 1)
	if !p.Spec.Format.Is4Bit() {
		end = min(end, (b/p.pieces()+1)*p.pieces())
	}
	return min(end, p.Blocks())
}

// blocksize is the number of weights in every block but the last, or the last
// of a row.
func (p *Panel) blocksize() int {
	if p.Spec.Format.Is4Bit() {
		return p.Spec.Blocksize
	}
	return StatBlock
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

// result sets dst to the dequantized result W' of blocks [b, end), which lie in
// one row unless the format has blocks.
func (p *Panel) result(dst []float32, b, end int, scales []float32) {
	lo, _ := p.Block(b)
	hi := lo + len(dst)
	switch f := p.Spec.Format; {
	case f.Is4Bit():
		spec := Spec{Format: f, Blocksize: p.Spec.Blocksize, Dtype: p.OutDtype}
		Dequantize4(dst, p.NewCodes[lo/2:(hi+1)/2], scales[b:end], spec)
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
		n = changedFields(old[lo/2:hi/2], now[lo/2:hi/2], 4)
		if hi%2 != 0 && old[hi/2]>>4 != now[hi/2]>>4 { // the low nibble is padding
			n++
		}
	case f == Int8:
		n = changedFields(old[lo:hi], now[lo:hi], 8)
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

// changedFields counts the fields of 4 or 8 bits that differ, eight bytes at a
// time.
func changedFields(old, now []byte, width int) (n uint32) {
	now = now[:len(old)]
	for len(old) >= 8 && len(now) >= 8 {
		n += fieldsSet(binary.LittleEndian.Uint64(old)^binary.LittleEndian.Uint64(now), width)
		old, now = old[8:], now[8:]
	}
	for i, x := range old {
		n += fieldsSet(uint64(x^now[i]), width)
	}
	return n
}

// fieldsSet counts the fields of x that are not 0.
func fieldsSet(x uint64, width int) uint32 {
	x |= x >> 2
	x |= x >> 1 // the lowest bit of each nibble is now set if any of its bits was
	if width == 4 {
		return uint32(bits.OnesCount64(x & 0x1111111111111111))
	}
	x |= x >> 4
	return uint32(bits.OnesCount64(x & 0x0101010101010101))
}

// measureBlocks sums over blocks of so many weights, the last of which may be
// shorter, and sets what follows from w, d, t and out.
func measureBlocks(sums []BlockSum, w, d, t, out []float32, blocksize int) {
	for b := measureVector(sums, w, d, t, out, blocksize); b < len(sums); b++ {
		lo, hi := b*blocksize, min((b+1)*blocksize, len(w))
		sums[b] = measureBlock(w[lo:hi], d[lo:hi], t[lo:hi], out[lo:hi])
	}
}

// complete fills what a kernel leaves of the figures of n weights. It reports false
// if one of them may not be finite.
func (b *BlockSum) complete(n int) bool {
	if !finite(b.DD + b.TT + b.EE + b.RD) {
		return false
	}
	b.N, b.Delta, b.Sum, b.Output = uint32(n), 0, 0, 0
	return true
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
