package quant

import (
	"encoding/binary"
	"math"

	"github.com/x448/float16"
)

// DecodeFloats widens raw little-endian elements of a float format to float32,
// which is exact. It panics if raw does not hold len(dst) elements or f is no
// float format.
func DecodeFloats(dst []float32, raw []byte, f Format) {
	if int64(len(raw)) != f.Bytes(int64(len(dst))) {
		panic(badLength)
	}
	if !f.IsFloat() {
		panic(badFormat)
	}
	n := decodeVector(dst, raw, f)
	dst, raw = dst[n:], raw[f.Bytes(int64(n)):]
	switch f {
	case F32:
		for i := range dst {
			dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
		}
	case F16:
		for i := range dst {
			dst[i] = float16.Frombits(binary.LittleEndian.Uint16(raw[2*i:])).Float32()
		}
	case BF16:
		for i := range dst {
			dst[i] = math.Float32frombits(uint32(binary.LittleEndian.Uint16(raw[2*i:])) << 16)
		}
	}
}

// EncodeFloats stores src as little-endian elements of a float format, rounded
// to nearest even; values beyond the format's range become infinite. It panics
// if dst does not hold len(src) elements or f is no float format.
func EncodeFloats(dst []byte, src []float32, f Format) {
	if int64(len(dst)) != f.Bytes(int64(len(src))) {
		panic(badLength)
	}
	if !f.IsFloat() {
		panic(badFormat)
	}
	n := encodeVector(dst, src, f)
	dst, src = dst[f.Bytes(int64(n)):], src[n:]
	switch f {
	case F32:
		for i, v := range src {
			binary.LittleEndian.PutUint32(dst[4*i:], math.Float32bits(v))
		}
	case F16:
		for i, v := range src {
			binary.LittleEndian.PutUint16(dst[2*i:], float16.Fromfloat32(v).Bits())
		}
	case BF16:
		for i, v := range src {
			binary.LittleEndian.PutUint16(dst[2*i:], bfloat16(v))
		}
	}
}

// RoundTo rounds each element of x to the nearest value of a float format, ties
// to even. F32 leaves x as it is. It panics if f is no float format.
func RoundTo(x []float32, f Format) {
	switch f {
	case F32:
		return
	case F16, BF16:
		roundPlain(x[roundVector(x, f):], f)
	default:
		panic(badFormat)
	}
}

// roundPlain is RoundTo for F16 and BF16.
func roundPlain(x []float32, f Format) {
	switch f {
	case F16:
		for i, v := range x {
			x[i] = half(v)
		}
	case BF16:
		for i, v := range x {
			x[i] = math.Float32frombits(uint32(bfloat16(v)) << 16)
		}
	}
}

// half rounds v to float16.
func half(v float32) float32 {
	const least, beyond = 0x38800000, 0x477ff000 // 2^-14 and 65520, in between nothing is subnormal or infinite
	if m := magnitude(v); m >= least && m < beyond {
		u := math.Float32bits(v)
		return math.Float32frombits((u + 0xfff + u>>13&1) &^ 0x1fff)
	}
	return float16.Fromfloat32(v).Float32()
}

// bfloat16 rounds v to bfloat16. Every NaN becomes 0x7fc0, as in c10/util/BFloat16.h.
func bfloat16(v float32) uint16 {
	u := math.Float32bits(v)
	if u&^signBit > infBits {
		return nanBits >> 16
	}
	return uint16((u + 0x7fff + u>>16&1) >> 16)
}
