package heat

import "math"

// Scale places values on a ramp between fixed ends, so that colours compare
// from one weight to the next.
type Scale struct {
	Low, High float64
	Log       bool
	Flip      bool // the hot end is at Low
}

// logSpan is the ratio of the ends of a logarithmic scale whose Low is not
// positive.
const logSpan = 1e3

// Ends returns the values at the ends of the ramp, the smaller first. Values
// beyond an end take its colour.
func (s Scale) Ends() (low, high float64) {
	if s.Log && s.Low <= 0 {
		return s.High / logSpan, s.High
	}
	return s.Low, s.High
}

// Pos returns the place of a value that is not NaN on the ramp, 0 for quiet to
// 1 for hot.
func (s Scale) Pos(v float64) float64 {
	low, high := s.Ends()
	v = min(high, max(low, v))
	if s.Log {
		v, low, high = math.Log(v), math.Log(low), math.Log(high)
	}
	p := 0.0
	if high > low {
		p = (v - low) / (high - low)
	}
	if s.Flip {
		return 1 - p
	}
	return p
}

// Cell returns the cell of a value, NaN and infinities included.
func (s Scale) Cell(v float64) Cell {
	switch {
	case math.IsNaN(v):
		return NaN
	case math.IsInf(v, 0):
		return Inf
	}
	return Cell(s.Pos(v)*255 + 0.5)
}
