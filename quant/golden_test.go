package quant

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// Every test here compares with what bitsandbytes and torch returned; see
// testdata/golden/README.md.

// groups returns the distinct prefixes "X" of tensors "X.suffix".
func (v vectors) groups(suffix string) (g []string) {
	for name := range v {
		if p, ok := strings.CutSuffix(name, "."+suffix); ok {
			g = append(g, p)
		}
	}
	return g
}

// plusZero turns -0 into +0: torch's fallback decodes FP4 code 8 as +0, the
// native kernels as -0.
func plusZero(x []float32) []float32 {
	y := make([]float32, len(x))
	for i, v := range x {
		y[i] = v + 0
	}
	return y
}

func TestGolden4Bit(t *testing.T) {
	for _, bs := range []int{32, 64, 128, 256, 512, 1024, 2048, 4096} {
		v := load(t, fmt.Sprintf("kernels/q4_bs%d", bs))
		for _, dtype := range []Format{F32, F16, BF16} {
			src := v.floats(t, dtype.String()+".input")
			for _, f := range []Format{NF4, FP4} {
				key := dtype.String() + "." + f.String()
				t.Run(fmt.Sprintf("%d/%s", bs, key), func(t *testing.T) {
					s := Spec{Format: f, Blocksize: bs, Dtype: dtype}
					check4Bit(t, v, key, src, s)
					s.Nested = true
					checkNested(t, v, key+".nested", v.bytes(t, key+".packed"), v.floats(t, key+".absmax"), s)
				})
			}
		}
	}
}

func check4Bit(t *testing.T, v vectors, key string, src []float32, s Spec) {
	t.Helper()
	packed := v.bytes(t, key+".packed")
	scales := v.floats(t, key+".absmax")
	codes, absmax := make([]byte, len(packed)), make([]float32, len(scales))
	if n := Quantize4(codes, absmax, src, s, CPU); n != 0 {
		t.Errorf("%d ambiguous codes under the CPU profile", n)
	}
	sameBytes(t, "codes", codes, packed)
	sameBits(t, "absmax", absmax, scales)
	out := make([]float32, len(src))
	Dequantize4(out, packed, scales, s)
	sameBits(t, "dequantized", plusZero(out), plusZero(v.floats(t, key+".dequant")))
}

func checkNested(t *testing.T, v vectors, key string, packed []byte, scales []float32, s Spec) {
	t.Helper()
	offset := v.floats(t, key+".nested_offset")[0]
	n := QuantizeAbsmaxAt(scales, offset, CPU)
	sameBytes(t, "nested codes", n.Codes, v.bytes(t, key+".absmax"))
	sameBits(t, "nested absmax", n.Absmax, v.floats(t, key+".nested_absmax"))
	effective := make([]float32, len(scales))
	n.Dequantize(effective)
	sameBits(t, "effective absmax", effective, v.floats(t, key+".absmax_effective"))
	want := v.floats(t, key+".dequant")
	out := make([]float32, len(want))
	Dequantize4(out, packed, effective, s)
	sameBits(t, "dequantized", plusZero(out), plusZero(want))

	if own := Mean(scales); own != offset {
		t.Errorf("mean %v, torch %v", own, offset)
	}
}

func TestGoldenEdges4Bit(t *testing.T) {
	v := load(t, "kernels/q4_edge")
	for _, key := range v.groups("input") {
		t.Run(key, func(t *testing.T) {
			name, _, _ := strings.Cut(key, ".")
			f, _ := ParseFormat(name)
			check4Bit(t, v, key, v.floats(t, key+".input"), Spec{Format: f, Blocksize: 64, Dtype: F32})
		})
	}
}

func TestGoldenNested2D(t *testing.T) {
	v := load(t, "kernels/q4_nested_2d")
	for _, f := range []Format{NF4, FP4} {
		key := "bf16." + f.String() + ".nested"
		s := Spec{Format: f, Blocksize: 64, Dtype: BF16, Nested: true}
		packed := v.bytes(t, key+".packed")
		src := v.floats(t, "bf16.input")
		codes, absmax := make([]byte, len(packed)), make([]float32, len(src)/64)
		Quantize4(codes, absmax, src, s, CPU)
		sameBytes(t, key, codes, packed)
		checkNested(t, v, key, packed, absmax, s)
	}
}

func TestGoldenRagged(t *testing.T) {
	v := load(t, "kernels/q4_ragged_rows")
	for _, key := range v.groups("input") {
		s := Spec{Format: NF4, Blocksize: 64, Dtype: F32}
		src, packed := v.floats(t, key+".input"), v.bytes(t, key+".packed")
		scales := v.floats(t, key+".absmax")
		codes, absmax := make([]byte, len(packed)), make([]float32, len(scales))
		Quantize4(codes, absmax, src, s, CPU)
		sameBytes(t, key, codes, packed)
		sameBits(t, key, absmax, scales)
		out := make([]float32, len(src))
		Dequantize4(out, packed, scales, s)
		sameBits(t, key, out, v.floats(t, key+".dequant_flat"))
	}
}

func TestGoldenStorage(t *testing.T) {
	v := load(t, "kernels/q4_storage")
	src := v.floats(t, "input")
	codes, absmax := make([]byte, len(src)/2), make([]float32, len(src)/64)
	Quantize4(codes, absmax, src, Spec{Format: NF4, Blocksize: 64}, CPU)
	for _, key := range v.groups("packed") {
		sameBytes(t, key, codes, v.bytes(t, key+".packed"))
	}
}

func TestGoldenBlockwise8(t *testing.T) {
	v := load(t, "kernels/blockwise8")
	sameBits(t, "map", dynamicMap[:], v.floats(t, "map"))
	for _, key := range v.groups("input") {
		t.Run(key, func(t *testing.T) {
			blocksize := 256
			fmt.Sscanf(key, "bs%d", &blocksize) // the edge cases have 256
			src, codes := v.floats(t, key+".input"), v.bytes(t, key+".codes")
			scales := v.floats(t, key+".absmax")
			got, absmax := make([]byte, len(codes)), make([]float32, len(scales))
			for b := range absmax {
				lo, hi := b*blocksize, min((b+1)*blocksize, len(src))
				absmax[b] = farthest(src[lo:hi], 0)
				for ; lo < hi; lo += nestedBlocksize {
					var at places
					end := min(lo+nestedBlocksize, hi)
					at.set(src[lo:end], 0, 1/absmax[b])
					at.codes(got[lo:end])
				}
			}
			sameBytes(t, "codes", got, codes)
			sameBits(t, "absmax", absmax, scales)

			n := Nested{Codes: codes, Absmax: scales, Map: &dynamicMap, Blocksize: blocksize}
			out := make([]float32, len(src))
			n.Dequantize(out)
			want := v.get(t, key+".dequant")
			if f, _ := ParseFormat(strings.ToLower(want.DType)); f != F32 {
				RoundTo(out, f)
			}
			sameBits(t, "dequantized", plusZero(out), plusZero(v.floats(t, key+".dequant")))
		})
	}
}

func TestGoldenInt8(t *testing.T) {
	v := load(t, "kernels/int8")
	for key, names := range map[string][2]string{
		"int8params.f32":  {"weight", "SCB"},
		"int8params.f16":  {"weight", "SCB"},
		"int8params.bf16": {"weight", "SCB"},
		"vectorwise.f16":  {"codes", "row_stats"},
	} {
		t.Run(key, func(t *testing.T) {
			src := v.floats(t, key+".input")
			want, scales := v.bytes(t, key+"."+names[0]), v.floats(t, key+"."+names[1])
			codes, scb := make([]byte, len(want)), make([]float32, len(scales))
			QuantizeInt8(codes, scb, src, CPU)
			sameBytes(t, "codes", codes, want)
			sameBits(t, "scb", scb, scales)
			if v[key+".dequant"] == nil {
				return
			}
			out := make([]float32, len(src))
			DequantizeInt8(out, want, scales)
			sameBits(t, "dequantized", out, v.floats(t, key+".dequant"))
		})
	}
}

func TestGoldenMean(t *testing.T) {
	v := load(t, "kernels/mean")
	for _, key := range v.groups("input") {
		got, want := Mean(v.floats(t, key+".input")), v.floats(t, key+".mean")[0]
		if got != want {
			t.Errorf("%s: %v, torch %v", key, got, want)
		}
	}
}

func TestGoldenDelta(t *testing.T) {
	v := load(t, "kernels/delta_gemm")
	for _, key := range v.groups("A") {
		if !strings.HasSuffix(key, ".f32") {
			continue
		}
		t.Run(key, func(t *testing.T) {
			shape := v.get(t, key+".A").Shape
			rows := v.get(t, key+".B").Shape[0]
			f := NewFactor(v.floats(t, key+".A"), shape[0], shape[1])
			got := make([]float32, rows*f.Cols)
			Delta(got, v.floats(t, key+".B"), f, rows, 0.3)
			sameBits(t, "delta", got, v.floats(t, key+".delta_s0.3"))
		})
	}
}

// The JSON of a quant state repeats the offset as a float64, so it must widen
// and narrow without a change.
func TestGoldenOffsetText(t *testing.T) {
	v := load(t, "kernels/q4_bs64")
	var state struct {
		Offset float64 `json:"nested_offset"`
	}
	if err := json.Unmarshal(v.bytes(t, "bf16.nf4.nested.quant_state"), &state); err != nil {
		t.Fatal(err)
	}
	sameBits(t, "offset", []float32{float32(state.Offset)}, v.floats(t, "bf16.nf4.nested.nested_offset"))
}
