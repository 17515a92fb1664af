// Command gen writes the vector kernels of package model for amd64.
//
// Each exists for AVX2 with FMA and for AVX-512 and returns the bits of its twin
// in Go; the products of integers also for AVX-512 with VNNI.
package main

import (
	"fmt"
	"math"
	"strings"

	"github.com/mmcloughlin/avo/attr"
	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Sizes of package model.
const (
	tileRows  = 12
	panelCols = 32
	chainLen  = 48
)

func main() {
	ConstraintExpr("amd64,gc,!noasm")
	for _, u := range []unit{{name: "AVX2", lanes: 8}, {name: "AVX512", lanes: 16}} {
		u.dot()
		u.dotPairs()
		u.topBits()
		u.roundAll(1)
		u.roundAll(2)
		u.exp()
		u.divide()
		u.scale()
	}
	v := unit{name: "VNNI", lanes: 16, vnni: true}
	v.dotPairs()
	v.dotQuads()
	Generate()
}

// unit is an instruction set with registers of so many float32 lanes.
type unit struct {
	name  string
	lanes int
	vnni  bool // multiplies and adds integers at once
}

func (u unit) wide() bool { return u.lanes == 16 }

func (u unit) vec() reg.VecVirtual {
	if u.wide() {
		return ZMM()
	}
	return YMM()
}

func (u unit) bytes() int { return 4 * u.lanes }

func text(name, signature, doc string) {
	TEXT(name, NOSPLIT, "func("+signature)
	Pragma("noescape")
	Doc(strings.Split(name+" "+doc, "\n")...)
}

// broadcast returns a register filled with a float32 argument.
func (u unit) broadcast(name string) reg.VecVirtual {
	v := u.vec()
	m, err := Param(name).Resolve()
	if err != nil {
		panic(err)
	}
	VBROADCASTSS(m.Addr, v)
	return v
}

func load(name string) reg.Register { return Load(Param(name), GP64()) }

func at(p reg.Register, off int) operand.Mem { return operand.Mem{Base: p, Disp: off} }

func (u unit) zero(v operand.Op) {
	if u.wide() {
		VPXORD(v, v, v)
	} else {
		VPXOR(v, v, v)
	}
}

// dot holds 12x32 sums in registers with AVX-512, 6x16 at a time with AVX2.
func (u unit) dot() {
	text("dot"+u.name, "y *float32, stride int, x *float32, w *float32, k int, add int)",
		"sets y [12, 32], rows stride apart, to the product of x [k][12] and w [k][32],\n"+
			"chains of 48 terms added in order. If add is not 0, it is added to y. k is at\n"+
			"least 1.")
	y, stride := load("y"), load("stride")
	x, w := load("x"), load("w")
	k, add := load("k"), load("add")
	SHLQ(operand.U8(2), stride)
	rows := tileRows
	if !u.wide() {
		rows = tileRows / 2
	}
	u.parts(y, stride, rows, func(name string, r0, c0 int) {
		u.dotPart(name, y, stride, x, w, k, add, r0, c0, rows)
	})
}

// parts ends a kernel with the parts of a tile whose sums fit into registers, so many rows
// each. y is at the first row of each.
func (u unit) parts(y, stride reg.Register, rows int, part func(name string, r0, c0 int)) {
	for r0 := 0; r0 < tileRows; r0 += rows {
		for c0 := 0; c0 < panelCols; c0 += 2 * u.lanes {
			part(fmt.Sprintf("%dx%d", r0, c0), r0, c0)
		}
		if r0+rows < tileRows {
			for range rows {
				ADDQ(stride, y)
			}
		}
	}
	VZEROUPPER()
	RET()
}

func (u unit) dotPart(name string, y, stride, x, w, k, add reg.Register, r0, c0, rows int) {
	px, pw, left, more := GP64(), GP64(), GP64(), GP64()
	MOVQ(x, px)
	MOVQ(w, pw)
	MOVQ(k, left)
	MOVQ(add, more)
	chain, term, store := "chain"+name, "term"+name, "store"+name
	Label(chain)
	acc := u.sums(2 * rows)
	n := GP64()
	MOVQ(operand.U32(chainLen), n)
	CMPQ(left, n)
	CMOVQLT(left, n)
	SUBQ(n, left)
	Label(term)
	w0, w1 := u.vec(), u.vec()
	VMOVUPS(at(pw, 4*c0), w0)
	VMOVUPS(at(pw, 4*c0+u.bytes()), w1)
	if u.wide() { // w and x are seldom in the first cache
		const ahead = 12
		PREFETCHT0(at(pw, ahead*4*panelCols))
		PREFETCHT0(at(pw, ahead*4*panelCols+u.bytes()))
		PREFETCHT0(at(px, 1024))
	}
	for r := range rows {
		v := u.vec()
		VBROADCASTSS(at(px, 4*(r0+r)), v)
		VFMADD231PS(w0, v, acc[2*r])
		VFMADD231PS(w1, v, acc[2*r+1])
	}
	ADDQ(operand.U8(4*tileRows), px)
	ADDQ(operand.U32(4*panelCols), pw)
	DECQ(n)
	JNZ(operand.LabelRef(term))

	p := GP64()
	MOVQ(y, p)
	u.put(store, y, p, stride, more, acc, c0)
	MOVQ(operand.U32(1), more)
	TESTQ(left, left)
	JNZ(operand.LabelRef(chain))
}

// sums are n registers of zeros.
func (u unit) sums(n int) []reg.VecVirtual {
	acc := make([]reg.VecVirtual, n)
	for i := range acc {
		acc[i] = u.vec()
		u.zero(acc[i])
	}
	return acc
}

// put stores sums, two registers a row, in columns c0 of rows from y on, and before
// that adds what is there if more is not 0. p is y and gets used up.
func (u unit) put(store string, y, p, stride, more reg.Register, acc []reg.VecVirtual, c0 int) {
	rows := len(acc) / 2
	TESTQ(more, more)
	JZ(operand.LabelRef(store))
	for r := range rows {
		VADDPS(at(p, 4*c0), acc[2*r], acc[2*r])
		VADDPS(at(p, 4*c0+u.bytes()), acc[2*r+1], acc[2*r+1])
		if r+1 < rows {
			ADDQ(stride, p)
		}
	}
	MOVQ(y, p)
	Label(store)
	for r := range rows {
		VMOVUPS(acc[2*r], at(p, 4*c0))
		VMOVUPS(acc[2*r+1], at(p, 4*c0+u.bytes()))
		if r+1 < rows {
			ADDQ(stride, p)
		}
	}
}

var constants = map[uint32]operand.Mem{}

// word returns 64 bytes of read-only memory that repeat bits.
func word(bits uint32) operand.Mem {
	m, ok := constants[bits]
	if !ok {
		m = GLOBL(fmt.Sprintf("word%08x", bits), attr.RODATA|attr.NOPTR)
		for i := range 16 {
			DATA(4*i, operand.U32(bits))
		}
		constants[bits] = m
	}
	return m
}

func number(v float32) operand.Mem { return word(math.Float32bits(v)) }

// exp follows exp32 of package model step by step.
func (u unit) exp() {
	text("exp"+u.name, "x *float32, n int, shift float32)",
		fmt.Sprintf("replaces n times %d numbers by the exponentials of x-shift; n is at least 1.", u.lanes))
	x, n, shift := load("x"), load("n"), u.broadcast("shift")
	Label("next")
	v, t, k, r := u.vec(), u.vec(), u.vec(), u.vec()
	VMOVUPS(at(x, 0), v)
	VSUBPS(shift, v, v)
	VMULPS(number(1.44269504088896341), v, t)
	VADDPS(number(3<<22), t, t)
	VSUBPS(number(3<<22), t, k)
	part := u.vec()
	VMULPS(number(0.693359375), k, part)
	VSUBPS(part, v, r)
	VMULPS(number(-2.12194440e-4), k, part)
	VSUBPS(part, r, r)
	y := u.vec()
	VMULPS(number(1.9875691500e-4), r, y)
	for _, c := range []float32{1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1} {
		VADDPS(number(c), y, y)
		VMULPS(r, y, y)
	}
	VADDPS(number(5.0000001201e-1), y, y)
	VMULPS(r, r, part)
	VMULPS(part, y, y)
	VADDPS(r, y, y)
	VADDPS(number(1), y, y)
	VPADDD(word(127), t, t) // the integer is in the last bits of t
	VPSLLD(operand.U8(23), t, t)
	VMULPS(t, y, y)
	u.pick(v, y, 17, -87.33, 0)
	u.pick(v, y, 30, 88.37, float32(math.Inf(1)))
	if u.wide() {
		m := K()
		VCMPPS(operand.U8(3), v, v, m)
		VBLENDMPS(v, y, m, y)
	} else {
		VCMPPS(operand.U8(3), v, v, part)
		VBLENDVPS(part, v, y, y)
	}
	VMOVUPS(y, at(x, 0))
	ADDQ(operand.U8(uint8(u.bytes())), x)
	DECQ(n)
	JNZ(operand.LabelRef("next"))
	VZEROUPPER()
	RET()
}

func (u unit) topBits() {
	text("topBits"+u.name, "x *float32, n int, most *uint32)",
		fmt.Sprintf("leaves the largest bits but for the sign of each lane of n times %d numbers\nin most; n is at least 1.", u.lanes))
	x, n, most := load("x"), load("n"), load("most")
	v, m := u.vec(), u.vec()
	u.zero(m)
	Label("next")
	VMOVUPS(at(x, 0), v)
	VANDPS(word(1<<31-1), v, v)
	VPMAXUD(v, m, m)
	ADDQ(operand.U8(uint8(u.bytes())), x)
	DECQ(n)
	JNZ(operand.LabelRef("next"))
	VMOVUPS(m, at(most, 0))
	VZEROUPPER()
	RET()
}

// roundAll follows roundAllGo of package model step by step, for integers of so many
// bytes.
func (u unit) roundAll(size int) {
	name, kind := "roundBytes", "int8"
	if size == 2 {
		name, kind = "roundShorts", "int16"
	}
	text(name+u.name, fmt.Sprintf("dst *%s, x *float32, n int, per float32)", kind),
		fmt.Sprintf("rounds n times %d numbers times per to integers that fit; n is at least 1.", u.lanes))
	dst, x, n := load("dst"), load("x"), load("n")
	per, v := u.broadcast("per"), u.vec()
	Label("next")
	VMULPS(at(x, 0), per, v)
	VADDPS(number(3<<22), v, v)
	switch {
	case u.wide() && size == 1:
		VPMOVDB(v, at(dst, 0))
	case u.wide():
		VPMOVDW(v, at(dst, 0))
	default:
		shift := operand.U8(32 - 8*size) // what is not of the integer
		VPSLLD(shift, v, v)
		VPSRAD(shift, v, v)
		low, high := v.AsX(), XMM()
		VEXTRACTI128(operand.U8(1), v, high)
		VPACKSSDW(high, low, low)
		if size == 1 {
			VPACKSSWB(low, low, low)
			VMOVQ(low, at(dst, 0))
		} else {
			VMOVDQU(low, at(dst, 0))
		}
	}
	ADDQ(operand.U8(uint8(size*u.lanes)), dst)
	ADDQ(operand.U8(uint8(u.bytes())), x)
	DECQ(n)
	JNZ(operand.LabelRef("next"))
	VZEROUPPER()
	RET()
}

func (u unit) divide() {
	text("divide"+u.name, "x *float32, n int, d float32)", fmt.Sprintf("divides n times %d numbers by d; n is at least 1.", u.lanes))
	x, n := load("x"), load("n")
	d, v := u.broadcast("d"), u.vec()
	Label("next")
	VMOVUPS(at(x, 0), v)
	VDIVPS(d, v, v)
	VMOVUPS(v, at(x, 0))
	ADDQ(operand.U8(uint8(u.bytes())), x)
	DECQ(n)
	JNZ(operand.LabelRef("next"))
	VZEROUPPER()
	RET()
}

func (u unit) scale() {
	text("scale"+u.name, "x *float32, n int, by float32, most *float32)",
		fmt.Sprintf("multiplies n times %d numbers by a factor and leaves the largest of each lane,\nand of what is there, in most; NaN does not count. n is at least 1.", u.lanes))
	x, n, most := load("x"), load("n"), load("most")
	by, v, m := u.broadcast("by"), u.vec(), u.vec()
	VMOVUPS(at(most, 0), m)
	Label("next")
	VMULPS(at(x, 0), by, v)
	VMOVUPS(v, at(x, 0))
	VMAXPS(m, v, m) // the second source, m, if v is NaN
	ADDQ(operand.U8(uint8(u.bytes())), x)
	DECQ(n)
	JNZ(operand.LabelRef("next"))
	VMOVUPS(m, at(most, 0))
	VZEROUPPER()
	RET()
}

// pick sets y to value where v compares with bound.
func (u unit) pick(v, y reg.VecVirtual, compare uint8, bound, value float32) {
	other := u.vec()
	VMOVUPS(number(value), other)
	if u.wide() {
		m := K()
		VCMPPS(operand.U8(compare), number(bound), v, m)
		VBLENDMPS(other, y, m, y)
		return
	}
	m := u.vec()
	VCMPPS(operand.U8(compare), number(bound), v, m)
	VBLENDVPS(m, other, y, y)
}
