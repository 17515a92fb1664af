package main

import (
	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// transpose turns four rows, four columns at a time.
func transpose() {
	unit{}.text("transpose4", "dst *float32, dstStride int, src *float32, srcStride int, blocks int)",
		"writes 4*blocks columns of four rows of src as rows of dst, four numbers each.")
	dst, ds := load("dst"), load("dstStride")
	src, ss := load("src"), load("srcStride")
	n := load("blocks")
	SHLQ(operand.U8(2), ds)
	SHLQ(operand.U8(2), ss)
	ds3, ss3 := GP64(), GP64()
	LEAQ(operand.Mem{Base: ds, Index: ds, Scale: 2}, ds3)
	LEAQ(operand.Mem{Base: ss, Index: ss, Scale: 2}, ss3)
	rows := func(base, step, step3 reg.Register) []operand.Mem {
		return []operand.Mem{
			{Base: base},
			{Base: base, Index: step, Scale: 1},
			{Base: base, Index: step, Scale: 2},
			{Base: base, Index: step3, Scale: 1},
		}
	}
	Label("next")
	v := xmms(4)
	for i, m := range rows(src, ss, ss3) {
		VMOVUPS(m, v[i])
	}
	turn4(v, xmms(4))
	for i, m := range rows(dst, ds, ds3) {
		VMOVUPS(v[i], m)
	}
	ADDQ(operand.U8(16), src)
	LEAQ(operand.Mem{Base: dst, Index: ds, Scale: 4}, dst)
	DECQ(n)
	JNZ(operand.LabelRef("next"))
	RET()
}
