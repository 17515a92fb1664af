//go:build amd64 && gc && !noasm

package quant

import (
	"unsafe"

	"golang.org/x/sys/cpu"
)

//go:generate go -C gen run . -out ../vector_amd64.s -stubs ../vector_amd64.go -pkg quant

const (
	// chunk is how many weights a kernel handles at a time.
	chunk = 64
	// callChunks bounds the work of a call to some microseconds: assembly cannot be
	// preempted.
	callChunks = 128
)

func hasLevel(l Level) bool {
	x := &cpu.X86
	fma := x.HasAVX2 && x.HasFMA // both come with F16C on every such processor
	switch l {
	case Go:
		return true
	case AVX2:
		return fma
	case AVX512:
		return fma && x.HasAVX512F && x.HasAVX512BW && x.HasAVX512DQ && x.HasAVX512VL
	}
	return false
}

// vectorKernels are the kernels of one instruction set but for the delta, whose
// arguments must not escape. They take pointers to the first of so many chunks
// or blocks, at least one.
type vectorKernels struct {
	add         func(dst, x, y *float32, chunks int) (nan int)
	absmax      func(dst, src *float32, blocks, chunks int)
	round       [2]func(x *float32, chunks int)
	decode      [2]func(dst *float32, src *byte, chunks int)
	encode      [2]func(dst *byte, src *float32, chunks int)
	dequantize4 [3]func(dst *float32, codes *byte, absmax *float32, table *[16]float32, blocks, chunks int)
	quantize4   [2]func(codes *byte, src, absmax, t *float32, blocks, chunks int)
	dequantize8 func(dst *float32, codes *byte, chunks int, scb float32)
	quantize8   func(codes *byte, src *float32, chunks int, factor float32)
	measure     func(sums, w, d, t, out *float32, blocks, chunks int)
	measureHalf [2]func(sums, w, d, t *float32, out *byte, blocks, chunks int)
	changed     [4]func(sums *float32, old, now *byte, blocks int)
}

// Kernels by format begin with F16, or with F32, NF4 or Int8 if these have one.
var (
	avx2 = vectorKernels{
		add:         addAVX2,
		absmax:      absmaxAVX2,
		round:       [2]func(*float32, int){roundF16AVX2, roundBF16AVX2},
		decode:      [2]func(*float32, *byte, int){decodeF16AVX2, decodeBF16AVX2},
		encode:      [2]func(*byte, *float32, int){encodeF16AVX2, encodeBF16AVX2},
		dequantize4: [3]func(*float32, *byte, *float32, *[16]float32, int, int){dequantize4F32AVX2, dequantize4F16AVX2, dequantize4BF16AVX2},
		quantize4:   [2]func(*byte, *float32, *float32, *float32, int, int){quantizeNF4AVX2, quantizeFP4AVX2},
		dequantize8: dequantize8AVX2,
		quantize8:   quantize8AVX2,
		measure:     measureAVX2,
		measureHalf: [2]func(*float32, *float32, *float32, *float32, *byte, int, int){measureF16AVX2, measureBF16AVX2},
		changed:     [4]func(*float32, *byte, *byte, int){changedInt8AVX2, changedF32AVX2, changedF16AVX2, changedBF16AVX2},
	}
	avx512 = vectorKernels{
		add:         addAVX512,
		absmax:      absmaxAVX512,
		round:       [2]func(*float32, int){roundF16AVX512, roundBF16AVX512},
		decode:      [2]func(*float32, *byte, int){decodeF16AVX512, decodeBF16AVX512},
		encode:      [2]func(*byte, *float32, int){encodeF16AVX512, encodeBF16AVX512},
		dequantize4: [3]func(*float32, *byte, *float32, *[16]float32, int, int){dequantize4F32AVX512, dequantize4F16AVX512, dequantize4BF16AVX512},
		quantize4:   [2]func(*byte, *float32, *float32, *float32, int, int){quantizeNF4AVX512, quantizeFP4AVX512},
		dequantize8: dequantize8AVX512,
		quantize8:   quantize8AVX512,
		measure:     measureAVX512,
		measureHalf: [2]func(*float32, *float32, *float32, *float32, *byte, int, int){measureF16AVX512, measureBF16AVX512},
		changed:     [4]func(*float32, *byte, *byte, int){changedInt8AVX512, changedF32AVX512, changedF16AVX512, changedBF16AVX512},
	}
)

// inUse returns the kernels in use, nil for the Go twins.
func inUse() *vectorKernels {
	switch Kernels() {
	case AVX512:
		return &avx512
	case AVX2:
		return &avx2
	}
	return nil
}

// decodeVector widens the first n elements and returns n.
func decodeVector(dst []float32, raw []byte, f Format) (n int) {
	k := inUse()
	if k == nil {
		return 0
	}
	if f == F32 {
		return copy(dst, floatsOf(raw))
	}
	for ; len(dst)-n >= chunk; n += min((len(dst)-n)/chunk, callChunks) * chunk {
		k.decode[f-F16](&dst[n], &raw[2*n], min((len(dst)-n)/chunk, callChunks))
	}
	return n
}

// encodeVector stores the first n elements and returns n.
func encodeVector(dst []byte, src []float32, f Format) (n int) {
	k := inUse()
	if k == nil {
		return 0
	}
	if f == F32 {
		return copy(floatsOf(dst), src)
	}
	for ; len(src)-n >= chunk; n += min((len(src)-n)/chunk, callChunks) * chunk {
		k.encode[f-F16](&dst[2*n], &src[n], min((len(src)-n)/chunk, callChunks))
	}
	return n
}

// floatsOf views little-endian float32 values as such; amd64 reads them at any
// address.
func floatsOf(raw []byte) []float32 {
	if len(raw) == 0 {
		return nil
	}
	return unsafe.Slice((*float32)(unsafe.Pointer(&raw[0])), len(raw)/4)
}

// roundVector rounds the first n elements and returns n.
func roundVector(x []float32, f Format) (n int) {
	k := inUse()
	if k == nil {
		return 0
	}
	for ; len(x)-n >= chunk; n += min((len(x)-n)/chunk, callChunks) * chunk {
		k.round[f-F16](&x[n], min((len(x)-n)/chunk, callChunks))
	}
	return n
}

// addVector sets the first n elements and returns n. Sums with NaN, whose bits
// depend on the order of the operands, are left to Go.
func addVector(dst, x, y []float32) (n int) {
	k := inUse()
	if k == nil {
		return 0
	}
	for len(dst)-n >= chunk {
		m := min((len(dst)-n)/chunk, callChunks)
		if k.add(&dst[n], &x[n], &y[n], m) != 0 {
			addPlain(dst[n:n+m*chunk], x[n:], y[n:])
		}
		n += m * chunk
	}
	return n
}

// maxAbsVector returns the bits of the largest magnitude of the first n elements.
func maxAbsVector(x []float32) (m uint32, n int) {
	k := inUse()
	if k == nil {
		return 0, 0
	}
	for len(x)-n >= chunk {
		c := min((len(x)-n)/chunk, callChunks)
		var part float32
		if k == &avx512 { // through k, part would escape
			absmaxAVX512(&part, &x[n], 1, c)
		} else {
			absmaxAVX2(&part, &x[n], 1, c)
		}
		m = max(m, magnitude(part))
		n += c * chunk
	}
	return m, n
}

// wholeBlocks returns how many of n weights' blocks the vector kernels take and
// how many of them to take in one call.
func wholeBlocks(n, blocksize int) (blocks, call int) {
	if blocksize%chunk != 0 {
		return 0, 0
	}
	return n / blocksize, max(callChunks*chunk/blocksize, 1)
}

// dequantize4Vector decodes the first n blocks and returns n.
func dequantize4Vector(dst []float32, codes []byte, absmax []float32, s Spec) (n int) {
	k := inUse()
	if k == nil {
		return 0
	}
	blocks, call := wholeBlocks(len(dst), s.Blocksize)
	decode := k.dequantize4[0]
	if s.Dtype != Unknown {
		decode = k.dequantize4[s.Dtype-F32]
	}
	for ; n < blocks; n += min(call, blocks-n) {
		lo := n * s.Blocksize
		decode(&dst[lo], &codes[lo/2], &absmax[n], valuesOf(s.Format), min(call, blocks-n), s.Blocksize/chunk)
	}
	for b, am := range absmax[:n] {
		if !finite(am) {
			lo := b * s.Blocksize
			block := dst[lo : lo+s.Blocksize]
			dequantizeBlock(block, codes[lo/2:], am, s.Format)
			if s.Dtype != Unknown {
				roundPlain(block, s.Dtype)
			}
		}
	}
	return n
}

// quantize4Vector codes the first n blocks under the CPU profile and returns n.
func quantize4Vector(codes []byte, absmax, src []float32, s Spec) (n int) {
	k := inUse()
	if k == nil {
		return 0
	}
	blocks, call := wholeBlocks(len(src), s.Blocksize)
	t := &nf4Tables
	if s.Format == FP4 {
		t = &fp4Tables
	}
	for n < blocks {
		lo, m := n*s.Blocksize, min(call, blocks-n)
		k.absmax(&absmax[n], &src[lo], m, s.Blocksize/chunk)
		k.quantize4[s.Format-NF4](&codes[lo/2], &src[lo], &absmax[n], &t.bound[0], m, s.Blocksize/chunk)
		n += m
	}
	for b, am := range absmax[:n] {
		if !finite(am) {
			lo, hi := b*s.Blocksize, (b+1)*s.Blocksize
			absmax[b], _ = quantizeBlock(codes[lo/2:hi/2], src[lo:hi], ruleOf(s.Format, CPU), CPU, false)
		}
	}
	return n
}

// dequantize8Vector decodes the first n values of a row and returns n.
func dequantize8Vector(dst []float32, codes []byte, scb float32) (n int) {
	k := inUse()
	if k == nil || !finite(scb) {
		return 0
	}
	for ; len(dst)-n >= chunk; n += min((len(dst)-n)/chunk, callChunks) * chunk {
		k.dequantize8(&dst[n], &codes[n], min((len(dst)-n)/chunk, callChunks), scb)
	}
	return n
}

// quantize8Vector codes the first n values of a row, all of which are finite in
// float16, and returns n.
func quantize8Vector(codes []byte, src []float32, factor float32) (n int) {
	k := inUse()
	if k == nil {
		return 0
	}
	for ; len(src)-n >= chunk; n += min((len(src)-n)/chunk, callChunks) * chunk {
		k.quantize8(&codes[n], &src[n], min((len(src)-n)/chunk, callChunks), factor)
	}
	return n
}

// measureVector sums over the first n blocks of so many elements and returns n.
// It leaves Codes, Ambiguous and the scales alone.
func measureVector(sums []BlockSum, w, d, t, out []float32, blocksize int) (n int) {
	k := inUse()
	if k == nil {
		return 0
	}
	blocks, call := wholeBlocks(len(w), blocksize)
	for n < blocks {
		lo, m := n*blocksize, min(call, blocks-n)
		k.measure(&sums[n].WW, &w[lo], &d[lo], &t[lo], &out[lo], m, blocksize/chunk)
		n += m
	}
	for b := range sums[:n] {
		if s := &sums[b]; !s.complete(blocksize) {
			lo, hi := b*blocksize, (b+1)*blocksize
			*s = measureBlock(w[lo:hi], d[lo:hi], t[lo:hi], out[lo:hi])
		}
	}
	return n
}

// measureHalfVector is measureVector for blocks of 64 results that are stored as
// float16 or bfloat16, of a span.
func measureHalfVector(sums []BlockSum, w, d, t []float32, out []byte, f Format) (n int) {
	k := inUse()
	if k == nil || f != F16 && f != BF16 || len(w) < chunk {
		return 0
	}
	n = len(w) / chunk
	k.measureHalf[f-F16](&sums[0].WW, &w[0], &d[0], &t[0], &out[0], n, 1)
	for b := range sums[:n] {
		if s := &sums[b]; !s.complete(chunk) {
			lo, hi := b*chunk, (b+1)*chunk
			var wide [chunk]float32
			DecodeFloats(wide[:], out[2*lo:2*hi], f)
			*s = measureBlock(w[lo:hi], d[lo:hi], t[lo:hi], wide[:])
		}
	}
	return n
}

// driftVector sums over the first n blocks of packed codes and returns n.
func driftVector(drifts []drift, w, d []float32, codes []byte, absmax, scales []float32, s Spec) (n int) {
	var kernel func(drifts *float32, step int, w, d *float32, codes *byte, absmax, scales *float32, table *[16]float32, blocks, chunks int)
	switch Kernels() {
	case AVX512:
		kernel = mergeAVX512.drift
	case AVX2:
		kernel = mergeAVX2.drift
	default:
		return 0
	}
	blocks, call := wholeBlocks(len(w), s.Blocksize)
	for n < blocks {
		lo, m := n*s.Blocksize, min(call, blocks-n)
		kernel(&drifts[n].VD, int(unsafe.Sizeof(drift{})), &w[lo], &d[lo], &codes[lo/2], &absmax[n], &scales[n], valuesOf(s.Format), m, s.Blocksize/chunk)
		n += m
	}
	return n
}

// changedVector sets Codes of the first n blocks of 64 stored elements and
// returns n. 4-bit formats have no such blocks.
func changedVector(sums []BlockSum, old, now []byte, f Format) (n int) {
	k := inUse()
	if k == nil || f.Is4Bit() {
		return 0
	}
	size := int(f.Bytes(chunk))
	n = min(len(old)/size, len(sums)) // of a span, which is short enough for a call
	if n > 0 {
		k.changed[f-Int8](&sums[0].WW, &old[0], &now[0], n)
	}
	return n
}

// interleaveVector is Interleave for the first r rows, as far as they are columns
// [0, c).
func interleaveVector(dst []float32, width int, src []float32, stride, rows, cols int) (r, c int) {
	if inUse() == nil || cols < 4 {
		return 0, 0
	}
	r, c = rows&^3, cols&^3
	for i := 0; i < r; i += 4 {
		_, _ = dst[(c-1)*width+i+3], src[(i+3)*stride+c-1]
		transpose4(&dst[i], width, &src[i*stride], stride, c/4)
	}
	return r, c
}
