package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Kernels over the figures of blocks instead of weights. A block has few of them, so
// that wider registers than those of AVX2 would stay empty.

// pendingSize is the size of package quant's Pending, which begins as BlockSum does
// and goes on with VD, EV and VV.
const pendingSize = 48

// doubles returns read-only memory of two float64.
func doubles(name string, a, b float64) operand.Mem {
	lo, hi := math.Float64bits(a), math.Float64bits(b)
	return constant(name, uint32(lo), uint32(lo>>32), uint32(hi), uint32(hi>>32))
}

// settle finds figures of blocks under scales that became known.
func (u unit) settle() {
	u.text("settle", "sums, pending, old, absmax, scales *float32, blocksize, blocks int) (largest float32)",
		"is Settle for finite figures and scales.")
	dst, src, old, absmax, scales := load("sums"), load("pending"), load("old"), load("absmax"), load("scales")
	size, n := load("blocksize"), load("blocks")
	sign, tiny, none, least := XMM(), XMM(), XMM(), XMM()
	VMOVUPS(constant("magnitude", 0x7fffffff), sign)
	VMOVUPS(constant("slack", math.Float32bits(0x1p-20)), tiny)
	VXORPS(none, none, none)
	VMOVUPS(constant("leastOfSecond", math.Float32bits(float32(math.Inf(-1))), 0), least)
	top := XMM()
	VXORPS(top, top, top)
	loop("block", n, func() {
		all := YMM()
		PREFETCHT0(at(src, 1536)) // of a whole weight they come from far away
		VMOVUPS(at(src, 0), all)
		from, to, before := XMM(), XMM(), XMM()
		VMOVSS(at(absmax, 0), from)
		VMOVSS(at(scales, 0), to)
		VMOVSS(at(old, 0), before)
		moved := u.movedSums(src, from, to)
		VMAXPS(least, moved, moved)

		bound, slack, far := XMM(), XMM(), XMM()
		VMOVSS(at(src, 20), bound)
		VADDSS(from, bound, slack)
		VANDPS(sign, to, far)
		VADDSS(far, slack, slack)
		VANDPS(sign, before, far)
		VADDSS(far, slack, slack)
		VMULSS(tiny, slack, slack)
		VSUBSS(from, to, far)
		VANDPS(sign, far, far)
		VADDSS(far, bound, bound)
		VADDSS(slack, bound, bound)
		VMAXSS(top, bound, top)

		VMOVUPS(all, at(dst, 0))
		VMOVLPS(moved, at(dst, 12))
		VMOVSS(bound, at(dst, 20))
		MOVL(size.(reg.GP).As32(), at(dst, 24))
		VMOVUPS(none, at(dst, 32))
		VMOVSS(before, at(dst, 48))
		VMOVSS(to, at(dst, 52))
		ADDQ(operand.U8(pendingSize), src)
		ADDQ(operand.U8(blockSum), dst)
		for _, p := range []reg.Register{old, absmax, scales} {
			ADDQ(operand.U8(4), p)
		}
	})
	Store(top, ReturnIndex(0))
	end()
}

// movedSums returns RD and EE of the block at src as of scale to.
func (u unit) movedSums(src reg.Register, from, to reg.VecVirtual) reg.VecVirtual {
	m, start, sums, drift, square := XMM(), XMM(), XMM(), XMM(), XMM()
	VCVTSS2SD(to, to, m)
	VCVTSS2SD(from, from, start)
	VSUBSD(start, m, m)
	VMOVDDUP(m, m)
	VCVTPS2PD(at(src, 12), sums)                  // RD, EE
	VCVTPS2PD(at(src, 32), drift)                 // VD, EV
	VMULPD(doubles("oneTwo", 1, 2), drift, drift) // VD, 2*EV
	VXORPS(square, square, square)                // waits for no earlier value
	VCVTSS2SD(at(src, 40), square, square)        // VV
	VMULSD(m, square, square)                     // m*VV
	zero := XMM()
	VMOVUPS(doubles("minusZero", math.Copysign(0, -1), 0), zero) // adds nothing to VD
	VUNPCKLPD(square, zero, square)
	VADDPD(square, drift, drift)
	VMULPD(m, drift, drift)
	VADDPD(drift, sums, sums)
	VCVTPD2PSX(sums, sums)
	return sums
}

// sumBlocks adds up figures of blocks.
func (u unit) sumBlocks() {
	u.text("sumBlocks", "acc *float64, blocks *float32, n int) (odd bool)",
		"adds blocks to WW, DD, TT, RD and EE, raises the largest error and growth, and counts weights, codes and equal scales.\n"+
			"odd is true, and the sums do not hold, if a figure is NaN or another count is not 0.")
	acc, src, n := load("acc"), load("blocks"), load("n")
	sums, last, largest, growth := YMM(), XMM(), XMM(), XMM()
	counts, equal, odd, none := XMM(), XMM(), XMM(), XMM()
	VMOVUPD(at(acc, 0), sums)
	VMOVSD(at(acc, 32), last)
	VMOVUPD(at(acc, 32), largest) // in its second lane
	VMOVSD(at(acc, 48), growth)
	for _, v := range []reg.VecVirtual{counts, equal, odd, none} {
		VXORPS(v, v, v)
	}
	loop("block", n, func() {
		x, y, count := YMM(), XMM(), XMM()
		VCVTPS2PD(at(src, 0), x)
		VADDPD(x, sums, sums)
		VCVTPS2PD(at(src, 16), y) // EE, MaxE
		VADDSD(y, last, last)
		VMAXPD(largest, y, largest) // largest, if they are equal
		VPMOVZXDQ(at(src, 24), count)
		VPADDQ(count, counts, counts)
		VPOR(at(src, 32), odd, odd)

		scales, swapped := XMM(), XMM()
		VMOVSD(at(src, 48), scales)
		VPSHUFD(operand.U8(0xe1), scales, swapped)
		VPCMPEQD(scales, swapped, swapped)
		VPSUBD(swapped, equal, equal)
		grown, positive := XMM(), XMM()
		VCVTPS2PD(scales, scales) // old, new
		VUNPCKHPD(scales, scales, grown)
		VDIVSD(scales, grown, grown)
		VCMPSD(operand.U8(1), scales, none, positive)
		VANDPD(positive, grown, grown)
		VMAXSD(growth, grown, growth)
		VCMPPD(operand.U8(3), grown, y, grown)
		VPOR(grown, odd, odd)
		ADDQ(operand.U8(blockSum), src)
	})
	VMOVUPD(sums, at(acc, 0))
	VUNPCKHPD(largest, largest, largest)
	VMOVSD(last, at(acc, 32))
	VMOVSD(largest, at(acc, 40))
	VMOVSD(growth, at(acc, 48))
	VMOVUPD(counts, at(acc, 56))
	VPMOVZXDQ(equal, equal)
	VMOVQ(equal, at(acc, 72))
	VPTEST(odd, odd)
	flag := GP8()
	SETNE(flag)
	Store(flag, ReturnIndex(0))
	end()
}
