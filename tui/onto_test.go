package tui

import (
	"path/filepath"
	"strings"
	"testing"

	"mergescope/loader"
	"mergescope/merge"
)

// ontoRig has opened a quantized checkpoint with an adapter.
func ontoRig(t *testing.T) *rig {
	t.Helper()
	bases := filepath.Join("..", "testdata", "golden", "bases")
	return demoRig(t, 120, 36, func(o *Options) {
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
}

// TestOnto chooses the original and the quantization, and takes it back.
func TestOnto(t *testing.T) {
	bases := filepath.Join("..", "testdata", "golden", "bases")
	original := filepath.Join(bases, "llama-bf16")
	r := ontoRig(t)
	pick := func(n int) {
		r.choose("Merge onto the original")
		for range n {
			r.press("down")
		}
		r.press("enter")
	}
	pick(0)
	if _, ok := r.a.topOverlay().(*prompt); !ok {
		t.Fatalf("the original is not asked for:\n%s", r.text())
	}
	r.typed(filepath.Join(bases, "gpt2-f32"))
	r.press("enter")
	if p, ok := r.a.topOverlay().(*prompt); !ok || !strings.Contains(p.bad, "is missing") {
		t.Fatalf("another model was taken:\n%s", r.text())
	}
	r.answer(original)
	if now := r.a.history.Now(); now.Onto != original || len(r.a.overlays) != 0 {
		t.Fatalf("onto %q\n%s", now.Onto, r.text())
	}
	pick(6)
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

// A plan onto an original opens it when it is loaded, and again when the session
// is taken up.
func TestPlanOpensOriginal(t *testing.T) {
	original := filepath.Join("..", "testdata", "golden", "bases", "llama-bf16")
	r := ontoRig(t)
	plan := r.a.history.Now()
	plan.Onto, plan.Quantize = original, "nf4"
	file := filepath.Join(t.TempDir(), "plan.json")
	if err := writeFile(file, plan.Encode()); err != nil {
		t.Fatal(err)
	}
	r.choose("Load plan")
	r.answer(file)
	now := r.a.history.Now()
	if now.Onto != original || now.Quantize != "nf4" {
		t.Fatalf("onto %q, %q\n%s", now.Onto, now.Quantize, r.text())
	}
	if _, err := r.a.eng.newJob(now, merge.Options{}); err != nil {
		t.Error(err)
	}

	opt := r.a.opt
	opt.Sessions, opt.Plan = t.TempDir(), r.a.opt.Plan
	if err := shelf(opt.Sessions).save(r.a.remembered()); err != nil {
		t.Fatal(err)
	}
	again := ontoRig(t)
	again.a.takeUp(recallSession(Options{Source: opt.Source, Project: again.a.opt.Project, Plan: again.a.opt.Plan, Sessions: opt.Sessions}))
	if now := again.a.history.Now(); now.Onto != original {
		t.Errorf("the session is onto %q", now.Onto)
	} else if _, err := again.a.eng.newJob(now, merge.Options{}); err != nil {
		t.Error(err)
	}

	// One that is not there is said, and the rest of the plan is taken up.
	plan.Onto = "nowhere"
	if err := writeFile(file, plan.Encode()); err != nil {
		t.Fatal(err)
	}
	r.choose("Load plan")
	r.answer(file)
	if p, ok := r.a.topOverlay().(*prompt); !ok || !strings.Contains(p.bad, "nowhere") {
		t.Errorf("a plan onto nothing is loaded:\n%s", r.text())
	}
}
