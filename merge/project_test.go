package merge

import (
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mergescope/loader"
	"mergescope/quant"
)

// PEFT warns once for every quantized layer and adapter it merges, so its
// counts tell which layers a plan must reach.
func TestLayersReachedByPeft(t *testing.T) {
	for _, g := range goldenCases(t) {
		if g.Error != nil {
			continue
		}
		t.Run(g.Name, func(t *testing.T) {
			p := openGolden(t, g)
			layers, alerts := p.Layers(p.NewPlan())
			var got4, got8 int
			for _, l := range layers {
				switch f := l.Weight.Format; {
				case f.Is4Bit():
					got4 += len(l.Steps)
				case f == quant.Int8:
					got8 += len(l.Steps)
				}
			}
			if want4, want8 := g.warned(peftRounding4), g.warned(peftRounding8); got4 != want4 || got8 != want8 {
				t.Errorf("%d 4-bit and %d 8-bit steps, want %d and %d; alerts %v", got4, got8, want4, want8, alerts)
			}
		})
	}
}

func TestGoldenShapeErrors(t *testing.T) {
	tests := []struct {
		name string
		code Code
		want []string
	}{
		// PEFT: size mismatch for ...lora_A...: torch.Size([4, 56]) from checkpoint, the shape in current model is torch.Size([4, 64])
		{"mismatched-shape", CodeShape, []string{"lora_A.weight", "[4 56]", "[64 64]", "56 columns where 64 are needed"}},
		{"mismatched-rank", CodeConflict, []string{"lora_A.weight", "size mismatch", "4", "8"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := openProject(t, filepath.Join(goldenDir, "bases/llama-nf4"), [2]string{"a", filepath.Join(goldenDir, "cases", tt.name, "adapter")})
			layers, alerts := p.Layers(p.NewPlan())
			i := slices.IndexFunc(alerts, func(a Alert) bool { return a.Code == tt.code })
			if i < 0 {
				t.Fatalf("no alert %s in %v", tt.code, alerts)
			}
			a := alerts[i]
			for _, want := range tt.want {
				if !strings.Contains(a.Message, want) {
					t.Errorf("message %q lacks %q", a.Message, want)
				}
			}
			if a.Level != Error || a.Place.File == "" || !strings.HasSuffix(a.Place.Tensor, "lora_A.weight") || a.Layer != q0 {
				t.Errorf("alert %+v", a)
			}
			_, alerts = p.Layers(p.NewPlan().Clear(q0, q1))
			if len(alerts) != 0 {
				t.Errorf("with the adapter off these layers: %v", alerts)
			}
			for _, l := range layers {
				if l.Weight.Name == q0 && (len(l.Steps) != 0 || !strings.Contains(l.Reason, "cannot be merged")) {
					t.Errorf("%s: %d steps, reason %q", q0, len(l.Steps), l.Reason)
				}
			}
		})
	}
}

func TestMissingLayer(t *testing.T) {
	p := openProject(t, filepath.Join(goldenDir, "bases/llama-nf4"), [2]string{"a", filepath.Join(goldenDir, "cases/missing-layer/adapter")})
	layers, alerts := p.Layers(p.NewPlan())
	if len(alerts) != 2 || alerts[0].Code != CodeUnmatched || alerts[0].Count != 1 ||
		!strings.Contains(alerts[0].Message, "model.layers.7.self_attn.q_proj") ||
		!strings.Contains(alerts[1].Message, q1) {
		t.Errorf("alerts %+v", alerts)
	}
	for _, l := range layers {
		if want := l.Weight.Name == q0 || l.Weight.Name == q1; (len(l.Steps) == 1) != want {
			t.Errorf("%s has %d steps", l.Weight.Name, len(l.Steps))
		}
		if l.Weight.Name == q1 && (l.Steps[0].Module.A != nil || l.Steps[0].Adapter.Name != "a") {
			t.Errorf("step %+v", l.Steps[0])
		}
	}
}

func TestStepScale(t *testing.T) {
	g := goldenDir + "/cases/"
	tests := []struct {
		name  string
		layer string
		want  float64 // worked out from adapter_config.json
	}{
		{"rslora", q0, 16 / math.Sqrt(8)},
		{"scaling-thirds", q0, 1.0 / 3},
		{"alpha-fraction", q0, 0.7 / 4},
		{"negative-scaling", q0, -8.0 / 4},
		{"patterns", q0, 1.0 / 2},                             // alpha_pattern q_proj: 1, rank_pattern layers.0: 2
		{"patterns", v1, 12.0 / 4},                            // alpha_pattern v_proj: 12
		{"patterns", "model.layers.1.mlp.down_proj", 3.0 / 6}, // both
	}
	for _, tt := range tests {
		p := openProject(t, filepath.Join(goldenDir, "bases/llama-nf4"), [2]string{"a", g + tt.name + "/adapter"})
		layers, _ := p.Layers(p.NewPlan().Assign("a", 0.5, tt.layer))
		i := slices.IndexFunc(layers, func(l Layer) bool { return l.Weight.Name == tt.layer })
		if i < 0 || len(layers[i].Steps) != 1 {
			t.Fatalf("%s: no step on %s", tt.name, tt.layer)
		}
		if s := layers[i].Steps[0]; s.Scale != tt.want*0.5 || s.Factor != 0.5 {
			t.Errorf("%s %s: scale %v and factor %v, want %v and 0.5", tt.name, tt.layer, s.Scale, s.Factor, tt.want*0.5)
		}
	}
}

func TestTranspose(t *testing.T) {
	for _, tt := range []struct {
		name  string
		want  bool
		steps int // modules in the adapter's file
	}{{"gpt2-f32", true, 6}, {"gpt2-nf4", false, 6}, {"gpt2-int8", false, 2}} {
		name, want := tt.name, tt.want
		p := openProject(t, filepath.Join(goldenDir, "bases", name), [2]string{"a", filepath.Join(goldenDir, "cases", name, "adapter")})
		layers, _ := p.Layers(p.NewPlan())
		n := 0
		for _, l := range layers {
			for _, s := range l.Steps {
				n++
				if s.Transpose != want {
					t.Errorf("%s %s %v: transpose %t, want %t", name, l.Weight.Name, l.Weight.Shape, s.Transpose, want)
				}
			}
		}
		if n != tt.steps {
			t.Errorf("%s: %d steps, want %d", name, n, tt.steps)
		}
	}
}

func TestReasonsAndOutputs(t *testing.T) {
	p := openProject(t, demoDir+"/base-nf4", [2]string{"light", demoDir + "/adapter-gocode-light"})
	plan := p.NewPlan().Clear(q0).SetOutput(Keep, q1).SetOutput(Separate, v1).SetOutput(AsBF16, "model.layers.2.mlp.up_proj", "lm_head")
	plan = plan.Clear("model.layers.2.mlp.up_proj")
	layers, alerts := p.Layers(plan)
	if len(alerts) != 1 || alerts[0].Code != CodeFusedSplit { // up_proj without gate_proj
		t.Errorf("alerts %v", alerts)
	}
	tests := []struct {
		layer          string
		reason         string
		steps          int
		output         Output
		merges, copies bool
	}{
		{q0, "scale of light is 0", 0, Same, false, true},
		{q1, "output keep: base bytes stay, the adapter is dropped", 0, Keep, false, true},
		{v1, "", 1, Separate, false, true},
		{"model.layers.2.mlp.up_proj", "scale of light is 0", 0, AsBF16, false, false},
		{"model.layers.3.mlp.up_proj", "", 1, Same, true, false},
		{"lm_head", "not targeted by light: not in target_modules", 0, Same, false, true}, // stored as bf16 already
	}
	for _, tt := range tests {
		i := slices.IndexFunc(layers, func(l Layer) bool { return l.Weight.Name == tt.layer })
		if i < 0 {
			t.Fatalf("no layer %s", tt.layer)
		}
		l := layers[i]
		if l.Index != i || l.Reason != tt.reason || len(l.Steps) != tt.steps || l.Output != tt.output || l.Merges() != tt.merges || l.Copies() != tt.copies {
			t.Errorf("%s: %+v, want %+v", tt.layer, l, tt)
		}
	}
	if layers, _ := NewProject(p.Model).Layers(NewPlan("m")); layers[0].Reason != "the plan has no adapter" {
		t.Errorf("reason without adapters %q", layers[0].Reason)
	}
}

func TestSuffixMatching(t *testing.T) {
	p := openProject(t, demoDir+"/base-nf4", [2]string{"light", demoDir + "/adapter-gocode-light"})
	for _, rename := range []func(string) string{
		func(s string) string { return strings.TrimPrefix(s, "model.") },
		func(s string) string { return "base." + s },
	} {
		a := *p.Adapters[0]
		a.Modules = nil
		for _, m := range p.Adapters[0].Modules {
			c := *m
			c.Path = rename(m.Path)
			a.Modules = append(a.Modules, &c)
		}
		q := NewProject(p.Model, &a)
		layers, alerts := q.Layers(q.NewPlan())
		n := 0
		for _, l := range layers {
			n += len(l.Steps)
		}
		if n != 28 { // 7 linear layers in each of 4 blocks
			t.Errorf("%s: %d layers reached, want 28", a.Modules[0].Path, n)
		}
		if len(alerts) != 1 || alerts[0].Level != Info || alerts[0].Code != CodeUnmatched || alerts[0].Count != 28 {
			t.Errorf("alerts %+v", alerts)
		}
	}
}

func TestAmbiguousAndRepeatedModules(t *testing.T) {
	p := openProject(t, demoDir+"/base-nf4", [2]string{"light", demoDir + "/adapter-gocode-light"})
	a := *p.Adapters[0]
	module := func(path string) *loader.Module {
		c := *p.Adapters[0].Modules[0]
		c.Path = path
		return &c
	}
	a.Modules = []*loader.Module{module("self_attn.q_proj"), module(q0), module("base." + q0)}
	q := NewProject(p.Model, &a)
	_, alerts := q.Layers(q.NewPlan())
	for _, want := range []string{"match several weights of the model, first self_attn.q_proj", "another module of the adapter already has, first base." + q0} {
		if !slices.ContainsFunc(alerts, func(al Alert) bool { return al.Level == Error && strings.Contains(al.Message, want) }) {
			t.Errorf("no alert says %q: %v", want, alerts)
		}
	}
}

func TestValidate(t *testing.T) {
	p := openProject(t, demoDir+"/base-nf4", [2]string{"light", demoDir + "/adapter-gocode-light"})
	if err := p.Validate(p.NewPlan()); err != nil {
		t.Error(err)
	}
	err := p.Validate(p.NewPlan().WithAdapter(AdapterRef{"b", "dir/b"}))
	if err == nil || !strings.Contains(err.Error(), "adapters.b: dir/b is not open") {
		t.Errorf("got %v", err)
	}
	if err := p.Validate(Plan{}); err == nil {
		t.Error("an empty plan passes")
	}
}
