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
func (s *Sums) Add(b BlockSum) { s.AddAll([]BlockSum{b}) }

// AddAll adds blocks in order, as calls of Add do.
func (s *Sums) AddAll(blocks []BlockSum) { s.addPlain(blocks[s.addVector(blocks):]) }

// addPlain is AddAll in Go.
func (s *Sums) addPlain(blocks []BlockSum) {
	if len(blocks) == 0 {
		return
	}
	ww, dd, tt, rd, ee := s.WW, s.DD, s.TT, s.RD, s.EE // in registers, since each sum waits for the one before
	largest, growth := s.MaxE, s.Growth
	var n, finite, codes, scales, ambiguous int64
	for i := range blocks {
		b := &blocks[i]
		n += int64(b.N)
		codes += int64(b.Codes)
		ambiguous += int64(b.Ambiguous)
		if math.Float32bits(b.OldAbsmax) != math.Float32bits(b.NewAbsmax) {
			scales++
		}
		if !b.Finite() {
			s.Delta += int64(b.Delta)
			s.Sum += int64(b.Sum)
			s.Output += int64(b.Output)
			continue
		}
		finite += int64(b.N)
		ww += float64(b.WW)
		dd += float64(b.DD)
		tt += float64(b.TT)
		rd += float64(b.RD)
		ee += float64(b.EE)
		if e := float64(b.MaxE); e > largest || e != e {
			largest = e
		}
		// A quotient above growth needs a product not above NewAbsmax, and divisions are slow.
		before, after := float64(b.OldAbsmax), float64(b.NewAbsmax)
		if before > 0 && !(after < float64(growth*before)) {
			if g := after / before; g > growth || g != g {
				growth = g
			}
		}
	}
	s.WW, s.DD, s.TT, s.RD, s.EE = ww, dd, tt, rd, ee
	s.MaxE, s.Growth = largest, growth
	s.N += n
	s.Finite += finite
	s.Codes += codes
	s.Blocks += int64(len(blocks))
	s.Scales += scales
	s.Ambiguous += ambiguous
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
