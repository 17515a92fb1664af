package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Offsets into pointTables of package quant.
const (
	pointBound = 0
	pointBelow = 128
	pointValue = 256
	pointCode  = 320
	pointMids  = 384
	pointZero  = 448
)

// finder finds nearest points as lattice.nearest does.
type finder struct {
	unit
	format string
	mask   reg.OpmaskVirtual // of lanes that count
	points []reg.VecVirtual  // what fits into registers of the tables
}

// newFinder loads the tables of 4-bit formats from the argument points.
func (u unit) newFinder(format string, lanes int) finder {
	f := finder{unit: u, format: format}
	if !u.wide() {
		return f
	}
	f.mask = K()
	r := GP32()
	MOVL(operand.U32(1<<lanes-1), r)
	KMOVW(r, f.mask)
	if format == "NF4" || format == "FP4" {
		f.points = u.vecs(6)
		p := load("points")
		for i, off := range []int{pointBound, pointBound + 64, pointBelow, pointBelow + 64, pointValue, pointCode} {
			VMOVUPS(at(p, off), f.points[i])
		}
	}
	return f
}

// found is what nearest finds.
type found struct {
	finder
	value   reg.VecVirtual
	number  reg.VecVirtual // rank, or the code of int8
	numbers reg.Register   // where q was no NaN
}

// nearest returns the points nearest to q on scales, a lane each. q is of no use
// afterwards.
func (f finder) nearest(q reg.VecVirtual, scale operand.Op) found {
	x := found{finder: f, value: q, number: f.vec()}
	const ordered = 7
	if f.wide() {
		k := K()
		VCMPPS(operand.U8(ordered), q, q, f.mask, k)
		x.numbers = k
	} else {
		m := f.vec()
		VCMPPS(operand.U8(ordered), q, q, m)
		x.numbers = m
	}
	switch {
	case f.format == "Int8":
		x.round()
	case f.wide():
		x.look()
	default:
		x.count()
	}
	if f.wide() {
		VMULPS_Z(scale, x.value, x.numbers, x.value)
	} else {
		VMULPS(scale, x.value, x.value)
		f.and(x.numbers, x.value, x.value)
	}
	if f.format == "Int8" {
		VMULPS(constant("step", 0x3c010204), x.value, x.value)
	}
	return x
}

// look finds number and value of what value is by cells.
func (x found) look() {
	q, cell := x.value, x.number
	VMAXPS(constant("minus", math.Float32bits(-1)), q, q)
	VMINPS(constant("below1", math.Float32bits(1)-1), q, q)
	bound, above := x.vec(), K()
	VMOVUPS(constant("pointMiddle", math.Float32bits(1<<23+16)), cell)
	VFMADD231PS_RD_SAE(x.set("pointCells", math.Float32bits(16)), q, cell) // the low bits now count cells
	VMOVDQA32(cell, bound)
	VPERMI2PS(x.points[1], x.points[0], bound)
	VPERMI2D(x.points[3], x.points[2], cell)
	VCMPPS(operand.U8(greater), bound, q, above)
	VPADDD(x.set("one", 1), cell, above, cell)
	VPERMPS(x.points[4], cell, x.value)
}

// count does so by counting the bounds below.
func (x found) count() {
	q, rank, b := x.value, x.number, x.vec()
	x.and(x.numbers, q, q)
	x.zero(rank)
	p := load("points")
	for i := range 15 {
		VBROADCASTSS(at(p, pointMids+4*i), b)
		VCMPPS(operand.U8(greater), b, q, b)
		VPSUBD(b, rank, rank)
	}
	x.lookUpAt(p, pointValue, x.value)
}

// lookUpAt sets dst to values of 16 at p by number.
func (x found) lookUpAt(p reg.Register, off int, dst reg.VecVirtual) {
	low, high := x.vec(), x.vec()
	VPERMPS(at(p, off+32), x.number, high)
	VPERMPS(at(p, off), x.number, low)
	VPSLLD(operand.U8(28), x.number, dst)
	VBLENDVPS(dst, high, low, dst)
}

// round finds code and value of int8 in steps.
func (x found) round() {
	VMAXPS(constant("least8", math.Float32bits(-127)), x.value, x.value)
	VMINPS(constant("most8", math.Float32bits(127)), x.value, x.value)
	VCVTPS2DQ(x.value, x.number)
	VCVTDQ2PS(x.number, x.value)
}

// code returns the codes of what was found. number is of no use afterwards.
func (x found) code() reg.VecVirtual {
	if x.format == "FP4" {
		if x.wide() {
			VPERMD(x.points[5], x.number, x.number)
		} else {
			x.lookUpAt(load("points"), pointCode, x.number)
		}
	}
	switch {
	case !x.wide() && x.format != "Int8": // NaN was made 0
		return x.number
	case !x.wide():
		x.and(x.numbers, x.number, x.number)
		return x.number
	}
	code := x.vec()
	if x.format == "Int8" {
		x.zero(code)
	} else {
		VPBROADCASTD(at(load("points"), pointZero), code)
	}
	VMOVDQA32(x.number, x.numbers, code)
	return code
}

// misses sums what the nearest values on a scale leave.
func (u unit) misses(format string) {
	const group = 16
	u.text("misses"+format, "sums *float64, aims, weights *float32, groups int, scale, inverse float32, points *float32)",
		"adds to 16 sums the weighted squares of the distances of 16*groups aims from the\n"+
			"nearest values.")
	f := u.newFinder(format, u.lanes)
	sums, aims, weights, n := load("sums"), load("aims"), load("weights"), load("groups")
	scale, inverse := u.broadcast("scale"), u.broadcast("inverse")
	acc := u.vecs(2 * group / u.lanes)
	for i, v := range acc {
		VMOVUPD(at(sums, i*u.bytes()), v)
	}
	loop("group", n, func() {
		for i := range group / u.lanes {
			q := u.vec()
			VMULPS(at(aims, i*u.bytes()), inverse, q)
			d := f.nearest(q, scale).value
			VSUBPS(at(aims, i*u.bytes()), d, d)
			VMULPS(d, d, d)
			VMULPS(at(weights, i*u.bytes()), d, d)
			low, high := u.vec(), u.vec()
			VCVTPS2PD(u.half(d), low)
			if u.wide() {
				VEXTRACTF64X4(operand.U8(1), d, high.AsY())
			} else {
				VEXTRACTF128(operand.U8(1), d, high.AsX())
			}
			VCVTPS2PD(u.half(high), high)
			VADDPD(low, acc[2*i], acc[2*i])
			VADDPD(high, acc[2*i+1], acc[2*i+1])
		}
		ADDQ(operand.U8(4*group), aims)
		ADDQ(operand.U8(4*group), weights)
	})
	for i, v := range acc {
		VMOVUPD(v, at(sums, i*u.bytes()))
	}
	end()
}
