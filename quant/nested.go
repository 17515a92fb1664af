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
	for i, c := range n.Codes {
		dst[i] = float32(n.Map[c]*n.Absmax[i/n.Blocksize]) + n.Offset
	}
}

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
	diff := make([]float32, 0, nestedBlocksize)
	codes := n.Codes
	for block := range slices.Chunk(absmax, nestedBlocksize) {
		diff = diff[:0]
		for _, v := range block {
			diff = append(diff, v-offset)
		}
		n.Absmax = append(n.Absmax, quantizeBlock8(codes[:len(diff)], diff, p))
		codes = codes[len(diff):]
	}
	return n
}

// OffsetUlp returns how many codes another offset one ulp above or below would
// change. absmax are the scales n was made of. torch's mean of more than 32768
// scales has no certain last ulp: it depends on the number of threads.
func (n *Nested) OffsetUlp(absmax []float32, p Profile) (changes int) {
	above := QuantizeAbsmaxAt(absmax, math.Nextafter32(n.Offset, inf), p)
	below := QuantizeAbsmaxAt(absmax, math.Nextafter32(n.Offset, -inf), p)
	for i, c := range n.Codes {
		if c != above.Codes[i] || c != below.Codes[i] {
			changes++
		}
	}
	return changes
}

// quantizeBlock8 codes one block by the dynamic map and returns its scale, the
// largest magnitude without regard to NaN, whose code is 0.
func quantizeBlock8(codes []byte, src []float32, p Profile) (absmax float32) {
	for _, v := range src {
		if p == CUDA {
			v = flush(v)
		}
		if a := abs(v); a > absmax {
			absmax = a
		}
	}
	if absmax == 0 {
		clear(codes)
		return 0
	}
	inv := 1 / absmax
	for i, v := range src {
		if p == CUDA {
			codes[i] = nearest8(flush(flush(v) * flush(inv)))
		} else {
			codes[i] = lookup8(v * inv)
		}
	}
	return absmax
}

// lookup8 is the CPU's rule (csrc/cpu_ops.cpp): x goes to one of 65536 places
// on [-1, 1], and the place decides. It is nearly, not exactly, the nearest
// code; codes 124 to 130, 0 among them, are out of reach.
func lookup8(x float32) uint8 {
	if x != x {
		return 0
	}
	x = max(-1, min(1, x))
	place := int64(FMA32((x+1)*0.5, 65535, 0.5))
	code := uint64(0)
	for step := uint64(128); step > 0; step /= 2 { // the sign bit says that the bound is beyond place
		code += step &^ uint64((place-places8[(code+step-1)&255])>>63)
	}
	return uint8(code)
}

// places8 are, for each code but the last, the least place of a greater code.
// Place p stands for the value 2p/65535 - 1.
var places8 = newPlaces8()

func newPlaces8() (least [256]int64) {
	place := int64(0)
	for k := range 255 {
		for place < 65536 && -1+float32(2*float32(place))/65535 <= midpoint8(k) {
			place++
		}
		least[k] = place
	}
	return least
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
