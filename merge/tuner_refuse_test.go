package merge_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mergescope/loader"
	"mergescope/merge"
)

// TestTunerVariants changes one thing of an adapter that is merged: it must be
// refused with the reason.
func TestTunerVariants(t *testing.T) {
	type change func(c *loader.TunerConfig, m *loader.Module)
	reshape := func(role string, shape ...int64) change {
		return func(_ *loader.TunerConfig, m *loader.Module) {
			m.Params[role] = &loader.Tensor{Name: role, DType: "F32", Shape: shape}
		}
	}
	extra := func(role string) change { return reshape(role, 1) }
	for _, tt := range []struct {
		name   string
		change change
		says   string
	}{
		{"loha-f32", extra("hada_t1"), "tensors of convolutions"},
		{"lokr-f32", extra("lokr_t2"), "tensors of convolutions"},
		{"loha-f32", func(_ *loader.TunerConfig, m *loader.Module) { m.Embedding = true }, "only linear layers are merged"},
		{"oft-f32", func(c *loader.TunerConfig, _ *loader.Module) { c.COFT = true }, "coft"},
		{"road-f32", func(c *loader.TunerConfig, _ *loader.Module) { c.Variant = "road_3" }, "want road_1, road_2 or road_4"},
		{"road-f32", func(c *loader.TunerConfig, _ *loader.Module) { c.GroupSize = 5 }, "must be divisible by group_size"},
		{"waveft-f32", func(c *loader.TunerConfig, _ *loader.Module) { c.Wavelet = "sym4" }, "only db1"},
		{"peanut-f32", func(c *loader.TunerConfig, _ *loader.Module) { c.Activation = "gelu" }, `act_fn "gelu"`},
		{"peanut-f32", func(c *loader.TunerConfig, _ *loader.Module) { c.Depth = 2 }, "depth 2"},
		{"deft-f32", func(c *loader.TunerConfig, _ *loader.Module) { c.Decompose = "svd" }, "want relu or qr"},
		{"vblora-f32", extra("vblora_logits_A_topk_weights"), "save_only_topk_weights"},
		{"supertuning-f32", extra("supertuning_lora_A"), "Supra"},
		{"fourierft-f32", reshape("fourierft_spectrum", 4096), "PEFT draws their places"},
		{"c3a-f32", reshape("c3a_kernel", 6, 6, 5), "no multiples of 5"},
		{"gralora-f32", reshape("gralora_A", 2, 16, 7), "want [2 7"},
		{"vera-f32", reshape("vera_A", 4, 8), "is required"},
		{"randlora-f32", reshape("randlora_A", 16, 3, 8), "is required"},
		{"gralora-f32", reshape("gralora_A", 2, 16, 8, 1), "want [2 16 any]"},
		{"lokr-f32", reshape("lokr_w1", 3, 3), "the factors of"},
		{"miss-f32", reshape("miss_block", 8, 5), "want"},
		{"oft-f32", reshape("oft_R", 3, 28), "which makes no blocks"},
		{"oft-f32", reshape("oft_R", 4, 29), "which makes no blocks"},
		{"boft-f32", reshape("boft_R", 2, 8, 4, 4), "only with its CUDA extension"},
	} {
		p := readCase(t, tunersDir, tt.name).project(t)
		a := p.Adapters[0]
		m := a.Modules[0]
		tt.change(&a.Config.Tuner, m)
		layers, alerts := p.Layers(p.NewPlan())
		i := slices.IndexFunc(layers, func(l merge.Layer) bool { return l.Weight.Name == m.Path })
		if l := layers[i]; l.Merges() || !strings.Contains(l.Reason, tt.says) {
			t.Errorf("%s: merges %t, %q, want %q", tt.name, l.Merges(), l.Reason, tt.says)
		}
		if !slices.ContainsFunc(alerts, func(a merge.Alert) bool { return a.Level == merge.Error && strings.Contains(a.Message, tt.says) }) {
			t.Errorf("%s: no error with %q in %+v", tt.name, tt.says, alerts)
		}
	}
}

// TestAdapterGone closes the adapter's file before the merge reads it, as when a
// disk goes away: an error that names the file, whatever the form.
func TestAdapterGone(t *testing.T) {
	for dir, names := range map[string][]string{
		tunersDir: {"hira-f32", "vera-nf4", "oft-int8", "shira-f32", "miss-nf4", "supertuning-f32", "ia3-bias-bf16-bias", "deft-f32"},
		goldenDir: {"nf4-plain", "dora-nf4", "lora-bias-bf16", "modules-to-save", "mixtral-experts"},
	} {
		for _, name := range names {
			c := readCase(t, dir, name)
			p := c.project(t)
			for _, a := range p.Adapters {
				_ = a.Close()
			}
			_, err := mergeAll(t, p, merge.Options{Out: filepath.Join(t.TempDir(), "out"), Unsafe: true})
			if err == nil || !strings.Contains(err.Error(), "adapter_model.safetensors") {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestParseLoRADtype(t *testing.T) {
	for text, want := range map[string]merge.LoRADtype{"": merge.LoRAFloat32, "f32": merge.LoRAFloat32, "file": merge.LoRALayer, "compute": merge.LoRARounded} {
		if got, err := merge.ParseLoRADtype(text); err != nil || got != want {
			t.Errorf("%q: %v %v", text, got, err)
		}
	}
	if _, err := merge.ParseLoRADtype("bf16"); err == nil {
		t.Error("bf16 is no value")
	}
}
