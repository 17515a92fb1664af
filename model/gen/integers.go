package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// terms add products of integers, several in 4 bytes, to sums, two registers a row: each
// of those at px, rows from r0 on, and at pw, columns from c0 on; last what is
// missing when all are through.
type terms struct {
	each func(px, pw reg.Register, r0, c0 int, acc []reg.VecVirtual)
	last func(r0 int, acc []reg.VecVirtual)
}

// dotPairs holds 12x32 sums in registers with AVX-512, 6x16 at a time with AVX2.
func (u unit) dotPairs() {
	rows := tileRows
	if !u.wide() {
		rows = tileRows / 2
	}
	u.dotIntegers("dotPairs"+u.name, "int16", 2, rows, u.pairTerms)
}

// dotQuads holds 12x32 sums in registers, with VNNI only: else pairs of the same integers are
// faster.
func (u unit) dotQuads() { u.dotIntegers("dotQuads"+u.name, "int8", 4, tileRows, u.quadTerms) }

// dotIntegers multiplies integers of which n take 4 bytes.
func (u unit) dotIntegers(name, kind string, n, rows int, prepare func() terms) {
	text(name, fmt.Sprintf("y *float32, stride int, x *%s, w *%[1]s, units *float32, k int, add int)", kind),
		fmt.Sprintf("sets y [12, 32], rows stride apart, to the exact product of x [k][12][%d] and\n"+
			"w [k][32][%[1]d], times the units of each row and then of each column, 12 and 32.\n"+
			"If add is not 0, it is added to y. k is at least 1.", n))
	y, stride := load("y"), load("stride")
	x, w, units := load("x"), load("w"), load("units")
	k, add := load("k"), load("add")
	SHLQ(operand.U8(2), stride)
	t := prepare()
	u.parts(y, stride, rows, func(name string, r0, c0 int) {
		px, pw, left, p := GP64(), GP64(), GP64(), GP64()
		MOVQ(x, px)
		MOVQ(w, pw)
		MOVQ(k, left)
		MOVQ(y, p)
		for range rows { // y is seldom in a cache
			PREFETCHT0(at(p, 4*c0))
			PREFETCHT0(at(p, 4*c0+u.bytes()))
			ADDQ(stride, p)
		}
		MOVQ(y, p)
		acc := u.sums(2 * rows)
		Label("term" + name)
		t.each(px, pw, r0, c0, acc)
		ADDQ(operand.U8(4*tileRows), px)
		ADDQ(operand.U32(4*panelCols), pw)
		DECQ(left)
		JNZ(operand.LabelRef("term" + name))
		if t.last != nil {
			t.last(r0, acc)
		}
		u.inUnits(units, r0, c0, acc)
		u.put("store"+name, y, p, stride, add, acc, c0)
	})
}

// inUnits makes numbers of sums.
func (u unit) inUnits(units reg.Register, r0, c0 int, acc []reg.VecVirtual) {
	w0, w1, v := u.vec(), u.vec(), u.vec()
	VMOVUPS(at(units, 4*(tileRows+c0)), w0)
	VMOVUPS(at(units, 4*(tileRows+c0)+u.bytes()), w1)
	for i, a := range acc {
		if i%2 == 0 {
			VBROADCASTSS(at(units, 4*(r0+i/2)), v)
		}
		VCVTDQ2PS(a, a)
		VMULPS(v, a, a)
		VMULPS([]reg.VecVirtual{w0, w1}[i%2], a, a)
	}
}

func (u unit) pairTerms() terms {
	w0, w1, v := u.vec(), u.vec(), u.vec()
	add := func(w, sum reg.VecVirtual) { accumulate("VPDPWSSD", v, w, sum) }
	if !u.vnni {
		part := u.vec()
		add = func(w, sum reg.VecVirtual) {
			VPMADDWD(w, v, part)
			VPADDD(part, sum, sum)
		}
	}
	return terms{each: func(px, pw reg.Register, r0, c0 int, acc []reg.VecVirtual) {
		VMOVUPS(at(pw, 4*c0), w0)
		VMOVUPS(at(pw, 4*c0+u.bytes()), w1)
		for i, a := range acc {
			if i%2 == 0 {
				VPBROADCASTD(at(px, 4*(r0+i/2)), v)
			}
			add([]reg.VecVirtual{w0, w1}[i%2], a)
		}
	}}
}

// quadTerms multiply bytes of x with those of w plus 128, which have no sign, and
// take 128 times the sums of x away at last.
func (u unit) quadTerms() terms {
	w0, w1, v := u.vec(), u.vec(), u.vec()
	flip, one, sums := u.vec(), u.vec(), u.vec()
	VMOVUPS(word(0x80808080), flip)
	VMOVUPS(word(0x01010101), one)
	u.zero(sums)
	mask, m := K(), GP32()
	MOVL(operand.U32(1<<tileRows-1), m)
	KMOVW(m, mask)
	store := AllocLocal(64)
	return terms{
		each: func(px, pw reg.Register, r0, c0 int, acc []reg.VecVirtual) {
			VPXORD(at(pw, 4*c0), flip, w0)
			VPXORD(at(pw, 4*c0+u.bytes()), flip, w1)
			VMOVDQU32_Z(at(px, 0), mask, v)
			accumulate("VPDPBUSD", v, one, sums)
			for i, a := range acc {
				if i%2 == 0 {
					VPBROADCASTD(at(px, 4*(r0+i/2)), v)
				}
				accumulate("VPDPBUSD", v, []reg.VecVirtual{w0, w1}[i%2], a)
			}
		},
		last: func(r0 int, acc []reg.VecVirtual) {
			VPSLLD(operand.U8(7), sums, sums)
			VMOVUPS(sums, store)
			for i, a := range acc {
				if i%2 == 0 {
					VPBROADCASTD(store.Offset(4*(r0+i/2)), v)
				}
				VPSUBD(v, a, a)
			}
		},
	}
}

// accumulate adds products of integers in v and w, without sign if they are bytes, to
// sums. avo does not have instructions of VNNI.
func accumulate(opcode string, v, w, sum reg.VecVirtual) {
	Instruction(&ir.Instruction{
		Opcode:   opcode,
		Operands: []operand.Op{v, w, sum},
		Inputs:   []operand.Op{v, w, sum},
		Outputs:  []operand.Op{sum},
		ISA:      []string{"AVX512VNNI"},
	})
}
