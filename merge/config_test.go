package merge

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

// TestEditConfig checks edits of config.json against texts written by hand in
// the style of Python's json.dumps(indent=2, sort_keys=True).
func TestEditConfig(t *testing.T) {
	c := goldenBase(t, "llama-nf4")
	one := func(name string) []Layer {
		return layersOf(c, func(w *loader.Weight) Output {
			if w.Name == name {
				return AsBF16
			}
			return ""
		})
	}
	const q = "model.layers.0.self_attn.q_proj"
	tests := []struct {
		name   string
		raw    string
		layers []Layer
		kept   map[string]bool
		want   string // "" means unchanged
	}{
		{name: "requantized", raw: `{"quantization_config": {}}`, layers: layersOf(c, quantizedAs(Same))},
		{name: "kept after all", raw: `{"quantization_config": {}}`, layers: one(q), kept: map[string]bool{q: true}},
		{name: "no quantization_config", raw: `{"a": 1}`, layers: one(q)},
		{name: "null quantization_config", raw: `{"quantization_config": null}`, layers: one(q)},
		{name: "broken but untouched", raw: `{"a": NaN`, layers: layersOf(c, quantizedAs(Same))},
		{
			name: "null list, indented", layers: one(q),
			raw: "{\n  \"a\": 1,\n  \"quantization_config\": {\n    \"llm_int8_skip_modules\": null,\n    \"z\": [1,  2]\n  },\n  \"b\":2\n}\n",
			want: "{\n  \"a\": 1,\n  \"quantization_config\": {\n    \"llm_int8_skip_modules\": [\n      \"lm_head\",\n      \"model.embed_tokens\",\n      \"" + q +
				"\"\n    ],\n    \"z\": [1,  2]\n  },\n  \"b\":2\n}\n",
		},
		{
			name: "list, one line", layers: one(q),
			raw:  `{"quantization_config": {"llm_int8_skip_modules": ["lm_head"], "x": "llm_int8_skip_modules"}, "a": 1}`,
			want: `{"quantization_config": {"llm_int8_skip_modules": ["lm_head", "` + q + `"], "x": "llm_int8_skip_modules"}, "a": 1}`,
		},
		{
			name: "already named", layers: one(q),
			raw: `{"quantization_config": {"llm_int8_skip_modules": ["` + q + `"]}}`,
		},
		{
			name: "no list, indented", layers: one(q),
			raw: "{\n\t\"quantization_config\": {\n\t\t\"y\": 1\n\t}\n}",
			want: "{\n\t\"quantization_config\": {\n\t\t\"llm_int8_skip_modules\": [\n\t\t\t\"lm_head\",\n\t\t\t\"model.embed_tokens\",\n\t\t\t\"" + q +
				"\"\n\t\t],\n\t\t\"y\": 1\n\t}\n}",
		},
		{
			name: "no list, empty object", layers: one(q),
			raw:  `{"quantization_config":{}}`,
			want: `{"quantization_config":{"llm_int8_skip_modules": ["lm_head", "model.embed_tokens", "` + q + `"]}}`,
		},
		{
			name: "all floats, in the middle", layers: layersOf(c, quantizedAs(AsF16)),
			raw:  "{\n  \"a\": 1,\n  \"quantization_config\": {\n    \"y\": {}\n  },\n  \"b\": 2\n}\n",
			want: "{\n  \"a\": 1,\n  \"b\": 2\n}\n",
		},
		{
			name: "all floats, last", layers: layersOf(c, quantizedAs(AsF16)),
			raw:  "{\n  \"a\": 1,\n  \"quantization_config\": {}\n}\n",
			want: "{\n  \"a\": 1\n}\n",
		},
		{
			name: "all floats, first on one line", layers: layersOf(c, quantizedAs(AsF16)),
			raw:  `{"quantization_config": {"a": "}"}, "b": 2}`,
			want: `{"b": 2}`,
		},
		{
			name: "all floats, dtype", layers: layersOf(c, quantizedAs(AsF32)),
			raw:  `{"dtype": "bfloat16", "quantization_config": {}, "text_config": {"torch_dtype": "float16", "dtype": null}}`,
			want: `{"dtype": "float32", "text_config": {"torch_dtype": "float32", "dtype": null}}`,
		},
		{
			name: "a group that vLLM fuses", raw: `{"quantization_config": {"llm_int8_skip_modules": ["lm_head"]}}`,
			layers: layersOf(c, func(w *loader.Weight) Output {
				if strings.HasPrefix(w.Name, "model.layers.1.mlp.") && !strings.HasSuffix(w.Name, "down_proj") {
					return AsBF16
				}
				return ""
			}),
			want: `{"quantization_config": {"llm_int8_skip_modules": ["lm_head", "model.layers.1.mlp.gate_proj", "model.layers.1.mlp.up_proj", ` +
				`"model.layers.1.mlp.gate_up_proj"]}}`,
		},
		{
			name: "all floats, alone", layers: layersOf(c, quantizedAs(AsF16)),
			raw:  `{ "quantization_config": {} }`,
			want: `{ }`,
		},
		{
			name: "key inside another value", layers: layersOf(c, quantizedAs(AsF16)),
			raw:  `{"text_config": {"quantization_config": 1}, "k\\\"quantization_config": 3, "quantization_config": {}}`,
			want: `{"text_config": {"quantization_config": 1}, "k\\\"quantization_config": 3}`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := editConfig([]byte(tt.raw), c, tt.layers, tt.kept)
			if err != nil {
				t.Fatal(err)
			}
			want := tt.want
			if want == "" {
				want = tt.raw
			}
			if string(got) != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// TestEditConfigErrors: what cannot be said in config.json is an error.
func TestEditConfigErrors(t *testing.T) {
	inner := &loader.Weight{Name: "vision_model.layers.0.fc", Format: quant.NF4}
	outer := &loader.Weight{Name: "model.layers.0.fc", Format: quant.NF4}
	c := &loader.Checkpoint{Weights: []*loader.Weight{inner, outer}}
	layers := []Layer{{Weight: inner, Output: Same}, {Weight: outer, Output: AsBF16}}
	for _, tt := range []struct{ raw, want string }{
		{`{"quantization_config": {}}`, `"model.layers.0.fc", written as floats, would also match vision_model.layers.0.fc`},
		{`{"quantization_config": {"llm_int8_skip_modules": "q_proj"}}`, "llm_int8_skip_modules: json: cannot unmarshal string"},
		{`{"quantization_config": {"a": }}`, "invalid character"},
	} {
		if _, err := editConfig([]byte(tt.raw), c, layers, nil); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want %q", tt.raw, err, tt.want)
		}
	}
}

// TestEditConfigGolden edits the configs transformers wrote: beside the list,
// nothing may change, and the result must still be JSON.
func TestEditConfigGolden(t *testing.T) {
	for _, base := range []string{"llama-nf4", "llama-int8", "bert-nf4", "gpt2-nf4", "mixtral-nf4", "llama-nf4-tied"} {
		c := goldenBase(t, base)
		raw, err := os.ReadFile(filepath.Join("..", "testdata", "golden", "bases", base, "config.json"))
		if err != nil {
			t.Fatal(err)
		}
		var first *loader.Weight
		layers := layersOf(c, func(w *loader.Weight) Output {
			if first == nil && (w.State != nil || w.SCB != nil) {
				first = w
			}
			if w == first {
				return AsF32
			}
			return ""
		})
		got, err := editConfig(raw, c, layers, nil)
		if err != nil {
			t.Fatal(err)
		}
		var before, after map[string]any
		if err := json.Unmarshal(raw, &before); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(got, &after); err != nil {
			t.Fatal(err)
		}
		q := before["quantization_config"].(map[string]any)
		old, _ := q["llm_int8_skip_modules"].([]any)
		skip := after["quantization_config"].(map[string]any)["llm_int8_skip_modules"].([]any)
		if old == nil {
			old = []any{"lm_head"}
		}
		if !reflect.DeepEqual(skip[:len(old)], old) || skip[len(skip)-1] != first.Name {
			t.Errorf("%s: skip list %v", base, skip)
		}
		q["llm_int8_skip_modules"] = skip
		if !reflect.DeepEqual(before, after) {
			t.Errorf("%s: more changed than the list:\n%s", base, got)
		}
	}
}

// FuzzEditConfig: no text makes the editor panic, and a JSON object stays one
// that differs in nothing but quantization_config.
func FuzzEditConfig(f *testing.F) {
	f.Add([]byte(`{"a": 1, "quantization_config": {"llm_int8_skip_modules": null}, "b": {}}`), false)
	f.Add([]byte("{\n  \"quantization_config\": {\n    \"x\": [1]\n  }\n}\n"), false)
	f.Add([]byte(`{"quantization_config": {}, "\\\"": "}"}`), true)
	f.Add([]byte(`{"quantization_config": null}`), true)
	f.Add([]byte(`{"quantization_config": {}, "quantization_config": 1}`), true)
	a := &loader.Weight{Name: "a", Format: quant.NF4}
	b := &loader.Weight{Name: "b", Format: quant.Int8}
	c := &loader.Checkpoint{Weights: []*loader.Weight{a, b}}
	f.Fuzz(func(t *testing.T, raw []byte, all bool) {
		layers := []Layer{{Weight: a, Output: AsBF16}, {Weight: b, Output: Same}}
		if all {
			layers[1].Output = AsF32
		}
		got, err := editConfig(raw, c, layers, nil)
		var before map[string]any
		if err != nil || json.Unmarshal(raw, &before) != nil || before == nil {
			return
		}
		var after map[string]any
		if err := json.Unmarshal(got, &after); err != nil {
			t.Fatalf("%q became %q: %v", raw, got, err)
		}
		delete(before, quantizationKey)
		delete(after, quantizationKey)
		if !reflect.DeepEqual(before, after) {
			t.Fatalf("%q became %q", raw, got)
		}
	})
}
