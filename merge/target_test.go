package merge

import (
	"testing"

	"mergescope/loader"
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
				if len(w.Shape) == 2 && target.match(w.Name) != held[w.Name] {
					t.Errorf("%s %s: %s targeted %t, tensors %t", g.Name, a.Name, w.Name, target.match(w.Name), held[w.Name])
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
		{"no layer index", loader.AdapterConfig{TargetModules: []string{"lm_head"}, Layers: []int64{1}}, "lm_head", false},
		{"broken regex", loader.AdapterConfig{TargetRegex: `(`}, q0, false},
	}
	for _, tt := range tests {
		if got := newTargeter(&tt.cfg).match(tt.path); got != tt.want {
			t.Errorf("%s: %t, want %t", tt.name, got, tt.want)
		}
	}
}
