package quant

import "math"

// Panic values for slices and formats that do not fit together.
const (
	badLength = "quant: slice lengths do not match"
	badFormat = "quant: operation does not apply to this format"
)

// Parts of float32 bits.
const (
	signBit = 1 << 31
	infBits = 0x7f800000 // bits without sign from here on are not finite
	nanBits = 0x7fc00000
)

var inf = float32(math.Inf(1))

// magnitude returns the bits of |v|, which order as the values do: finite
// numbers, then infinity, then NaN.
func magnitude(v float32) uint32 { return math.Float32bits(v) &^ signBit }

func abs(v float32) float32 { return math.Float32frombits(magnitude(v)) }

func finite(v float32) bool { return magnitude(v) < infBits }

// flush returns 0 for a subnormal v, keeping its sign, else v.
func flush(v float32) float32 {
	if u := math.Float32bits(v); u&infBits == 0 {
		return math.Float32frombits(u & signBit)
	}
	return v
}

// maxAbs returns the largest magnitude of x, found by comparing
// magnitudes: NaN, always the same one, if x holds any, +Inf over all finite
// values, 0 if x is empty.
func maxAbs(x []float32) float32 {
	m, n := maxAbsVector(x)
	for _, v := range x[n:] {
		m = max(m, magnitude(v))
	}
	if m > infBits {
		m = nanBits
	}
	return math.Float32frombits(m)
}
