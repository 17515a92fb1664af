package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// rows12 are 12 rows of so many bytes each.
type rows12 struct {
	groups          [3]reg.Register // each fourth row
	stride, stride3 reg.Register
}

// newRows begins at p. stride is the distance of rows in bytes.
func newRows(p, stride reg.Register) rows12 {
	x := rows12{[3]reg.Register{p, GP64(), GP64()}, stride, GP64()}
	LEAQ(indexed(stride, stride, 2, 0), x.stride3)
	LEAQ(indexed(p, stride, 4, 0), x.groups[1])
	LEAQ(indexed(p, stride, 8, 0), x.groups[2])
	return x
}

// at is the memory off bytes into a row.
func (x rows12) at(row, off int) operand.Mem {
	switch p := x.groups[row/4]; row % 4 {
	case 0:
		return at(p, off)
	case 1:
		return indexed(p, x.stride, 1, off)
	case 2:
		return indexed(p, x.stride, 2, off)
	default:
		return indexed(p, x.stride3, 1, off)
	}
}

// skip goes on by so many bytes.
func (x rows12) skip(bytes int) {
	for _, p := range x.groups {
		ADDQ(operand.U32(uint32(bytes)), p)
	}
}

// turn4 transposes four vectors of four float32 each, in each 128 bits.
func turn4(v, spare []reg.VecVirtual) {
	VUNPCKLPS(v[1], v[0], spare[0])
	VUNPCKHPS(v[1], v[0], spare[1])
	VUNPCKLPS(v[3], v[2], spare[2])
	VUNPCKHPS(v[3], v[2], spare[3])
	VUNPCKLPD(spare[2], spare[0], v[0])
	VUNPCKHPD(spare[2], spare[0], v[1])
	VUNPCKLPD(spare[3], spare[1], v[2])
	VUNPCKHPD(spare[3], spare[1], v[3])
}

// xmms returns n new registers.
func xmms(n int) []reg.VecVirtual {
	v := make([]reg.VecVirtual, n)
	for i := range v {
		v[i] = XMM()
	}
	return v
}

// gather puts columns into tiles.
func (u unit) gather() {
	const columns = 16 // a line of the cache of each row
	u.text("gather", "dst, src *float32, stride int, places *int32, groups int)",
		"sets dst at places to 16 columns a group of 12 rows of src, which are so many\n"+
			"values apart.")
	dst, src, stride, places, n := load("dst"), load("src"), load("stride"), load("places"), load("groups")
	SHLQ(operand.U8(2), stride)
	rows := newRows(src, stride)
	loop("group", n, func() {
		for r := 0; r < stripRows; r += 4 {
			for c := 0; c < columns; c += 4 {
				v := xmms(4)
				for i, x := range v {
					VMOVUPS(rows.at(r+i, 4*c), x)
				}
				turn4(v, xmms(4))
				for i, x := range v {
					place := GP64()
					MOVLQSX(at(places, 4*(c+i)), place)
					VMOVUPS(x, indexed(dst, place, 4, 4*r))
				}
			}
		}
		rows.skip(4 * columns)
		ADDQ(operand.U8(4*columns), places)
	})
	end()
}

// pack stores codes of tiles row by row.
func (u unit) pack(format string, each int) {
	const wide = 8 // bytes of a row at a time
	u.text("pack"+format, "dst *byte, stride int, codes *byte, places *int32, groups int)",
		fmt.Sprintf("sets %d columns a group of 12 rows of dst, which are stride bytes apart, to\n"+
			"the codes [_][12] at places. It reads up to 4 bytes behind each 12.", wide*each))
	dst, stride, codes, places, n := load("dst"), load("stride"), load("codes"), load("places"), load("groups")
	rows := newRows(dst, stride)
	loop("group", n, func() {
		code := func(c int) operand.Mem {
			place := GP64()
			MOVLQSX(at(places, 4*c), place)
			return indexed(codes, place, 1, 0)
		}
		v := xmms(wide)
		for i, x := range v {
			VMOVDQU(code(each*i), x)
			if each == 2 {
				VPSLLW(operand.U8(4), x, x)
				VPOR(code(2*i+1), x, x)
			}
		}
		// Each step puts twice as many bytes of a row side by side.
		unpack := func(op func(...operand.Op), x []reg.VecVirtual) []reg.VecVirtual {
			y := xmms(len(x) / 2)
			for i, v := range y {
				op(x[2*i+1], x[2*i], v)
			}
			return y
		}
		low, high := unpack(VPUNPCKLBW, v), unpack(VPUNPCKHBW, v) // rows 0 to 7, and 8 to 11
		for i, words := range [][]reg.VecVirtual{unpack(VPUNPCKLWD, low), unpack(VPUNPCKHWD, low), unpack(VPUNPCKLWD, high)} {
			for k, op := range []func(...operand.Op){VPUNPCKLDQ, VPUNPCKHDQ} {
				two := unpack(op, words)[0]
				VMOVQ(two, rows.at(4*i+2*k, 0))
				VMOVHPS(two, rows.at(4*i+2*k+1, 0))
			}
		}
		rows.skip(wide)
		ADDQ(operand.U8(4*wide*each), places)
	})
	end()
}

// addTurned adds a product to a tile.
func (u unit) addTurned() {
	const quad = 4
	u.text("addTurned", "z, y, d *float32)", "adds y [12][32] times d [32], product by product, to z [32][12].")
	z, y, d := load("z"), load("y"), load("d")
	quads := GP64()
	MOVQ(operand.U32(stripPlaces/quad), quads)
	loop("quad", quads, func() {
		by := xmms(quad)
		for i, x := range by {
			VBROADCASTSS(at(d, 4*i), x)
		}
		for r := 0; r < stripRows; r += 4 {
			v := xmms(4)
			for i, x := range v {
				VMOVUPS(at(y, 4*(r+i)*stripPlaces), x)
			}
			turn4(v, xmms(4))
			for i, x := range v {
				mem := at(z, 4*(i*stripRows+r))
				VMULPS(by[i], x, x)
				VADDPS(mem, x, x)
				VMOVUPS(x, mem)
			}
		}
		ADDQ(operand.U32(4*quad*stripRows), z)
		ADDQ(operand.U8(4*quad), y)
		ADDQ(operand.U8(4*quad), d)
	})
	end()
}
