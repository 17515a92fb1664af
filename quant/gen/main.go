// Command gen writes the vector kernels of package quant for amd64.
//
// Every kernel exists twice, for AVX2 with FMA and for AVX-512 (F, BW, DQ, VL),
// and returns the bits of its twin in Go for finite input. What it does with
// NaN and infinities is said at each one; callers fall back to the twin there.
package main

import (
	"strings"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func main() {
	ConstraintExpr("amd64,gc,!noasm")
	for _, u := range []unit{{"AVX2", 8}, {"AVX512", 16}} {
		u.delta(4)
		u.delta(1)
		u.deltaHalf(toF16)
		u.deltaHalf(toBF16)
		u.add()
		u.absmax()
		for _, r := range []rounding{toF32, toF16, toBF16} {
			u.dequantize4(r)
		}
		u.dequantize8()
		u.quantize4("NF4")
		u.quantize4("FP4")
		u.quantize8()
		u.round(toF16)
		u.round(toBF16)
		u.decode(toF16)
		u.decode(toBF16)
		u.encode(toF16)
		u.encode(toBF16)
		for _, f := range []rounding{toF32, toF16, toBF16} {
			u.measure(f)
		}
		u.changed("Int8", 1)
		u.changed("F32", 4)
		u.changed("F16", 2)
		u.changed("BF16", 2)
		u.farthest()
		u.place()
		u.scale()
		u.sum()
		for _, r := range []rounding{toF32, toF16, toBF16} {
			u.target4(r)
		}
		u.code4("NF4")
		u.code4("FP4")
		u.drift4()
		u.codeDrift4("NF4")
		u.codeDrift4("FP4")
		for _, kind := range []string{"NF4", "FP4", "Int8", given} {
			u.sweep(kind)
		}
		u.misses("NF4")
		u.misses("FP4")
	}
	figures := unit{"AVX2", 8}
	figures.settle()
	figures.sumBlocks()
	figures.gather()
	figures.pack("4Bit", 2)
	figures.pack("Int8", 1)
	figures.largest()
	figures.pairs()
	transpose()
	figures.addTurned()
	Generate()
}

// chunk is how many weights a kernel handles at a time: the smallest block of
// bitsandbytes that is not left to Go.
const chunk = 64

// unit is an instruction set with registers of so many float32 lanes.
type unit struct {
	name  string
	lanes int
}

// wide reports whether u is AVX-512.
func (u unit) wide() bool { return u.lanes == 16 }

// vec returns a new register.
func (u unit) vec() reg.VecVirtual {
	if u.wide() {
		return ZMM()
	}
	return YMM()
}

// vecs returns n new registers.
func (u unit) vecs(n int) []reg.VecVirtual {
	v := make([]reg.VecVirtual, n)
	for i := range v {
		v[i] = u.vec()
	}
	return v
}

// bytes is the size of a register.
func (u unit) bytes() int { return 4 * u.lanes }

// text begins a kernel.
func (u unit) text(name, signature, doc string) {
	TEXT(name+u.name, NOSPLIT, "func("+signature)
	Pragma("noescape")
	Doc(strings.Split(name+u.name+" "+doc, "\n")...)
}

// end returns from a kernel that used wide registers.
func end() {
	VZEROUPPER()
	RET()
}

func (u unit) and(a, b, dst operand.Op) {
	if u.wide() {
		VPANDD(a, b, dst)
	} else {
		VPAND(a, b, dst)
	}
}

func (u unit) or(a, b, dst operand.Op) {
	if u.wide() {
		VPORD(a, b, dst)
	} else {
		VPOR(a, b, dst)
	}
}

func (u unit) zero(v operand.Op) {
	if u.wide() {
		VPXORD(v, v, v)
	} else {
		VPXOR(v, v, v)
	}
}

// load returns the argument as a new general register.
func load(name string) reg.Register { return Load(Param(name), GP64()) }

// broadcast returns a register filled with a float32 argument.
func (u unit) broadcast(name string) reg.VecVirtual {
	v := u.vec()
	a, err := Param(name).Resolve()
	if err != nil {
		panic(err)
	}
	VBROADCASTSS(a.Addr, v)
	return v
}

// at is the memory off bytes behind p.
func at(p reg.Register, off int) operand.Mem { return operand.Mem{Base: p, Disp: off} }

// indexed is the memory at p + i*scale + off.
func indexed(p, i reg.Register, scale uint8, off int) operand.Mem {
	return operand.Mem{Base: p, Index: i, Scale: scale, Disp: off}
}

// constants are the read-only vectors defined so far.
var constants = map[string]operand.Mem{}

// constant returns 64 bytes of read-only memory that repeat values.
func constant(name string, values ...uint32) operand.Mem {
	if m, ok := constants[name]; ok {
		return m
	}
	m := GLOBL(name, rodata)
	for i := range 16 {
		DATA(4*i, operand.U32(values[i%len(values)]))
	}
	constants[name] = m
	return m
}

// set returns a register that holds a constant.
func (u unit) set(name string, values ...uint32) reg.VecVirtual {
	v := u.vec()
	VMOVUPS(constant(name, values...), v)
	return v
}

// loop emits body, which runs n times; n is counted down and at least 1.
func loop(label string, n reg.Register, body func()) {
	Label(label)
	body()
	DECQ(n)
	JNZ(operand.LabelRef(label))
}
