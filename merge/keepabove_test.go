package merge

import (
	"math/rand/v2"
	"slices"
	"testing"

	"mergescope/loader"
	"mergescope/quant"
)

// Worked out by hand from docs/formats.md: of the demo's base, k_proj [64, 192]
// holds 12288 weights and down_proj [192, 448] 86016.
func TestKeepAbove(t *testing.T) {
	model, err := loader.Source{}.Checkpoint("../testdata/demo/base-nf4")
	if err != nil {
		t.Fatal(err)
	}
	defer model.Close()
	const small, large, fine = "model.layers.0.self_attn.k_proj", "model.layers.0.mlp.down_proj", "model.layers.1.self_attn.k_proj"
	layer := func(name string, kept, rms float64) *LayerReport {
		return &LayerReport{Name: name, Output: Same, Metrics: Metrics{Kept: Figure(kept), DeltaRMS: Figure(rms)}}
	}
	// Equal loss per weight but for the rms: the small layer is worth four times
	// as much a byte.
	report := &Report{Layers: []*LayerReport{layer(large, 0.5, 0.001), layer(small, 0.5, 0.002), layer(fine, 0.95, 0.001)}}
	growth := func(names ...string) (n int64) {
		for _, name := range names {
			w := model.Weight(name)
			n += 2*w.Numel() - w.Bytes()
		}
		return n
	}
	for _, tc := range []struct {
		above      float64
		budget     int64
		take, left []string
	}{
		{0.9, -1, []string{small, large}, nil},
		{0.9, growth(small), []string{small}, []string{large}},
		{0.9, growth(small) - 1, nil, []string{small, large}},
		{0.99, growth(small, fine), []string{small, fine}, []string{large}},
		{0.5, -1, nil, nil},
	} {
		p := NewProject(model)
		got := p.KeepAbove(p.NewPlan(), report, tc.above, tc.budget)
		if !slices.Equal(got.Layers, tc.take) || !slices.Equal(got.Left, tc.left) {
			t.Errorf("above %v, budget %d: takes %v, leaves %v, want %v and %v", tc.above, tc.budget, got.Layers, got.Left, tc.take, tc.left)
		}
		if got.Form != AsBF16 {
			t.Errorf("form %s", got.Form)
		}
		if want := growth(tc.take...); got.Bytes != want {
			t.Errorf("above %v, budget %d: grows by %d bytes, want %d", tc.above, tc.budget, got.Bytes, want)
		}
		layers, _ := p.Layers(got.Plan)
		for _, l := range layers {
			if want := slices.Contains(tc.take, l.Weight.Name); (l.Output == AsBF16) != want {
				t.Errorf("%s is written as %s", l.Weight.Name, l.Output)
			}
		}
	}
}

// k_proj grows by 12288*2 bytes less what it has, down_proj by seven times that:
// with equal KL the small layer is worth more, and 0.5 is reached with it alone.
func TestKeepSensitive(t *testing.T) {
	p := openDemo(t, "base-nf4", "gocode")
	const small, large, other = "model.layers.0.self_attn.k_proj", "model.layers.0.mlp.down_proj", "model.layers.1.self_attn.v_proj"
	kl := func(name string, v float64) SensitiveLayer {
		return SensitiveLayer{Name: name, KL: Uncertain{Value: Figure(v)}}
	}
	s := &Sensitivity{Layers: []SensitiveLayer{kl(large, 0.5), kl(small, 0.5), kl(other, 0), {Name: "none", KL: Uncertain{Value: 1}}}}
	plan := p.NewPlan()
	for _, x := range []struct {
		above      float64
		budget     int64
		take, left []string
	}{
		{0, -1, nil, nil},
		{0.5, -1, []string{small}, nil},
		{0.6, -1, []string{small, large}, nil},
		{1, growth(p.Model.Weight(small), quant.BF16), []string{small}, []string{large}},
	} {
		got := p.KeepSensitive(plan, s, x.above, x.budget)
		if !slices.Equal(got.Layers, x.take) || !slices.Equal(got.Left, x.left) {
			t.Errorf("above %v: %v, left %v", x.above, got.Layers, got.Left)
		}
	}
	// What is in bf16 already does not count.
	got := p.KeepSensitive(plan.SetOutput(AsBF16, small), s, 0.5, -1)
	if !slices.Equal(got.Layers, []string{large}) {
		t.Errorf("%v", got.Layers)
	}
}

// TestKeepAboveBound compares with the best of all subsets.
func TestKeepAboveBound(t *testing.T) {
	model, err := loader.Source{}.Checkpoint("../testdata/demo/base-nf4")
	if err != nil {
		t.Fatal(err)
	}
	defer model.Close()
	rng := rand.New(rand.NewPCG(1, 2))
	var weights []*loader.Weight
	for _, w := range model.Weights {
		if w.Format.Is4Bit() && len(weights) < 10 {
			weights = append(weights, w)
		}
	}
	loose := 0
	for range 50 {
		report := &Report{}
		lost, bytes := make([]float64, len(weights)), make([]int64, len(weights))
		var all int64
		for i, w := range weights {
			kept, rms := rng.Float64(), 1e-3*rng.Float64()
			report.Layers = append(report.Layers, &LayerReport{Name: w.Name, Output: Same, Metrics: Metrics{Kept: Figure(kept), DeltaRMS: Figure(rms)}})
			lost[i], bytes[i] = (1-kept)*rms*rms*float64(w.Numel()), 2*w.Numel()-w.Bytes()
			all += bytes[i]
		}
		budget := rng.Int64N(all)
		best := 0.0
		for set := range 1 << len(weights) {
			var sum float64
			var n int64
			for i := range weights {
				if set>>i&1 == 1 {
					sum, n = sum+lost[i], n+bytes[i]
				}
			}
			if n <= budget {
				best = max(best, sum)
			}
		}
		p := NewProject(model)
		got := p.KeepAbove(p.NewPlan(), report, 1, budget)
		if got.Bytes > budget || got.Recovered > best*(1+1e-12) || got.Bound < best*(1-1e-12) {
			t.Errorf("budget %d: recovers %v with %d bytes, best is %v, bound %v", budget, got.Recovered, got.Bytes, best, got.Bound)
		}
		if got.Bound > best*1.5 {
			loose++
		}
	}
	if loose > 10 {
		t.Errorf("the bound is loose in %d of 50 cases", loose)
	}
}

// TestKeepAboveForm: among float16 activations only float16 layers can run.
func TestKeepAboveForm(t *testing.T) {
	for base, want := range map[string]Output{"llama-nf4": AsBF16, "llama-nf4-f16": AsF16, "llama-nf4-f32": AsF32} {
		p := NewProject(goldenBase(t, base))
		report := &Report{Layers: []*LayerReport{{Name: "model.layers.0.self_attn.q_proj", Output: Same, Metrics: Metrics{Kept: 0.1, DeltaRMS: 1}}}}
		got := p.KeepAbove(p.NewPlan(), report, 0.9, -1)
		if got.Form != want || len(got.Layers) != 1 {
			t.Errorf("%s: %s, %v", base, got.Form, got.Layers)
		}
		_, alerts := p.Layers(got.Plan)
		_, wrong := p.Layers(got.Plan.SetOutput(map[Output]Output{AsBF16: AsF32, AsF16: AsBF16, AsF32: AsF16}[want], got.Layers...))
		if hasCode(alerts, CodeMixedDtypes) || !hasCode(wrong, CodeMixedDtypes) {
			t.Errorf("%s: %v %v", base, alerts, wrong)
		}
	}
}

func hasCode(alerts []Alert, c Code) bool {
	return slices.ContainsFunc(alerts, func(a Alert) bool { return a.Code == c })
}
