package main

import (
	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// dequantize8 decodes a piece of a row.
func (u unit) dequantize8() {
	u.text("dequantize8", "dst *float32, codes *byte, chunks int, scb float32)",
		"decodes 64 int8 values a chunk. scb must be finite.")
	dst, codes, n := load("dst"), load("codes"), load("chunks")
	scb := u.broadcast("scb")
	step := u.set("step", 0x3c010204) // 1/127
	loop("chunk", n, func() {
		for i := range chunk / u.lanes {
			v := u.vec()
			VPMOVSXBD(at(codes, i*u.lanes), v)
			VCVTDQ2PS(v, v)
			VMULPS(scb, v, v)
			VMULPS(step, v, v)
			VMOVUPS(v, at(dst, i*u.bytes()))
		}
		ADDQ(operand.U8(chunk), codes)
		ADDQ(operand.U32(4*chunk), dst)
	})
	end()
}

// quantize8 codes a piece of a row.
func (u unit) quantize8() {
	u.text("quantize8", "codes *byte, src *float32, chunks int, factor float32)",
		"rounds 64 finite values a chunk to float16 and codes them in steps of 1/factor.")
	codes, src, n := load("codes"), load("src"), load("chunks")
	factor := u.broadcast("factor")
	r := u.newRounder(toF16)
	loop("chunk", n, func() {
		for g := 0; g < chunk/u.lanes; g += 4 {
			var q []reg.VecVirtual
			for i := g; i < g+4; i++ {
				v := u.vec()
				VMOVUPS(at(src, i*u.bytes()), v)
				r.round(v)
				VMULPS(factor, v, v)
				VCVTPS2DQ(v, v)
				if u.wide() {
					VPMOVDB(v, at(codes, i*u.lanes))
				}
				q = append(q, v)
			}
			if !u.wide() {
				VPACKSSDW(q[1], q[0], q[0])
				VPACKSSDW(q[3], q[2], q[2])
				VPACKSSWB(q[2], q[0], q[0])
				VPERMD(q[0], u.order(), q[0])
				VMOVDQU(q[0], at(codes, g*u.lanes))
			}
		}
		ADDQ(operand.U8(chunk), codes)
		ADDQ(operand.U32(4*chunk), src)
	})
	end()
}
