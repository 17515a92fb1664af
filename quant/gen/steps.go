package main

import (
	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// rounding is the float format a value is rounded to.
type rounding string

const (
	toF32  rounding = "F32"
	toF16  rounding = "F16"
	toBF16 rounding = "BF16"
)

// add sums two vectors.
func (u unit) add() {
	u.text("add", "dst, x, y *float32, chunks int) (nan int)",
		"sets dst to x+y, 64 elements a chunk. nan is not 0 if a sum is NaN.")
	dst, x, y, n := load("dst"), load("x"), load("y"), load("chunks")
	flag := u.newFlag()
	loop("chunk", n, func() {
		v := u.vecs(chunk / u.lanes)
		for i := range v {
			VMOVUPS(at(x, i*u.bytes()), v[i])
			VADDPS(at(y, i*u.bytes()), v[i], v[i])
			VMOVUPS(v[i], at(dst, i*u.bytes()))
		}
		for i := 0; i < len(v); i += 2 {
			flag.unordered(v[i], v[i+1])
		}
		for _, p := range []reg.Register{dst, x, y} {
			ADDQ(operand.U32(4*chunk), p)
		}
	})
	flag.store()
	end()
}

// flag notes whether NaN was seen.
type flag struct {
	unit
	lanes reg.VecVirtual
	mask  reg.OpmaskVirtual
}

func (u unit) newFlag() flag {
	f := flag{unit: u}
	if u.wide() {
		f.mask = K()
		KXORW(f.mask, f.mask, f.mask)
	} else {
		f.lanes = u.vec()
		u.zero(f.lanes)
	}
	return f
}

// unordered notes NaN in a or b.
func (f flag) unordered(a, b reg.VecVirtual) {
	const unordered = 3
	if f.wide() {
		k := K()
		VCMPPS(operand.U8(unordered), a, b, k)
		KORW(k, f.mask, f.mask)
	} else {
		v := f.vec()
		VCMPPS(operand.U8(unordered), a, b, v)
		f.or(v, f.lanes, f.lanes)
	}
}

// store returns the flag as the kernel's result.
func (f flag) store() {
	r := GP32()
	if f.wide() {
		KMOVW(f.mask, r)
	} else {
		VMOVMSKPS(f.lanes, r)
	}
	Store(r.As64(), ReturnIndex(0))
}

// absmax finds the largest magnitudes of blocks.
func (u unit) absmax() {
	u.text("absmax", "dst, src *float32, blocks int, chunks int)",
		"sets dst[b] to the largest magnitude of a block of 64*chunks values, found by\n"+
			"comparing bits: NaN, with any payload, exceeds infinity.")
	dst, src, blocks, chunks := load("dst"), load("src"), load("blocks"), load("chunks")
	sign := u.set("magnitude", 0x7fffffff)
	loop("block", blocks, func() {
		m := u.vecs(2)
		u.zero(m[0])
		u.zero(m[1])
		n := GP64()
		MOVQ(chunks, n)
		loop("chunk", n, func() {
			for i := range chunk / u.lanes {
				v := u.vec()
				u.and(at(src, i*u.bytes()), sign, v)
				VPMAXUD(v, m[i%2], m[i%2])
			}
			ADDQ(operand.U32(4*chunk), src)
		})
		VPMAXUD(m[1], m[0], m[0])
		u.foldMax(m[0])
		VMOVD(m[0].AsX(), at(dst, 0))
		ADDQ(operand.U8(4), dst)
	})
	end()
}

// foldMax reduces v to its largest lane, lane 0.
func (u unit) foldMax(v reg.VecVirtual) {
	x := u.vec()
	if u.wide() {
		VEXTRACTI64X4(operand.U8(1), v, x.AsY())
		VPMAXUD(x.AsY(), v.AsY(), v.AsY())
		VEXTRACTI32X4(operand.U8(1), v.AsY(), x.AsX())
	} else {
		VEXTRACTI128(operand.U8(1), v, x.AsX())
	}
	VPMAXUD(x.AsX(), v.AsX(), v.AsX())
	VPSHUFD(operand.U8(0x4e), v.AsX(), x.AsX())
	VPMAXUD(x.AsX(), v.AsX(), v.AsX())
	VPSHUFD(operand.U8(0xb1), v.AsX(), x.AsX())
	VPMAXUD(x.AsX(), v.AsX(), v.AsX())
}

// rounder holds the constants to round to a format.
type rounder struct {
	unit
	to             rounding
	one, bias, top reg.VecVirtual
}

func (u unit) newRounder(to rounding) rounder {
	r := rounder{unit: u, to: to}
	if to == toBF16 {
		r.one, r.bias, r.top = u.set("one", 1), u.set("bias", 0x7fff), u.set("top", 0xffff0000)
	}
	return r
}

// round rounds v in place, to nearest even. v may be infinite; bfloat16 takes
// no NaN.
func (r rounder) round(v reg.VecVirtual) {
	switch r.to {
	case toF16:
		VCVTPS2PH(operand.U8(0), v, r.half(v))
		VCVTPH2PS(r.half(v), v)
	case toBF16:
		x := r.vec()
		r.bump(v, x)
		r.and(r.top, v, v)
	}
}

// bump rounds v such that its upper 16 bits are the bfloat16 number; x is spare.
func (r rounder) bump(v, x reg.VecVirtual) {
	VPSRLD(operand.U8(16), v, x)
	r.and(r.one, x, x)
	VPADDD(r.bias, v, v)
	VPADDD(x, v, v)
}

// half is the register that holds as many 16-bit numbers as v holds lanes.
func (u unit) half(v reg.VecVirtual) reg.Register {
	if u.wide() {
		return v.AsY()
	}
	return v.AsX()
}

// canonical sets the lanes of v that are NaN in src to 0x7fc00000.
func (u unit) canonical(v, src, nan reg.VecVirtual) {
	const unordered = 3
	if u.wide() {
		k := K()
		VCMPPS(operand.U8(unordered), src, src, k)
		VMOVAPS(nan, k, v)
	} else {
		m := u.vec()
		VCMPPS(operand.U8(unordered), src, src, m)
		VBLENDVPS(m, nan, v, v)
	}
}

// round rounds values that stay float32.
func (u unit) round(to rounding) {
	u.text("round"+string(to), "x *float32, chunks int)",
		"rounds x to nearest even, 64 elements a chunk, as RoundTo does for any input.")
	x, n := load("x"), load("chunks")
	r := u.newRounder(to)
	nan := u.set("nan", 0x7fc00000)
	loop("chunk", n, func() {
		for i := range chunk / u.lanes {
			v, src := u.vec(), u.vec()
			VMOVUPS(at(x, i*u.bytes()), v)
			if to == toBF16 {
				VMOVAPS(v, src)
				r.round(v)
				u.canonical(v, src, nan)
			} else {
				r.round(v)
			}
			VMOVUPS(v, at(x, i*u.bytes()))
		}
		ADDQ(operand.U32(4*chunk), x)
	})
	end()
}

// decode widens 16-bit numbers.
func (u unit) decode(from rounding) {
	u.text("decode"+string(from), "dst *float32, src *byte, chunks int)",
		"widens 64 elements a chunk, as DecodeFloats does for any input.")
	dst, src, n := load("dst"), load("src"), load("chunks")
	loop("chunk", n, func() {
		for i := range chunk / u.lanes {
			v := u.vec()
			if from == toF16 {
				VCVTPH2PS(at(src, i*u.bytes()/2), v)
			} else {
				VPMOVZXWD(at(src, i*u.bytes()/2), v)
				VPSLLD(operand.U8(16), v, v)
			}
			VMOVUPS(v, at(dst, i*u.bytes()))
		}
		ADDQ(operand.U32(2*chunk), src)
		ADDQ(operand.U32(4*chunk), dst)
	})
	end()
}

// encode stores values as 16-bit numbers.
func (u unit) encode(to rounding) {
	u.text("encode"+string(to), "dst *byte, src *float32, chunks int)",
		"rounds and stores 64 elements a chunk, as EncodeFloats does for any input.")
	dst, src, n := load("dst"), load("src"), load("chunks")
	r := u.newRounder(to)
	nan := u.set("nan", 0x7fc00000)
	number := func(mem operand.Mem) reg.VecVirtual {
		v, in, x := u.vec(), u.vec(), u.vec()
		VMOVUPS(mem, v)
		VMOVAPS(v, in)
		r.bump(v, x)
		u.canonical(v, in, nan)
		VPSRLD(operand.U8(16), v, v)
		return v
	}
	loop("chunk", n, func() {
		for i := 0; i < chunk/u.lanes; i++ {
			switch {
			case to == toF16:
				v := u.vec()
				VMOVUPS(at(src, i*u.bytes()), v)
				VCVTPS2PH(operand.U8(0), v, at(dst, i*u.bytes()/2))
			case u.wide():
				VPMOVDW(number(at(src, i*u.bytes())), at(dst, i*u.bytes()/2))
			default:
				v, w := number(at(src, i*u.bytes())), number(at(src, (i+1)*u.bytes()))
				VPACKUSDW(w, v, v)
				VPERMQ(operand.U8(0xd8), v, v)
				VMOVDQU(v, at(dst, i*u.bytes()/2))
				i++
			}
		}
		ADDQ(operand.U32(4*chunk), src)
		ADDQ(operand.U32(2*chunk), dst)
	})
	end()
}
