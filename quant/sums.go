package quant

// Sums adds up BlockSum over any set of weights. The zero value is empty.
// Adding is done in float64 in the order of the calls, so a fixed order gives
// fixed bits.
type Sums struct {
	N                  int64
	WW, DD, TT, RD, EE float64
	MaxE               float64
	Codes              int64
	Blocks, Scales     int64   // blocks seen; blocks whose scale changed
	Growth             float64 // largest NewAbsmax/OldAbsmax, 0 if none
	Delta, Sum, Output int64   // non-finite elements
	Ambiguous          int64
}
