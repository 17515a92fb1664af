package merge_test

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"mergescope/merge"
)

// ontoCase is one record of testdata/golden-onto/expected.json: what PEFT and
// bitsandbytes made of an original and an adapter.
type ontoCase struct {
	Original, Model, Adapter, Quantize string
	Layer                              string
	Figures                            *struct {
		Kept     float64
		ErrorRMS float64 `json:"error_rms"`
		Distance float64 `json:"base_distance"`
	}
	Config  map[string]any `json:"quantization_config"`
	Tensors map[string][3]any
}

func ontoCases(t *testing.T) []ontoCase {
	t.Helper()
	text, err := os.ReadFile("../testdata/golden-onto/expected.json")
	if err != nil {
		t.Fatal(err)
	}
	var list []ontoCase
	if err := json.Unmarshal(text, &list); err != nil {
		t.Fatal(err)
	}
	return list
}

// openOnto opens a quantized base, an original and an adapter of a golden case.
func openOnto(t *testing.T, model, original, adapter string) (*merge.Project, merge.Plan) {
	t.Helper()
	p := openAudit(t, filepath.Join(goldenDir, "bases", model), filepath.Join(goldenDir, "cases", adapter, "adapter"))
	if err := p.SetOriginal(original, openModel(t, original)); err != nil {
		t.Fatal(err)
	}
	plan := p.NewPlan()
	plan.Onto = original
	return p, plan
}

func runJob(t *testing.T, p *merge.Project, plan merge.Plan, opt merge.Options) *merge.Report {
	t.Helper()
	job, err := merge.NewJob(p, plan, opt)
	if err != nil {
		t.Fatal(err)
	}
	r, err := job.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestOntoConformance merges onto the original and compares every tensor with
// what PEFT's merge and bitsandbytes' quantization of its result give.
func TestOntoConformance(t *testing.T) {
	names := map[string]string{"uint8": "U8", "int8": "I8", "float32": "F32", "float16": "F16", "bfloat16": "BF16"}
	for _, c := range ontoCases(t) {
		t.Run(c.Original+"/"+c.Adapter+"/"+c.Quantize, func(t *testing.T) {
			p, plan := openOnto(t, c.Model, filepath.Join(goldenDir, "bases", c.Original), c.Adapter)
			plan.Quantize = c.Quantize
			out := filepath.Join(t.TempDir(), "out")
			r := runJob(t, p, plan, merge.Options{Out: out})
			got, err := readRaw(out)
			if err != nil {
				t.Fatal(err)
			}
			if len(got) != len(c.Tensors) {
				t.Errorf("%d tensors, want %d", len(got), len(c.Tensors))
			}
			for name, want := range c.Tensors {
				g := got[name]
				sum := sha256.Sum256(g.data)
				shape, _ := json.Marshal(want[1])
				if g.dtype != names[want[0].(string)] || g.shape != string(shape) || hex.EncodeToString(sum[:])[:16] != want[2] {
					t.Errorf("%s: %s %s %x, want %v", name, g.dtype, g.shape, sum[:8], want)
				}
			}
			c.checkConfig(t, out)
			c.checkFigures(t, r)
		})
	}
}

// checkConfig compares the quantization_config but for the compute dtype, which
// is that of the model and no part of the quantization.
func (c *ontoCase) checkConfig(t *testing.T, out string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(out, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		Quantization map[string]any `json:"quantization_config"`
	}
	if err := json.Unmarshal(text, &config); err != nil {
		t.Fatal(err)
	}
	delete(c.Config, "bnb_4bit_compute_dtype")
	delete(config.Quantization, "bnb_4bit_compute_dtype")
	if !reflect.DeepEqual(config.Quantization, c.Config) {
		t.Errorf("quantization_config\n%v\nwant\n%v", config.Quantization, c.Config)
	}
	if !strings.Contains(string(text), "\n  \"architectures\": [\n") {
		t.Error("config.json lost its style")
	}
}

// checkFigures compares figures of one layer with those worked out in torch: W
// is the dequantized quantized model, D the delta, W' what was written.
func (c *ontoCase) checkFigures(t *testing.T, r *merge.Report) {
	t.Helper()
	if r.Onto == nil || r.Onto.Quantize != c.Quantize {
		t.Errorf("onto %+v", r.Onto)
	}
	for _, l := range r.Layers {
		if l.Distance == nil {
			t.Errorf("%s: no distance", l.Name)
			continue
		}
		if l.Name != c.Layer || c.Figures == nil {
			continue
		}
		for what, v := range map[string][2]float64{
			"kept":          {float64(l.Kept), c.Figures.Kept},
			"error_rms":     {float64(l.ErrorRMS), c.Figures.ErrorRMS},
			"base_distance": {float64(*l.Distance), c.Figures.Distance},
		} {
			if !(math.Abs(v[0]-v[1]) <= 1e-4*max(1, math.Abs(v[1]))) {
				t.Errorf("%s: %s %v, torch has %v", l.Name, what, v[0], v[1])
			}
		}
	}
}

// TestOntoWorkers checks that no byte depends on the number of workers.
func TestOntoWorkers(t *testing.T) {
	p, plan := openOnto(t, "llama-nf4", filepath.Join(goldenDir, "bases", "llama-bf16"), "float-bf16-safe")
	plan.Quantize = "nf4,double"
	var files [2][]byte
	for i, workers := range []int{1, 7} {
		out := filepath.Join(t.TempDir(), "out")
		runJob(t, p, plan, merge.Options{Out: out, Workers: workers})
		var err error
		if files[i], err = os.ReadFile(filepath.Join(out, "model.safetensors")); err != nil {
			t.Fatal(err)
		}
	}
	if string(files[0]) != string(files[1]) {
		t.Error("1 and 7 workers differ")
	}
}

// TestOntoForms mixes forms: some layers stay floats, which the list of modules
// that transformers leaves alone must name.
func TestOntoForms(t *testing.T) {
	p, plan := openOnto(t, "llama-nf4", filepath.Join(goldenDir, "bases", "llama-bf16"), "float-bf16-safe")
	plan.Quantize = "nf4"
	plan.Rules = append(plan.Rules,
		merge.Rule{Match: "layers.0.*v_proj", Output: merge.AsBF16},
		merge.Rule{Match: "layers.1.*v_proj", Output: merge.Keep},
		merge.Rule{Match: "layers.1.*q_proj", Output: merge.AsF32},
		merge.Rule{Match: "layers.0.*down_proj", Output: merge.Separate})
	out := filepath.Join(t.TempDir(), "out")
	r := runJob(t, p, plan, merge.Options{Out: out})
	got, err := readRaw(out)
	if err != nil {
		t.Fatal(err)
	}
	for name, dtype := range map[string]string{
		"model.layers.0.self_attn.v_proj.weight": "BF16",
		"model.layers.1.self_attn.v_proj.weight": "U8",
		"model.layers.1.self_attn.q_proj.weight": "F32",
		"model.layers.0.mlp.down_proj.weight":    "U8",
		"model.layers.0.mlp.up_proj.weight":      "U8", // without an adapter
		"lm_head.weight":                         "BF16",
	} {
		if got[name].dtype != dtype {
			t.Errorf("%s is %s, want %s", name, got[name].dtype, dtype)
		}
	}
	text, err := os.ReadFile(filepath.Join(out, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	want := `"llm_int8_skip_modules": [
      "lm_head",
      "model.embed_tokens",
      "model.layers.0.self_attn.v_proj",
      "model.layers.1.self_attn.q_proj"
    ],`
	if !strings.Contains(string(text), want) {
		t.Errorf("config.json\n%s\nlacks\n%s", text, want)
	}
	if _, err := os.Stat(filepath.Join(out, "adapter", "adapter_config.json")); err != nil {
		t.Error(err)
	}
	// What is kept beside the checkpoint is not in it too.
	kept := filepath.Join(t.TempDir(), "out")
	runJob(t, p, plan.SetOutputAll(merge.Keep), merge.Options{Out: kept})
	without, err := readRaw(kept)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"model.layers.0.mlp.down_proj.weight", "model.layers.1.self_attn.v_proj.weight"} {
		if string(got[name].data) != string(without[name].data) {
			t.Errorf("%s: the delta was added to a layer that keeps it out", name)
		}
	}
	forms := map[string]merge.Output{}
	for _, l := range r.Layers {
		forms[l.Name] = l.Output
	}
	if f := forms["model.layers.0.self_attn.q_proj"]; f != "nf4" {
		t.Errorf("q_proj of layer 0 reported as %q", f)
	}
}

// TestOntoStopped gives an adapter NaN: the layer keeps the original's bytes in
// a checkpoint of quantized ones.
func TestOntoStopped(t *testing.T) {
	p, plan := openOnto(t, "llama-nf4", filepath.Join(goldenDir, "bases", "llama-bf16"), "nan-b-safe")
	plan.Quantize = "nf4,double"
	out := filepath.Join(t.TempDir(), "out")
	r := runJob(t, p, plan, merge.Options{Out: out})
	got, err := readRaw(out)
	if err != nil {
		t.Fatal(err)
	}
	base, err := readRaw(filepath.Join(goldenDir, "bases", "llama-bf16"))
	if err != nil {
		t.Fatal(err)
	}
	stopped := 0
	for _, l := range r.Layers {
		if l.NonFinite.B == 0 {
			continue
		}
		stopped++
		name := l.Name + ".weight"
		if g := got[name]; g.dtype != "BF16" || string(g.data) != string(base[name].data) {
			t.Errorf("%s is %s, not the original's", name, g.dtype)
		}
		if _, ok := got[name+".absmax"]; ok {
			t.Errorf("%s has an absmax", name)
		}
		text, _ := os.ReadFile(filepath.Join(out, "config.json"))
		if !strings.Contains(string(text), `"`+l.Name+`"`) {
			t.Errorf("config.json does not name %s:\n%s", l.Name, text)
		}
	}
	if stopped == 0 {
		t.Error("no layer was stopped")
	}
}

// TestOntoOtherModel merges onto a checkpoint with the right shapes and the
// wrong weights, and onto checkpoints that cannot be the original.
func TestOntoOtherModel(t *testing.T) {
	dir := t.TempDir()
	for _, f := range []string{"config.json", "model.safetensors"} {
		text, err := os.ReadFile(filepath.Join(goldenDir, "bases", "llama-bf16", f))
		if err != nil {
			t.Fatal(err)
		}
		if f == "model.safetensors" {
			for i := len(text) - 2*64*64 + 1; i < len(text); i += 2 { // the last matrix and more change sign
				text[i] ^= 0x80
			}
		}
		if err := os.WriteFile(filepath.Join(dir, f), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p, plan := openOnto(t, "llama-nf4", dir, "float-bf16-safe")
	found := 0
	for _, a := range runJob(t, p, plan, merge.Options{}).Alerts {
		if a.Code == merge.CodeOtherOriginal {
			found++
			if a.Level != merge.Warning || !strings.Contains(a.Message, "looks like another model") || a.Place.Tensor == "" {
				t.Errorf("%+v", a)
			}
		}
	}
	if found == 0 {
		t.Error("no warning of another model")
	}
	for original, want := range map[string]string{
		"llama-f16":    "is [64 32], but [64 64] in", // embed_tokens comes first
		"llama-int8":   "can be added to float weights only",
		"mixtral-bf16": "is missing, ",
		"gpt2-f32":     "is missing, ",
	} {
		err := p.SetOriginal("x", openModel(t, filepath.Join(goldenDir, "bases", original)))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", original, err, want)
		}
	}
	conv := t.TempDir()
	writeOne(t, filepath.Join(conv, "original.safetensors"), `{"c.weight":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}`, 24)
	writeOne(t, filepath.Join(conv, "quantized.safetensors"),
		`{"c.weight":{"dtype":"I8","shape":[3,2],"data_offsets":[0,6]},"c.SCB":{"dtype":"F32","shape":[3],"data_offsets":[6,18]}}`, 18)
	err := openAudit(t, filepath.Join(conv, "quantized.safetensors")).SetOriginal("x", openModel(t, filepath.Join(conv, "original.safetensors")))
	if err == nil || !strings.Contains(err.Error(), "Conv1D") {
		t.Error("Conv1D:", err)
	}
}

// writeOne writes a safetensors file of so many zeros.
func writeOne(t *testing.T, name, header string, size int) {
	t.Helper()
	text := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	text = append(append(text, header...), make([]byte, size)...)
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestOntoPlans(t *testing.T) {
	p, plan := openOnto(t, "llama-nf4", filepath.Join(goldenDir, "bases", "llama-bf16"), "float-bf16-safe")
	plan.Quantize = "nf4,double"
	read, err := merge.DecodePlan(plan.Encode())
	if err != nil || !read.Equal(plan) {
		t.Errorf("%v\n%+v\n%+v", err, read, plan)
	}
	for want, edit := range map[string]func(*merge.Plan){
		"plan: quantize: needs onto":                  func(p *merge.Plan) { p.Onto = "" },
		"plan: quantize: unknown format \"int4\"":     func(p *merge.Plan) { p.Quantize = "int4" },
		"plan: quantize: int8 has no blocks":          func(p *merge.Plan) { p.Quantize = "int8,double" },
		"plan: quantize: unknown option \"double=1\"": func(p *merge.Plan) { p.Quantize = "nf4,double=1" },
		"plan: onto: method dithered":                 func(p *merge.Plan) { p.Method = "dithered,seed=3" },
		"plan: onto: method dithered chooses":         func(p *merge.Plan) { p.Rules = []merge.Rule{{Match: "*", Method: "dithered"}} },
		"plan: onto: other is not open":               func(p *merge.Plan) { p.Onto = "other" },
	} {
		q := plan
		edit(&q)
		if err := p.Validate(q); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if _, err := merge.NewJob(p, plan, merge.Options{Unmerge: merge.Subtract}); err == nil {
		t.Error("unmerge was not refused")
	}
}

// TestOntoExamine checks that a layer looked at closely is the one merged, and
// that its trace adds up.
func TestOntoExamine(t *testing.T) {
	p, plan := openOnto(t, "llama-nf4", filepath.Join(goldenDir, "bases", "llama-bf16"), "float-bf16-safe")
	for _, q := range []string{"", "nf4,double", "int8"} {
		plan.Quantize = q
		r := runJob(t, p, plan, merge.Options{})
		l := r.Layers[0]
		e, err := p.Examine(t.Context(), plan, l.Name, 0, 0, 8, 8)
		if err != nil {
			t.Fatal(err)
		}
		if m := merge.MetricsOf(e.Sums); fmt.Sprint(m.Kept, m.ErrorRMS) != fmt.Sprint(l.Kept, l.ErrorRMS) {
			t.Errorf("%q: examined %v %v, merged %v %v", q, m.Kept, m.ErrorRMS, l.Kept, l.ErrorRMS)
		}
		tr, err := p.Explain(t.Context(), plan, l.Name, 3, 5)
		if err != nil {
			t.Fatal(err)
		}
		text := merge.Explain{Trace: tr, Layer: l.Name}.Text(tr.Cursor)
		if !strings.Contains(text, "original") {
			t.Errorf("%q:\n%s", q, text)
		}
	}
}
