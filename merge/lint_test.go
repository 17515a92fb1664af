package merge

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mergescope/loader"
	"mergescope/quant"
)

// lintCase opens a golden case and returns what Lint finds.
func lintCase(t *testing.T, name string) []Alert {
	t.Helper()
	for _, g := range goldenCases(t) {
		if g.Name == name {
			p := openGolden(t, g)
			return p.Lint(p.NewPlan())
		}
	}
	t.Fatalf("no case %s", name)
	return nil
}

// find returns the alerts with that code.
func find(alerts []Alert, code Code) (out []Alert) {
	for _, a := range alerts {
		if a.Code == code {
			out = append(out, a)
		}
	}
	return out
}

// The golden cases of which the note says what is unusual about them.
func TestLintGolden(t *testing.T) {
	tests := []struct {
		name  string
		code  Code
		level Level
		count int
		says  string
	}{
		{"bias-all", CodeReplaced, Warning, 14, "biases of the base (bias=\"all\")"}, // 7 linear layers with bias in 2 blocks
		{"bias-lora-only", CodeReplaced, Warning, 6, "bias=\"lora_only\""},
		{"modules-to-save", CodeReplaced, Warning, 2, "modules_to_save"},
		{"modules-to-save", CodeConverterDrop, Info, 1, "modules_to_save"},
		{"trainable-tokens", CodeReplaced, Warning, 1, "trainable_token_indices"},
		{"embedding", CodeReplaced, Warning, 1, "embeddings saved along"},
		{"tied-embedding", CodeTied, Warning, 1, "tie_word_embeddings"},
		{"rslora", CodeConverterDrop, Info, 1, "2.83 times too weak"}, // sqrt(8)
		{"patterns", CodeConverterDrop, Info, 1, "alpha_pattern"},
		{"dora-nf4", CodeConverterDrop, Info, 1, "DoRA"},
		{"lora-bias-nf4", CodeLoraBias, Warning, 4, "without the scaling"},
		{"lora-bias-nf4", CodeConverterDrop, Info, 1, "bias tensors"},
		{"lora-bias-no-bias", CodeUnmergeable, Error, 1, "Impossible to merge LoRA with `lora_bias=True`"},
		{"adapter-config-extra", CodeOtherBase, Info, 1, "trained on someone/some-model"},
		{"adapter-config-extra", CodeUnknownField, Info, 1, "some_future_field"},
		{"missing-layer", CodeUnmatched, Warning, 1, "model.layers.7.self_attn.q_proj"},
		{"nf4-bs128-narrow", CodeRagged, Warning, 12, "in_features 64, blocksize 128"},
		{"ragged", CodeRagged, Info, 2, "in_features 72, blocksize 64"}, // 72 is no multiple of 16
		{"ragged", CodeRagged, Warning, 12, "in_features 96, blocksize 64"},
		{"nf4-plain", CodeLowMem, Info, 1, "bfloat16"},
	}
	for _, tt := range tests {
		t.Run(tt.name+"/"+string(tt.code), func(t *testing.T) {
			alerts := lintCase(t, tt.name)
			ok := slices.ContainsFunc(find(alerts, tt.code), func(a Alert) bool {
				return a.Level == tt.level && a.Count == tt.count && strings.Contains(a.Message, tt.says)
			})
			if !ok {
				t.Errorf("no %s %s with count %d that says %q in\n%+v", tt.level, tt.code, tt.count, tt.says, alerts)
			}
		})
	}
}

// Cases without anything unusual have nothing but the note on low_cpu_mem_usage.
func TestLintQuiet(t *testing.T) {
	for _, name := range []string{"nf4-plain", "nf4-dq", "fp4", "int8", "shards", "gpt2-nf4", "bert-int8", "target-regex", "layers-to-transform", "sequence-nf4"} {
		for _, a := range lintCase(t, name) {
			if a.Code != CodeLowMem {
				t.Errorf("%s: %+v", name, a)
			}
		}
	}
}

func TestEveryCodeHasAHint(t *testing.T) {
	for _, c := range []Code{
		CodeNonFinite, CodeErased, CodeWeak, CodeNoisy, CodeRounding4, CodeRounding8, CodeAbsmaxGrowth, CodeUnmatched, CodeShape,
		CodeMissingAlpha, CodeConflict, CodeMutatedBase, CodeUnmergeable, CodeReplaced, CodeTied, CodeRagged, CodeNegAbsmax,
		CodeCPUMinusOne, CodeConverterDrop, CodeUnsupported, CodeDisk, CodeLoraBias, CodeLowMem, CodeOtherBase, CodeUnknownField,
		CodeDefect, CodeUnknownTokens, CodeLongWindow, CodeDiverges, CodeCalibration, CodeOtherOriginal, CodeMixedDtypes, CodeFusedSplit,
	} {
		if HintFor(c) == "" {
			t.Errorf("%s has no hint", c)
		}
		text, err := json.Marshal(newAlert(Warning, c, "l", "m"))
		if err != nil || !strings.Contains(string(text), `"code":"`+string(c)+`"`) || !strings.Contains(string(text), `"hint":`+quoteJSON(HintFor(c))) {
			t.Errorf("%s in JSON: %s %v", c, text, err)
		}
	}
}

// alteredAdapter opens the demo's light adapter with some fields of its
// configuration changed; nil takes a field out.
func alteredAdapter(t *testing.T, fields map[string]any) *Project {
	t.Helper()
	dir := t.TempDir()
	src := demoDir + "/adapter-gocode-light"
	data, err := os.ReadFile(src + "/adapter_config.json")
	if err != nil {
		t.Fatal(err)
	}
	var cfg map[string]any
	if err := json.Unmarshal(data, &cfg); err != nil {
		t.Fatal(err)
	}
	for k, v := range fields {
		if cfg[k] = v; v == nil {
			delete(cfg, k)
		}
	}
	if data, err = json.Marshal(cfg); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/adapter_config.json", data, 0o600); err != nil {
		t.Fatal(err)
	}
	tensors, err := os.ReadFile(src + "/adapter_model.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/adapter_model.safetensors", tensors, 0o600); err != nil {
		t.Fatal(err)
	}
	return openProject(t, demoDir+"/base-nf4", [2]string{"a", dir})
}

func TestLintConfig(t *testing.T) {
	tests := []struct {
		fields map[string]any
		code   Code
		level  Level
		says   string
	}{
		{map[string]any{"lora_alpha": nil}, CodeMissingAlpha, Warning, "takes its default 8, so the scale is 1"}, // r is 8
		{map[string]any{"init_lora_weights": "pissa"}, CodeMutatedBase, Warning, "pissa"},
		{map[string]any{"init_lora_weights": "pissa_niter_16"}, CodeMutatedBase, Warning, "pissa_niter_16"},
		{map[string]any{"init_lora_weights": "olora"}, CodeMutatedBase, Warning, "olora"},
		{map[string]any{"init_lora_weights": "corda"}, CodeMutatedBase, Warning, "corda"},
		{map[string]any{"init_lora_weights": "lora_ga"}, CodeMutatedBase, Warning, "lora_ga"},
		{map[string]any{"init_lora_weights": "loftq"}, CodeMutatedBase, Warning, "LoftQ"},
		{map[string]any{"kasa_config": map[string]any{}}, CodeMutatedBase, Warning, "truncated SVD"},
		{map[string]any{"rank_pattern": map[string]any{"nowhere": 4}}, CodeConflict, Warning, `rank_pattern has the key "nowhere"`},
		{map[string]any{"rank_pattern": map[string]any{"q_proj": 4}}, CodeConflict, Error, "size mismatch"},
		{map[string]any{"r": 4}, CodeConflict, Error, "size mismatch"},
		{map[string]any{"alora_invocation_tokens": []int{1}}, CodeUnmergeable, Error, "aLoRA does not support safe merging."},
		{map[string]any{"arrow_config": map[string]any{}}, CodeUnmergeable, Error, "Cannot merge an active Arrow router adapter"},
		{map[string]any{"velora_config": map[string]any{}}, CodeUnmergeable, Error, "does not support VeLoRA."},
		{map[string]any{"use_qalora": true}, CodeUnmergeable, Error, "QALoRA"},
		{map[string]any{"layer_replication": [][]int{{0, 2}}}, CodeUnmergeable, Error, "share one set of weights"},
		{map[string]any{"peft_type": "IA3"}, CodeUnmergeable, Error, "Cannot merge ia3 layers when the model is loaded in 4-bit mode"},
		{map[string]any{"peft_type": "ADALORA"}, CodeUnmergeable, Error, "NotImplementedError"},
		{map[string]any{"peft_type": "XLORA"}, CodeUnmergeable, Error, "X-LoRA"},
		{map[string]any{"peft_type": "RANDLORA"}, CodeUnmergeable, Error, "wrong order"},
		{map[string]any{"peft_type": "PVERA"}, CodeUnmergeable, Error, "garbage"},
		{map[string]any{"peft_type": "OFT"}, CodeUnsupported, Error, "none of its tensors"},
		{map[string]any{"peft_type": "VERA"}, CodeUnsupported, Error, "none of its tensors"},
		{map[string]any{"peft_type": "NEWEST"}, CodeUnsupported, Error, `"NEWEST" is not known`},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.fields), func(t *testing.T) {
			p := alteredAdapter(t, tt.fields)
			found := find(p.Lint(p.NewPlan()), tt.code)
			if !slices.ContainsFunc(found, func(a Alert) bool {
				return a.Level == tt.level && strings.Contains(a.Message, tt.says) && a.Place.File != ""
			}) {
				t.Errorf("no %s that says %q: %+v", tt.level, tt.says, found)
			}
			layers, _ := p.Layers(p.NewPlan())
			merges := slices.ContainsFunc(layers, func(l Layer) bool { return len(l.Steps) > 0 })
			refused := tt.code == CodeUnmergeable || tt.code == CodeUnsupported || strings.Contains(tt.says, "mismatch")
			if tt.fields["rank_pattern"] == nil && merges == refused {
				t.Errorf("some layers merge: %t", merges)
			}
		})
	}
}

// A base of one weight with nested scales, written here, so that its scales and
// map can be anything.
func nestedBase(t *testing.T, codes []byte, absmax, offset float32, first float32) *Project {
	t.Helper()
	const rows, cols, blocksize = 4, 64, 64
	state := fmt.Sprintf(`{"quant_type": "nf4", "blocksize": %d, "dtype": "bfloat16", "shape": [%d, %d], "nested_blocksize": 256, "nested_dtype": "float32", "nested_offset": %v}`,
		blocksize, rows, cols, offset)
	dynamic := quant.DynamicMap()
	dynamic[0] = first
	type entry struct {
		name, dtype string
		shape       []int
		data        []byte
	}
	entries := []entry{
		{"m.weight", "U8", []int{rows * cols / 2, 1}, make([]byte, rows*cols/2)},
		{"m.weight.absmax", "U8", []int{rows}, codes},
		{"m.weight.quant_map", "F32", []int{16}, make([]byte, 64)},
		{"m.weight.nested_absmax", "F32", []int{1}, floatBytes(absmax)},
		{"m.weight.nested_quant_map", "F32", []int{256}, floatBytes(dynamic[:]...)},
		{"m.weight.quant_state.bitsandbytes__nf4", "U8", []int{len(state)}, []byte(state)},
	}
	header := map[string]any{}
	var body []byte
	for _, e := range entries {
		header[e.name] = map[string]any{"dtype": e.dtype, "shape": e.shape, "data_offsets": []int{len(body), len(body) + len(e.data)}}
		body = append(body, e.data...)
	}
	text, err := json.Marshal(header)
	if err != nil {
		t.Fatal(err)
	}
	file := binary.LittleEndian.AppendUint64(nil, uint64(len(text)))
	file = append(append(file, text...), body...)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "model.safetensors"), file, 0o600); err != nil {
		t.Fatal(err)
	}
	return openProject(t, dir)
}

func floatBytes(v ...float32) (b []byte) {
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
	}
	return b
}

func TestLintScales(t *testing.T) {
	standard := quant.DynamicMap()[0]
	// The map is -0.993 at 0, +1 at 255: scales of -0.493, 1.5, 1.5, 1.5.
	p := nestedBase(t, []byte{0, 255, 255, 255}, 1, 0.5, standard)
	alerts := p.Lint(p.NewPlan())
	neg := find(alerts, CodeNegAbsmax)
	if len(alerts) != 1 || len(neg) != 1 || neg[0].Layer != "m" || neg[0].Count != 1 || neg[0].Place.Row != 0 ||
		!strings.Contains(neg[0].Message, "1 of 4 block scales decode to less than zero") {
		t.Errorf("negative scale: %+v", alerts)
	}
	p = nestedBase(t, []byte{0, 255, 255, 255}, 1, 0.995, standard)
	if alerts := p.Lint(p.NewPlan()); len(alerts) != 0 {
		t.Errorf("all scales positive: %+v", alerts)
	}
	// With -1 at 0 in the file the same code decodes to -0.005.
	p = nestedBase(t, []byte{0, 255, 255, 255}, 1, 0.995, -1)
	alerts = p.Lint(p.NewPlan())
	if len(find(alerts, CodeCPUMinusOne)) != 1 || len(find(alerts, CodeNegAbsmax)) != 1 || len(alerts) != 2 {
		t.Errorf("map with -1: %+v", alerts)
	}
	p = nestedBase(t, []byte{255, 255, 255, 255}, 1, 0.995, -0.9)
	if alerts := p.Lint(p.NewPlan()); len(alerts) != 1 || alerts[0].Code != CodeConflict {
		t.Errorf("another map: %+v", alerts)
	}
}

func TestLintOtherMethod(t *testing.T) {
	for method, want := range map[string]string{
		"gptq": "Cannot merge LORA layers when the model is gptq quantized",
		"eetq": "Merging LoRA layers is not supported for Eetq layers.",
		"inc":  "Merging LoRA with INC layers is not yet implemented",
		"awq":  "NotImplementedError",
		"hqq":  "only bitsandbytes checkpoints are merged here",
	} {
		p := openProject(t, demoDir+"/base-nf4")
		p.Model.Config.Quantization = map[string]any{"quant_method": method}
		alerts := find(p.Lint(p.NewPlan()), CodeUnsupported)
		if len(alerts) != 1 || alerts[0].Level != Error || !strings.Contains(alerts[0].Message, want) {
			t.Errorf("%s: %+v", method, alerts)
		}
	}
}

func TestOtherTunerByWidth(t *testing.T) {
	tests := []struct {
		kind string
		w    widths
		code Code
		says string
	}{
		{"RANDLORA", widths{bits4: true}, CodeUnmergeable, "wrong order"},
		{"RANDLORA", widths{bits8: true}, CodeUnmergeable, "wrong order"},
		{"RANDLORA", widths{}, "", ""},
		{"PVERA", widths{bits8: true}, "", ""},
		{"TINYLORA", widths{}, CodeUnsupported, "which PEFT can merge"},
		{"IA3", widths{bits8: true}, CodeUnmergeable, "Cannot merge ia3 layers when the model is loaded in 8-bit mode"},
		{"IA3", widths{bits4: true, bits8: true}, CodeUnmergeable, "loaded in 4-bit mode"},
		{"IA3", widths{}, "", ""},
		{"PROMPT_TUNING", widths{}, CodeUnmergeable, "no change of weights"},
	}
	for _, tt := range tests {
		if code, reason := otherTuner(tt.kind, tt.w, false); code != tt.code || !strings.Contains(reason, tt.says) {
			t.Errorf("%s %+v: %s %s", tt.kind, tt.w, code, reason)
		}
	}
}

func TestLintReplacedTensors(t *testing.T) {
	p := openProject(t, demoDir+"/base-nf4", [2]string{"light", demoDir + "/adapter-gocode-light"})
	tensor := func(name string, like *loader.Weight) *loader.Tensor {
		return &loader.Tensor{Name: name, DType: "F32", Shape: like.Shape}
	}
	head, q := p.Model.Weight("lm_head"), p.Model.Weight(q0)
	a := *p.Adapters[0]
	a.Others = []*loader.Replaced{
		{Tensor: tensor("lm_head.weight", head), Kind: loader.KindModulesToSave, Target: "lm_head.weight"},
		{Tensor: tensor("score.weight", head), Kind: loader.KindModulesToSave, Target: "score.weight"},
		{Tensor: tensor("q.weight", q), Kind: loader.KindModulesToSave, Target: q0 + ".weight"},
		{Tensor: tensor("embed", q), Kind: loader.KindEmbedding, Target: "model.embed_tokens.weight"},
		{Tensor: tensor("odd", head), Kind: loader.KindUnknown},
	}
	n := NewProject(p.Model, &a)
	alerts := n.Lint(n.NewPlan())
	for code, want := range map[Code]string{
		CodeReplaced:    "tensors that replace whole tensors of the base (modules_to_save): 1, first lm_head.weight",
		CodeUnmatched:   "tensors that replace tensors the model does not have: 1, first score.weight",
		CodeUnmergeable: "tensors that replace quantized weights: 1, first " + q0,
		CodeShape:       "size mismatch: embed is",
		CodeUnsupported: "tensors of unknown purpose, which are left out: 1",
	} {
		if found := find(alerts, code); len(found) != 1 || !strings.Contains(found[0].Message, want) || found[0].Hint == "" {
			t.Errorf("%s: %+v, want %q", code, found, want)
		}
	}
}

func TestLintPlanErrors(t *testing.T) {
	p := openProject(t, demoDir+"/base-nf4", [2]string{"light", demoDir + "/adapter-gocode-light"})
	plan := p.NewPlan().WithAdapter(AdapterRef{"gone", "dir/gone"})
	if found := find(p.Lint(plan), CodeUnmatched); len(found) != 1 || found[0].Level != Error || !strings.Contains(found[0].Message, "gone (dir/gone) is not open") {
		t.Errorf("got %+v", found)
	}
	plan = p.NewPlan()
	plan.Rules[0].Match = "re:("
	if found := find(p.Lint(plan), CodeConflict); len(found) != 1 || !strings.Contains(found[0].Message, "rules[0].match") {
		t.Errorf("got %+v", found)
	}
}

func TestOtherBase(t *testing.T) {
	p := NewProject(&loader.Checkpoint{Name: "org/Model-7B@main", Path: "/somewhere/else"})
	for base, want := range map[string]bool{
		"": false, "org/model-7b": false, "other/Model-7B": false, `C:\models\model-7b\`: false, "/data/else": false, "org/model-13b": true,
	} {
		if got := p.otherBase(base); got != want {
			t.Errorf("%q: %t, want %t", base, got, want)
		}
	}
	if NewProject(&loader.Checkpoint{Name: "demo:nf4"}).otherBase("base-nf4") {
		t.Error("the demo's adapters name another base")
	}
}
