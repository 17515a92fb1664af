package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// farthest finds how far values are from an offset.
func (u unit) farthest() {
	u.text("farthest", "x *float32, chunks int, offset float32) (m float32)",
		"returns the largest |x-offset| of 64*chunks values that is no NaN.")
	x, n := load("x"), load("chunks")
	offset, sign := u.broadcast("offset"), u.set("magnitude", 0x7fffffff)
	m := u.vecs(2)
	u.zero(m[0])
	u.zero(m[1])
	loop("chunk", n, func() {
		for i := range chunk / u.lanes {
			v := u.vec()
			VMOVUPS(at(x, i*u.bytes()), v)
			VSUBPS(offset, v, v)
			u.and(sign, v, v)
			VMAXPS(m[i%2], v, m[i%2]) // of two the first here, if either is NaN
		}
		ADDQ(operand.U32(4*chunk), x)
	})
	VMAXPS(m[1], m[0], m[0])
	u.foldMax(m[0])
	Store(m[0].AsX(), ReturnIndex(0))
	end()
}

// place finds where the CPU looks up codes of nested scales.
func (u unit) place() {
	u.text("place", "dst *uint16, x *float32, chunks int, offset float32, inverse float32)",
		"sets dst to the places of 64*chunks values (x-offset)*inverse.")
	dst, x, n := load("dst"), load("x"), load("chunks")
	offset, inverse := u.broadcast("offset"), u.broadcast("inverse")
	least, one := u.set("minus", math.Float32bits(-1)), u.set("unit", math.Float32bits(1))
	half, last := u.set("half", math.Float32bits(0.5)), u.set("last", math.Float32bits(65535))
	number := func(i int) reg.VecVirtual {
		v := u.vec()
		VMOVUPS(at(x, i*u.bytes()), v)
		VSUBPS(offset, v, v)
		VMULPS(inverse, v, v)
		VMAXPS(least, v, v) // least, if v is NaN
		VMINPS(one, v, v)
		VADDPS(one, v, v)
		VMULPS(half, v, v)
		VFMADD213PS(half, last, v)
		VCVTTPS2DQ(v, v)
		return v
	}
	loop("chunk", n, func() {
		for i := 0; i < chunk/u.lanes; i++ {
			if u.wide() {
				VPMOVDW(number(i), at(dst, i*u.bytes()/2))
				continue
			}
			v, w := number(i), number(i+1)
			VPACKUSDW(w, v, v)
			VPERMQ(operand.U8(0xd8), v, v)
			VMOVDQU(v, at(dst, i*u.bytes()/2))
			i++
		}
		ADDQ(operand.U32(4*chunk), x)
		ADDQ(operand.U32(2*chunk), dst)
	})
	end()
}

// scale decodes nested scales.
func (u unit) scale() {
	u.text("scale", "dst *float32, codes *byte, points *[256]float32, chunks int, absmax float32, offset float32)",
		"sets dst to points[code]*absmax + offset for 64*chunks codes. absmax and offset\n"+
			"must be finite.")
	dst, codes, points, n := load("dst"), load("codes"), load("points"), load("chunks")
	absmax, offset := u.broadcast("absmax"), u.broadcast("offset")
	loop("chunk", n, func() {
		for i := range chunk / u.lanes {
			code, v := u.vec(), u.vec()
			VPMOVZXBD(at(codes, i*u.lanes), code)
			lookup := operand.Mem{Base: points, Index: code, Scale: 4}
			if u.wide() {
				all := K()
				KXNORW(all, all, all)
				VGATHERDPS(lookup, all, v)
			} else {
				all := u.vec()
				VPCMPEQD(all, all, all)
				VGATHERDPS(all, lookup, v)
			}
			VMULPS(absmax, v, v)
			VADDPS(offset, v, v)
			VMOVUPS(v, at(dst, i*u.bytes()))
		}
		ADDQ(operand.U8(chunk), codes)
		ADDQ(operand.U32(4*chunk), dst)
	})
	end()
}

// sum adds rows of 8 lanes for torch's mean.
func (u unit) sum() {
	u.text("sum", "acc *[4][8]float32, x *float32, groups int)",
		"adds groups of four rows of 8 lanes to acc.")
	acc, x, n := load("acc"), load("x"), load("groups")
	rows := u.vecs(32 / u.lanes)
	for i, v := range rows {
		VMOVUPS(at(acc, i*u.bytes()), v)
	}
	loop("group", n, func() {
		for i, v := range rows {
			VADDPS(at(x, i*u.bytes()), v, v)
		}
		ADDQ(operand.U32(128), x)
	})
	for i, v := range rows {
		VMOVUPS(v, at(acc, i*u.bytes()))
	}
	end()
}
