package merge

import (
	"bytes"
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"mergescope/loader"
	"mergescope/model"
)

// calibratedPlan observes a little text, for tests to be quick.
func calibratedPlan(p *Project, method string) (Plan, Options) {
	plan := p.NewPlan()
	plan.Method = method
	return plan, Options{}
}

// The bytes are the same for any number of workers, and on kept scales nothing
// but codes is written.
func TestCalibratedBytes(t *testing.T) {
	for _, base := range []string{"base-nf4", "base-int8"} {
		for _, method := range []string{"calibrated,tokens=256", "calibrated,scales=fresh,tokens=256,mu=0", "calibrated,tokens=256,optimizer=descent", "calibrated,tokens=256,optimizer=directions", "calibrated,tokens=256,scales=move"} {
			p := lightDemo(t, base)
			plan, opt := calibratedPlan(p, method)
			opt.Calibrate.Texts = shortText(t, 512)
			opt.Workers = 1
			one, a := runPlan(t, p, plan, opt)
			opt.Workers = 5
			many, b := runPlan(t, p, plan, opt)
			if x, y := one.Totals.KeptOnInputs, many.Totals.KeptOnInputs; x != y || !(x > 0.9 && x < 1.1) {
				t.Errorf("%s %s: kept on inputs %v with one worker, %v with several", base, method, x, y)
			}
			if len(a.tensors) != len(b.tensors) || len(a.tensors) < 28 {
				t.Fatalf("%s %s: %d tensors and %d", base, method, len(a.tensors), len(b.tensors))
			}
			for name, data := range a.tensors {
				if !bytes.Equal(data, b.tensors[name]) {
					t.Errorf("%s %s: %s depends on the number of workers", base, method, name)
				}
				w := p.Model.Weight(strings.TrimSuffix(name, ".absmax"))
				moved := strings.Contains(method, "move") && w != nil && strings.HasSuffix(name, ".absmax")
				if !strings.Contains(method, "fresh") && !moved && (w == nil || w.Param != name) {
					t.Errorf("%s %s: writes %s, want codes only", base, method, name)
				}
			}
		}
	}
}

// What the model says is nearer the separate adapter than by PEFT's merge, on a
// text it was not observed over, also if it wrote the one it was observed over
// itself; and PEFT's merge is known to lose the light adapter (expected.json).
func TestCalibratedServesTheModel(t *testing.T) {
	p := lightDemo(t, "base-nf4")
	given, opt := calibratedPlan(p, "calibrated,tokens=1024")
	own, _ := calibratedPlan(p, "calibrated,tokens=1024,seed=3")
	descent, _ := calibratedPlan(p, "calibrated,tokens=1024,optimizer=descent")
	directions, _ := calibratedPlan(p, "calibrated,tokens=1024,optimizer=directions")
	kl := map[string]float64{}
	for name, c := range map[string]struct {
		plan  Plan
		texts []EvalText
	}{
		"peft": {p.NewPlan(), nil}, "given": {given, shortText(t, 2048)}, "own": {own, nil},
		"descent": {descent, shortText(t, 2048)}, "directions": {directions, shortText(t, 2048)},
	} {
		text := shortText(t, 8192)
		text[0].Pieces[0] = text[0].Pieces[0][6144:]
		opt.Calibrate.Texts = c.texts
		r := evaluate(t, p, p.NewPlan(), EvalOptions{Texts: text, Window: 512, Plans: []NamedPlan{{VariantPlan, c.plan}}, Calibrate: opt.Calibrate})
		kl[name] = float64(r.Variants[len(r.Variants)-1].Figures.KL.Value)
	}
	if !(kl["peft"] > 0.3) || !(kl["given"] < 0.02) || !(kl["own"] < 0.02) || !(kl["descent"] < 0.02) || !(kl["directions"] < 0.02) {
		t.Errorf("KL from the separate adapter: %v", kl)
	}
}

// A plan evaluated in memory has the weights it writes.
func TestCalibratedPlanIsWritten(t *testing.T) {
	p := lightDemo(t, "base-nf4")
	plan, opt := calibratedPlan(p, "calibrated,tokens=256")
	plan = plan.SetOutput(AsBF16, "model.layers.1.mlp.up_proj").SetOutput(Keep, "model.layers.2.mlp.up_proj")
	opt.Calibrate.Texts = shortText(t, 512)
	opt.Out = filepath.Join(t.TempDir(), "out")
	if err := runJob(t, p, plan, opt); err != nil {
		t.Fatal(err)
	}
	written, err := loader.Source{}.Checkpoint(opt.Out)
	if err != nil {
		t.Fatal(err)
	}
	defer written.Close()
	e, err := NewEval(p, plan, EvalOptions{Texts: shortText(t, 128), Calibrate: opt.Calibrate})
	if err != nil {
		t.Fatal(err)
	}
	w, err := e.merged(t.Context(), NamedPlan{"x", plan})
	if err != nil {
		t.Fatal(err)
	}
	changed := 0
	for _, l := range p.Model.Weights {
		if sameRows(t, "calibrated", l, w.during(t.Context()), model.Checkpoint(written), p) {
			changed++
		}
	}
	if changed < 27 {
		t.Errorf("only %d weights changed", changed)
	}
}

// A merge that was cancelled is finished by the same plan, with the bytes of
// one that was not, its residual included.
func TestCalibratedResumes(t *testing.T) {
	p := lightDemo(t, "base-nf4")
	for _, method := range []string{"calibrated,tokens=512", "calibrated,tokens=256,residual=2"} {
		for _, saved := range []bool{false, true} {
			plan, opt := calibratedPlan(p, method)
			opt.Calibrate.Texts = shortText(t, 512)
			if saved {
				plan.Statistics = filepath.Join(t.TempDir(), "s.safetensors")
			}
			whole, broken := filepath.Join(t.TempDir(), "whole"), filepath.Join(t.TempDir(), "broken")
			opt.Out = whole
			if err := runUntil(t, p, plan, opt, 0); err != nil {
				t.Fatal(err)
			}
			opt.Out = broken
			if err := runUntil(t, p, plan, opt, 5); !errors.Is(err, context.Canceled) {
				t.Fatalf("%s: cancelled: %v", method, err)
			}
			if err := runUntil(t, p, plan, opt, 0); err != nil {
				t.Fatal(err)
			}
			sameCodes(t, modelAt(t, whole), modelAt(t, broken))
			if !strings.Contains(method, "residual") {
				continue
			}
			var residual [2][]byte
			for i, dir := range [...]string{whole, broken} {
				var err error
				if residual[i], err = os.ReadFile(filepath.Join(dir, "adapter", "adapter_model.safetensors")); err != nil {
					t.Fatal(err)
				}
			}
			if !bytes.Equal(residual[0], residual[1]) {
				t.Errorf("saved %t: the residual differs after a resumed merge", saved)
			}
		}
	}
}

// runUntil runs a plan and cancels it once so many layers are done, 0 for never.
func runUntil(t *testing.T, p *Project, plan Plan, opt Options, layers int) error {
	t.Helper()
	job, err := NewJob(p, plan, opt)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var done atomic.Int64
	end := job.pool.end
	job.pool.end = func(ctx context.Context, w *work, layer int, f *flight) error {
		err := end(ctx, w, layer, f)
		if layers > 0 && done.Add(1) == int64(layers) {
			cancel()
		}
		return err
	}
	_, err = job.Run(ctx)
	return err
}

// sameCodes compares the stored values of all weights.
func sameCodes(t *testing.T, a, b *loader.Checkpoint) {
	t.Helper()
	for _, w := range a.Weights {
		x, err := w.Data.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		y, err := b.Weight(w.Param).Data.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(x, y) {
			t.Errorf("%s differs", w.Param)
		}
	}
}

// Where the model cannot be run, and where its activations are not finite, the
// bytes are PEFT's and an alert says why.
func TestCalibratedFallsBack(t *testing.T) {
	for _, adapter := range []string{"gocode-light", "broken"} {
		p := openDemo(t, "base-nf4", adapter)
		why := "logits are not finite"
		if adapter == "gocode-light" {
			p.Model.Config.Raw, why = []byte(`{"architectures": ["NewForCausalLM"]}`), "NewForCausalLM"
		}
		_, want := runPlan(t, p, p.NewPlan(), Options{})
		plan, opt := calibratedPlan(p, "calibrated,tokens=64")
		r, got := runPlan(t, p, plan, opt)
		for name, data := range want.tensors {
			if !bytes.Equal(data, got.tensors[name]) {
				t.Errorf("%s: %s differs from PEFT's", adapter, name)
			}
		}
		found := false
		for _, a := range r.Alerts {
			found = found || a.Code == CodeCalibration && a.Level == Warning && strings.Contains(a.Message, why)
		}
		if !found {
			t.Errorf("%s: no alert says why", adapter)
		}
		for _, l := range r.Layers {
			if l.Method != "" || !math.IsNaN(float64(l.KeptOnInputs)) {
				t.Errorf("%s: %s says method %q, kept on inputs %v", adapter, l.Name, l.Method, l.KeptOnInputs)
			}
		}
	}
}

// With so much damping that inputs hardly count, the base's scales clip what
// PEFT's new ones do not: its codes are better there and are kept.
func TestCalibratedKeepsTheBetter(t *testing.T) {
	p := openDemo(t, "base-nf4", "gocode")
	_, want := runPlan(t, p, p.NewPlan(), Options{})
	plan, opt := calibratedPlan(p, "calibrated,tokens=128,damping=100000")
	opt.Calibrate.Texts = shortText(t, 512)
	r, got := runPlan(t, p, plan, opt)
	kept := map[string]bool{}
	for _, a := range r.Alerts {
		if a.Code == CodeCalibration && strings.Contains(a.Message, "they are kept") {
			kept[a.Layer] = true
		}
	}
	if len(kept) == 0 {
		t.Fatal("no layer keeps PEFT's codes")
	}
	for _, l := range r.Layers {
		param := p.Model.Weight(l.Name).Param
		if kept[l.Name] && !bytes.Equal(want.tensors[param], got.tensors[param]) {
			t.Errorf("%s is not PEFT's", l.Name)
		}
		if kept[l.Name] != (l.Method == "") {
			t.Errorf("%s: method %q", l.Name, l.Method)
		}
	}
}

// Layers of another method, merged beside calibrated ones, have PEFT's bytes,
// and what their inputs see of the adapter is known as well.
func TestCalibratedBesidePeft(t *testing.T) {
	p := lightDemo(t, "base-nf4")
	const layer = "model.layers.0.self_attn.q_proj"
	_, want := runPlan(t, p, p.NewPlan(), Options{})
	plan, opt := calibratedPlan(p, "calibrated,tokens=128")
	plan = plan.SetMethod(Method{Kind: MethodPeft}, layer)
	opt.Calibrate.Texts = shortText(t, 512)
	r, got := runPlan(t, p, plan, opt)
	if param := p.Model.Weight(layer).Param; !bytes.Equal(want.tensors[param], got.tensors[param]) {
		t.Error("the layer is not PEFT's")
	}
	for _, l := range r.Layers {
		if seen := float64(l.KeptOnInputs); l.Name == layer && !(seen < 0.7) || l.Name != layer && !(seen > 0.3) {
			t.Errorf("%s: %v kept on inputs", l.Name, seen)
		}
	}
}

// Layers that share an input may have different optimizers, each as if it had
// none beside it.
func TestOptimizersBesideEachOther(t *testing.T) {
	p := lightDemo(t, "base-nf4")
	plan, opt := calibratedPlan(p, "calibrated,tokens=256")
	opt.Calibrate.Texts = shortText(t, 512)
	r, _ := runPlan(t, p, plan, opt)
	set := func(optimizer, layer string) {
		m, err := ParseMethod("calibrated,tokens=256,optimizer=" + optimizer)
		if err != nil {
			t.Fatal(err)
		}
		plan = plan.SetMethod(m, layer)
	}
	set(OptimizerDirections, "model.layers.1.self_attn.k_proj")
	set(OptimizerDescent, "model.layers.1.self_attn.v_proj")
	mixed, _ := runPlan(t, p, plan, opt)
	for i, l := range mixed.Layers {
		if !strings.HasPrefix(l.Name, "model.layers.1.self_attn.") || strings.HasSuffix(l.Name, "o_proj") {
			continue
		}
		was, now := float64(r.Layers[i].KeptOnInputs), float64(l.KeptOnInputs)
		if same := was == now; same != strings.HasSuffix(l.Name, "q_proj") {
			t.Errorf("%s: kept on inputs %v, %v with other optimizers beside it", l.Name, was, now)
		}
		if !(now > 0.8 && now < 1.2) {
			t.Errorf("%s: kept on inputs %v", l.Name, now)
		}
	}
}

// Moved scales are written as they are stored, and nothing else of a quant state is:
// plain absmax, and the codes of nested ones under the base's statistics. What is
// read back is what the merge had.
func TestMovedScalesAreWritten(t *testing.T) {
	p := lightDemo(t, "base-nf4")
	original, plain := filepath.Join(t.TempDir(), "original"), filepath.Join(t.TempDir(), "plain")
	if err := runJob(t, p, p.NewPlan().SetOutputAll(AsBF16), Options{Out: original}); err != nil {
		t.Fatal(err)
	}
	if err := p.SetOriginal("original", modelAt(t, original)); err != nil {
		t.Fatal(err)
	}
	onto := p.NewPlan()
	onto.Onto, onto.Quantize = "original", "nf4"
	if err := runJob(t, p, onto, Options{Out: plain}); err != nil {
		t.Fatal(err)
	}
	for _, base := range []*loader.Checkpoint{lightDemo(t, "base-nf4").Model, modelAt(t, plain)} {
		q := NewProject(base, p.Adapters...)
		plan, opt := calibratedPlan(q, "calibrated,tokens=256,scales=move")
		opt.Calibrate.Texts, opt.Out = shortText(t, 512), filepath.Join(t.TempDir(), "out")
		if err := runJob(t, q, plan, opt); err != nil {
			t.Fatal(err)
		}
		written := modelAt(t, opt.Out)
		e, err := NewEval(q, plan, EvalOptions{Texts: shortText(t, 128), Calibrate: opt.Calibrate})
		if err != nil {
			t.Fatal(err)
		}
		w, err := e.merged(t.Context(), NamedPlan{"x", plan})
		if err != nil {
			t.Fatal(err)
		}
		moved := 0
		for _, l := range q.Model.Weights {
			sameRows(t, "moved", l, w.during(t.Context()), model.Checkpoint(written), q)
			s := l.State
			if s == nil {
				continue
			}
			m := written.Weight(l.Param).State
			same := func(a, b *loader.Tensor) bool {
				x, err := a.Bytes()
				if err != nil {
					t.Fatal(err)
				}
				y, err := b.Bytes()
				if err != nil {
					t.Fatal(err)
				}
				return bytes.Equal(x, y)
			}
			if !same(s.JSON, m.JSON) || s.Nested && (!same(s.NestedAbsmax, m.NestedAbsmax) || !same(s.NestedMap, m.NestedMap)) {
				t.Errorf("%s: more than codes and absmax changes", l.Name)
			}
			if !same(s.Absmax, m.Absmax) {
				moved++
			}
		}
		if moved < 27 {
			t.Errorf("scales of only %d layers move", moved)
		}
	}
}
