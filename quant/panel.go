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
// The caller fills Spec, Profile, Rows, Cols, Codes and Absmax, calls
// Dequantize, fills D, and calls Add, Requantize and Measure; Merge does all of
// it for one LoRA adapter. Between two steps the caller may change their
// result, for example round T where PEFT does. A Panel may be reused for other
// rows; what it fills grows as needed. It is not safe for concurrent use. All
// methods panic if the lengths do not fit Rows, Cols and Spec.
type Panel struct {
	Spec     Spec
	OutDtype Format // float format the result is rounded to when it is read (4-bit, int8); Unknown means F32
	Profile  Profile
	Rows     int
	Cols     int
	First    int64 // flat index of the panel's first weight in the whole weight; only traces use it

	Codes  []byte    // stored elements of the base: packed nibbles, int8, or little-endian floats
	Absmax []float32 // effective scale of each block (4-bit), SCB of each row (int8), nil for floats

	W   []float32 // base as the merge sees it, rounded to Spec.Dtype
	Ref []float32 // base the figures compare with; nil means W
	D   []float32 // delta, scaling included
	T   []float32 // W+D, what is requantized

	NewCodes  []byte    // elements after the merge, same packing as Codes
	NewAbsmax []float32 // scales after the merge, before nested quantization

	Sums []BlockSum // one a block, in flat order (StatBlock pieces of each row for int8 and floats)

	ambiguous []uint32 // by block, from Requantize
	drifts    []drift  // by block
	spare     []BlockSum
	one       *Panel    // of LargestError
	out       []float32 // W' of some blocks
	tile      []float32 // D, W and T of some columns of a few rows
	inverse   []float32 // reciprocals of new scales of a tile
}

// Len returns the number of weights, Rows*Cols.
func (p *Panel) Len() int { return p.Rows * p.Cols }

// Blocks returns how many blocks Sums covers.
func (p *Panel) Blocks() int {
	if p.Spec.Format.Is4Bit() {
		return (p.Len() + p.Spec.Blocksize - 1) / p.Spec.Blocksize
	}
	return p.Rows * p.pieces()
}

// Block returns the flat range [lo, hi) of block b within the panel.
func (p *Panel) Block(b int) (lo, hi int) {
	if p.Spec.Format.Is4Bit() {
		lo = b * p.Spec.Blocksize
		return lo, min(lo+p.Spec.Blocksize, p.Len())
	}
	row, piece := b/p.pieces(), b%p.pieces()
	lo = row*p.Cols + piece*StatBlock
	return lo, min(lo+StatBlock, (row+1)*p.Cols)
}

// RowBlocks returns the blocks [b0, b1) whose first weight lies in a row.
func (p *Panel) RowBlocks(row int) (b0, b1 int) {
	if !p.Spec.Format.Is4Bit() {
		return row * p.pieces(), (row + 1) * p.pieces()
	}
	bs := p.Spec.Blocksize
	return (row*p.Cols + bs - 1) / bs, ((row+1)*p.Cols + bs - 1) / bs
}

// pieces is how many statistics blocks a row has where the format has none.
func (p *Panel) pieces() int { return (p.Cols + StatBlock - 1) / StatBlock }

// Dequantize fills W from Codes and Absmax.
func (p *Panel) Dequantize() {
	p.W = grow(p.W, p.Len())
	switch f := p.Spec.Format; {
	case f.Is4Bit():
		Dequantize4(p.W, p.Codes, p.Absmax, p.Spec)
	case f == Int8:
		DequantizeInt8(p.W, p.Codes, p.Absmax)
		roundState(p.W, p.Spec.Dtype)
	default:
		DecodeFloats(p.W, p.Codes, f)
	}
}

// Add fills T = W+D.
func (p *Panel) Add() {
	n := p.Len()
	if len(p.W) != n || len(p.D) != n {
		panic(badLength)
	}
	p.T = grow(p.T, n)
	done := addVector(p.T, p.W, p.D)
	addPlain(p.T[done:], p.W[done:], p.D[done:])
}

// addPlain sets dst to x+y, both at least as long.
func addPlain(dst, x, y []float32) {
	x, y = x[:len(dst)], y[:len(dst)]
	for i, v := range x {
		dst[i] = v + y[i]
	}
}

// Requantize fills NewCodes and NewAbsmax from T. Float formats round T to
// Spec.Format, to nearest even.
func (p *Panel) Requantize() {
	if len(p.T) != p.Len() {
		panic(badLength)
	}
	p.NewCodes = grow(p.NewCodes, int(p.Spec.Format.Bytes(int64(p.Len()))))
	p.ambiguous = grow(p.ambiguous, p.Blocks())
	clear(p.ambiguous)
	switch f := p.Spec.Format; {
	case f.Is4Bit():
		p.requantize4()
	case f == Int8:
		p.requantizeInt8()
	default:
		p.NewAbsmax = p.NewAbsmax[:0]
		EncodeFloats(p.NewCodes, p.T, f)
	}
}

func (p *Panel) requantize4() {
	p.NewAbsmax = grow(p.NewAbsmax, p.Blocks())
	r := ruleOf(p.Spec.Format, p.Profile)
	b := 0
	if p.Profile == CPU {
		b = quantize4Vector(p.NewCodes, p.NewAbsmax, p.T, p.Spec)
	}
	for ; b < len(p.NewAbsmax); b++ {
		lo, hi := p.Block(b)
		partial := hi-lo < p.Spec.Blocksize
		p.NewAbsmax[b], p.ambiguous[b] = quantizeBlock(p.NewCodes[lo/2:(hi+1)/2], p.T[lo:hi], r, p.Profile, partial)
	}
}

func (p *Panel) requantizeInt8() {
	p.NewAbsmax = grow(p.NewAbsmax, p.Rows)
	for row := range p.NewAbsmax {
		x := int8Scaler(p.T[row*p.Cols:(row+1)*p.Cols], p.Profile)
		p.NewAbsmax[row] = x.scb
		if !x.cuda {
			x.quantize(p.NewCodes[row*p.Cols:(row+1)*p.Cols], p.T[row*p.Cols:(row+1)*p.Cols])
			continue
		}
		for piece := range p.pieces() {
			b := row*p.pieces() + piece
			lo, hi := p.Block(b)
			p.ambiguous[b] = x.quantize(p.NewCodes[lo:hi], p.T[lo:hi])
		}
	}
}

// Merge is MergeWith(b, f, scale, nil).
func (p *Panel) Merge(b []float32, f *Factor, scale float32) { p.MergeWith(b, f, scale, nil) }

// MergeWith does all of it for one LoRA adapter: D = scale * (B @ A) with B
// [Rows, f.Rank], then Dequantize, Add, Requantize, Measure(scales).
//
// Where vector kernels keep W, D and T in registers and caches, these are left
// empty. Then every element was finite.
func (p *Panel) MergeWith(b []float32, f *Factor, scale float32, scales []float32) {
	if p.mergeVector(b, f, scale, scales) {
		return
	}
	p.MergeSteps(b, f, scale, scales)
}

// MergeScales does of Merge only what NewAbsmax follows from, in about half its
// time, and leaves the results of all other steps undefined. It reports false,
// with NewAbsmax undefined too, where no vector kernels do that.
func (p *Panel) MergeScales(b []float32, f *Factor, scale float32) bool {
	return p.scalesVector(b, f, scale)
}

// MergeSteps is MergeWith one step after the other, which always fills W, D and
// T.
func (p *Panel) MergeSteps(b []float32, f *Factor, scale float32, scales []float32) {
	p.D = grow(p.D, p.Len())
	Delta(p.D, b, f, p.Rows, scale)
	p.Dequantize()
	p.Add()
	p.Requantize()
	p.Measure(scales)
}

// roundState rounds x to the dtype of a quant state, of which Unknown means F32.
func roundState(x []float32, dtype Format) {
	if dtype != Unknown {
		RoundTo(x, dtype)
	}
}

// grow returns a slice of n elements, s itself if it is large enough. The
// elements keep no defined values.
func grow[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}
