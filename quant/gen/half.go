package main

import (
	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
)

// deltaHalf is the sum of products of half-precision factors: four sums of every
// fourth k, unfused, added in order.
func (u unit) deltaHalf(to rounding) {
	u.text("deltaHalf"+string(to), "dst *float32, b *float32, a *float32, k int, blocks int, scale float32) (nan int)",
		"sets 64*blocks columns of a row as DeltaHalf does. a is the first of blocks\n"+
			"[k][64]. nan is not 0 if a sum or a result is NaN.")
	dst, b, a, k, blocks := load("dst"), load("b"), load("a"), load("k"), load("blocks")
	quads := GP64()
	MOVQ(k, quads)
	SHRQ(operand.U8(2), quads)
	next := GP64() // bytes of a block of a
	MOVQ(k, next)
	SHLQ(operand.U8(8), next)
	scale, flag := u.broadcast("scale"), u.newFlag()
	width := 4 // registers across
	if !u.wide() {
		width = 2
	}
	loop("block", blocks, func() {
		for col := 0; col < chunk; col += width * u.lanes {
			suffix := string(rune('A' + col/16))
			sums := u.vecs(4 * width)
			for _, v := range sums {
				u.zero(v)
			}
			pa, pb, n := GP64(), GP64(), GP64()
			LEAQ(at(a, 4*col), pa)
			MOVQ(b, pb)
			step := func(lane, row int) {
				v := u.vec()
				VBROADCASTSS(at(pb, 4*row), v)
				for j := range width {
					p := u.vec()
					VMULPS(at(pa, 4*chunk*row+j*u.bytes()), v, p)
					VADDPS(p, sums[lane*width+j], sums[lane*width+j])
				}
			}
			MOVQ(quads, n)
			TESTQ(n, n)
			JZ(operand.LabelRef("rest" + suffix))
			loop("quad"+suffix, n, func() {
				for lane := range 4 {
					step(lane, lane)
				}
				ADDQ(operand.U32(16*chunk), pa)
				ADDQ(operand.U8(16), pb)
			})
			Label("rest" + suffix)
			MOVQ(k, n)
			ANDQ(operand.U8(3), n)
			JZ(operand.LabelRef("add" + suffix))
			loop("one"+suffix, n, func() {
				step(0, 0)
				ADDQ(operand.U32(4*chunk), pa)
				ADDQ(operand.U8(4), pb)
			})
			Label("add" + suffix)
			for j := range width {
				for lane := 1; lane < 4; lane++ {
					VADDPS(sums[lane*width+j], sums[j], sums[j])
				}
				flag.unordered(sums[j], sums[j])
				u.round32(to, sums[j])
				VMULPS(scale, sums[j], sums[j])
				flag.unordered(sums[j], sums[j])
				u.round32(to, sums[j])
				VMOVUPS(sums[j], at(dst, 4*col+j*u.bytes()))
			}
		}
		ADDQ(next, a)
		ADDQ(operand.U32(4*chunk), dst)
	})
	flag.store()
	end()
}
