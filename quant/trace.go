package quant

// Trace is one block's way through a merge, every intermediate value kept. All
// slices have one entry per weight of the block, in flat order.
type Trace struct {
	Spec   Spec
	Row    int // of the block's first weight
	Col    int
	First  int64 // flat index of the block's first weight
	Cursor int   // index in the block of the weight asked for

	OldAbsmax float32 // scale before; SCB for int8, 0 for floats
	NewAbsmax float32 // scale stored after the merge, nested quantization applied
	RawAbsmax float32 // scale before nested quantization; equals NewAbsmax without
	Extreme   int     // index of the weight that sets NewAbsmax, -1 if none

	OldCode []uint8 // nibble, or the int8 value's bits
	NewCode []uint8
	W       []float32 // dequantized base
	D       []float32 // delta
	T       []float32 // W+D
	X       []float32 // T relative to the scale, what is compared with boundaries
	Out     []float32 // dequantized result W'
	Sum     BlockSum
}
