package model

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"mergescope/loader"
	"mergescope/quant"
)

const modelDir = "../testdata/model"

// archCase is a configuration of testdata/model with what transformers computed.
type archCase struct {
	name      string
	c         *Config
	weights   Weights
	sequences [][]int32
	logits    []float32
}

// archLengths are those of make.py.
var archLengths = []int{36, 9}

func archCases(t testing.TB) (list []archCase) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(modelDir, "*.json"))
	if err != nil || len(files) < 13 {
		t.Fatalf("%d cases, %v", len(files), err)
	}
	f := tensors(t, filepath.Join(modelDir, "cases.safetensors"))
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		c, err := ParseConfig(text)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		weights, _, _ := strings.Cut(name, "-")
		ck, err := loader.Source{}.Checkpoint(filepath.Join(modelDir, weights+".safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { ck.Close() })
		ids := int32s(t, f, name+".tokens")
		a, b := archLengths[0], archLengths[0]+archLengths[1]
		list = append(list, archCase{name, c, Checkpoint(ck), [][]int32{ids[:a], ids[a:b]}, float32s(t, f, name+".logits")})
	}
	return list
}

func largest(x []float32) (m float64) {
	for _, v := range x {
		m = max(m, float64(v), -float64(v))
	}
	return m
}

// Every architecture and form of rotary embedding, in sequences longer and
// shorter than max_position_embeddings and than windows, against transformers.
func TestArchitectures(t *testing.T) {
	for _, a := range archCases(t) {
		got := logitsOf(t, a.c, []Variant{{Weights: a.weights}}, a.sequences, Options{})[0]
		d := worst(got, a.logits) / largest(a.logits)
		t.Logf("%-18s %.1g", a.name, d)
		if !(d <= 1e-5) {
			t.Errorf("%s: logits differ by %.3g of the largest", a.name, d)
		}
	}
}

// Without one of its parts the result must be another, or a case does not test
// what its name says.
func TestArchitecturesNeedTheirParts(t *testing.T) {
	for _, a := range archCases(t) {
		changes := map[string]func(c *Config){"rope": func(c *Config) {
			for i := range c.Layers {
				r := *c.Layers[i].Rope
				r.Type, r.AttentionFactor = "default", 1
				c.Layers[i].Rope = &r
			}
		}}
		if a.c.Layers[1].Rope.Type == "default" && a.c.Layers[0].Rope.Type == "default" {
			delete(changes, "rope")
		}
		if a.c.Layers[0].Window+a.c.Layers[1].Window > 0 {
			changes["window"] = func(c *Config) { c.Layers[0].Window, c.Layers[1].Window = 0, 0 }
		}
		if a.c.AttentionSoftcap > 0 {
			changes["softcap"] = func(c *Config) { c.AttentionSoftcap = 0 }
		}
		if a.c.QKNorm {
			changes["norm"] = func(c *Config) { c.QKNorm = false }
		}
		if a.c.QKVBias {
			changes["bias"] = func(c *Config) { c.QKVBias = false }
		}
		for name, change := range changes {
			c := *a.c
			c.Layers = append([]LayerConfig{}, c.Layers...)
			change(&c)
			got := logitsOf(t, &c, []Variant{{Weights: a.weights}}, a.sequences, Options{})[0]
			if d := worst(got, a.logits) / largest(a.logits); d < 1e-3 {
				t.Errorf("%s: without its %s logits differ by %.3g only", a.name, name, d)
			}
		}
	}
}

// Results belong to a sequence: other sequences, workers, variants and kernels
// do not change a bit.
func TestNothingElseCounts(t *testing.T) {
	for _, a := range archCases(t) {
		one := []Variant{{Weights: a.weights}}
		want := logitsOf(t, a.c, one, a.sequences, Options{Workers: 1})[0]
		same := func(what string, got []float32) {
			t.Helper()
			for i := range got {
				if got[i] != want[i] {
					t.Fatalf("%s: %s: logit %d is %v, want %v", a.name, what, i, got[i], want[i])
				}
			}
		}
		same("three workers", logitsOf(t, a.c, one, a.sequences, Options{Workers: 3})[0])
		same("second variant", logitsOf(t, a.c, append(one, one...), a.sequences, Options{})[1])
		same("alone", logitsOf(t, a.c, one, a.sequences[:1], Options{})[0])
		turned := logitsOf(t, a.c, one, [][]int32{a.sequences[1], a.sequences[0]}, Options{})[0]
		same("second in the batch", turned[archLengths[1]*a.c.Vocab:])
		for _, l := range quant.Levels() {
			at(t, l, func() { same(l.String(), logitsOf(t, a.c, one, a.sequences, Options{})[0]) })
		}
	}
}

// parsed reads a case's configuration after a change of its fields.
func parsed(t *testing.T, name string, change func(m map[string]any)) (*Config, error) {
	t.Helper()
	var m map[string]any
	readJSON(t, filepath.Join(modelDir, name+".json"), &m)
	change(m)
	text, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return ParseConfig(text)
}

// Configurations of transformers 4 say the same in other words.
func TestOldConfigs(t *testing.T) {
	for name, change := range map[string]func(m map[string]any){
		"llama": func(m map[string]any) {
			delete(m, "rope_parameters")
			m["rope_theta"], m["rope_scaling"] = 100.0, nil
		},
		"llama-linear": func(m map[string]any) {
			delete(m, "rope_parameters")
			m["rope_theta"], m["rope_scaling"] = 100.0, map[string]any{"type": "linear", "factor": 3.0}
		},
		"llama-yarn": func(m map[string]any) {
			m["rope_scaling"] = m["rope_parameters"]
			m["rope_parameters"] = nil
		},
		"gemma3": func(m map[string]any) {
			delete(m, "rope_parameters")
			delete(m, "layer_types")
			m["sliding_window_pattern"] = 2
			m["rope_theta"], m["rope_local_base_freq"] = 1000.0, 50.0
			m["rope_scaling"] = map[string]any{"rope_type": "linear", "factor": 4.0}
		},
		"gemma2":        func(m map[string]any) { delete(m, "layer_types") },
		"qwen2":         func(m map[string]any) { delete(m, "layer_types") },
		"phi3-longrope": func(m map[string]any) { m["rope_parameters"].(map[string]any)["rope_type"] = "su" },
	} {
		want, err := parsed(t, name, func(map[string]any) {})
		if err != nil {
			t.Fatal(err)
		}
		got, err := parsed(t, name, change)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n%+v, want\n%+v", name, got, want)
		}
	}
}

func TestUnsupported(t *testing.T) {
	set := func(key string, v any) func(m map[string]any) { return func(m map[string]any) { m[key] = v } }
	for _, x := range []struct {
		name   string
		change func(m map[string]any)
		want   string
	}{
		{"llama", set("architectures", []string{"MixtralForCausalLM"}), "MixtralForCausalLM is not supported: it needs routed experts"},
		{"llama", set("architectures", []string{"ZebraForCausalLM"}), "ZebraForCausalLM is not supported; supported are Gemma2ForCausalLM"},
		{"llama", set("architectures", nil), "names no architecture"},
		{"llama", set("hidden_act", "relu"), `activation "relu" is not supported`},
		{"llama", set("rope_parameters", map[string]any{"rope_type": "axial", "factor": 2}), `rope type "axial" is not supported`},
		{"llama", set("rope_parameters", map[string]any{"rope_type": "linear"}), "needs a positive factor"},
		{"llama", set("num_key_value_heads", 3), "3 key/value heads do not divide 4 heads"},
		{"llama", set("hidden_size", nil), `field "hidden_size" is missing`},
		{"llama", set("hidden_size", 1<<30), `field "hidden_size" is 1073741824`},
		{"llama", set("num_hidden_layers", 0), "num_hidden_layers is 0"},
		{"llama", set("rms_norm_eps", "small"), "config.json"},
		{"gemma3", set("use_bidirectional_attention", true), "only causal attention"},
		{"gemma3", set("layer_types", []string{"full_attention"}), "1 entries for 2 layers"},
		{"qwen2", set("layer_types", []string{"full_attention", "linear_attention"}), `layer type "linear_attention" is not supported`},
		{"phi3-longrope", set("head_dim", 12), "4 short and 4 long factors for 6 pairs"},
	} {
		_, err := parsed(t, x.name, x.change)
		if err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %v, want %q", x.name, err, x.want)
		}
	}
	if _, err := ParseConfig(nil); err == nil {
		t.Error("no error without config.json")
	}
}
