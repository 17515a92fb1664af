package quant

import (
	"math"
	"slices"
)

// nestedBlocksize is how many absmax values share a scale under double
// quantization (bitsandbytes functional.quantize_4bit).
const nestedBlocksize = 256

// Nested is a double-quantized absmax vector: one byte a block, one float32
// every Blocksize bytes, and the mean of all. Map must not be changed.
type Nested struct {
	Codes     []byte
	Absmax    []float32 // ceil(len(Codes)/Blocksize)
	Map       *[256]float32
	Offset    float32
	Blocksize int
}

// DynamicMap returns bitsandbytes' signed dynamic map, ascending by code.
func DynamicMap() [256]float32 { return dynamicMap }

// Dequantize sets dst[i] = (Map[Codes[i]] * Absmax[i/Blocksize]) + Offset, both
// operations rounded to float32. It panics if the lengths do not fit.
func (n *Nested) Dequantize(dst []float32) {
	if len(dst) != len(n.Codes) || n.Blocksize <= 0 || len(n.Absmax) != (len(dst)+n.Blocksize-1)/n.Blocksize {
		panic(badLength)
	}
	for b, absmax := range n.Absmax {
		lo, hi := b*n.Blocksize, min((b+1)*n.Blocksize, len(dst))
		block, codes := dst[lo:hi], n.Codes[lo:hi]
		done := scaleVector(block, codes, n.Map, absmax, n.Offset)
		block = block[done:]
		for i, c := range codes[done:] {
			block[i] = float32(n.Map[c]*absmax) + n.Offset
		}
	}
}

// Finite reports whether every value is finite, which it may deny of values near
// the largest float32. Map has no value beyond 1.
func (n *Nested) Finite() bool { return finite(2 * (maxAbs(n.Absmax) + abs(n.Offset))) }

// QuantizeAbsmax double-quantizes the scales of a whole weight as
// functional.quantize_4bit(compress_statistics=True) does. The offset is their
// mean as torch sums it on one thread, see Mean. NaN among the scales makes the
// offset NaN, and with it every scale.
func QuantizeAbsmax(absmax []float32, p Profile) Nested {
	return QuantizeAbsmaxAt(absmax, Mean(absmax), p)
}

// QuantizeAbsmaxAt is QuantizeAbsmax with a given offset. It keeps nothing of
// absmax.
func QuantizeAbsmaxAt(absmax []float32, offset float32, p Profile) Nested {
	n := Nested{
		Codes:     make([]byte, len(absmax)),
		Map:       &dynamicMap,
		Offset:    offset,
		Blocksize: nestedBlocksize,
	}
	n.Absmax = make([]float32, 0, (len(absmax)+nestedBlocksize-1)/nestedBlocksize)
	codes := n.Codes
	for block := range slices.Chunk(absmax, nestedBlocksize) {
		n.Absmax = append(n.Absmax, quantizeBlock8(codes[:len(block)], block, offset, p))
		codes = codes[len(block):]
	}
	return n
}

// OffsetUlp returns how many codes another offset one ulp above or below would
// change. absmax are the scales n was made of. torch's mean of more than 32768
// scales has no certain last ulp: it depends on the number of threads.
func (n *Nested) OffsetUlp(absmax []float32, p Profile) (changes int) {
	above, below := math.Nextafter32(n.Offset, inf), math.Nextafter32(n.Offset, -inf)
	if p == CUDA {
		up, down := QuantizeAbsmaxAt(absmax, above, p), QuantizeAbsmaxAt(absmax, below, p)
		for i, c := range n.Codes {
			if c != up.Codes[i] || c != down.Codes[i] {
				changes++
			}
		}
		return changes
	}
	var here, up, down places
	for block := range slices.Chunk(absmax, nestedBlocksize) {
		here.find(block, n.Offset)
		up.find(block, above)
		down.find(block, below)
		for i := range block {
			at := here[i]
			if up[i] == at && down[i] == at {
				continue
			}
			if c := codes8[at]; codes8[up[i]] != c || codes8[down[i]] != c {
				changes++
			}
		}
	}
	return changes
}

// quantizeBlock8 codes one block of differences of src and offset by the dynamic
// map and returns their scale, the largest magnitude without regard to NaN, whose
// code is 0.
func quantizeBlock8(codes []byte, src []float32, offset float32, p Profile) (absmax float32) {
	codes = codes[:len(src)]
	if p == CUDA {
		return quantizeBlock8CUDA(codes, src, offset)
	}
	var at places
	absmax = at.find(src, offset)
	at.codes(codes)
	return absmax
}

func quantizeBlock8CUDA(codes []byte, src []float32, offset float32) (absmax float32) {
	for _, v := range src {
		if a := abs(flush(v - offset)); a > absmax {
			absmax = a
		}
	}
	if absmax == 0 {
		clear(codes)
		return 0
	}
	inv := flush(1 / absmax)
	for i, v := range src {
		codes[i] = nearest8(flush(flush(v-offset) * inv))
	}
	return absmax
}

// places are where the CPU looks up the codes of a block (csrc/cpu_ops.cpp): x goes
// to one of 65536 places on [-1, 1], and codes8 of the place is its code. It is
// nearly, not exactly, the nearest code; codes 124 to 130, 0 among them, are out of
// reach.
type places [nestedBlocksize]uint16

// find sets the first places to those of x-offset in units of their largest
// magnitude, which it returns. NaN, which is left out of that, goes to the place of
// -1, as everything does if that is 0.
func (p *places) find(x []float32, offset float32) (absmax float32) {
	absmax = farthest(x, offset)
	p.set(x, offset, 1/absmax)
	return absmax
}

// set sets the first places to those of (x-offset)*inv.
func (p *places) set(x []float32, offset, inv float32) {
	n := placeVector(p[:len(x)], x, offset, inv)
	for i, v := range x[n:] {
		p[n+i] = place((v - offset) * inv)
	}
}

// codes looks up the codes of the first places.
func (p *places) codes(codes []byte) {
	for i, at := range p[:len(codes)] {
		codes[i] = codes8[at]
	}
}

// place cuts fma((x+1)*0.5, 65535, 0.5), whose product and sum are exact in
// float64.
func place(x float32) uint16 {
	switch {
	case x > 1:
		x = 1
	case !(x >= -1):
		x = -1
	}
	return uint16(uint32(float32(float64(float64((x+1)*0.5)*65535) + 0.5)))
}

// farthest returns the largest |x-offset| that is no NaN.
func farthest(x []float32, offset float32) float32 {
	m, n := farthestVector(x, offset)
	for _, v := range x[n:] {
		if a := abs(v - offset); a > m {
			m = a
		}
	}
	return m
}

// codes8 are the codes of the places; place p stands for the value 2p/65535 - 1.
var codes8 = newCodes8()

func newCodes8() *[65536]uint8 {
	var t [65536]uint8
	code := 0
	for place := range t {
		for code < 255 && midpoint8(code) < -1+float32(2*float32(place))/65535 {
			code++
		}
		t[place] = uint8(code)
	}
	return &t
}

// nearest8 is CUDA's rule (csrc/kernels.cu, dQuantize): a binary search that
// ends on a code next to x, then the nearer of that code and its neighbour on
// x's side; ties stay. NaN gives 0.
func nearest8(x float32) uint8 {
	at, lower, upper := 127, 0, 255
	for step := 64; step > 0; step /= 2 {
		if x > dynamicMap[at] {
			lower = at
			at += step
		} else {
			upper = at
			at -= step
		}
	}
	if x > dynamicMap[at] {
		if x > (dynamicMap[upper]+dynamicMap[at])*0.5 {
			return uint8(upper)
		}
	} else if x < (dynamicMap[lower]+dynamicMap[at])*0.5 {
		return uint8(lower)
	}
	return uint8(at)
}

// midpoint8 lies between codes k and k+1.
func midpoint8(k int) float32 { return 0.5 * (dynamicMap[k] + dynamicMap[k+1]) }
