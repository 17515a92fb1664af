package quant

import "math"

// Unit returns the size of one unit of X, CodeValue, Boundaries and DeadZone:
// absmax for 4-bit formats, a step scb/127 for int8, 1 for floats.
func Unit(f Format, absmax float32) float32 {
	switch {
	case f.Is4Bit():
		return absmax
	case f == Int8:
		return absmax * int8Step
	default:
		return 1
	}
}

// CodeValue returns the value of a code in units of its scale: a code point in
// [-1, 1] for a nibble, -127 to 127 for the bits of an int8 value. It panics for
// float formats.
func CodeValue(f Format, code uint8) float32 {
	if f == Int8 {
		return float32(int8(code))
	}
	return valuesOf(f)[code&15]
}

// Boundaries returns, ascending and in units of the scale, the values at which
// quantization changes over from one code to the next: 15 for 4-bit formats
// (a value equal to one belongs below it), the half-integers from -126.5 to 126.5
// for int8 (a value equal to one goes to the even side), nil for floats.
func Boundaries(f Format, p Profile) []float32 {
	switch {
	case f.Is4Bit():
		b := make([]float32, 15)
		for i := range b {
			b[i] = ruleOf(f, p).bound(i)
		}
		return b
	case f == Int8:
		b := make([]float32, 254)
		for i := range b {
			b[i] = float32(i) - 126.5
		}
		return b
	default:
		return nil
	}
}

// DeadZone returns how far a weight that sits on a code point may move down and
// up, in units of its scale, before its code changes: half the distance to the
// neighbouring code points, +Inf where there is none. The two zeros of FP4 count
// as one. Floats have no code points; both results are NaN.
func DeadZone(f Format, p Profile, code uint8) (down, up float32) {
	switch {
	case f == Int8:
		return int8DeadZone(int8(code))
	case !f.Is4Bit():
		nan := float32(math.NaN())
		return nan, nan
	}
	v := CodeValue(f, code)
	down, up = inf, inf
	for _, b := range Boundaries(f, p) {
		switch {
		case f == FP4 && abs(b) < 1e-3: // between the zeros, whose values are equal
		case b < v:
			down = v - b
		case up == inf:
			up = b - v
		}
	}
	return down, up
}

func int8DeadZone(q int8) (down, up float32) {
	down, up = 0.5, 0.5
	if q <= -127 {
		down = inf
	}
	if q == 127 {
		up = inf
	}
	return down, up
}
