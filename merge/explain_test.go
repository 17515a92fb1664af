package merge

import (
	"bytes"
	"math"
	"strings"
	"testing"

	"mergescope/quant"
)

// traceOf runs one row through a merge with a given delta. stored are nibbles
// or int8 bits, one a weight, or nil for float values in w.
func traceOf(t *testing.T, spec quant.Spec, absmax float32, stored []uint8, w, d []float32, scales []float32) *quant.Trace {
	t.Helper()
	p := quant.Panel{Spec: spec, Rows: 1, Cols: len(d), D: d, Absmax: []float32{absmax}}
	switch f := spec.Format; {
	case f.Is4Bit():
		for i := 0; i < len(stored); i += 2 {
			p.Codes = append(p.Codes, stored[i]<<4|stored[i+1])
		}
	case f == quant.Int8:
		p.Codes = stored
	default:
		p.Absmax = nil
		p.Codes = make([]byte, f.Bytes(int64(len(w))))
		quant.EncodeFloats(p.Codes, w, f)
	}
	p.Dequantize()
	p.Add()
	p.Requantize()
	p.Measure(scales)
	return quant.TraceBlock(&p, 0, scales)
}

// The block of the design's mock-up: absmax 0.04029 at weight 0, which the
// delta lowers to 0.03959; weight 2 crosses a boundary, weight 25 does not.
func mockBlock(t *testing.T, nested bool) Explain {
	t.Helper()
	codes := make([]uint8, 64)
	d := make([]float32, 64)
	for i := range codes {
		codes[i] = 7
	}
	codes[0], d[0] = 15, -0.0007
	codes[2], d[2] = 6, 0.00206
	codes[3] = 5
	codes[25], d[25] = 9, 0.00085
	spec := quant.Spec{Format: quant.NF4, Blocksize: 64, Dtype: quant.F32, Nested: nested}
	var scales []float32
	if nested {
		scales = []float32{0.04}
	}
	return Explain{Trace: traceOf(t, spec, 0.04029, codes, nil, d, scales), Layer: "layers.4.attn.q_proj"}
}

func TestExplainNF4(t *testing.T) {
	e := mockBlock(t, false)
	tests := []struct {
		weight int
		want   []string
	}{
		{2, []string{
			"1 unpack      byte 0x65: high nibble 6 is this weight, the low one its neighbour",
			"2 dequantize  nf4[6] × absmax = -0.09105 × 0.04029 = -0.003668",
			"3 add         + scale × (B·A) = +0.00206  →  -0.001608",
			"4 new absmax  largest magnitude of the 64 new weights: 0.03959 (was 0.04029, ×0.9826, from weight 0)",
			"5 requantize  -0.001608 / 0.03959 = -0.04063, between the boundaries -0.04553 and 0.03979  →  code 7",
			"6 result      nf4[7] × 0.03959 = 0   error +0.001608   asked +0.00206   got +0.003668",
			"code 6 → 7: the weight moves by +0.003668 where the adapter asked for +0.00206",
		}},
		{25, []string{
			"low nibble 9 is this weight",
			"5 requantize  0.007334 / 0.03959 = 0.1852, between the boundaries 0.1203 and 0.2035  →  code 9",
			"asked +0.00085   got -0.0001127",
			// 0.042591, the way from code 9 up to the boundary, times 0.04029
			"code 9 stays: the delta +0.00085 is swallowed, it takes +0.001716 to reach the next one",
		}},
		{7, []string{"code 7 stays: the adapter asks for nothing here"}},
		{0, []string{"above the highest boundary 0.8615", "code F stays"}},
	}
	for _, tt := range tests {
		text := e.Text(tt.weight)
		for _, want := range tt.want {
			if !strings.Contains(text, want) {
				t.Errorf("weight %d lacks %q in\n%s", tt.weight, want, text)
			}
		}
	}
	if !strings.Contains(e.Text(2), "block: 1 of 64 codes moved") {
		t.Error(e.Text(2))
	}
}

func TestExplainNested(t *testing.T) {
	text := mockBlock(t, true).Text(2)
	for _, want := range []string{
		"nf4 with nested absmax",
		"stored in 8 bits (double quantization), read back as 0.04, ×1.01",
		"-0.001608 / 0.03959 = -0.04063", // the decision uses the scale before nesting
		"scale 0.04029 → 0.04, ×0.9928",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("lacks %q in\n%s", want, text)
		}
	}
}

func TestExplainFP4(t *testing.T) {
	codes := []uint8{3, 7} // 1 and 0.25
	spec := quant.Spec{Format: quant.FP4, Blocksize: 64, Dtype: quant.F32}
	e := Explain{Trace: traceOf(t, spec, 2, codes, nil, []float32{0, -0.125}, nil), Layer: "l"}
	text := e.Text(1)
	for _, want := range []string{
		"fp4[7] × absmax = 0.25 × 2 = 0.5",
		"0.375 / 2 = 0.1875, between the boundaries 0.08594 and 0.2083  →  code 6", // (0.0052+1/6)/2, (1/6+1/4)/2
		"fp4[6] × 2 = 0.3333",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("lacks %q in\n%s", want, text)
		}
	}
}

func TestExplainInt8(t *testing.T) {
	minus := int8(-12)
	spec := quant.Spec{Format: quant.Int8, Dtype: quant.F32}
	e := Explain{Trace: traceOf(t, spec, 2, []uint8{127, uint8(minus)}, nil, []float32{0, 0.005}, nil), Layer: "l"}
	text := e.Text(1)
	for _, want := range []string{
		"byte 0xF4 is the int8 value -12",
		"-12 × SCB / 127 = -12 × 2 / 127 = -0.189", // -24/127
		"4 new SCB     largest magnitude of the row's new weights in float16: 2 (was 2, ×1, from weight 0)",
		"between the boundaries -12.5 and -11.5  →  code -12",
		"code -12 stays: the delta +0.005 is swallowed, it takes +0.007874 to reach the next one", // half of 2/127
	} {
		if !strings.Contains(text, want) {
			t.Errorf("lacks %q in\n%s", want, text)
		}
	}
}

func TestExplainFloat(t *testing.T) {
	spec := quant.Spec{Format: quant.BF16, Dtype: quant.BF16}
	e := Explain{Trace: traceOf(t, spec, 0, nil, []float32{1, 2}, []float32{0.001, 0.01}, nil), Layer: "l"}
	text := e.Text(1)
	for _, want := range []string{
		"stored as bf16", "the value itself: 2", "float weights have none",
		"round 2.01 to bf16: 2.016", // the next bf16 after 2 is 2 + 2^-6 = 2.015625
		"of the delta +0.01, +0.01562 arrived",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("lacks %q in\n%s", want, text)
		}
	}
}

func TestExplainNonFinite(t *testing.T) {
	nan := float32(math.NaN())
	spec := quant.Spec{Format: quant.NF4, Blocksize: 64, Dtype: quant.F32}
	e := Explain{Trace: traceOf(t, spec, 1, []uint8{15, 7}, nil, []float32{0, nan}, nil), Layer: "l"}
	text := e.Text(1)
	for _, want := range []string{"NaN, for which every comparison is false", "non-finite: 1 in the delta, 1 in the sum"} {
		if !strings.Contains(text, want) {
			t.Errorf("lacks %q in\n%s", want, text)
		}
	}
}

func TestExplainZeroBlock(t *testing.T) {
	spec := quant.Spec{Format: quant.NF4, Blocksize: 64, Dtype: quant.F32}
	e := Explain{Trace: traceOf(t, spec, 1, bytes.Repeat([]byte{7}, 64), nil, make([]float32, 64), nil), Layer: "l"}
	if text := e.Text(1); !strings.Contains(text, "all new weights are 0, so the scale is 0") {
		t.Error(text)
	}
}
