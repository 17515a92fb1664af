package main

import (
	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// blockSum is the size of package quant's BlockSum, which begins with WW, DD,
// TT, RD, EE and MaxE.
const blockSum = 56

// sums are the accumulators of a block: 16 lanes of five sums in one or two
// registers each, and the largest error.
type sums struct {
	unit
	acc [5][]reg.VecVirtual
	max reg.VecVirtual
}

func (u unit) newSums() sums {
	s := sums{unit: u, max: u.vec()}
	u.zero(s.max)
	for i := range s.acc {
		s.acc[i] = u.vecs(16 / u.lanes)
		for _, v := range s.acc[i] {
			u.zero(v)
		}
	}
	return s
}

// take adds one register of elements, half of the 16 lanes or all. out is
// overwritten.
func (s sums) take(half int, w, d, t operand.Mem, out reg.VecVirtual) {
	add := func(i int, a, b operand.Op) {
		p := s.vec()
		VMULPS(a, b, p)
		VADDPS(p, s.acc[i][half], s.acc[i][half])
	}
	x := s.vec()
	VMOVUPS(w, x)
	VSUBPS(x, out, out)
	add(0, x, x)
	y := s.vec()
	VMOVUPS(d, y)
	add(1, y, y)
	add(3, out, y)
	VSUBPS(y, out, out)
	z := s.vec()
	VMOVUPS(t, z)
	add(2, z, z)
	add(4, out, out)
	s.maxMagnitude(out, s.max)
}

// foldPair adds lanes 2 and 3 of a and b to 0 and 1: a0, a1, b0, b1.
func (u unit) foldPair(a, b reg.VecVirtual) reg.Register {
	lo, hi := u.vec(), u.vec()
	VUNPCKLPD(b.AsX(), a.AsX(), lo.AsX())
	VUNPCKHPD(b.AsX(), a.AsX(), hi.AsX())
	VADDPS(hi.AsX(), lo.AsX(), lo.AsX())
	return lo.AsX()
}

// foldPairs adds neighbours: p0+p1, p2+p3, q0+q1, q2+q3.
func (u unit) foldPairs(p, q reg.Register) reg.Register {
	even, odd := u.vec(), u.vec()
	VSHUFPS(operand.U8(0x88), q, p, even.AsX())
	VSHUFPS(operand.U8(0xdd), q, p, odd.AsX())
	VADDPS(odd.AsX(), even.AsX(), even.AsX())
	return even.AsX()
}

// fold adds lane l+8 to lane l, then +4, +2 and +1, and stores the block.
func (s sums) fold(dst reg.Register) {
	var x [5]reg.VecVirtual
	for i, a := range s.acc {
		x[i] = s.foldTo4(a)
	}
	VMOVUPS(s.foldPairs(s.foldPair(x[0], x[1]), s.foldPair(x[2], x[3])), at(dst, 0))
	e, h := x[4].AsX(), s.vec()
	VPERMILPS(operand.U8(0x4e), e, h.AsX())
	VADDPS(h.AsX(), e, e)
	VPERMILPS(operand.U8(0xb1), e, h.AsX())
	VADDPS(h.AsX(), e, e)
	VMOVSS(e, at(dst, 16))
	s.foldMax(s.max)
	VMOVD(s.max.AsX(), at(dst, 20))
}

// foldTo4 adds the 16 lanes of an accumulator to 4.
func (s unit) foldTo4(a []reg.VecVirtual) reg.VecVirtual {
	v, h := a[0], s.vec()
	if s.wide() {
		VEXTRACTF64X4(operand.U8(1), v, h.AsY())
		VADDPS(h.AsY(), v.AsY(), v.AsY())
		VEXTRACTF32X4(operand.U8(1), v.AsY(), h.AsX())
	} else {
		VADDPS(a[1], v, v)
		VEXTRACTF128(operand.U8(1), v, h.AsX())
	}
	VADDPS(h.AsX(), v.AsX(), v.AsX())
	return v
}

// measure sums over whole blocks whose results are stored in a float format.
func (u unit) measure(f rounding) {
	name, kind, size := "measure", "*float32", 4
	if f != toF32 {
		name, kind, size = name+string(f), "*byte", 2
	}
	u.text(name, "sums *float32, w, d, t *float32, out "+kind+", blocks int, chunks int)",
		"sets WW, DD, TT, RD, EE and MaxE of blocks of 64*chunks elements. They hold if\n"+
			"DD, TT and EE are finite; otherwise an element may be NaN or infinite.")
	dst, w, d, t, out := load("sums"), load("w"), load("d"), load("t"), load("out")
	blocks, chunks := load("blocks"), load("chunks")
	loop("block", blocks, func() {
		s := u.newSums()
		n := GP64()
		MOVQ(chunks, n)
		loop("chunk", n, func() {
			for i := range chunk / u.lanes {
				off := i * u.bytes()
				v := u.widened(string(f), at(out, i*u.lanes*size))
				s.take(i%(16/u.lanes), at(w, off), at(d, off), at(t, off), v)
			}
			for _, p := range []reg.Register{w, d, t} {
				ADDQ(operand.U32(4*chunk), p)
			}
			ADDQ(operand.U32(uint32(size)*chunk), out)
		})
		s.fold(dst)
		ADDQ(operand.U8(blockSum), dst)
	})
	end()
}

// changed counts differing elements of blocks of 64, which are not in the sums
// that measure makes.
func (u unit) changed(f string, size int) {
	u.text("changed"+f, "sums *float32, old, now *byte, blocks int)",
		"sets Codes of blocks of 64 elements that are stored as "+f+".")
	dst, old, now, blocks := load("sums"), load("old"), load("now"), load("blocks")
	loop("block", blocks, func() {
		n := GP64()
		XORQ(n, n)
		if f == "Int8" {
			u.differingBytes(n, old, now)
		} else {
			for i := range chunk / u.lanes {
				off := i * u.lanes * size
				u.differing(n, u.widened(f, at(old, off)), u.widened(f, at(now, off)))
			}
		}
		MOVL(n.As32(), at(dst, sumCodes))
		ADDQ(operand.U32(chunk*uint32(size)), old)
		ADDQ(operand.U32(chunk*uint32(size)), now)
		ADDQ(operand.U8(blockSum), dst)
	})
	end()
}

// widened returns float numbers at mem as float32.
func (u unit) widened(f string, mem operand.Mem) reg.VecVirtual {
	v := u.vec()
	switch rounding(f) {
	case toF16:
		VCVTPH2PS(mem, v)
	case toBF16:
		VPMOVZXWD(mem, v)
		VPSLLD(operand.U8(16), v, v)
	default:
		VMOVUPS(mem, v)
	}
	return v
}

// differing adds to n how many lanes of a and b are different numbers. NaN is
// one number.
func (u unit) differing(n reg.GPVirtual, a, b reg.VecVirtual) {
	const notEqual, unordered = 4, 3
	bits := GP32()
	if u.wide() {
		differ, nanA, nanB := K(), K(), K()
		VCMPPS(operand.U8(notEqual), a, b, differ)
		VCMPPS(operand.U8(unordered), a, a, nanA)
		VCMPPS(operand.U8(unordered), b, b, nanA, nanB)
		KANDNW(differ, nanB, differ)
		KMOVW(differ, bits)
	} else {
		differ, nan := u.vec(), u.vec()
		VCMPPS(operand.U8(notEqual), a, b, differ)
		VCMPPS(operand.U8(unordered), a, a, nan)
		VCMPPS(operand.U8(unordered), b, b, b)
		VPAND(nan, b, b)
		VPANDN(differ, b, differ)
		VMOVMSKPS(differ, bits)
	}
	POPCNTL(bits, bits)
	ADDQ(bits.As64(), n)
}

// differingBytes adds to n how many of 64 bytes differ.
func (u unit) differingBytes(n reg.GPVirtual, old, now reg.Register) {
	bits := GP64()
	if u.wide() {
		v, differ := u.vec(), K()
		VMOVDQU8(at(old, 0), v)
		VPCMPB(operand.U8(4), at(now, 0), v, differ)
		KMOVQ(differ, bits)
		POPCNTQ(bits, bits)
		ADDQ(bits, n)
		return
	}
	ADDQ(operand.U8(chunk), n)
	for off := 0; off < chunk; off += u.bytes() {
		v := u.vec()
		VMOVDQU(at(old, off), v)
		VPCMPEQB(at(now, off), v, v)
		VPMOVMSKB(v, bits.As32())
		POPCNTL(bits.As32(), bits.As32())
		SUBQ(bits, n)
	}
}
