package main

import (
	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Offsets of package quant's BlockSum and Pending.
const (
	sumWW    = 0 // then DD and TT
	sumRD    = 12
	sumEE    = 16
	sumMaxE  = 20
	sumCodes = 28
)

// driftMaxE is the offset within package quant's drift, which begins with VD, EV
// and VV.
const driftMaxE = 12

// lane16 are the 16 partial sums of a figure.
type lane16 []reg.VecVirtual

func (u unit) newLanes() lane16 {
	l := u.vecs(16 / u.lanes)
	for _, v := range l {
		u.zero(v)
	}
	return l
}

// addProduct adds a*b to the part of the lanes that register i of a chunk holds.
func (u unit) addProduct(l lane16, i int, a, b operand.Op) {
	p := u.vec()
	VMULPS(a, b, p)
	half := l[i%len(l)]
	VADDPS(p, half, half)
}

// target4 is the first half of a merge of 4-bit blocks: all that can be known
// before the new absmax is.
func (u unit) target4(to rounding) {
	u.text("target4"+string(to),
		"t, w, d *float32, codes *byte, absmax *float32, table *[16]float32, next, inverse *float32, sums *float32, step int, blocks int, chunks int)",
		"decodes blocks of 64*chunks codes to w, sets t = w+d, next to the largest\n"+
			"magnitudes of t, inverse to the reciprocals of those, and WW, DD and TT. absmax\n"+
			"must be finite.")
	t, w, d, codes := load("t"), load("w"), load("d"), load("codes")
	absmax, next, inverse, dst := load("absmax"), load("next"), load("inverse"), load("sums")
	dec, points := u.newDecoder(), load("table")
	step, blocks, chunks := load("step"), load("blocks"), load("chunks")
	loop("block", blocks, func() {
		values := u.newTable(points, 0, at(absmax, 0), to)
		PREFETCHT0(at(dst, 1024)) // sums of a whole weight come from far away
		ww, dd, tt, largest := u.newLanes(), u.newLanes(), u.newLanes(), u.vec()
		u.zero(largest)
		n := GP64()
		MOVQ(chunks, n)
		loop("chunk", n, func() {
			for i := range chunk / u.lanes {
				v := dec.decode(values, at(codes, i*u.lanes/2))
				VMOVUPS(v, at(w, i*u.bytes()))
				u.addProduct(ww, i, v, v)
				x := u.vec()
				VMOVUPS(at(d, i*u.bytes()), x)
				VADDPS(x, v, v)
				u.addProduct(dd, i, x, x)
				VMOVUPS(v, at(t, i*u.bytes()))
				u.addProduct(tt, i, v, v)
				u.maxMagnitude(v, largest)
			}
			ADDQ(operand.U8(chunk/2), codes)
			for _, p := range []reg.Register{t, w, d} {
				ADDQ(operand.U32(4*chunk), p)
			}
		})
		u.storeThree(ww, dd, tt, dst) // RD is still to come
		u.foldMax(largest)
		VMOVD(largest.AsX(), at(next, 0))
		VMOVSS(u.inverse(largest), at(inverse, 0))
		ADDQ(operand.U8(4), absmax)
		ADDQ(operand.U8(4), next)
		ADDQ(operand.U8(4), inverse)
		ADDQ(step, dst)
	})
	end()
}

// maxMagnitude sets each lane of m, none of which is negative, to the larger of
// it and |v|. It overwrites v, and may lose NaN.
func (u unit) maxMagnitude(v, m reg.VecVirtual) {
	if u.wide() {
		const largestMagnitude = 0b1011 // of two, without its sign
		VRANGEPS(operand.U8(largestMagnitude), v, m, m)
		return
	}
	u.and(constant("magnitude", 0x7fffffff), v, v)
	VPMAXUD(v, m, m)
}

// round32 is rounder.round with constants from memory.
func (u unit) round32(to rounding, v reg.VecVirtual) {
	if to != toBF16 {
		rounder{unit: u, to: to}.round(v)
		return
	}
	x := u.vec()
	VPSRLD(operand.U8(16), v, x)
	u.and(constant("one", 1), x, x)
	VPADDD(constant("bias", 0x7fff), v, v)
	VPADDD(x, v, v)
	u.and(constant("top", 0xffff0000), v, v)
}

// code4 is the second half: codes and what they leave of the delta.
func (u unit) code4(format string) {
	u.text("code"+format,
		"codes, old *byte, t, w, d, absmax, inverse *float32, tables *float32, sums *float32, step int, blocks int, chunks int)",
		"codes blocks of 64*chunks values t by absmax, their largest magnitudes, and the\n"+
			"reciprocals of those, and sets RD, EE, MaxE and Codes of the results, whose sums\n"+
			"are step bytes apart. It overwrites t.")
	u.codes(format)
	u.errors(false)
	end()
}

// codeDrift4 is code4 and, for the same scales, drift4.
func (u unit) codeDrift4(format string) {
	u.text("codeDrift"+format,
		"codes, old *byte, t, w, d, absmax, inverse *float32, tables *float32, sums, drifts *float32, step int, blocks int, chunks int)",
		"does what code"+format+" does and sets VD, EV and VV. It overwrites w.")
	u.codes(format)
	u.errors(true)
	if !u.wide() {
		u.driftsOfErrors()
	}
	end()
}

// codes codes all blocks and puts ranks in the place of t. What follows of them is
// another loop, since both together are more than the processor looks ahead.
func (u unit) codes(format string) {
	codes, old, t, inverses := load("codes"), load("old"), load("t"), load("inverse")
	c := u.newCoder(load("tables"), format)
	dst, step, blocks, chunks := load("sums"), load("step"), load("blocks"), load("chunks")
	loop("codes", blocks, func() {
		inverse, changed, n := u.vec(), GP64(), GP64()
		VBROADCASTSS(at(inverses, 0), inverse)
		XORQ(changed, changed)
		MOVQ(chunks, n)
		loop("chunkCodes", n, func() {
			packed := c.chunk(func(i int) reg.VecVirtual {
				x := u.vec()
				VMULPS(at(t, i*u.bytes()), inverse, x)
				return x
			}, func(i int, rank reg.VecVirtual) {
				VMOVUPS(rank, at(t, i*u.bytes()))
			})
			VMOVUPS(packed, at(codes, 0))
			u.countChanged(changed, packed, at(old, 0))
			ADDQ(operand.U8(chunk/2), codes)
			ADDQ(operand.U8(chunk/2), old)
			ADDQ(operand.U32(4*chunk), t)
		})
		MOVL(changed.As32(), at(dst, sumCodes))
		ADDQ(operand.U8(4), inverses)
		ADDQ(step, dst)
	})
}

// errors sums over all blocks what the codes of ranks t leave of the delta. AVX2 has
// too few registers for the sums of drifts besides: it puts V in the place of t and E
// in that of w for driftsOfErrors.
func (u unit) errors(drifting bool) {
	t, w, d, absmax := load("t"), load("w"), load("d"), load("absmax")
	tables := load("tables")
	dst, step, blocks, chunks := load("sums"), load("step"), load("blocks"), load("chunks")
	var drifts reg.Register
	points := table(u.vecs(16 / u.lanes))
	if drifting {
		drifts = load("drifts")
		for i, v := range points {
			VMOVUPS(at(tables, values+i*u.bytes()), v)
		}
	}
	loop("errors", blocks, func() {
		e := errorSums{unit: u, drifting: drifting, points: points, scale: u.vec()}
		if drifting {
			VBROADCASTSS(at(absmax, 0), e.scale)
			if u.wide() {
				e.vd, e.ev, e.vv = u.newLanes(), u.newLanes(), u.newLanes()
			}
		} else {
			e.points = u.newTable(tables, values, at(absmax, 0), toF32)
		}
		e.rd, e.ee, e.largest = u.newLanes(), u.newLanes(), u.vec()
		n := GP64()
		u.zero(e.largest)
		MOVQ(chunks, n)
		loop("chunkErrors", n, func() {
			for i := range chunk / u.lanes {
				off := i * u.bytes()
				e.take(i, at(t, off), at(w, off), at(d, off))
			}
			for _, p := range []reg.Register{t, w, d} {
				ADDQ(operand.U32(4*chunk), p)
			}
		})
		u.storeErrors(e.rd, e.ee, e.largest, dst)
		if drifting && u.wide() {
			u.storeThree(e.vd, e.ev, e.vv, drifts)
			ADDQ(step, drifts)
		}
		ADDQ(operand.U8(4), absmax)
		ADDQ(step, dst)
	})
}

// errorSums are the accumulators of errors over a block.
type errorSums struct {
	unit
	drifting           bool
	points             table          // times the scale unless drifting
	scale              reg.VecVirtual // if drifting
	rd, ee, vd, ev, vv lane16
	largest            reg.VecVirtual
}

// take adds register i of a chunk, with ranks in t.
func (e *errorSums) take(i int, t, w, d operand.Mem) {
	rank, x := e.vec(), e.vec()
	VMOVUPS(t, rank)
	VMOVUPS(d, x)
	point := e.lookUp(e.points, rank)
	v := point
	if e.drifting {
		v = e.vec()
		if e.wide() {
			e.addProduct(e.vd, i, point, x)
			e.addProduct(e.vv, i, point, point)
		} else {
			VMOVUPS(point, t)
		}
		VMULPS(e.scale, point, v)
	}
	VSUBPS(w, v, v)
	e.addProduct(e.rd, i, v, x)
	VSUBPS(x, v, v)
	e.addProduct(e.ee, i, v, v)
	switch {
	case e.drifting && e.wide():
		e.addProduct(e.ev, i, v, point)
	case e.drifting:
		VMOVUPS(v, w)
	}
	e.maxMagnitude(v, e.largest)
}

// storeErrors folds RD, EE and the largest error and stores them at dst.
func (u unit) storeErrors(rd, ee lane16, largest reg.VecVirtual, dst reg.Register) {
	p, h := u.foldPair(u.foldTo4(rd), u.foldTo4(ee)), u.vec()
	VPERMILPS(operand.U8(0xb1), p, h.AsX())
	VADDPS(h.AsX(), p, p)
	VMOVSS(p, at(dst, sumRD))
	VPERMILPS(operand.U8(0x4e), p, p)
	VMOVSS(p, at(dst, sumEE))
	u.foldMax(largest)
	VMOVD(largest.AsX(), at(dst, sumMaxE))
}

// driftsOfErrors sums VD, EV and VV over all blocks of V in t and E in w.
func (u unit) driftsOfErrors() {
	v, e, d := load("t"), load("w"), load("d")
	dst, step, blocks, chunks := load("drifts"), load("step"), load("blocks"), load("chunks")
	loop("drifts", blocks, func() {
		vd, ev, vv, n := u.newLanes(), u.newLanes(), u.newLanes(), GP64()
		MOVQ(chunks, n)
		loop("chunkDrifts", n, func() {
			for i := range chunk / u.lanes {
				point := u.vec()
				VMOVUPS(at(v, i*u.bytes()), point)
				u.addProduct(vd, i, at(d, i*u.bytes()), point)
				u.addProduct(ev, i, at(e, i*u.bytes()), point)
				u.addProduct(vv, i, point, point)
			}
			for _, p := range []reg.Register{v, e, d} {
				ADDQ(operand.U32(4*chunk), p)
			}
		})
		u.storeThree(vd, ev, vv, dst)
		ADDQ(step, dst)
	})
}

// storeThree folds three sums and stores them at dst, and the last again behind
// them.
func (u unit) storeThree(a, b, c lane16, dst reg.Register) {
	x, y, z := u.foldTo4(a), u.foldTo4(b), u.foldTo4(c)
	VMOVUPS(u.foldPairs(u.foldPair(x, y), u.foldPair(z, z)), at(dst, 0))
}

// drift4 sums what a scale that moves adds to the figures.
func (u unit) drift4() {
	u.text("drift4",
		"drifts *float32, step int, w, d *float32, codes *byte, absmax, scales *float32, table *[16]float32, blocks int, chunks int)",
		"sets VD, EV, VV and MaxE of blocks of 64*chunks codes with scales absmax that\n"+
			"become scales, both of them finite.")
	dst, w, d, codes := load("drifts"), load("w"), load("d"), load("codes")
	absmax, scales := load("absmax"), load("scales")
	dec, points := u.newDecoder(), load("table")
	values := table(u.vecs(16 / u.lanes))
	for i, v := range values {
		VMOVUPS(at(points, i*u.bytes()), v)
	}
	step, blocks, chunks := load("step"), load("blocks"), load("chunks")
	loop("block", blocks, func() {
		before, after := u.vec(), u.vec()
		VBROADCASTSS(at(absmax, 0), before)
		VBROADCASTSS(at(scales, 0), after)
		vd, ev, vv, largest := u.newLanes(), u.newLanes(), u.newLanes(), u.vec()
		u.zero(largest)
		n := GP64()
		MOVQ(chunks, n)
		loop("chunk", n, func() {
			for i := range chunk / u.lanes {
				v, x, e := dec.decode(values, at(codes, i*u.lanes/2)), u.vec(), u.vec()
				VMOVUPS(at(d, i*u.bytes()), x)
				u.addProduct(vd, i, v, x)
				VMULPS(before, v, e)
				VSUBPS(at(w, i*u.bytes()), e, e)
				VSUBPS(x, e, e)
				u.addProduct(ev, i, e, v)
				VMULPS(after, v, e)
				VSUBPS(at(w, i*u.bytes()), e, e)
				VSUBPS(x, e, e)
				u.maxMagnitude(e, largest)
				u.addProduct(vv, i, v, v)
			}
			ADDQ(operand.U8(chunk/2), codes)
			ADDQ(operand.U32(4*chunk), w)
			ADDQ(operand.U32(4*chunk), d)
		})
		u.storeThree(vd, ev, vv, dst)
		u.foldMax(largest)
		VMOVD(largest.AsX(), at(dst, driftMaxE))
		ADDQ(operand.U8(4), absmax)
		ADDQ(operand.U8(4), scales)
		ADDQ(step, dst)
	})
	end()
}

// countChanged adds to n how many nibbles of packed, 32 bytes, differ from those
// at old. It overwrites packed.
func (u unit) countChanged(n reg.GPVirtual, packed reg.Register, old operand.Mem) {
	for i, mask := range []operand.Mem{constant("low", 0x0f0f0f0f), constant("high", 0xf0f0f0f0)} {
		bits := GP32()
		if u.wide() {
			if i == 0 {
				VPXORD(old, packed, packed)
			}
			differ := K()
			VPTESTMB(mask, packed, differ)
			KMOVD(differ, bits)
			POPCNTL(bits, bits)
			ADDQ(bits.As64(), n)
			continue
		}
		zero, half := YMM(), YMM()
		if i == 0 {
			VPXOR(old, packed, packed)
			ADDQ(operand.U8(chunk), n)
		}
		VPXOR(zero, zero, zero)
		VPAND(mask, packed, half)
		VPCMPEQB(zero, half, half)
		VPMOVMSKB(half, bits)
		POPCNTL(bits, bits)
		SUBQ(bits.As64(), n)
	}
}
