package quant

import "math"

// int8Step is 1/127 rounded to float32 (bitsandbytes functional.int8_vectorwise_dequant).
var int8Step = math.Float32frombits(0x3c010204)

// DequantizeInt8 decodes rows of int8 values, codes holding their bits:
//
//	dst[o,i] = (q[o,i] * scb[o]) * (1/127), each product rounded to float32
//
// scb has one entry a row. It panics if the lengths do not fit.
func DequantizeInt8(dst []float32, codes []byte, scb []float32) {
	cols := checkInt8(len(dst), codes, scb)
	for o, s := range scb {
		dequantizeRow(dst[o*cols:(o+1)*cols], codes[o*cols:(o+1)*cols], s)
	}
}

// QuantizeInt8 rounds src to float16, stores each row's largest magnitude in
// scb and sets the row's values to round(h * 127/scb), ties to even, as
// bitsandbytes' Int8Params does when a merged weight moves to its device. A row
// of zeros gets zeros and scb 0. A row with NaN or an infinity, which includes
// values beyond float16, gets zeros and an scb that is not finite.
//
// Under the CUDA profile the factor is 127/scb instead of 127 times the
// reciprocal, NaN counts as 0, and the number of values that another factor
// within 2 ulp would change is returned; else 0. It panics if the lengths do
// not fit.
func QuantizeInt8(codes []byte, scb, src []float32, p Profile) (ambiguous int) {
	cols := checkInt8(len(src), codes, scb)
	for o := range scb {
		row := src[o*cols : (o+1)*cols]
		x := int8Scaler(row, p)
		scb[o] = x.scb
		ambiguous += int(x.quantize(codes[o*cols:(o+1)*cols], row))
	}
	return ambiguous
}

func checkInt8(n int, codes []byte, scb []float32) (cols int) {
	rows := max(len(scb), 1)
	if len(codes) != n || n%rows != 0 || n > 0 && len(scb) == 0 {
		panic(badLength)
	}
	return n / rows
}

// dequantizeRow decodes a row or a part of one.
func dequantizeRow(dst []float32, codes []byte, scb float32) {
	codes = codes[:len(dst)]
	for i := dequantize8Vector(dst, codes, scb); i < len(dst); i++ {
		q := codes[i]
		dst[i] = float32(float32(int8(q))*scb) * int8Step
	}
}

// int8Scaling turns the values of one row into steps of scb/127.
type int8Scaling struct {
	scb, factor float32
	below       float32 // least and largest factor within the device's error
	above       float32
	cuda        bool
}

// int8Scaler returns the scaling of a row. Rounding is monotone, so the largest
// magnitude after rounding to float16 is the rounded largest.
func int8Scaler(row []float32, p Profile) int8Scaling {
	x := int8Scaling{cuda: p == CUDA}
	if x.cuda {
		x.scb = half(maxAbsCUDA(row))
	} else {
		x.scb = half(maxAbs(row))
	}
	if x.scb == 0 || !finite(x.scb) {
		return x // factor 0: every value becomes 0, as converting NaN does
	}
	if !x.cuda {
		x.factor = float32(1/x.scb) * 127
		return x
	}
	x.factor = 127 / x.scb
	x.below = math.Nextafter32(math.Nextafter32(x.factor, 0), 0)
	x.above = math.Nextafter32(math.Nextafter32(x.factor, inf), inf)
	return x
}

// steps returns v, rounded to float16, in steps of scb/127.
func (x *int8Scaling) steps(v float32) float32 {
	return half(v) * x.factor
}

// quantize codes a row or a part of one.
func (x *int8Scaling) quantize(codes []byte, src []float32) (ambiguous uint32) {
	codes = codes[:len(src)]
	i := 0
	if !x.cuda && x.factor != 0 { // then no value of the row is NaN or infinite
		i = quantize8Vector(codes, src, x.factor)
	}
	for ; i < len(src); i++ {
		q, unsure := x.code(src[i])
		codes[i] = q
		if unsure {
			ambiguous++
		}
	}
	return ambiguous
}

// code returns the bits of the int8 value of v, and whether the device's
// factor could give another one.
func (x *int8Scaling) code(v float32) (q uint8, unsure bool) {
	if x.factor == 0 {
		return 0, false
	}
	h := half(v)
	if h != h {
		return 0, false
	}
	q = roundSteps(h * x.factor)
	return q, x.cuda && roundSteps(h*x.below) != roundSteps(h*x.above)
}

// roundSteps rounds |s| < 2^22 to an integer, ties to even: adding 1.5 * 2^23
// leaves no bits after the point. The conversion keeps a product passed as s
// from being fused with the addition.
func roundSteps(s float32) uint8 {
	const magic = 3 << 22
	return uint8(int8((float32(s) + magic) - magic))
}
