package quant

import "math"

// Sums adds up BlockSum over any set of weights. The zero value is empty.
// Adding is done in float64 in the order of the calls, so a fixed order gives
// fixed bits.
type Sums struct {
	N                  int64 // weights
	Finite             int64 // weights the sums of squares cover: those of blocks without non-finite elements
	WW, DD, TT, RD, EE float64
	MaxE               float64
	Codes              int64
	Blocks, Scales     int64   // blocks seen; blocks whose scale changed
	Growth             float64 // largest NewAbsmax/OldAbsmax, 0 if none
	Delta, Sum, Output int64   // non-finite elements
	Ambiguous          int64
}

// Add adds one block. A block with non-finite elements adds to the counts only.
func (s *Sums) Add(b BlockSum) {
	s.N += int64(b.N)
	s.Codes += int64(b.Codes)
	s.Blocks++
	s.Delta += int64(b.Delta)
	s.Sum += int64(b.Sum)
	s.Output += int64(b.Output)
	s.Ambiguous += int64(b.Ambiguous)
	if math.Float32bits(b.OldAbsmax) != math.Float32bits(b.NewAbsmax) {
		s.Scales++
	}
	if !b.Finite() {
		return
	}
	s.Finite += int64(b.N)
	s.WW += float64(b.WW)
	s.DD += float64(b.DD)
	s.TT += float64(b.TT)
	s.RD += float64(b.RD)
	s.EE += float64(b.EE)
	s.MaxE = max(s.MaxE, float64(b.MaxE))
	if b.OldAbsmax > 0 {
		s.Growth = max(s.Growth, float64(b.NewAbsmax)/float64(b.OldAbsmax))
	}
}

// Merge adds the weights of o, which must be others than those of s.
func (s *Sums) Merge(o Sums) {
	s.N += o.N
	s.Finite += o.Finite
	s.WW += o.WW
	s.DD += o.DD
	s.TT += o.TT
	s.RD += o.RD
	s.EE += o.EE
	s.MaxE = max(s.MaxE, o.MaxE)
	s.Codes += o.Codes
	s.Blocks += o.Blocks
	s.Scales += o.Scales
	s.Growth = max(s.Growth, o.Growth)
	s.Delta += o.Delta
	s.Sum += o.Sum
	s.Output += o.Output
	s.Ambiguous += o.Ambiguous
}
