package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/attr"
	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

const rodata = attr.RODATA | attr.NOPTR

// delta is one FMA chain over 64 columns of so many rows, for any number of
// blocks of 64. A comes in blocks of [rank][64], so that a chain reads one
// stream of memory; rows share it. AVX-512 holds 4x64 sums in registers, AVX2
// 4x16 at a time.
func (u unit) delta(rows int) {
	u.text(fmt.Sprintf("delta%d", rows),
		"dst *float32, stride int, b *float32, rank int, a *float32, next int, k int, blocks int, scale float32, add int) (nan int)",
		fmt.Sprintf("sets dst [%d, 64*blocks] to scale times one chain of k products.\n"+
			"stride, rank and next are the distances between rows of dst, rows of b and\n"+
			"blocks of a. If add is not 0, dst is added before scale applies. nan is not 0\n"+
			"if a result is NaN.", rows))
	dst, stride := load("dst"), load("stride")
	b, rank := load("b"), load("rank")
	a, next := load("a"), load("next")
	k, blocks, add := load("k"), load("blocks"), load("add")
	SHLQ(operand.U8(2), stride)
	SHLQ(operand.U8(2), rank)
	SHLQ(operand.U8(2), next)
	var stride3, rank3 reg.GPVirtual
	if rows > 1 {
		stride3, rank3 = GP64(), GP64()
		LEAQ(indexed(stride, stride, 2, 0), stride3)
		LEAQ(indexed(rank, rank, 2, 0), rank3)
	}
	row := func(base, step, step3 reg.Register, r, off int) operand.Mem {
		switch r {
		case 0:
			return at(base, off)
		case 1:
			return indexed(base, step, 1, off)
		case 2:
			return indexed(base, step, 2, off)
		default:
			return indexed(base, step3, 1, off)
		}
	}

	scale := u.broadcast("scale")
	flag := u.newFlag()

	width := 64 / u.lanes // registers across
	if !u.wide() && rows > 1 {
		width = 2
	}
	loop("block", blocks, func() {
		for col := 0; col < chunk; col += width * u.lanes {
			acc := u.vecs(rows * width)
			for _, v := range acc {
				u.zero(v)
			}
			pa, pb, n := GP64(), GP64(), GP64()
			LEAQ(at(a, 4*col), pa)
			MOVQ(b, pb)
			MOVQ(k, n)
			loop(fmt.Sprintf("chain%d", col), n, func() {
				cols := make([]operand.Op, width)
				for j := range cols {
					cols[j] = at(pa, j*u.bytes())
					if rows > 1 {
						v := u.vec()
						VMOVUPS(cols[j], v)
						cols[j] = v
					}
				}
				if !u.wide() && rows > 1 { // a piece of every row of A at a time is no stream to the processor
					PREFETCHT1(indexed(pa, next, 1, 0))
				}
				for r := range rows {
					v := u.vec()
					VBROADCASTSS(row(pb, rank, rank3, r, 0), v)
					for j := range width {
						VFMADD231PS(cols[j], v, acc[r*width+j])
					}
				}
				ADDQ(operand.U32(4*chunk), pa)
				ADDQ(operand.U8(4), pb)
			})
			scaled := operand.LabelRef(fmt.Sprintf("scale%d", col))
			TESTQ(add, add)
			JZ(scaled)
			for i, v := range acc {
				VADDPS(row(dst, stride, stride3, i/width, 4*col+i%width*u.bytes()), v, v)
			}
			Label(string(scaled))
			for i, v := range acc {
				VMULPS(scale, v, v)
				VMOVUPS(v, row(dst, stride, stride3, i/width, 4*col+i%width*u.bytes()))
			}
			for i := 0; i < len(acc); i += 2 {
				flag.unordered(acc[i], acc[i+1])
			}
		}
		ADDQ(next, a)
		ADDQ(operand.U32(4*chunk), dst)
	})
	flag.store()
	end()
}
