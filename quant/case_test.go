package quant

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// step is how a case departs from the plain merge of a float32 adapter.
type step struct {
	roundDelta  Format // safe_merge of a float layer rounds the delta first
	halfAdapter Format // arithmetic of autocast_adapter_dtype=False on quantized layers
	flat        bool   // compare with expected_flat
}

// cases are real merges by PEFT, one layer after the other through a Panel.
var cases = map[string]step{
	"nf4-plain": {}, "nf4-all-layers": {}, "nf4-gauss": {}, "nf4-f16": {}, "nf4-f32": {}, "nf4-bs128": {},
	"nf4-storage-bf16": {}, "nf4-compute-f32": {}, "fp4": {}, "gpt2-nf4": {}, "bert-nf4": {}, "bert-int8": {},
	"lora-r1": {}, "lora-r64": {}, "rslora": {}, "scaling-thirds": {}, "alpha-fraction": {}, "negative-scaling": {},
	"zero-b-nf4": {}, "zero-b-fp4": {}, "zero-b-int8": {}, "zero-b-nf4-dq": {},
	"zero-rows-nf4": {}, "zero-rows-nf4-dq": {}, "zero-rows-int8": {},
	"nf4-dq": {}, "fp4-dq": {}, "nf4-dq-gauss": {}, "nf4-dq-bs256": {},
	"int8": {}, "int8-all-layers": {}, "int8-gauss": {}, "gpt2-int8": {},
	"sweep-nf4-0.1pct": {}, "sweep-nf4-1pct": {}, "sweep-nf4-3pct": {}, "sweep-nf4-30pct": {},
	"sweep-int8-0.1pct": {}, "sweep-int8-1pct": {}, "sweep-int8-30pct": {},
	"sweep-nf4-dq-0.3pct": {}, "sweep-nf4-dq-3pct": {},
	"nan-a-unsafe": {}, "nan-b-unsafe": {}, "inf-b-unsafe": {}, "nan-a-int8-unsafe": {}, "inf-b-int8-unsafe": {},
	"overflow-f16-int8-unsafe": {}, "overflow-f16-delta-unsafe": {halfAdapter: F16},
	"adapter-f16": {}, "adapter-bf16": {},
	"adapter-bf16-no-autocast": {halfAdapter: BF16},
	"float-bf16-unsafe":        {}, "float-f16-unsafe": {}, "float-f32-unsafe": {}, "float-f32-safe": {},
	"float-bf16-safe": {roundDelta: BF16}, "float-f16-safe": {roundDelta: F16},
	"ragged": {flat: true}, "nf4-bs128-narrow": {flat: true},
}

// figures are one layer's entry in expected.json.
type figures struct {
	Kind         string
	Shape        []int
	DeltaRMS     *float64 `json:"delta_rms"`
	WeightRMS    *float64 `json:"w_rms"`
	Kept         *float64
	SNR          *float64 `json:"snr_db"`
	CodesChanged *float64 `json:"codes_changed"`
	ErrMax       *float64 `json:"err_max_abs"`
	NonFinite    int64
	NonFiniteSum int64 `json:"nonfinite_target"`
}

type adapterConfig struct {
	R      int
	Alpha  float64 `json:"lora_alpha"`
	RSLoRA bool    `json:"use_rslora"`
}

func (c adapterConfig) scaling() float32 {
	if c.RSLoRA {
		return float32(c.Alpha / math.Sqrt(float64(c.R)))
	}
	return float32(c.Alpha / float64(c.R))
}

func loadJSON(t *testing.T, v any, path ...string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(append([]string{"..", "testdata", "golden"}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, v); err != nil {
		t.Fatal(err)
	}
}

func TestGoldenMerges(t *testing.T) {
	for name, how := range cases {
		t.Run(name, func(t *testing.T) {
			var info struct{ Base string }
			loadJSON(t, &info, "cases", name, "case.json")
			var config adapterConfig
			loadJSON(t, &config, "cases", name, "adapter", "adapter_config.json")
			expected := "expected"
			if how.flat {
				expected = "expected_flat"
			}
			var want struct{ Layers map[string]figures }
			loadJSON(t, &want, "cases", name, expected+".json")
			base := load(t, "golden/"+info.Base+"/model")
			adapter := load(t, "golden/cases/"+name+"/adapter/adapter_model")
			result := load(t, "golden/cases/"+name+"/"+expected+"/model")
			for layer, w := range want.Layers {
				t.Run(layer, func(t *testing.T) {
					mergeCase(t, layer, w, how, config, base, adapter, result)
				})
			}
		})
	}
}

func mergeCase(t *testing.T, layer string, w figures, how step, config adapterConfig, base, adapter, result vectors) {
	p, scales := basePanel(t, base, layer, w.Shape)
	key := "base_model.model." + layer
	a, b := adapter.floats(t, key+".lora_A.weight"), adapter.floats(t, key+".lora_B.weight")
	f := NewFactor(a, len(a)/p.Cols, p.Cols)
	p.D = make([]float32, p.Len())
	if how.halfAdapter != Unknown {
		DeltaHalf(p.D, b, f, p.Rows, config.scaling(), how.halfAdapter)
	} else {
		Delta(p.D, b, f, p.Rows, config.scaling())
	}
	if how.roundDelta != Unknown {
		RoundTo(p.D, how.roundDelta)
	}
	p.Dequantize()
	p.Add()
	if how.halfAdapter != Unknown {
		RoundTo(p.T, how.halfAdapter)
		p.OutDtype = how.halfAdapter
	}
	p.Requantize()
	effective := checkResult(t, p, layer, base, result)
	p.Measure(effective)
	// The figures take the delta as it is before it is rounded to any float format.
	checkFigures(t, p, w, p.Spec.Format == F32 || how.roundDelta != Unknown || how.halfAdapter != Unknown)

	if how == (step{}) || how.flat {
		checkPieces(t, p, b, f, config.scaling(), scales)
	}
}

// basePanel reads a layer of a checkpoint. scales repeat Panel.Absmax.
func basePanel(t *testing.T, base vectors, layer string, shape []int) (p *Panel, scales []float32) {
	t.Helper()
	name := layer + ".weight"
	x := base.get(t, name)
	p = &Panel{Rows: shape[0], Cols: shape[1], Codes: x.raw}
	for key := range base {
		if !strings.HasPrefix(key, name+".quant_state.") {
			continue
		}
		var state struct {
			QuantType string `json:"quant_type"`
			Blocksize int
			Dtype     string
			Offset    float64 `json:"nested_offset"`
		}
		if err := json.Unmarshal(base.bytes(t, key), &state); err != nil {
			t.Fatal(err)
		}
		p.Spec.Format, _ = ParseFormat(state.QuantType)
		p.Spec.Dtype, _ = ParseFormat(state.Dtype)
		p.Spec.Blocksize = state.Blocksize
		if base[name+".nested_absmax"] == nil {
			p.Absmax = base.floats(t, name+".absmax")
			return p, p.Absmax
		}
		p.Spec.Nested = true
		n := Nested{
			Codes: base.bytes(t, name+".absmax"), Absmax: base.floats(t, name+".nested_absmax"),
			Map: (*[256]float32)(base.floats(t, name+".nested_quant_map")), Offset: float32(state.Offset), Blocksize: 256,
		}
		p.Absmax = make([]float32, len(n.Codes))
		n.Dequantize(p.Absmax)
		return p, p.Absmax
	}
	if x.DType == "I8" {
		p.Spec = Spec{Format: Int8, Dtype: F32}
		p.Absmax = base.floats(t, layer+".SCB")
		return p, p.Absmax
	}
	p.Spec.Format, _ = ParseFormat(strings.ToLower(x.DType))
	return p, nil
}

// checkResult compares codes and scales with PEFT's and returns the effective
// new scales, nil if they are p.NewAbsmax.
func checkResult(t *testing.T, p *Panel, layer string, base, result vectors) []float32 {
	t.Helper()
	get := func(name string) vectors { // slim results leave out what is as in the base
		if result[name] != nil {
			return result
		}
		return base
	}
	name := layer + ".weight"
	sameBytes(t, "codes", p.NewCodes, get(name).bytes(t, name))
	switch {
	case p.Spec.Format == Int8:
		sameBits(t, "SCB", p.NewAbsmax, get(layer+".SCB").floats(t, layer+".SCB"))
	case p.Spec.Nested:
		return checkNestedResult(t, p, name, get)
	case p.Spec.Format.Is4Bit():
		sameBits(t, "absmax", p.NewAbsmax, get(name+".absmax").floats(t, name+".absmax"))
	}
	return nil
}

func checkNestedResult(t *testing.T, p *Panel, name string, get func(string) vectors) []float32 {
	t.Helper()
	key := name + ".quant_state.bitsandbytes__" + p.Spec.Format.String()
	var state struct {
		Offset float64 `json:"nested_offset"`
	}
	if err := json.Unmarshal(get(key).bytes(t, key), &state); err != nil {
		t.Fatal(err)
	}
	offset := float32(state.Offset)
	n := QuantizeAbsmaxAt(p.NewAbsmax, offset, CPU)
	sameBytes(t, "absmax codes", n.Codes, get(name+".absmax").bytes(t, name+".absmax"))
	sameBits(t, "nested absmax", n.Absmax, get(name+".nested_absmax").floats(t, name+".nested_absmax"))

	own := QuantizeAbsmax(p.NewAbsmax, CPU)
	if own.Offset != offset {
		t.Errorf("offset %v, torch %v: more than 2 ulp apart", own.Offset, offset)
	}
	sameBytes(t, "absmax codes at the own offset", own.Codes, n.Codes)

	effective := make([]float32, len(n.Codes))
	n.Dequantize(effective)
	return effective
}

func checkFigures(t *testing.T, p *Panel, w figures, roundedDelta bool) {
	t.Helper()
	var s Sums
	for _, b := range p.Sums {
		s.Add(b)
	}
	n := float64(s.N)
	near := func(what string, got float64, want *float64) {
		t.Helper()
		if want == nil {
			return
		}
		if math.Abs(got-*want) > 1e-4*math.Abs(*want)+1e-9 {
			t.Errorf("%s = %v, want %v", what, got, *want)
		}
	}
	near("codes_changed", float64(s.Codes)/n, w.CodesChanged)
	if s.Output != w.NonFinite || s.Sum != w.NonFiniteSum && !roundedDelta {
		t.Errorf("non-finite elements: %d of the result, %d of the target, want %d and %d",
			s.Output, s.Sum, w.NonFinite, w.NonFiniteSum)
	}
	if s.Finite != s.N {
		return
	}
	near("w_rms", math.Sqrt(s.WW/n), w.WeightRMS)
	if roundedDelta {
		return
	}
	near("delta_rms", math.Sqrt(s.DD/n), w.DeltaRMS)
	near("kept", s.RD/s.DD, w.Kept)
	near("snr_db", 10*math.Log10(s.DD/s.EE), w.SNR)
	near("err_max_abs", s.MaxE, w.ErrMax)
}

// checkPieces merges the weight again in panels of few rows and wants the same
// bits: results must not depend on how a weight is cut.
func checkPieces(t *testing.T, whole *Panel, b []float32, f *Factor, scale float32, scales []float32) {
	t.Helper()
	if whole.Spec.Nested {
		scales = whole.Absmax // Measure(nil) below compares with scales before nesting
		whole.Measure(nil)
	}
	step := 1
	for whole.Spec.Format.Is4Bit() && step*whole.Cols%whole.Spec.Blocksize != 0 {
		step++
	}
	p := Panel{Spec: whole.Spec, OutDtype: whole.OutDtype, Cols: whole.Cols}
	var codes []byte
	var absmax []float32
	var sums []BlockSum
	for row := 0; row < whole.Rows; row += step {
		p.Rows = min(step, whole.Rows-row)
		bytes := func(r int) int { return int(p.Spec.Format.Bytes(int64(r * p.Cols))) }
		p.Codes = whole.Codes[bytes(row):bytes(row+p.Rows)]
		switch blocks := p.Blocks(); {
		case p.Spec.Format.Is4Bit():
			first := row * p.Cols / p.Spec.Blocksize
			p.Absmax = scales[first : first+blocks]
		case p.Spec.Format == Int8:
			p.Absmax = scales[row : row+p.Rows]
		}
		p.Merge(b[row*f.Rank:(row+p.Rows)*f.Rank], f, scale)
		codes = append(codes, p.NewCodes...)
		absmax = append(absmax, p.NewAbsmax...)
		sums = append(sums, p.Sums...)
	}
	sameBytes(t, "codes in pieces", codes, whole.NewCodes)
	sameBits(t, "scales in pieces", absmax, whole.NewAbsmax)
	if len(sums) != len(whole.Sums) {
		t.Fatalf("%d blocks in pieces, want %d", len(sums), len(whole.Sums))
	}
	for i := range sums {
		if !sameSum(sums[i], whole.Sums[i]) {
			t.Errorf("block %d in pieces: %+v, want %+v", i, sums[i], whole.Sums[i])
		}
	}
}

// sameSum compares all fields bit for bit; any NaN equals any NaN.
func sameSum(a, b BlockSum) bool {
	scale := func(x, y float32) bool {
		return math.Float32bits(x) == math.Float32bits(y) || x != x && y != y
	}
	if !scale(a.OldAbsmax, b.OldAbsmax) || !scale(a.NewAbsmax, b.NewAbsmax) {
		return false
	}
	a.OldAbsmax, b.OldAbsmax, a.NewAbsmax, b.NewAbsmax = 0, 0, 0, 0
	return a == b
}

// Adapters merged one after the other: the second starts from what the first
// left, whose dtype has become float32.
func TestGoldenSequences(t *testing.T) {
	for name, order := range map[string][]string{
		"sequence-nf4":         {"adapter", "adapter_a1"},
		"sequence-nf4-swapped": {"adapter_a1", "adapter"},
		"sequence-int8":        {"adapter", "adapter_a1"},
	} {
		t.Run(name, func(t *testing.T) {
			var info struct{ Base string }
			loadJSON(t, &info, "cases", name, "case.json")
			var want struct{ Layers map[string]figures }
			loadJSON(t, &want, "cases", name, "expected.json")
			base := load(t, "golden/"+info.Base+"/model")
			result := load(t, "golden/cases/"+name+"/expected/model")
			for layer, w := range want.Layers {
				p, _ := basePanel(t, base, layer, w.Shape)
				for i, dir := range order {
					if i > 0 {
						p.Codes, p.NewCodes = p.NewCodes, nil
						p.Absmax, p.NewAbsmax = p.NewAbsmax, nil
						p.Spec.Dtype = F32
					}
					var config adapterConfig
					loadJSON(t, &config, "cases", name, dir, "adapter_config.json")
					adapter := load(t, "golden/cases/"+name+"/"+dir+"/adapter_model")
					key := "base_model.model." + layer
					if adapter[key+".lora_A.weight"] == nil {
						t.Fatalf("%s does not adapt %s", dir, layer)
					}
					a := adapter.floats(t, key+".lora_A.weight")
					p.Merge(adapter.floats(t, key+".lora_B.weight"), NewFactor(a, len(a)/p.Cols, p.Cols),
						config.scaling())
				}
				checkResult(t, p, layer, base, result)
			}
		})
	}
}
