package main

import (
	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Sizes of a strip.
const (
	stripRows   = 12
	stripPlaces = 32
	stripStride = 8 // places whose sums are in registers

	given = "Given" // instead of a format: values are given
)

// sweeper goes through the places of a strip with rows as lanes: AVX-512 through
// all 12, AVX2 through 8 of them.
type sweeper struct {
	finder
	losses [2]reg.VecVirtual // float64, of lanes 0 to lanes/2 and of those after
}

// sweep is strip.runPlain.
func (u unit) sweep(kind string) {
	rows, signature := "12 rows", "sums, near, diag, target, pull, given, errs, aims *float32, losses *float64)"
	if !u.wide() {
		rows = "8 rows, to the first of which what is by row points"
	}
	if kind != given {
		signature = "sums, near, diag, target, pull, scales *float32, where *int32, points *float32, codes *byte, errs, aims *float32, losses *float64)"
	}
	u.text("sweep"+kind, signature, "goes through the 32 places of a strip, of "+rows+", but leaves\nsums as they are. Sums and aims must not be NaN.")
	s := u.newSweeper(kind)
	done, sums := GP64(), load("sums")
	XORQ(done, done)
	Label("stride")
	acc := s.turned(sums)
	s.carry(acc, done)
	s.places(acc, done)
	ADDQ(operand.U8(4*stripStride), sums)
	ADDQ(operand.U8(stripStride), done)
	CMPQ(done, operand.U8(stripPlaces))
	JNE(operand.LabelRef("stride"))
	losses := load("losses")
	VMOVUPD(s.losses[0], at(losses, 0))
	VMOVUPD(s.losses[1], at(losses, 4*u.lanes))
	end()
}

func (u unit) newSweeper(kind string) *sweeper {
	losses := load("losses")
	s := &sweeper{u.newFinder(kind, stripRows), [2]reg.VecVirtual{u.vec(), YMM()}}
	VMOVUPD(at(losses, 0), s.losses[0])
	VMOVUPD(at(losses, 4*u.lanes), s.losses[1])
	return s
}

// turned returns the next sums by place.
func (s *sweeper) turned(sums reg.Register) (acc []reg.VecVirtual) {
	for q := range stripStride / 4 {
		v := s.vecs(4)
		for i := range v {
			mem := func(group int) operand.Mem { return at(sums, 4*((4*group+i)*stripPlaces+4*q)) }
			VMOVUPS(mem(0), v[i].AsX())
			if !s.wide() {
				VINSERTF128(operand.U8(1), mem(1), v[i], v[i])
				continue
			}
			VINSERTF32X4(operand.U8(1), mem(1), v[i], v[i])
			VINSERTF32X4(operand.U8(2), mem(2), v[i], v[i])
		}
		turn4(v, s.vecs(4))
		acc = append(acc, v...)
	}
	return acc
}

// carry adds what the errors of places that are done add.
func (s *sweeper) carry(acc []reg.VecVirtual, done reg.GPVirtual) {
	n, near, errs := GP64(), load("near"), load("errs")
	MOVQ(done, n)
	LEAQ(indexed(near, done, 4, 0), near)
	TESTQ(n, n)
	JZ(operand.LabelRef("first"))
	loop("carry", n, func() {
		s.addTo(acc, s.rows(at(errs, 0)), near, 0)
		ADDQ(operand.U8(4*stripRows), errs)
		ADDQ(operand.U32(4*stripPlaces), near)
	})
	Label("first")
}

// addTo adds e times values at near to acc.
func (s *sweeper) addTo(acc []reg.VecVirtual, e reg.VecVirtual, near reg.Register, off int) {
	for i, v := range acc {
		mem := at(near, off+4*i)
		if s.wide() {
			VFMADD231PS_BCST(mem, e, v)
			continue
		}
		u := s.vec()
		VBROADCASTSS(mem, u)
		VFMADD231PS(u, e, v)
	}
}

// rows loads a value of each row.
func (s *sweeper) rows(mem operand.Mem) reg.VecVirtual {
	v := s.vec()
	if s.wide() {
		VMOVUPS_Z(mem, s.mask, v)
	} else {
		VMOVUPS(mem, v)
	}
	return v
}

func (s *sweeper) store(v reg.VecVirtual, mem operand.Mem) {
	if s.wide() {
		VMOVUPS(v, s.mask, mem)
	} else {
		VMOVUPS(v, mem)
	}
}

// byPlace returns an argument as a pointer to what is of the next place, of so many bytes each.
func byPlace(name string, done reg.GPVirtual, size int) reg.Register {
	p, off := load(name), GP64()
	IMUL3Q(operand.U32(size), done, off)
	ADDQ(off, p)
	return p
}

// places goes through the places of a stride.
func (s *sweeper) places(acc []reg.VecVirtual, done reg.GPVirtual) {
	const row = 4 * stripRows
	target, pull := byPlace("target", done, row), byPlace("pull", done, row)
	errs, aims := byPlace("errs", done, row), byPlace("aims", done, row)
	near, diag := byPlace("near", done, 4*(stripPlaces+1)), byPlace("diag", done, 4)
	value := s.source(done)
	for c, sum := range acc {
		aim, d := s.rows(at(target, c*row)), s.vec()
		VSUBPS(s.rows(at(pull, c*row)), aim, aim)
		VSUBPS(sum, aim, aim)
		s.store(aim, at(aims, c*row))
		v := value(c, aim)
		VBROADCASTSS(at(diag, 4*c), d)
		e := s.err(v, s.rows(at(target, c*row)), d)
		s.store(e, at(errs, c*row))
		s.addTo(acc[c+1:], e, near, 4*(c*stripPlaces+c+1))
		s.lose(v, aim, d)
	}
}

// err returns v-t, 0 where d is.
func (s *sweeper) err(v, t, d reg.VecVirtual) reg.VecVirtual {
	if s.wide() {
		alive := K()
		VPTESTMD(d, d, alive)
		VSUBPS_Z(t, v, alive, t)
		return t
	}
	const notEqual = 4
	alive := s.vec()
	s.zero(alive)
	VSUBPS(t, v, t)
	VCMPPS(operand.U8(notEqual), d, alive, alive)
	s.and(alive, t, t)
	return t
}

// lose adds d (v-aim)^2 to the losses. aim is of no use any more.
func (s *sweeper) lose(v, aim, d reg.VecVirtual) {
	VSUBPS(aim, v, aim)
	VCVTPS2PD(d.AsX(), d.AsY())
	for i, sum := range s.losses {
		x, by := s.vec(), reg.Register(d.AsY())
		switch {
		case s.wide() && i == 0:
			VCVTPS2PD(aim.AsY(), x)
			wide := s.vec()
			VBROADCASTSD(d.AsX(), wide)
			VMULPD(x, x, x)
			VMULPD(wide, x, x)
			VADDPD(x, sum, sum)
			continue
		case s.wide():
			VEXTRACTF32X4(operand.U8(2), aim, x.AsX())
		case i == 0:
			VMOVAPS(aim.AsX(), x.AsX())
		default:
			VEXTRACTF128(operand.U8(1), aim, x.AsX())
		}
		VCVTPS2PD(x.AsX(), x.AsY())
		VMULPD(x.AsY(), x.AsY(), x.AsY())
		VMULPD(by, x.AsY(), x.AsY())
		VADDPD(x.AsY(), sum.AsY(), sum.AsY())
	}
}

// source returns what says the values of the next places, and stores codes.
func (s *sweeper) source(done reg.GPVirtual) func(c int, aim reg.VecVirtual) reg.VecVirtual {
	const row = 4 * stripRows
	if s.format == given {
		values := byPlace("given", done, row)
		return func(c int, _ reg.VecVirtual) reg.VecVirtual { return s.rows(at(values, c*row)) }
	}
	where, codes := byPlace("where", done, 4), byPlace("codes", done, stripRows)
	scales := load("scales")
	return func(c int, aim reg.VecVirtual) reg.VecVirtual {
		group := GP64()
		MOVLQSX(at(where, 4*c), group)
		scale, inverse := indexed(scales, group, 4, 0), indexed(scales, group, 4, row)
		q := s.rows(inverse)
		VMULPS(aim, q, q)
		x := s.nearest(q, scale)
		s.storeCodes(x.code(), codes, c*stripRows)
		return x.value
	}
}

// storeCodes stores the low bytes of all rows.
func (s *sweeper) storeCodes(code reg.VecVirtual, p reg.Register, off int) {
	x := XMM()
	if s.wide() {
		VPMOVDB(code, x)
		VPEXTRD(operand.U8(2), x, at(p, off+8))
	} else {
		VEXTRACTI128(operand.U8(1), code, x)
		VPACKSSDW(x, code.AsX(), x)
		VPACKSSWB(x, x, x)
	}
	VMOVQ(x, at(p, off))
}
