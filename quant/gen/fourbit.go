package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// decoder looks packed codes up.
type decoder struct {
	unit
	shift, spread reg.VecVirtual
}

func (u unit) newDecoder() decoder {
	d := decoder{unit: u}
	if u.wide() {
		d.shift = u.set("halves", 4, 0)
		d.spread = u.set("spread",
			0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7)
		return d
	}
	d.shift = u.set("nibbles", 4, 0, 12, 8, 20, 16, 28, 24)
	return d
}

// table are the 16 values that the codes of a block stand for.
type table []reg.VecVirtual

// newTable returns the code points at p times the scale at mem, rounded: 16
// products instead of one for each weight.
func (u unit) newTable(p reg.Register, off int, scale operand.Mem, to rounding) table {
	s := u.vec()
	VBROADCASTSS(scale, s)
	t := table(u.vecs(16 / u.lanes))
	for i, v := range t {
		VMULPS(at(p, off+i*u.bytes()), s, v)
		u.round32(to, v)
	}
	return t
}

// decode returns the values of the codes at mem, one for each lane.
func (d decoder) decode(t table, mem operand.Mem) reg.VecVirtual {
	v := d.vec()
	if d.wide() {
		VPBROADCASTQ(mem, v)
		VPSHUFB(d.spread, v, v)
	} else {
		VPBROADCASTD(mem, v)
	}
	VPSRLVD(d.shift, v, v)
	return d.lookUp(t, v)
}

// lookUp returns the values of the codes in the low 4 bits of v.
func (u unit) lookUp(t table, v reg.VecVirtual) reg.VecVirtual {
	low := u.vec()
	VPERMPS(t[0], v, low)
	if !u.wide() {
		high, top := u.vec(), u.vec()
		VPERMPS(t[1], v, high)
		VPSLLD(operand.U8(28), v, top)
		VBLENDVPS(top, high, low, low)
	}
	return low
}

// dequantize4 decodes whole blocks.
func (u unit) dequantize4(to rounding) {
	u.text("dequantize4"+string(to), "dst *float32, codes *byte, absmax *float32, table *[16]float32, blocks int, chunks int)",
		"decodes blocks of 64*chunks packed codes. absmax must be finite.")
	dst, codes, absmax, points := load("dst"), load("codes"), load("absmax"), load("table")
	d := u.newDecoder()
	blocks, chunks := load("blocks"), load("chunks")
	loop("block", blocks, func() {
		t := u.newTable(points, 0, at(absmax, 0), to)
		n := GP64()
		MOVQ(chunks, n)
		loop("chunk", n, func() {
			for i := range chunk / u.lanes {
				VMOVUPS(d.decode(t, at(codes, i*u.lanes/2)), at(dst, i*u.bytes()))
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
	fewBound  = 264
	fewRank   = fewBound + 64
	least     = fewRank + 32
	most      = least + 32
	steps     = most + 32
	codes     = steps + 32
	values    = codes + 32
)

// coder finds codes of values in [-1, 1].
type coder struct {
	unit
	format      string
	p           reg.Register // tables
	cells, mid  reg.VecVirtual
	bound, base [2]reg.VecVirtual
	near        [2]reg.VecVirtual
	one         reg.VecVirtual
}

// newCoder loads from the tables at p what fits into registers.
func (u unit) newCoder(p reg.Register, format string) coder {
	c := coder{unit: u, format: format, p: p}
	if format == "FP4" {
		for i := range c.near {
			c.near[i] = u.vec()
			VBROADCASTSS(at(p, near+4*i), c.near[i])
		}
	}
	if !u.wide() {
		c.cells = u.vec()
		VMOVUPS(at(p, steps), c.cells)
		return c
	}
	c.cells = u.set("cells", math.Float32bits(15))
	c.mid = u.set("middle", math.Float32bits(1<<23+16))
	c.one = u.set("one", 1)
	for i := range 2 {
		c.bound[i], c.base[i] = u.vec(), u.vec()
		VMOVUPS(at(p, gridBound+64*i), c.bound[i])
		VMOVUPS(at(p, gridRank+64*i), c.base[i])
	}
	return c
}

const greater = 30

// rank returns how many bounds are below each lane of x.
func (c coder) rank(x reg.VecVirtual) reg.VecVirtual {
	if !c.wide() {
		return c.rankOfFew(x)
	}
	cell, bound := c.vec(), c.vec()
	VMOVAPS(x, cell)
	VFMADD213PS(c.mid, c.cells, cell) // the low bits now count cells
	VMOVDQA32(cell, bound)
	VPERMI2PS(c.bound[1], c.bound[0], bound)
	VPERMI2D(c.base[1], c.base[0], cell)
	bounds := []reg.VecVirtual{bound}
	if c.format == "FP4" { // three bounds are close to 0, two of which are no part of the grid
		bounds = append(bounds, c.near[:]...)
	}
	for _, b := range bounds {
		k := K()
		VCMPPS(operand.U8(greater), b, x, k)
		VPADDD(c.one, cell, k, cell)
	}
	return cell
}

// rankOfFew is rank by 8 cells.
func (c coder) rankOfFew(x reg.VecVirtual) reg.VecVirtual {
	cell, rank := c.vec(), c.vec()
	VMAXPS(at(c.p, least), x, cell)
	VMINPS(at(c.p, most), cell, cell)
	VFMADD213PS(constant("fewMiddle", math.Float32bits(1<<23+3)), c.cells, cell)
	VPERMPS(at(c.p, fewRank), cell, rank)
	var below []reg.VecVirtual
	for i := range 2 {
		b := c.vec()
		VPERMPS(at(c.p, fewBound+32*i), cell, b)
		VCMPPS(operand.U8(greater), b, x, b)
		below = append(below, b)
	}
	if c.format == "FP4" {
		for _, n := range c.near {
			b := c.vec()
			VCMPPS(operand.U8(greater), n, x, b)
			below = append(below, b)
		}
	}
	for _, b := range below {
		VPSUBD(b, rank, rank)
	}
	return rank
}

// words turns four registers of ranks, pairs of which are packed, into one of
// codes, two a 16-bit word.
func (c coder) words(q []reg.VecVirtual) reg.VecVirtual {
	VPACKUSWB(q[2], q[0], q[0])
	VPERMD(q[0], c.order(), q[0])
	if c.format == "FP4" {
		v := c.vec()
		if c.wide() {
			VBROADCASTI32X4(at(c.p, codes), v)
		} else {
			VMOVDQU(at(c.p, codes), v)
		}
		VPSHUFB(q[0], v, q[0])
	}
	if c.wide() {
		VPMADDUBSW(c.set("pair", 0x01100110), q[0], q[0])
	} else {
		VPMADDUBSW(constant("pair", 0x01100110), q[0], q[0])
	}
	return q[0]
}

// order undoes the interleaving of packing within 128 bits.
func (u unit) order() reg.VecVirtual {
	if u.wide() {
		return u.set("order4", 0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15)
	}
	return u.set("order", 0, 4, 1, 5, 2, 6, 3, 7)
}

// chunk packs the codes of 64 values, of which value returns a register each
// time it is called with its number; seen gets the ranks before they are packed.
func (c coder) chunk(value func(i int) reg.VecVirtual, seen func(i int, rank reg.VecVirtual)) reg.Register {
	var words []reg.VecVirtual
	for g := 0; g < chunk/c.lanes; g += 4 {
		var ranks []reg.VecVirtual
		for i := g; i < g+4; i++ {
			rank := c.rank(value(i))
			seen(i, rank)
			ranks = append(ranks, rank)
			if n := len(ranks); n%2 == 0 {
				VPACKUSDW(ranks[n-1], ranks[n-2], ranks[n-2])
			}
		}
		words = append(words, c.words(ranks))
	}
	if c.wide() {
		VPMOVWB(words[0], words[0].AsY())
		return words[0].AsY()
	}
	VPACKUSWB(words[1], words[0], words[0])
	VPERMQ(operand.U8(0xd8), words[0], words[0])
	return words[0]
}

// inverse returns the reciprocal of the absmax in the first lane of v as scaler
// does for whole blocks under the CPU profile.
func (u unit) inverse(v reg.VecVirtual) reg.Register {
	x, one := XMM(), XMM()
	VMAXSS(constant("least", 0x006ce3ee), v.AsX(), x) // 1e-38
	VMOVSS(constant("unit", math.Float32bits(1)), one)
	VDIVSS(x, one, x)
	return x
}

// quantize4 codes whole blocks.
func (u unit) quantize4(format string) {
	u.text("quantize"+format, "codes *byte, src, absmax *float32, t *float32, blocks int, chunks int)",
		"codes blocks of 64*chunks finite values under the CPU profile. absmax holds\n"+
			"their largest magnitudes, t the tables of the format.")
	codes, src, absmax := load("codes"), load("src"), load("absmax")
	c := u.newCoder(load("t"), format)
	blocks, chunks := load("blocks"), load("chunks")
	loop("block", blocks, func() {
		inverse := u.vec()
		VMOVSS(at(absmax, 0), inverse.AsX())
		VBROADCASTSS(u.inverse(inverse), inverse)
		n := GP64()
		MOVQ(chunks, n)
		loop("chunk", n, func() {
			v := c.chunk(func(i int) reg.VecVirtual {
				x := u.vec()
				VMULPS(at(src, i*u.bytes()), inverse, x)
				return x
			}, func(int, reg.VecVirtual) {})
			VMOVUPS(v, at(codes, 0))
			ADDQ(operand.U8(chunk/2), codes)
			ADDQ(operand.U32(4*chunk), src)
		})
		ADDQ(operand.U8(4), absmax)
	})
	end()
}
