//go:build amd64 && gc && !noasm

package quant

// callBlocks bounds the work of a call on figures of blocks to some microseconds.
const callBlocks = 1024

// fewBlocks are added up by the time a kernel has begun.
const fewBlocks = 4

// settleVector is Settle of the first n blocks.
func settleVector(dst []BlockSum, pending []Pending, blocksize int, old, absmax, scales []float32) (largest float32, n int) {
	if Kernels() == Go {
		return 0, 0
	}
	for n < len(dst) {
		c := min(len(dst)-n, callBlocks)
		largest = max(largest, settleAVX2(&dst[n].WW, &pending[n].WW, &old[n], &absmax[n], &scales[n], blocksize, c))
		n += c
	}
	return largest, n
}

// blockTotals is what sumBlocksAVX2 adds blocks to, in its order.
type blockTotals struct {
	WW, DD, TT, RD, EE, MaxE, Growth float64
	n, codes, equal                  int64 // weights, codes that differ, scales that do not
}

// addVector adds the first n blocks that have nothing odd, and returns n.
func (s *Sums) addVector(blocks []BlockSum) (n int) {
	if len(blocks) < fewBlocks || Kernels() == Go || s.MaxE != s.MaxE || s.Growth != s.Growth {
		return 0
	}
	for n < len(blocks) {
		c := min(len(blocks)-n, callBlocks)
		t := blockTotals{WW: s.WW, DD: s.DD, TT: s.TT, RD: s.RD, EE: s.EE, MaxE: s.MaxE, Growth: s.Growth}
		if sumBlocksAVX2(&t.WW, &blocks[n].WW, c) {
			break
		}
		s.WW, s.DD, s.TT, s.RD, s.EE, s.MaxE, s.Growth = t.WW, t.DD, t.TT, t.RD, t.EE, t.MaxE, t.Growth
		s.N += t.n
		s.Finite += t.n
		s.Codes += t.codes
		s.Blocks += int64(c)
		s.Scales += int64(c) - t.equal
		n += c
	}
	return n
}
