package merge

import (
	"math"
	"os"
	"testing"

	"mergescope/loader"
	"mergescope/quant"
)

// demoSandbox is a layer of the demo with an adapter, and the project it is of.
func demoSandbox(t *testing.T, model, adapter, layer string) (*Sandbox, *Project, Plan) {
	t.Helper()
	src := loader.Source{Demo: os.DirFS("../testdata/demo")}
	m, err := src.Checkpoint(model)
	if err != nil {
		t.Fatal(err)
	}
	ad, err := src.Adapter("demo:" + adapter)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = ad.Close()
		_ = m.Close()
	})
	p := NewProject(m, ad)
	s, err := p.Sandbox(t.Context(), p.NewPlan(), layer, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s, p, p.NewPlan()
}

// As it is stored, the sandbox says what a merge would say.
func TestSandboxIsTheMerge(t *testing.T) {
	for _, model := range []string{"demo", "demo:int8"} {
		for _, layer := range []string{"model.layers.0.self_attn.q_proj", "model.layers.2.mlp.down_proj"} {
			s, p, plan := demoSandbox(t, model, "gocode-mid", layer)
			ex, err := p.Examine(t.Context(), plan, layer, 0, 0, 1, 1)
			if err != nil {
				t.Fatal(err)
			}
			got, want := s.Try(s.Stored()).Metrics, MetricsOf(ex.Sums)
			for _, f := range [][2]Figure{{got.Kept, want.Kept}, {got.CodesChanged, want.CodesChanged}, {got.ErrorRMS, want.ErrorRMS}, {got.AbsmaxGrowth, want.AbsmaxGrowth}} {
				if math.Abs(float64(f[0]-f[1])) > 1e-12 {
					t.Errorf("%s %s: %v, a merge gives %v", model, layer, f[0], f[1])
				}
			}
		}
	}
}

// What the light adapter loses depends on scale, format and rank as it must.
func TestSandboxSettings(t *testing.T) {
	s, _, _ := demoSandbox(t, "demo", "gocode-light", "model.layers.1.self_attn.q_proj")
	kept := func(change func(*Setting)) float64 {
		set := s.Stored()
		change(&set)
		return float64(s.Try(set).Kept)
	}
	stored := kept(func(*Setting) {})
	if v := kept(func(x *Setting) { x.Factor = 10 }); v < 0.8 || stored > 0.1 {
		t.Errorf("kept %.3f, ten times the scale %.3f", stored, v)
	}
	if v := kept(func(x *Setting) { x.Format = quant.Int8 }); v < 0.9 {
		t.Errorf("int8 keeps %.3f", v)
	}
	if v := kept(func(x *Setting) { x.Blocksize = 256 }); v > stored {
		t.Errorf("larger blocks keep more: %.4f, %.4f", v, stored)
	}
	set := s.Stored()
	all := s.Try(set)
	set.Rank = 1
	if one := s.Try(set); !(one.DeltaRMS < all.DeltaRMS && one.DeltaRMS > 0) {
		t.Errorf("delta of rank 1 %v, of all ranks %v", one.DeltaRMS, all.DeltaRMS)
	}
	set = s.Stored()
	set.Factor = 0
	if none := s.Try(set); none.CodesChanged != 0 || len(none.Reach) != 0 {
		t.Errorf("without a delta %v of the codes change", none.CodesChanged)
	}
	// A weight crosses where its delta is more than half a step, but for the
	// few whose boundary the new scale moves.
	over := 0.0
	for _, r := range all.Reach {
		if r > 1 {
			over++
		}
	}
	if share := over / float64(s.Rows*s.Cols); math.Abs(share-float64(all.CodesChanged)) > 0.005 {
		t.Errorf("%.4f of the deltas reach another code, %.4f of the codes change", share, all.CodesChanged)
	}
}

// The outputs of all unit vectors together are the weights themselves.
func TestSandboxOnInputs(t *testing.T) {
	s, _, _ := demoSandbox(t, "demo", "gocode-mid", "model.layers.0.self_attn.k_proj")
	trial := s.Try(s.Stored())
	x := make([]float32, s.Cols*s.Cols)
	for i := range s.Cols {
		x[i*s.Cols+i] = 1
	}
	kept, off := trial.OnInputs(x)
	if math.Abs(kept-float64(trial.Kept)) > 1e-6 || math.Abs(-20*math.Log10(off)-float64(trial.SNR)) > 1e-4 {
		t.Errorf("kept %v and error %v on unit inputs, of the weights %v and %v dB", kept, off, trial.Kept, trial.SNR)
	}
}

func TestSandboxRefusals(t *testing.T) {
	_, p, plan := demoSandbox(t, "demo", "gocode-light", "model.layers.0.self_attn.q_proj")
	for layer, origin := range map[string][]float32{
		"model.embed_tokens":              nil,
		"no.such.layer":                   nil,
		"model.layers.0.self_attn.q_proj": make([]float32, 3),
	} {
		if _, err := p.Sandbox(t.Context(), plan, layer, origin); err == nil {
			t.Errorf("no error for %s with %d weights", layer, len(origin))
		}
	}
}
