package merge

import (
	"testing"

	"mergescope/loader"
	"mergescope/quant"
)

// PEFT saves tensors for exactly the modules its configuration targets, so the
// two must agree in every golden adapter but the one that was cut on purpose.
func TestTargetsAgreeWithFiles(t *testing.T) {
	for _, g := range goldenCases(t) {
		if g.Error != nil && g.Error.Phase == "create" || g.Name == "missing-layer" {
			continue // no adapter was made; the file was edited
		}
		for _, a := range openGolden(t, g).Adapters {
			target := newTargeter(&a.Config)
			held := map[string]bool{}
			for _, m := range a.Modules {
				if m.Parameter == "" {
					held[m.Path] = true
				}
			}
			for _, w := range openGolden(t, g).Model.Weights {
				if len(w.Shape) == 2 && (target.miss(w) == "") != held[w.Name] {
					t.Errorf("%s %s: %s targeted %t, tensors %t", g.Name, a.Name, w.Name, target.miss(w) == "", held[w.Name])
				}
			}
		}
	}
}

func TestTargeter(t *testing.T) {
	tests := []struct {
		name string
		cfg  loader.AdapterConfig
		path string
		want bool
	}{
		{"list", loader.AdapterConfig{TargetModules: []string{"q_proj"}}, q0, true},
		{"list, end inside a word", loader.AdapterConfig{TargetModules: []string{"proj"}}, q0, false},
		{"list, whole path", loader.AdapterConfig{TargetModules: []string{"lm_head"}}, "lm_head", true},
		{"regex", loader.AdapterConfig{TargetRegex: `.*\.[01]\..*q_proj`}, q0, true},
		{"regex must match all of it", loader.AdapterConfig{TargetRegex: `model\.layers`}, q0, false},
		{"alternatives in a regex", loader.AdapterConfig{TargetRegex: `lm_head|.*q_proj`}, q0, true},
		{"excluded", loader.AdapterConfig{TargetModules: []string{"q_proj"}, ExcludeModules: []string{"layers.0.self_attn.q_proj"}}, q0, false},
		{"excluded by regex", loader.AdapterConfig{TargetModules: []string{"q_proj"}, ExcludeRegex: `.*\.0\..*`}, q0, false},
		{"saved whole", loader.AdapterConfig{TargetModules: []string{"lm_head"}, ModulesToSave: []string{"lm_head"}}, "lm_head", false},
		{"layer", loader.AdapterConfig{TargetModules: []string{"q_proj"}, Layers: []int64{0}}, q0, true},
		{"other layer", loader.AdapterConfig{TargetModules: []string{"q_proj"}, Layers: []int64{0}}, q1, false},
		{"layers_pattern", loader.AdapterConfig{TargetModules: []string{"q_proj"}, Layers: []int64{1}, LayersPattern: []string{"layers"}}, q1, true},
		{"other layers_pattern", loader.AdapterConfig{TargetModules: []string{"q_proj"}, Layers: []int64{1}, LayersPattern: []string{"h"}}, q1, false},
		{"no layer index", loader.AdapterConfig{TargetModules: []string{"lm_head"}, Layers: []int64{1}}, "base.lm_head", false},
		{"named in full, whatever the layer", loader.AdapterConfig{TargetModules: []string{q1}, Layers: []int64{0}}, q1, true},
		{"inside what is saved whole", loader.AdapterConfig{TargetModules: []string{"dense"}, ModulesToSave: []string{"score"}}, "m.score.dense", false},
		{"beside what is saved whole", loader.AdapterConfig{TargetModules: []string{"dense"}, ModulesToSave: []string{"score"}}, "m.scores.dense", true},
		{"pattern at the start", loader.AdapterConfig{TargetModules: []string{"q"}, Layers: []int64{1}, LayersPattern: []string{"h"}}, "h.1.q", true},
		{"all-linear", loader.AdapterConfig{TargetRegex: "All-Linear"}, q0, true},
		{"all-linear, excluded", loader.AdapterConfig{TargetRegex: "all-linear", ExcludeModules: []string{"q_proj"}}, q0, false},
		{"all-linear, output embedding", loader.AdapterConfig{TargetRegex: "all-linear"}, "lm_head", false},
		{"all-linear, embedding", loader.AdapterConfig{TargetRegex: "all-linear"}, "model.embed_tokens", false},
		{"broken regex", loader.AdapterConfig{TargetRegex: `(`}, q0, false},
	}
	for _, tt := range tests {
		if got := newTargeter(&tt.cfg).miss(&loader.Weight{Name: tt.path, Param: tt.path + ".weight", Shape: []int64{64, 64}, Format: quant.F32}) == ""; got != tt.want {
			t.Errorf("%s: %t, want %t", tt.name, got, tt.want)
		}
	}
}
