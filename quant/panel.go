package quant

// StatBlock is how many consecutive weights of a row one figure covers where
// the format itself has no blocks (int8 and float weights).
const StatBlock = 64

// BlockSum holds the sums over one block from which its figures follow.
// W is the dequantized base, D the delta, T = W+D the target, W' the
// dequantized result, R = W'-W and E = R-D.
type BlockSum struct {
	WW, DD, TT, RD, EE float32 // sums of W*W, D*D, T*T, R*D, E*E
	MaxE               float32 // largest |E|
	N                  uint32  // weights in the block
	Codes              uint32  // codes that differ (int8: values; float: values)
	Delta, Sum, Output uint32  // non-finite elements of D, T and W'
	Ambiguous          uint32  // codes that depend on the device (CUDA profile)
	OldAbsmax          float32 // scale before, 0 where the format has none
	NewAbsmax          float32 // scale after
}

// Panel is the work space of some consecutive rows of one weight on their way
// through a merge: dequantize, add, requantize, measure. The rows begin on a
// block boundary and end on one, or at the end of the weight.
//
// The caller fills Spec, Profile, Rows, Cols, Codes and Absmax, then calls
// Dequantize, AddLoRA (or AddDelta), Requantize and Measure in that order. A
// Panel may be reused for other rows; its scratch space grows as needed. It is
// not safe for concurrent use.
type Panel struct {
	Spec    Spec
	Profile Profile
	Rows    int
	Cols    int

	Codes  []byte    // stored elements of the base: packed nibbles, int8, or little-endian floats
	Absmax []float32 // effective scale of each block (4-bit), SCB of each row (int8), nil for floats

	W   []float32 // base as the merge sees it, rounded to Spec.Dtype
	Ref []float32 // base the figures compare with; nil means W
	D   []float32 // delta, scaling included
	T   []float32 // W+D, what is requantized

	NewCodes  []byte    // elements after the merge, same packing as Codes
	NewAbsmax []float32 // scales after the merge, before nested quantization

	Sums []BlockSum // one a block, in flat order (StatBlock pieces of each row for int8 and floats)
}

// Factor is one adapter's A [rank, cols] prepared for Delta.
type Factor struct {
	Rank int
	Cols int
	A    []float32
}

// NewFactor prepares A for any number of panels. It keeps a.
func NewFactor(a []float32, rank, cols int) *Factor {
	return &Factor{Rank: rank, Cols: cols, A: a}
}

// Delta sets dst [rows, f.Cols] to scale * (B @ A) with B [rows, f.Rank].
func Delta(dst, b []float32, f *Factor, rows int, scale float32) {}

// Dequantize fills W from Codes and Absmax.
func (p *Panel) Dequantize() {}

// Add fills T = W+D.
func (p *Panel) Add() {}

// Requantize fills NewCodes and NewAbsmax from T.
func (p *Panel) Requantize() {}

// Measure fills Sums. scales are the effective new scales, which differ from
// NewAbsmax when absmax is quantized itself; nil means NewAbsmax.
func (p *Panel) Measure(scales []float32) {}

// Merge does all of it for one LoRA adapter: D = scale * (B @ A), then
// Dequantize, Add, Requantize, Measure(nil). Fast kernels replace this whole.
func (p *Panel) Merge(b []float32, f *Factor, scale float32) {}
