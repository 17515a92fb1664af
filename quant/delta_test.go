package quant

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// lcg fills x with multiples of 2^-20 below 8 in magnitude.
func lcg(state *uint64, x []float32) {
	for i := range x {
		*state = *state*6364136223846793005 + 1442695040888963407
		x[i] = float32(int32(*state>>40)-1<<23) / (1 << 20)
	}
}

// The hashes are FNV-1a over the result bytes of MKL 2026.2's cblas_sgemm, called
// from C on an AVX-512 machine with these 24x64 operands.
func TestDeltaMatchesMKL(t *testing.T) {
	for _, c := range []struct {
		rank int
		hash uint64
	}{
		{1, 0xce70aa348c79cd2f},
		{16, 0x4fc47748cc4a123c},
		{191, 0x50d657c2de42245d},
		{192, 0x34a633191709498d},
		{193, 0x0ffbe49ae63a3566},
		{194, 0xc8bee54fdd421b88},
		{195, 0x7ce9736df29cd12b},
		{255, 0x3f165800d671ebd3},
		{256, 0xc841a08a8ad5722f},
		{320, 0x47b03ad15f6fb737},
		{383, 0x3acae51242ebefc9},
		{384, 0x32e4c926b528f16d},
		{385, 0x6a09061f09be4f51},
		{390, 0x21b04212f46a0162},
		{500, 0x4c49356c8dcb5327},
		{577, 0x5d0ffe5f7d986966},
		{1024, 0x040f59eafee10fc7},
	} {
		const rows, cols = 24, 64
		state := uint64(c.rank)
		b, a := make([]float32, rows*c.rank), make([]float32, c.rank*cols)
		lcg(&state, b)
		lcg(&state, a)
		dst := make([]float32, rows*cols)
		Delta(dst, b, NewFactor(a, c.rank, cols), rows, 1)
		h := fnv.New64a()
		var raw [4]byte
		for _, v := range dst {
			binary.LittleEndian.PutUint32(raw[:], math.Float32bits(v))
			h.Write(raw[:])
		}
		if got := h.Sum64(); got != c.hash {
			t.Errorf("rank %d: hash %016x, want %016x", c.rank, got, c.hash)
		}
	}
}

// naiveDelta is one chain of exact FMAs, the definition up to rank 192.
func naiveDelta(b, a []float32, rows, rank, cols int, scale float32) []float32 {
	dst := make([]float32, rows*cols)
	for o := range rows {
		for i := range cols {
			var acc float32
			for k := range rank {
				acc = bigFMA(b[o*rank+k], a[k*cols+i], acc)
			}
			dst[o*cols+i] = scale * acc
		}
	}
	return dst
}

func TestDeltaShapes(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 10))
	for _, s := range [][3]int{{1, 1, 1}, {3, 2, 5}, {2, 3, 511}, {1, 2, 513}, {1, 1, 1030}, {4, 0, 8}, {0, 3, 8}, {5, 3, 0}} {
		rows, rank, cols := s[0], s[1], s[2]
		a, b := gauss(rng, rank*cols, 1), gauss(rng, rows*rank, 1)
		dst := make([]float32, rows*cols)
		for i := range dst {
			dst[i] = float32(math.NaN()) // what was there must not matter
		}
		Delta(dst, b, NewFactor(a, rank, cols), rows, -0.7)
		sameBits(t, fmt.Sprint(s), dst, naiveDelta(b, a, rows, rank, cols, -0.7))
	}
}

func TestDeltaNonFinite(t *testing.T) {
	a := []float32{1, float32(math.NaN()), inf, 2, 0, 1, -inf, math.MaxFloat32}
	dst := make([]float32, 4)
	Delta(dst, []float32{1, 1}, NewFactor(a, 2, 4), 1, 1)
	sameBits(t, "delta", dst, []float32{1, float32(math.NaN()), float32(math.NaN()), math.MaxFloat32})
}

func TestGoldenDeltaHalf(t *testing.T) {
	v := load(t, "kernels/delta_gemm")
	for _, key := range v.groups("A") {
		dtype, _ := ParseFormat(key[strings.LastIndex(key, ".")+1:])
		if dtype == F32 {
			continue
		}
		shape, rows := v.get(t, key+".A").Shape, v.get(t, key+".B").Shape[0]
		f := NewFactor(v.floats(t, key+".A"), shape[0], shape[1])
		got := make([]float32, rows*f.Cols)
		DeltaHalf(got, v.floats(t, key+".B"), f, rows, 0.3, dtype)
		sameBits(t, key, got, v.floats(t, key+".delta_s0.3"))
	}
}
