package quant

import "math"

// nf4Bits are the sixteen NF4 code points in units of absmax, ascending by code
// (bitsandbytes csrc/kernels.cu, dDequantizeNF4).
var nf4Bits = [16]uint32{
	0xbf800000, 0xbf3239b1, 0xbf066b30, 0xbeca32a0, 0xbe91a24d, 0xbe3d353f, 0xbdba7871, 0x00000000,
	0x3da2faff, 0x3e24cae3, 0x3e7c04dd, 0x3ead033a, 0x3ee1a4b8, 0x3f1007ab, 0x3f3913b3, 0x3f800000,
}

// fp4Bits are the FP4 code points by code: bit 3 is the sign, and the magnitudes
// do not rise with the code. Code 8 is -0 as in the native kernels; torch's
// fallback decodes it as +0, which no later step can tell apart.
var fp4Bits = [16]uint32{
	0x00000000, 0x3baaaaab, 0x3f2aaaab, 0x3f800000, 0x3eaaaaab, 0x3f000000, 0x3e2aaaab, 0x3e800000,
	0x80000000, 0xbbaaaaab, 0xbf2aaaab, 0xbf800000, 0xbeaaaaab, 0xbf000000, 0xbe2aaaab, 0xbe800000,
}

// nf4Bounds separate neighbouring NF4 codes: the midpoints rounded to float32,
// the same on every device.
var nf4Bounds = [15]uint32{
	0xbf591cd8, 0xbf1c5270, 0xbeeb8480, 0xbeadea76, 0xbe703cec, 0xbe0d38bc, 0xbd3a7871, 0x3d22faff,
	0x3df64862, 0x3e5067e0, 0x3e9582d4, 0x3ec753f9, 0x3f006d04, 0x3f248daf, 0x3f5c89da,
}

// fp4BoundsCPU are the midpoints of the sorted FP4 values, signed
// (backends/default/ops.py). The bound 0 lies between the two zeros.
var fp4BoundsCPU = [15]uint32{
	0xbf555556, 0xbf155556, 0xbed55556, 0xbe955556, 0xbe555556, 0xbdb00000, 0xbb2aaaab, 0x00000000,
	0x3b2aaaab, 0x3db00000, 0x3e555556, 0x3e955556, 0x3ed55556, 0x3f155556, 0x3f555556,
}

// fp4BoundsCUDA restates the tree of csrc/kernels.cu, which compares |x| > t and
// sets the sign where x < 0, as signed bounds with x > bound. On the negative
// side -t itself belongs to the smaller magnitude, hence a bound one ulp below.
var fp4BoundsCUDA = [15]uint32{
	0xbf555556, 0xbf155551, 0xbed55557, 0xbe955556, 0xbe555556, 0xbdb00001, 0xbb2aaaba, 0x80000001,
	0x3b2aaab9, 0x3db00000, 0x3e555555, 0x3e955555, 0x3ed55556, 0x3f155550, 0x3f555555,
}

// dynamicMapBits are the 256 values of the signed dynamic map that stores absmax
// under double quantization (bitsandbytes functional.create_dynamic_map). The
// bits come from torch; the formula worked out in float64 misses up to 72.
var dynamicMapBits = [256]uint32{
	0xbf7e3333, 0xbf7a999a, 0xbf770000, 0xbf736666, 0xbf6fcccd, 0xbf6c3333, 0xbf68999a, 0xbf650000,
	0xbf616666, 0xbf5dcccd, 0xbf5a3333, 0xbf56999a, 0xbf530000, 0xbf4f6666, 0xbf4bcccd, 0xbf483333,
	0xbf44999a, 0xbf410000, 0xbf3d6666, 0xbf39cccd, 0xbf363334, 0xbf32999a, 0xbf2f0000, 0xbf2b6666,
	0xbf27cccd, 0xbf243334, 0xbf20999a, 0xbf1d0000, 0xbf196666, 0xbf15cccd, 0xbf123334, 0xbf0e999a,
	0xbf0b0000, 0xbf076666, 0xbf03cccc, 0xbf003333, 0xbef93332, 0xbef20000, 0xbeeacccc, 0xbee3999a,
	0xbedc6666, 0xbed53333, 0xbece0000, 0xbec6cccc, 0xbebf999a, 0xbeb86666, 0xbeb13333, 0xbeaa0000,
	0xbea2cccc, 0xbe9b999a, 0xbe946666, 0xbe8d3334, 0xbe860000, 0xbe7d9999, 0xbe6f3333, 0xbe60cccd,
	0xbe526666, 0xbe440000, 0xbe35999a, 0xbe273333, 0xbe18cccd, 0xbe0a6666, 0xbdf80000, 0xbddb3334,
	0xbdc9eb85, 0xbdc428f7, 0xbdbe6667, 0xbdb8a3d7, 0xbdb2e148, 0xbdad1eb8, 0xbda75c2a, 0xbda1999a,
	0xbd9bd70a, 0xbd96147b, 0xbd9051eb, 0xbd8a8f5d, 0xbd84cccd, 0xbd7e147b, 0xbd728f5d, 0xbd670a3d,
	0xbd5b851f, 0xbd500000, 0xbd447ae1, 0xbd38f5c3, 0xbd2d70a3, 0xbd21eb85, 0xbd166667, 0xbd0ae148,
	0xbcfeb852, 0xbce7ae15, 0xbcd0a3d7, 0xbcb9999a, 0xbca28f5d, 0xbc8b851f, 0xbc68f5c3, 0xbc3ae148,
	0xbc1f3b64, 0xbc160418, 0xbc0ccccd, 0xbc039581, 0xbbf4bc6a, 0xbbe24dd3, 0xbbcfdf3b, 0xbbbd70a4,
	0xbbab020d, 0xbb989374, 0xbb8624dd, 0xbb676c8a, 0xbb428f5c, 0xbb1db22d, 0xbaf1a9fc, 0xbaa7ef9d,
	0xba7765ff, 0xba59e83e, 0xba3c6a80, 0xba1eecc1, 0xba016f01, 0xb9c7e283, 0xb98ce705, 0xb923d70b,
	0xb8ba1f4b, 0xb88aefb3, 0xb8378034, 0xb7b24206, 0xb70205ff, 0xb65a1a94, 0xb513a3b7, 0x00000000,
	0x3513a3b7, 0x365a1a94, 0x370205ff, 0x37b24206, 0x38378034, 0x388aefb3, 0x38ba1f4b, 0x3923d70b,
	0x398ce705, 0x39c7e283, 0x3a016f01, 0x3a1eecc1, 0x3a3c6a80, 0x3a59e83e, 0x3a7765ff, 0x3aa7ef9d,
	0x3af1a9fc, 0x3b1db22d, 0x3b428f5c, 0x3b676c8a, 0x3b8624dd, 0x3b989374, 0x3bab020d, 0x3bbd70a4,
	0x3bcfdf3b, 0x3be24dd3, 0x3bf4bc6a, 0x3c039581, 0x3c0ccccd, 0x3c160418, 0x3c1f3b64, 0x3c3ae148,
	0x3c68f5c3, 0x3c8b851f, 0x3ca28f5d, 0x3cb9999a, 0x3cd0a3d7, 0x3ce7ae15, 0x3cfeb852, 0x3d0ae148,
	0x3d166667, 0x3d21eb85, 0x3d2d70a3, 0x3d38f5c3, 0x3d447ae1, 0x3d500000, 0x3d5b851f, 0x3d670a3d,
	0x3d728f5d, 0x3d7e147b, 0x3d84cccd, 0x3d8a8f5d, 0x3d9051eb, 0x3d96147b, 0x3d9bd70a, 0x3da1999a,
	0x3da75c2a, 0x3dad1eb8, 0x3db2e148, 0x3db8a3d7, 0x3dbe6667, 0x3dc428f7, 0x3dc9eb85, 0x3ddb3334,
	0x3df80000, 0x3e0a6666, 0x3e18cccd, 0x3e273333, 0x3e35999a, 0x3e440000, 0x3e526666, 0x3e60cccd,
	0x3e6f3333, 0x3e7d9999, 0x3e860000, 0x3e8d3334, 0x3e946666, 0x3e9b999a, 0x3ea2cccc, 0x3eaa0000,
	0x3eb13333, 0x3eb86666, 0x3ebf999a, 0x3ec6cccc, 0x3ece0000, 0x3ed53333, 0x3edc6666, 0x3ee3999a,
	0x3eeacccc, 0x3ef20000, 0x3ef93332, 0x3f003333, 0x3f03cccc, 0x3f076666, 0x3f0b0000, 0x3f0e999a,
	0x3f123334, 0x3f15cccd, 0x3f196666, 0x3f1d0000, 0x3f20999a, 0x3f243334, 0x3f27cccd, 0x3f2b6666,
	0x3f2f0000, 0x3f32999a, 0x3f363334, 0x3f39cccd, 0x3f3d6666, 0x3f410000, 0x3f44999a, 0x3f483333,
	0x3f4bcccd, 0x3f4f6666, 0x3f530000, 0x3f56999a, 0x3f5a3333, 0x3f5dcccd, 0x3f616666, 0x3f650000,
	0x3f68999a, 0x3f6c3333, 0x3f6fcccd, 0x3f736666, 0x3f770000, 0x3f7a999a, 0x3f7e3333, 0x3f800000,
}

// Tables as values.
var (
	nf4Values  = [16]float32(floats(nf4Bits[:]))
	fp4Values  = [16]float32(floats(fp4Bits[:]))
	dynamicMap = [256]float32(floats(dynamicMapBits[:]))
)

// rule decides which code a value in units of absmax gets: codes[i] where i
// is the number of bounds strictly below the value, so a tie goes down.
type rule struct {
	bounds [16]int64 // order of 15 bounds, ascending, and an unused one that spares index checks
	codes  [16]uint8
	nan    uint8 // code of NaN
}

var (
	nf4Rule     = newRule(nf4Bounds, [16]uint8{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, 15)
	nf4RuleCUDA = newRule(nf4Bounds, [16]uint8{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, 0)
	// torch sorts +0 (code 0) before -0 (code 8), so tiny positive values get -0.
	fp4Rule     = newRule(fp4BoundsCPU, [16]uint8{11, 10, 13, 12, 15, 14, 9, 0, 8, 1, 6, 7, 4, 5, 2, 3}, 3)
	fp4RuleCUDA = newRule(fp4BoundsCUDA, [16]uint8{11, 10, 13, 12, 15, 14, 9, 8, 0, 1, 6, 7, 4, 5, 2, 3}, 0)
)

// ruleOf returns the decision rule of a 4-bit format.
func ruleOf(f Format, p Profile) *rule {
	switch {
	case f == NF4 && p == CUDA:
		return &nf4RuleCUDA
	case f == NF4:
		return &nf4Rule
	case f == FP4 && p == CUDA:
		return &fp4RuleCUDA
	case f == FP4:
		return &fp4Rule
	}
	panic(badFormat)
}

// valuesOf returns the code points of a 4-bit format by code, in units of absmax.
func valuesOf(f Format) *[16]float32 {
	switch f {
	case NF4:
		return &nf4Values
	case FP4:
		return &fp4Values
	}
	panic(badFormat)
}

// order maps float32 bits to integers that compare as the values do, except
// that -0 lies below +0. No bound is -0, so that makes no difference here.
func order(bits uint32) int64 {
	v := int32(bits)
	return int64(v ^ v>>31&math.MaxInt32)
}

// code returns the code of x.
func (r *rule) code(x float32) uint8 {
	if x != x {
		return r.nan
	}
	return r.codes[r.search(order(math.Float32bits(x)))&15]
}

// search returns how many bounds are below v. It has no branches, since codes
// of weights are as good as random: a wrong guess costs more than all of it.
func (r *rule) search(v int64) uint64 {
	i := uint64(r.bounds[7]-v) >> 63 << 3 // the sign bit says v > bound
	i |= uint64(r.bounds[i|3]-v) >> 63 << 2
	i |= uint64(r.bounds[i|1]-v) >> 63 << 1
	i |= uint64(r.bounds[i]-v) >> 63
	return i
}

// bound returns bound i as a value.
func (r *rule) bound(i int) float32 {
	return math.Float32frombits(uint32(order(uint32(r.bounds[i])))) // order is its own inverse
}

func newRule(bounds [15]uint32, codes [16]uint8, nan uint8) rule {
	r := rule{codes: codes, nan: nan}
	for i, b := range bounds {
		r.bounds[i] = order(b)
	}
	return r
}

func floats(bits []uint32) []float32 {
	v := make([]float32, len(bits))
	for i, b := range bits {
		v[i] = math.Float32frombits(b)
	}
	return v
}
