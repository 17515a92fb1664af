package merge

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"testing"

	"mergescope/loader"
	"mergescope/quant"
)

// checkBench asks for every figure of a report, and that it can be one.
func checkBench(t *testing.T, r *BenchReport, cases int) {
	t.Helper()
	if len(r.Peaks) == 0 || len(r.Runs) != cases*len(r.Peaks) {
		t.Fatalf("%d runs and %d peaks of %d cases", len(r.Runs), len(r.Peaks), cases)
	}
	positive := func(what string, v float64) {
		t.Helper()
		if !(v > 0) || math.IsInf(v, 0) {
			t.Errorf("%s is %v", what, v)
		}
	}
	for _, p := range r.Peaks {
		positive("copy", p.Copy)
		positive("fma", p.FMA)
	}
	for _, run := range r.Runs {
		name := run.Name + " " + run.Format + " "
		positive(name+"weights", float64(run.Weights))
		positive(name+"rounds", float64(run.Rounds))
		positive(name+"seconds", run.Seconds)
		positive(name+"weights/s", run.WeightsPS)
		positive(name+"bytes/s", run.BytesPS)
		positive(name+"share", float64(run.Share))
		if len(run.Stages) != int(stageCount) {
			t.Fatalf("%s has %d stages", name, len(run.Stages))
		}
		var sum float64
		for _, s := range run.Stages {
			positive(name+s.Stage, s.Seconds)
			positive(name+s.Stage+" weights/s", s.WeightsPS)
			if moves := s.Stage == "read" || s.Stage == "write"; moves != (s.Bytes > 0) {
				t.Errorf("%s%s moves %d bytes", name, s.Stage, s.Bytes)
			}
			if (s.Stage == "collect") != math.IsNaN(float64(s.Share)) {
				t.Errorf("%s%s: share %v", name, s.Stage, s.Share)
			}
			sum += s.Seconds
		}
		// A worker is in one stage at a time.
		if sum > run.Seconds*float64(run.Workers) {
			t.Errorf("%sspent %v s in stages and %v s by the clock of %d workers", name, sum, run.Seconds, run.Workers)
		}
	}
}

func TestBenchSynthetic(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	r, err := runBench(t.Context(), syntheticCases(256, 4))
	if err != nil {
		t.Fatal(err)
	}
	checkBench(t, r, 4)
	for _, run := range r.Runs {
		read, write := run.Stages[stageRead].Bytes, run.Stages[stageWrite].Bytes
		// 256 x 256 weights with 1024 blocks or 256 rows; nested scales are written
		// with the whole weight.
		want := map[string][2]int64{
			"nf4": {32768, 32768 + 4*1024}, "nf4-dq": {32768, 32768}, "int8": {65536, 65536 + 4*256}, "bf16": {131072, 131072},
		}[run.Format]
		if read != want[0] || write != want[1] {
			t.Errorf("%s reads %d and writes %d bytes, want %v", run.Format, read, write, want)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(os.Getenv("TMPDIR"), "*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var back struct {
		Runs []struct {
			Stages []map[string]any `json:"stages"`
		} `json:"runs"`
	}
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"stage", "seconds", "weights_per_second", "bytes", "bytes_per_second", "share_of_roofline"} {
		if _, ok := back.Runs[0].Stages[0][key]; !ok {
			t.Errorf("a stage has no %s in JSON", key)
		}
	}
}

// The synthetic layers are merged, not skipped for some defect of theirs.
func TestBenchSyntheticKept(t *testing.T) {
	for _, c := range syntheticCases(256, 4) {
		s, err := c.open(0)
		if err != nil {
			t.Fatal(err)
		}
		f := newFlight(s, nil, panelWeights, nil)
		for ; f.pass < s.passes(); f.pass++ {
			for panel := range f.panels {
				if err := f.compute(new(work), f.pass, panel); err != nil {
					t.Fatal(err)
				}
			}
			if err := f.endPass(); err != nil {
				t.Fatal(err)
			}
		}
		sums := f.result.sums
		if sums.N != 256*256 || sums.Codes == 0 || sums.DD == 0 || !(sums.WW > 0) || math.IsInf(sums.WW, 0) {
			t.Errorf("%s: %+v", c.format, sums)
		}
	}
}

func TestBenchModel(t *testing.T) {
	model, err := loader.Source{}.Checkpoint(filepath.Join(demoDir, "base-nf4"))
	if err != nil {
		t.Fatal(err)
	}
	defer model.Close()
	adapter, err := loader.Source{}.Adapter(filepath.Join(demoDir, "adapter-gocode"))
	if err != nil {
		t.Fatal(err)
	}
	defer adapter.Close()
	p := NewProject(model, adapter)
	r, err := Bench(t.Context(), p, p.NewPlan())
	if err != nil {
		t.Fatal(err)
	}
	checkBench(t, r, 1)
	if r.Runs[0].Layers != 28 || r.Kernels != quant.Kernels().String() {
		t.Errorf("%d layers with %s kernels", r.Runs[0].Layers, r.Kernels)
	}
	if _, err := Bench(t.Context(), p, NewPlan("demo")); err == nil {
		t.Error("a plan without adapters has something to measure")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Bench(ctx, p, p.NewPlan()); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
