package quant

import "math"

// FMA32 returns a*b + c rounded once to float32, to nearest even, as VFMADD and
// FMLA do. NaN and infinities propagate as in a float32 multiply and add.
//
// The product of two float32 values is exact in float64, so only the sum is
// rounded before the conversion. Rounding twice goes wrong only if the first
// rounding lands on a midpoint between two float32 values.
func FMA32(a, b, c float32) float32 {
	p := float64(float64(a) * float64(b))
	s := p + float64(c)
	if roundsTwice(s) {
		return roundOnce(p, float64(c))
	}
	return float32(s)
}

// roundsTwice reports whether the float64 value s could be a midpoint between
// two float32 values. Midpoints of normal values end in a one and 28 zeros;
// among subnormal ones their place varies, so all of these count.
func roundsTwice(s float64) bool {
	u := math.Float64bits(s)
	const smallest = 0x381 << 53 // 2^-126, sign shifted out
	return u<<35 == 1<<63 || u<<1-1 < smallest-1
}

// roundOnce returns p+c rounded once to float32. The sum is rounded to odd in
// float64 first: an inexact sum gets an odd last bit and so is no midpoint.
// See Boldo and Melquiond, Emulation of FMA and correctly rounded sums, 2008.
func roundOnce(p, c float64) float32 {
	s := p + c
	t := s - p
	err := (p - (s - t)) + (c - t) // Knuth's TwoSum: p+c = s+err exactly; NaN unless s is finite
	if u := math.Float64bits(s); u&1 == 0 {
		switch up := s > 0; {
		case err > 0 && up, err < 0 && !up:
			s = math.Float64frombits(u + 1)
		case err > 0, err < 0:
			s = math.Float64frombits(u - 1)
		}
	}
	return float32(s)
}
