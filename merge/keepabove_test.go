package merge

import (
	"slices"
	"testing"

	"mergescope/loader"
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
		{1, bf16Growth(p.Model.Weight(small)), []string{small}, []string{large}},
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
