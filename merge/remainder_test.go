package merge

import (
	"bytes"
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"gonum.org/v1/gonum/mat"

	"mergescope/loader"
)

// The product is as near as the best of its rank, which the singular values give.
func TestTruncate(t *testing.T) {
	const rows, cols, rank = 40, 30, 5
	draws := rand.New(rand.NewPCG(1, 2))
	z := mat.NewDense(rows, cols, nil)
	for i := range rows {
		for j := range cols {
			z.Set(i, j, draws.NormFloat64()/float64(1+j))
		}
	}
	var svd mat.SVD
	if !svd.Factorize(z, mat.SVDNone) {
		t.Fatal("no decomposition")
	}
	var best, all float64
	for i, s := range svd.Values(nil) {
		if all += s * s; i >= rank {
			best += s * s
		}
	}
	left, right, carried, err := truncate(z, rank)
	if err != nil {
		t.Fatal(err)
	}
	var rest, unit mat.Dense
	rest.Mul(left, right.T())
	rest.Sub(z, &rest)
	if got := math.Pow(mat.Norm(&rest, 2), 2); got > best*1.001 || math.Abs(all-carried-got) > 1e-9*all {
		t.Errorf("leaves %v of %v and says %v, the best leaves %v", got, all, all-carried, best)
	}
	unit.Mul(right.T(), right)
	for i := range rank {
		for j := range rank {
			want := 0.0
			if i == j {
				want = 1
			}
			if math.Abs(unit.At(i, j)-want) > 1e-12 {
				t.Errorf("right^T right is %v at %d, %d", unit.At(i, j), i, j)
			}
		}
	}
}

// With its residual beside it a calibrated model is nearer the separate adapter,
// also on a text it was not observed over; and as it was evaluated before it was
// written it is read back.
func TestResidualServesTheModel(t *testing.T) {
	p := lightDemo(t, "base-nf4")
	text := shortText(t, 8192)
	text[0].Pieces[0] = text[0].Pieces[0][7168:]
	without, opt := calibratedPlan(p, "calibrated,tokens=512")
	with, _ := calibratedPlan(p, "calibrated,tokens=512,residual=8")
	opt.Calibrate.Texts = shortText(t, 2048)
	opt.Out = filepath.Join(t.TempDir(), "out")
	job, err := NewJob(p, with, opt)
	if err != nil {
		t.Fatal(err)
	}
	r, err := job.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var size int64
	for _, l := range r.Layers {
		x := l.Residual
		if x == nil || x.Rank != 8 || !(x.Carried > 0.05 && x.Carried < 1) || x.Bytes != 2*8*(l.Shape[0]+l.Shape[1]) {
			t.Errorf("%s: residual %+v", l.Name, x)
		} else {
			size += x.Bytes
		}
	}
	written := modelAt(t, opt.Out)
	e := evaluate(t, p, p.NewPlan(), EvalOptions{
		Texts: text, Window: 512, Calibrate: opt.Calibrate, Merged: []*loader.Checkpoint{written},
		Plans: []NamedPlan{{"without", without}, {"with", with}},
	})
	kl := map[string]float64{}
	for _, v := range e.Variants {
		kl[v.Name] = float64(v.Figures.KL.Value)
	}
	if !(kl["with"] < 0.9*kl["without"]) || kl["with"] != kl[VariantMerged] {
		t.Errorf("KL from the separate adapter: %v", kl)
	}

	a, err := loader.Source{}.Adapter(filepath.Join(opt.Out, "adapter"))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if info, err := os.Stat(filepath.Join(opt.Out, "adapter", "adapter_model.safetensors")); err != nil || info.Size() < size || info.Size() > size+16384 {
		t.Errorf("%v, %v; want little more than %d bytes", info, err, size)
	}
	var config struct {
		R       int      `json:"r"`
		Alpha   int      `json:"lora_alpha"`
		Targets []string `json:"target_modules"`
	}
	if err := json.Unmarshal(a.Config.JSON, &config); err != nil {
		t.Fatal(err)
	}
	if len(a.Modules) != len(r.Layers) || len(config.Targets) != len(r.Layers) || config.R != 8 || config.Alpha != 8 {
		t.Errorf("%d modules, config %+v", len(a.Modules), config)
	}
}

// Layers kept separate have their own adapter, and the residual one beside it.
func TestResidualBesideSeparate(t *testing.T) {
	p := lightDemo(t, "base-nf4")
	plan, opt := calibratedPlan(p, "calibrated,tokens=128,residual=2")
	plan = plan.SetOutput(Separate, "model.layers.0.mlp.up_proj")
	opt.Calibrate.Texts = shortText(t, 512)
	opt.Out = filepath.Join(t.TempDir(), "out")
	if err := runJob(t, p, plan, opt); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]int{"adapter": 1, "adapter-residual": 27} {
		a, err := loader.Source{}.Adapter(filepath.Join(opt.Out, dir))
		if err != nil {
			t.Fatal(err)
		}
		if len(a.Modules) != want {
			t.Errorf("%s has %d modules, want %d", dir, len(a.Modules), want)
		}
		a.Close()
	}
	lora, err := openRemainders(modelAt(t, opt.Out))
	if err != nil || len(lora) != 27 {
		t.Errorf("%d modules, %v", len(lora), err)
	}
}

// The residual does not depend on the number of workers.
func TestResidualBytes(t *testing.T) {
	p := lightDemo(t, "base-nf4")
	plan, opt := calibratedPlan(p, "calibrated,tokens=128,residual=2")
	opt.Calibrate.Texts = shortText(t, 512)
	var jobs [2]*Job
	for i, workers := range [...]int{1, 5} {
		opt.Workers = workers
		job, err := NewJob(p, plan, opt)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := job.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		jobs[i] = job
	}
	some := false
	for i := range jobs[0].layers {
		one, many := jobs[0].layers[i].remainder, jobs[1].layers[i].remainder
		if one == nil {
			continue
		}
		some = some || slices.ContainsFunc(one.b, func(v byte) bool { return v != 0 })
		if !bytes.Equal(one.a, many.a) || !bytes.Equal(one.b, many.b) {
			t.Errorf("%s depends on the number of workers", jobs[0].layers[i].Weight.Name)
		}
	}
	if !some {
		t.Error("no residual")
	}
}
