package tui

import (
	"path/filepath"
	"strings"
	"testing"

	"mergescope/loader"
	"mergescope/merge"
)

// TestOnto chooses the original and the quantization where the method is
// chosen, and takes it back.
func TestOnto(t *testing.T) {
	bases := filepath.Join("..", "testdata", "golden", "bases")
	original := filepath.Join(bases, "llama-bf16")
	r := demoRig(t, 120, 36, func(o *Options) {
		model, err := o.Source.Checkpoint(filepath.Join(bases, "llama-nf4"))
		if err != nil {
			t.Fatal(err)
		}
		ad, err := (loader.Source{}).Adapter(filepath.Join(bases, "..", "cases", "float-bf16-safe", "adapter"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _, _ = model.Close(), ad.Close() })
		o.Project, o.Demo = merge.NewProject(model, ad), false
		o.Plan = o.Project.NewPlan()
	})
	pick := func(n int) {
		r.choose("Requantize all layers by")
		for range n {
			r.press("down")
		}
		r.press("enter")
	}
	pick(len(methods()))
	if _, ok := r.a.topOverlay().(*prompt); !ok {
		t.Fatalf("the original is not asked for:\n%s", r.text())
	}
	r.typed(filepath.Join(bases, "gpt2-f32"))
	r.press("enter")
	if p, ok := r.a.topOverlay().(*prompt); !ok || !strings.Contains(p.bad, "is missing") {
		t.Fatalf("another model was taken:\n%s", r.text())
	}
	r.press("ctrl+u")
	r.typed(original)
	r.press("enter")
	if now := r.a.history.Now(); now.Onto != original || len(r.a.overlays) != 0 {
		t.Fatalf("onto %q\n%s", now.Onto, r.text())
	}
	pick(len(methods()) + 6)
	now := r.a.history.Now()
	if now.Quantize != "int8" {
		t.Errorf("quantize %q", now.Quantize)
	}
	layers, _ := r.a.eng.layers(now)
	quantized := 0
	for i := range layers {
		if layers[i].Base().Format.Is4Bit() && !layers[i].Copies() {
			quantized++
		}
	}
	if len(layers) != len(r.a.model.Weights) || quantized != 14 {
		t.Errorf("%d layers, %d of them quantized anew", len(layers), quantized)
	}
	if _, err := r.a.eng.newJob(now, merge.Options{}); err != nil {
		t.Error(err)
	}
	r.press("z", "z")
	if now := r.a.history.Now(); now.Onto != "" || now.Quantize != "" {
		t.Errorf("undo leaves onto %q, %q", now.Onto, now.Quantize)
	}
}
