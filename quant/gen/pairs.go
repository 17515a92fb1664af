package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
)

// Kernels that round to pairs of integers. They do eight columns of a matrix: tiles
// have twelve, so that wider registers would be half empty.

// largest finds the largest of each of eight columns.
func (u unit) largest() {
	u.text("largest", "largest *uint32, x *float32, width, rows int)",
		"sets eight values to the bits of the largest of as many columns of x, rows a width apart, but for its sign.")
	dst, x, width, n := load("largest"), load("x"), load("width"), load("rows")
	SHLQ(operand.U8(2), width)
	magnitude, top, v := u.vec(), u.vec(), u.vec()
	VMOVUPS(constant("magnitude", 0x7fffffff), magnitude)
	u.zero(top)
	loop("row", n, func() {
		VPAND(at(x, 0), magnitude, v)
		VPMAXUD(v, top, top)
		ADDQ(width, x)
	})
	VMOVUPS(top, at(dst, 0))
	end()
}

// pairs rounds eight columns.
func (u unit) pairs() {
	u.text("pairs", "dst *int16, x, per *float32, width, k int)",
		"rounds eight columns of x [2k][width], times per, to integers of dst [k][width][2].")
	dst, x, width, n := load("dst"), load("x"), load("width"), load("k")
	per, whole := u.vec(), u.vec()
	p := load("per")
	VMOVUPS(at(p, 0), per)
	VMOVUPS(constant("wholes", math.Float32bits(3<<22)), whole)
	SHLQ(operand.U8(2), width)
	loop("pair", n, func() {
		a, b := u.vec(), u.vec()
		VMULPS(at(x, 0), per, a)
		VMULPS(indexed(x, width, 1, 0), per, b)
		VADDPS(whole, a, a)
		VADDPS(whole, b, b)
		VPSLLD(operand.U8(16), b, b)
		VPBLENDW(operand.U8(0xaa), b, a, a) // the lower halves of a, and of b above them
		VMOVUPS(a, at(dst, 0))
		LEAQ(operand.Mem{Base: x, Index: width, Scale: 2}, x)
		ADDQ(width, dst)
	})
	end()
}
