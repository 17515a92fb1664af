package merge

import (
	"bytes"
	"path/filepath"
	"testing"

	"mergescope/loader"
)

// Quantized once from 16 bits, calibrated codes are nearer the original with its
// adapter than the nearest are. The original is the demo with another adapter
// merged in, so that its weights lie between the codes.
func TestCalibratedOnto(t *testing.T) {
	run := func(p *Project, plan Plan, opt Options) *loader.Checkpoint {
		t.Helper()
		opt.Out = filepath.Join(t.TempDir(), "out")
		if err := runJob(t, p, plan, opt); err != nil {
			t.Fatal(err)
		}
		return modelAt(t, opt.Out)
	}
	other := openDemo(t, "base-nf4", "gocode-mid")
	original := run(other, other.NewPlan().SetOutputAll(AsBF16), Options{})
	p := lightDemo(t, "base-nf4")
	if err := p.SetOriginal("original", original); err != nil {
		t.Fatal(err)
	}
	opt := Options{Calibrate: Calibration{Texts: shortText(t, 2048)}}
	text := shortText(t, 8192)
	text[0].Pieces[0] = text[0].Pieces[0][7168:]
	for _, to := range []string{"nf4,double", "fp4", "int8"} {
		plan := p.NewPlan()
		plan.Onto, plan.Quantize = "original", to
		nearest := run(p, plan, opt)
		plan.Method = "calibrated,tokens=512"
		calibrated := run(p, plan, opt)
		q := NewProject(original, p.Adapters...)
		r := evaluate(t, q, q.NewPlan(), EvalOptions{
			Texts: text, Window: 512, Merged: []*loader.Checkpoint{nearest, calibrated},
		})
		var kl []float64
		for _, v := range r.Variants[reference+1:] {
			kl = append(kl, float64(v.Figures.KL.Value))
		}
		if !(kl[1] < 0.5*kl[0]) {
			t.Errorf("%s: KL from the original with its adapter: nearest %v, calibrated %v", to, kl[0], kl[1])
		}
	}
}

// Onto the original, too, bytes do not depend on the number of workers.
func TestCalibratedOntoBytes(t *testing.T) {
	other := openDemo(t, "base-nf4", "gocode-mid")
	out := filepath.Join(t.TempDir(), "original")
	if err := runJob(t, other, other.NewPlan().SetOutputAll(AsBF16), Options{Out: out}); err != nil {
		t.Fatal(err)
	}
	for _, to := range []string{"nf4,double", "fp4", "int8"} {
		var made [2]map[string][]byte
		for i, workers := range [...]int{1, 5} {
			p := lightDemo(t, "base-nf4")
			if err := p.SetOriginal("original", modelAt(t, out)); err != nil {
				t.Fatal(err)
			}
			plan := p.NewPlan()
			plan.Onto, plan.Quantize, plan.Method = "original", to, "calibrated,tokens=128"
			_, m := runPlan(t, p, plan, Options{Workers: workers, Calibrate: Calibration{Texts: shortText(t, 512)}})
			made[i] = m.tensors
		}
		if len(made[0]) < 56 || len(made[0]) != len(made[1]) {
			t.Errorf("%s: %d tensors and %d", to, len(made[0]), len(made[1]))
		}
		for name, data := range made[0] {
			if !bytes.Equal(data, made[1][name]) {
				t.Errorf("%s: %s depends on the number of workers", to, name)
			}
		}
	}
}
