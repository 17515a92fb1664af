package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// decoder looks packed codes up in a table of 16 values.
type decoder struct {
	unit
	shift, spread reg.VecVirtual
	table         [2]reg.VecVirtual
}

// newDecoder loads the table at p.
func (u unit) newDecoder(p reg.Register) decoder {
	d := decoder{unit: u}
	d.table[0] = u.vec()
	VMOVUPS(at(p, 0), d.table[0])
	if u.wide() {
		d.shift = u.set("halves", 4, 0)
		d.spread = u.set("spread",
			0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7)
		return d
	}
	d.table[1] = u.vec()
	VMOVUPS(at(p, u.bytes()), d.table[1])
	d.shift = u.set("nibbles", 4, 0, 12, 8, 20, 16, 28, 24)
	return d
}

// decode returns the values of the codes at mem, one for each lane.
func (d decoder) decode(mem operand.Mem) reg.VecVirtual {
	v := d.vec()
	if d.wide() {
		VPBROADCASTQ(mem, v)
		VPSHUFB(d.spread, v, v)
		VPSRLVD(d.shift, v, v)
		VPERMPS(d.table[0], v, v)
		return v
	}
	high := d.vec()
	VPBROADCASTD(mem, v)
	VPSRLVD(d.shift, v, v)
	VPERMPS(d.table[1], v, high)
	low := d.vec()
	VPERMPS(d.table[0], v, low)
	VPSLLD(operand.U8(28), v, v)
	VBLENDVPS(v, high, low, low)
	return low
}

// dequantize4 decodes whole blocks.
func (u unit) dequantize4(to rounding) {
	u.text("dequantize4"+string(to), "dst *float32, codes *byte, absmax *float32, table *[16]float32, blocks int, chunks int)",
		"decodes blocks of 64*chunks packed codes. absmax must be finite.")
	dst, codes, absmax := load("dst"), load("codes"), load("absmax")
	d := u.newDecoder(load("table"))
	blocks, chunks := load("blocks"), load("chunks")
	r := u.newRounder(to)
	loop("block", blocks, func() {
		scale := u.vec()
		VBROADCASTSS(at(absmax, 0), scale)
		n := GP64()
		MOVQ(chunks, n)
		loop("chunk", n, func() {
			for i := range chunk / u.lanes {
				v := d.decode(at(codes, i*u.lanes/2))
				VMULPS(scale, v, v)
				r.round(v)
				VMOVUPS(v, at(dst, i*u.bytes()))
			}
			ADDQ(operand.U8(chunk/2), codes)
			ADDQ(operand.U32(4*chunk), dst)
		})
		ADDQ(operand.U8(4), absmax)
	})
	end()
}

// Offsets into the tables type of package quant.
const (
	gridBound = 0
	gridRank  = 128
	near      = 256
	codesD    = 264
	level1    = 328
	level2    = 332
	level3    = 364
	level4    = 396
	codesB    = 428
)

// coder finds codes of values in [-1, 1].
type coder interface {
	// rank returns how many bounds are below each lane of x, or its code.
	rank(x reg.VecVirtual) reg.VecVirtual
	// pack stores the codes of a chunk of ranks.
	pack(ranks []reg.VecVirtual, mem func(off int) operand.Mem)
}

func (u unit) newCoder(p reg.Register, format string) coder {
	if u.wide() {
		return newGridCoder(u, p, format)
	}
	return newTreeCoder(u, p, format)
}

// gridCoder cuts [-1, 1] into cells with one bound each.
type gridCoder struct {
	unit
	format      string
	half, mid   reg.VecVirtual
	bound, base [2]reg.VecVirtual
	near        [2]reg.VecVirtual // FP4 has three bounds in the middle, two of which are no part of the grid
	codes, one  reg.VecVirtual
}

func newGridCoder(u unit, p reg.Register, format string) *gridCoder {
	g := &gridCoder{unit: u, format: format}
	g.half = u.set("cells", math.Float32bits(15.5))
	g.mid = u.set("middle", math.Float32bits(16))
	g.one = u.set("one", 1)
	for i := range 2 {
		g.bound[i], g.base[i] = u.vec(), u.vec()
		VMOVUPS(at(p, gridBound+64*i), g.bound[i])
		VMOVUPS(at(p, gridRank+64*i), g.base[i])
	}
	if format == "FP4" {
		for i := range g.near {
			g.near[i] = u.vec()
			VBROADCASTSS(at(p, near+4*i), g.near[i])
		}
		g.codes = u.vec()
		VMOVUPS(at(p, codesD), g.codes)
	}
	return g
}

func (g *gridCoder) rank(x reg.VecVirtual) reg.VecVirtual {
	const greater = 30
	cell, bound := g.vec(), g.vec()
	VMULPS(g.half, x, cell)
	VADDPS(g.mid, cell, cell)
	VCVTTPS2DQ(cell, cell)
	VMOVDQA32(cell, bound)
	VPERMI2PS(g.bound[1], g.bound[0], bound)
	VPERMI2D(g.base[1], g.base[0], cell)
	k := K()
	VCMPPS(operand.U8(greater), bound, x, k)
	VPADDD(g.one, cell, k, cell)
	if g.format == "FP4" {
		for _, b := range g.near {
			k := K()
			VCMPPS(operand.U8(greater), b, x, k)
			VPADDD(g.one, cell, k, cell)
		}
		VPERMD(g.codes, cell, cell)
	}
	return cell
}

func (g *gridCoder) pack(codes []reg.VecVirtual, mem func(off int) operand.Mem) {
	for i, q := range codes {
		odd := g.vec()
		VPSRLQ(operand.U8(32), q, odd)
		VPSLLQ(operand.U8(4), q, q)
		VPORQ(odd, q, q)
		VPMOVQB(q, mem(8*i))
	}
}

// treeCoder searches the bounds as a balanced tree.
type treeCoder struct {
	unit
	format string
	p      reg.Register
	level  [4]reg.VecVirtual
}

func newTreeCoder(u unit, p reg.Register, format string) *treeCoder {
	t := &treeCoder{unit: u, format: format, p: p, level: [4]reg.VecVirtual(u.vecs(4))}
	VBROADCASTSS(at(p, level1), t.level[0])
	for i, off := range []int{level2, level3, level4} {
		VMOVUPS(at(p, off), t.level[i+1])
	}
	return t
}

func (t *treeCoder) rank(x reg.VecVirtual) reg.VecVirtual {
	const greater = 30
	rank := t.vec()
	VCMPPS(operand.U8(greater), t.level[0], x, rank)
	VPSRLD(operand.U8(31), rank, rank)
	for _, bounds := range t.level[1:] {
		b := t.vec()
		VPERMPS(bounds, rank, b)
		VCMPPS(operand.U8(greater), b, x, b)
		VPADDD(rank, rank, rank)
		VPSUBD(b, rank, rank)
	}
	return rank
}

func (t *treeCoder) pack(ranks []reg.VecVirtual, mem func(off int) operand.Mem) {
	for i := 0; i < len(ranks); i += 4 {
		q := ranks[i : i+4]
		VPACKUSDW(q[1], q[0], q[0])
		VPACKUSDW(q[3], q[2], q[2])
		VPACKUSWB(q[2], q[0], q[0])
		VPERMD(q[0], t.order(), q[0])
		if t.format == "FP4" {
			VMOVDQU(at(t.p, codesB), q[1])
			VPSHUFB(q[0], q[1], q[0])
		}
		VPMADDUBSW(constant("pair", 0x01100110), q[0], q[0])
		VPACKUSWB(q[0], q[0], q[0])
		VPERMQ(operand.U8(0xd8), q[0], q[0])
		VMOVDQU(q[0].AsX(), mem(4*i))
	}
}

// order undoes the interleaving of packing within 128 bits.
func (u unit) order() reg.VecVirtual { return u.set("order", 0, 4, 1, 5, 2, 6, 3, 7) }

// quantize4 codes whole blocks.
func (u unit) quantize4(format string) {
	u.text("quantize"+format, "codes *byte, src, absmax *float32, t *float32, blocks int, chunks int)",
		"codes blocks of 64*chunks finite values under the CPU profile. absmax holds\n"+
			"their largest magnitudes, t the tables of the format.")
	codes, src, absmax := load("codes"), load("src"), load("absmax")
	least, one := XMM(), XMM()
	VMOVSS(constant("least", 0x006ce3ee), least) // 1e-38
	VMOVSS(constant("unit", math.Float32bits(1)), one)
	c := u.newCoder(load("t"), format)
	blocks, chunks := load("blocks"), load("chunks")
	loop("block", blocks, func() {
		scale := u.vec()
		VMAXSS(at(absmax, 0), least, scale.AsX())
		VDIVSS(scale.AsX(), one, scale.AsX())
		VBROADCASTSS(scale.AsX(), scale)
		n := GP64()
		MOVQ(chunks, n)
		loop("chunk", n, func() {
			group := 4 // registers packed at a time
			for g := 0; g < chunk/u.lanes; g += group {
				var ranks []reg.VecVirtual
				for i := g; i < g+group; i++ {
					x := u.vec()
					VMULPS(at(src, i*u.bytes()), scale, x)
					ranks = append(ranks, c.rank(x))
				}
				c.pack(ranks, func(off int) operand.Mem { return at(codes, g*u.lanes/2+off) })
			}
			ADDQ(operand.U8(chunk/2), codes)
			ADDQ(operand.U32(4*chunk), src)
		})
		ADDQ(operand.U8(4), absmax)
	})
	end()
}
