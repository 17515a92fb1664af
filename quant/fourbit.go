package quant

import "math"

// minAbsmax is the least scale that bitsandbytes' torch backend divides by.
const minAbsmax = 1e-38

// Dequantize4 decodes packed 4-bit codes of whole blocks, the last of which may
// be shorter:
//
//	dst[i] = round(table[code[i]] * absmax[i/blocksize]) to s.Dtype
//
// Element 2j is the high nibble of byte j (csrc/kernels.cu, kDequantizeBlockwise).
// It panics if the lengths do not fit or s is no 4-bit format.
func Dequantize4(dst []float32, codes []byte, absmax []float32, s Spec) {
	check4(len(dst), codes, absmax, s)
	for b := dequantize4Vector(dst, codes, absmax, s); b < len(absmax); b++ {
		am, lo := absmax[b], b*s.Blocksize
		block := dst[lo:min(lo+s.Blocksize, len(dst))]
		dequantizeBlock(block, codes[lo/2:], am, s.Format)
		roundState(block, s.Dtype)
	}
}

// Quantize4 is the inverse of Dequantize4 as bitsandbytes does it under profile
// p: absmax is the largest magnitude of each block, a code the nearest code point
// by the profile's decision rule. NaN and infinities give what bitsandbytes
// gives. An odd length leaves the code of 0 in the last low nibble.
//
// Under the CUDA profile it returns how many elements would get another code if
// the device's reciprocal of absmax were off by an ulp; else 0. It panics if the
// lengths do not fit or s is no 4-bit format.
func Quantize4(codes []byte, absmax, src []float32, s Spec, p Profile) (ambiguous int) {
	check4(len(src), codes, absmax, s)
	r := ruleOf(s.Format, p)
	b := 0
	if p == CPU {
		b = quantize4Vector(codes, absmax, src, s)
	}
	for ; b < len(absmax); b++ {
		lo := b * s.Blocksize
		hi := min(lo+s.Blocksize, len(src))
		am, n := quantizeBlock(codes[lo/2:(hi+1)/2], src[lo:hi], r, p, hi-lo < s.Blocksize)
		absmax[b] = am
		ambiguous += int(n)
	}
	return ambiguous
}

func check4(n int, codes []byte, absmax []float32, s Spec) {
	if !s.Format.Is4Bit() || s.Blocksize <= 0 || s.Blocksize%2 != 0 {
		panic(badFormat)
	}
	if len(codes) != (n+1)/2 || len(absmax) != (n+s.Blocksize-1)/s.Blocksize {
		panic(badLength)
	}
}

// dequantizeBlock decodes one block without rounding to the state's dtype.
func dequantizeBlock(dst []float32, codes []byte, absmax float32, f Format) {
	table := valuesOf(f)
	n := len(dst)
	codes = codes[:(n+1)/2]
	for j, c := range codes[:n/2] {
		pair := dst[2*j : 2*j+2]
		pair[0] = table[c>>4] * absmax
		pair[1] = table[c&15] * absmax
	}
	if n%2 != 0 {
		dst[n-1] = table[codes[n/2]>>4] * absmax
	}
}

// quantizeBlock codes one block and returns its absmax.
func quantizeBlock(codes []byte, src []float32, r *rule, p Profile, partial bool) (absmax float32, ambiguous uint32) {
	if p == CUDA {
		absmax = maxAbsCUDA(src)
		ambiguous = countAmbiguous(src, absmax, r)
	} else {
		absmax = maxAbs(src)
		if partial && absmax < minAbsmax {
			absmax = minAbsmax // of a partial block the torch backend stores the scale it divides by
		}
	}
	s := scaler(absmax, p, partial)
	var x [32]float32
	for lo := 0; lo < len(src); lo += len(x) {
		part := x[:min(len(x), len(src)-lo)]
		s.scale(part, src[lo:])
		r.pack(codes[lo/2:], part)
	}
	return absmax, ambiguous
}

// pack stores the codes of x, two a byte, the first in the high nibble.
func (r *rule) pack(codes []byte, x []float32) {
	for j := 0; len(x) >= 2; j++ {
		codes[j] = r.code(x[0])<<4 | r.code(x[1])
		x = x[2:]
	}
	if len(x) > 0 {
		codes[len(codes)-1] = r.code(x[0])<<4 | r.code(0)
	}
}

// scaling expresses values in units of a block's scale.
type scaling struct {
	absmax, inverse float32
	divide, flush   bool
}

// scaler returns the scaling of a block. The torch backend multiplies by the
// reciprocal in whole blocks and divides in a partial last one; its clamp to
// [-1, 1] is left out, since it changes no code. csrc/kernels.cu always
// multiplies and is built with --use_fast_math, so subnormal numbers are zero
// to it; the reciprocal here is the correctly rounded one.
func scaler(absmax float32, p Profile, partial bool) scaling {
	if p == CUDA {
		return scaling{inverse: flush(1 / absmax), flush: true}
	}
	if absmax < minAbsmax {
		absmax = minAbsmax
	}
	return scaling{absmax: absmax, inverse: 1 / absmax, divide: partial}
}

// scale sets dst to the first len(dst) values of src in units of the scale.
func (s *scaling) scale(dst, src []float32) {
	src = src[:len(dst)]
	switch {
	case s.divide:
		for i, v := range src {
			dst[i] = v / s.absmax
		}
	case s.flush:
		for i, v := range src {
			dst[i] = flush(flush(v) * s.inverse)
		}
	default:
		for i, v := range src {
			dst[i] = v * s.inverse
		}
	}
}

// maxAbsCUDA is maxAbs with subnormal numbers flushed and NaN ignored, as fmaxf
// does.
func maxAbsCUDA(x []float32) (m float32) {
	for _, v := range x {
		if a := abs(flush(v)); a > m {
			m = a
		}
	}
	return m
}

// countAmbiguous counts elements whose code depends on the last bit of the
// device's approximate reciprocal: those that its neighbours would change.
func countAmbiguous(src []float32, absmax float32, r *rule) (n uint32) {
	inverse := flush(1 / absmax)
	if inverse == 0 || inverse == inf {
		return 0
	}
	low, high := math.Nextafter32(inverse, 0), math.Nextafter32(inverse, inf)
	for _, v := range src {
		v = flush(v)
		if r.code(flush(v*low)) != r.code(flush(v*high)) {
			n++
		}
	}
	return n
}

// nibble returns element i of packed codes.
func nibble(codes []byte, i int) uint8 {
	return codes[i/2] >> (4 * (^uint(i) & 1)) & 15
}
