package quant

import (
	"bytes"
	"math"
	"math/rand/v2"
	"testing"
)

// gaussianBlocks returns weights on the code points of a format, their codes and
// scales.
func gaussianBlocks(f Format, blocks, blocksize int) (w []float32, codes []byte, absmax []float32, s Spec) {
	rng := rand.New(rand.NewPCG(1, 2))
	s = Spec{Format: f, Blocksize: blocksize, Dtype: F32}
	src := make([]float32, blocks*blocksize)
	for i := range src {
		src[i] = float32(rng.NormFloat64()) * 0.02
	}
	codes, absmax = make([]byte, len(src)/2), make([]float32, blocks)
	Quantize4(codes, absmax, src, s, CPU)
	w = make([]float32, len(src))
	Dequantize4(w, codes, absmax, s)
	return w, codes, absmax, s
}

func TestDitherKeepsCodePoints(t *testing.T) {
	for _, f := range []Format{NF4, FP4} {
		w, codes, absmax, s := gaussianBlocks(f, 64, 64)
		absmax[3] = -absmax[3] // as nested scales can come out
		Dequantize4(w, codes, absmax, s)
		got := make([]byte, len(codes))
		NewDither(5, "w").Quantize4(got, w, absmax, s, 0)
		out := make([]float32, len(w))
		Dequantize4(out, got, absmax, s)
		for i := range w {
			if out[i] != w[i] {
				t.Fatalf("%s: element %d was %g and is %g without a delta", f, i, w[i], out[i])
			}
		}
	}
	q := make([]byte, 255)
	for i := range q {
		q[i] = uint8(i - 127)
	}
	w, got := make([]float32, 255), make([]byte, 255)
	for _, scb := range []float32{1, 0.3, 1e-6, 777.7} {
		DequantizeInt8(w, q, []float32{scb})
		NewDither(5, "w").QuantizeInt8(got, w, []float32{scb}, 0)
		if !bytes.Equal(got, q) {
			t.Errorf("int8 values change without a delta at scale %g", scb)
		}
	}
}

// The mean over seeds of every element is the value asked for, to within five
// standard errors: a draw lies in the step around the value, so its standard
// deviation is at most half that step. Values beyond the last code point are
// clipped, which is the only bias.
func TestDitherIsUnbiased(t *testing.T) {
	const seeds = 400
	for _, f := range []Format{NF4, FP4} {
		w, _, absmax, s := gaussianBlocks(f, 8, 64)
		rng := rand.New(rand.NewPCG(3, 4))
		target := make([]float32, len(w))
		for i := range w {
			target[i] = w[i] + float32(rng.NormFloat64())*2e-4
		}
		mean := make([]float64, len(w))
		codes, out := make([]byte, len(w)/2), make([]float32, len(w))
		for seed := range uint64(seeds) {
			NewDither(seed, "w").Quantize4(codes, target, absmax, s, 0)
			Dequantize4(out, codes, absmax, s)
			for i, v := range out {
				mean[i] += float64(v) / seeds
			}
		}
		for i := range mean {
			am := float64(absmax[i/64])
			want := min(am, max(-am, float64(target[i])))
			step := 0.34 * am // the widest gap of both tables
			if d := math.Abs(mean[i] - want); d > 5*step/2/math.Sqrt(seeds) {
				t.Errorf("%s: element %d averages %g, want %g", f, i, mean[i], want)
			}
		}
	}
}

func TestDitherInt8IsUnbiased(t *testing.T) {
	const seeds = 400
	src := []float32{0.1, -0.1, 0.00123, -0.9, 0.7777, 1.5, -1.5, 0}
	want := []float64{0.1, -0.1, 0.00123, -0.9, 0.7777, 1, -1, 0} // scale 1 ends at 127/127
	mean := make([]float64, len(src))
	codes, out := make([]byte, len(src)), make([]float32, len(src))
	for seed := range uint64(seeds) {
		NewDither(seed, "w").QuantizeInt8(codes, src, []float32{1}, 0)
		DequantizeInt8(out, codes, []float32{1})
		for i, v := range out {
			mean[i] += float64(v) / seeds
		}
	}
	for i := range mean {
		if d := math.Abs(mean[i] - want[i]); d > 5*0.5/127/math.Sqrt(seeds)+1e-6 {
			t.Errorf("%g averages %g", src[i], mean[i])
		}
	}
}

// Draws depend on the element's index in the tensor, the seed and the tensor's
// name, not on how the tensor is cut.
func TestDitherDependsOnIndexAlone(t *testing.T) {
	w, _, absmax, s := gaussianBlocks(NF4, 32, 64)
	for i := range w {
		w[i] *= 0.97
	}
	whole := make([]byte, len(w)/2)
	NewDither(1, "a").Quantize4(whole, w, absmax, s, 0)
	parts := make([]byte, len(w)/2)
	for b := 0; b < 32; b += 8 {
		lo, hi := b*64, (b+8)*64
		NewDither(1, "a").Quantize4(parts[lo/2:hi/2], w[lo:hi], absmax[b:b+8], s, int64(lo))
	}
	if !bytes.Equal(whole, parts) {
		t.Error("cut in four, the codes differ")
	}
	for _, d := range []Dither{NewDither(2, "a"), NewDither(1, "b")} {
		d.Quantize4(parts, w, absmax, s, 0)
		if bytes.Equal(whole, parts) {
			t.Error("another seed or tensor gives the same codes")
		}
	}
}
