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
		block := dst[lo:hi]
		for i, c := range n.Codes[lo:hi] {
			block[i] = float32(n.Map[c]*absmax) + n.Offset
		}
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
	var diff [nestedBlocksize]float32
	codes := n.Codes
	for block := range slices.Chunk(absmax, nestedBlocksize) {
		n.Absmax = append(n.Absmax, quantizeBlock8(codes[:len(block)], subtract(diff[:], block, offset), p))
		codes = codes[len(block):]
	}
	return n
}

// OffsetUlp returns how many codes another offset one ulp above or below would
// change. absmax are the scales n was made of. torch's mean of more than 32768
// scales has no certain last ulp: it depends on the number of threads.
func (n *Nested) OffsetUlp(absmax []float32, p Profile) (changes int) {
	above, below := math.Nextafter32(n.Offset, inf), math.Nextafter32(n.Offset, -inf)
	var diff [nestedBlocksize]float32
	var up, down [nestedBlocksize]byte
	for lo := 0; lo < len(absmax); lo += nestedBlocksize {
		hi := min(lo+nestedBlocksize, len(absmax))
		codes, block := n.Codes[lo:hi], absmax[lo:hi]
		if p == CPU && n.certain(block, codes, n.Absmax[lo/nestedBlocksize], above-n.Offset) {
			continue
		}
		quantizeBlock8(up[:len(block)], subtract(diff[:], block, above), p)
		quantizeBlock8(down[:len(block)], subtract(diff[:], block, below), p)
		for i, c := range codes {
			if c != up[i] || c != down[i] {
				changes++
			}
		}
	}
	return changes
}

// certain reports whether no scale of a block is so near to the border of its code
// that an offset one ulp away could change it under the CPU profile. It may miss
// that this is so.
func (n *Nested) certain(block []float32, codes []byte, absmax, ulp float32) bool {
	// An offset moves differences and their largest by an ulp each, so values in
	// [-1, 1] by 2*ulp/absmax. Roundings add less than 2^-20.
	away := float32(2*ulp)/absmax + 0x1p-20
	if !(away < 0.5) {
		return false
	}
	inv, offset := 1/absmax, n.Offset
	codes = codes[:len(block)]
	for i, v := range block {
		x := float32((v - offset) * inv)
		if c := int(codes[i]); x < edges8[c]+away || x > edges8[c+1]-away {
			return false
		}
	}
	return true
}

// subtract sets the first elements of dst to x-y and returns them.
func subtract(dst, x []float32, y float32) []float32 {
	dst = dst[:len(x)]
	for i, v := range x {
		dst[i] = v - y
	}
	return dst
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
	codes = codes[:len(src)]
	if p == CUDA {
		for i, v := range src {
			codes[i] = nearest8(flush(flush(v) * flush(inv)))
		}
		return absmax
	}
	for i, v := range src {
		codes[i] = lookup8(v * inv)
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
	return codes8[uint16(uint32(place8(x)))]
}

// place8 returns the place of x, which is no NaN, before it is cut to an integer:
// fma((x+1)*0.5, 65535, 0.5), whose product and sum are exact in float64.
func place8(x float32) float32 {
	if x > 1 {
		x = 1
	} else if x < -1 {
		x = -1
	}
	return float32(float64(float64((x+1)*0.5)*65535) + 0.5)
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

// edges8 are the values at which lookup8 changes from the codes below to c, but for
// rounding.
var edges8 = newEdges8()

func newEdges8() (edges [257]float32) {
	c := 0
	for place, code := range codes8 {
		for ; c <= int(code); c++ {
			edges[c] = float32((2*float64(place)-1)/65535 - 1)
		}
	}
	edges[0], edges[256] = -inf, inf
	return edges
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
