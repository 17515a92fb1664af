package merge

import (
	"errors"
	"math"
	"path/filepath"
	"testing"

	"mergescope/loader"
	"mergescope/model"
	"mergescope/quant"
)

// What a calibrated job computed is shown close up as it was: Examine and Explain
// give its figures, and those PEFT's codes have are those of PEFT's own merge.
func TestCalibratedIsKnown(t *testing.T) {
	for _, c := range []struct{ base, method string }{
		{"base-nf4", "calibrated,tokens=256"},
		{"base-nf4", "calibrated,tokens=256,scales=fresh"},
		{"base-nf4", "calibrated,tokens=256,scales=move"},
		{"base-int8", "calibrated,tokens=256"},
	} {
		t.Run(c.base+" "+c.method, func(t *testing.T) {
			p := lightDemo(t, c.base)
			plan, opt := calibratedPlan(p, c.method)
			plan = plan.SetOutput(AsBF16, "model.layers.1.mlp.up_proj")
			opt.Calibrate.Texts, opt.Tiles = shortText(t, 512), true
			const layer = "model.layers.1.mlp.down_proj"
			if _, err := p.Examine(t.Context(), plan, layer, 0, 0, 4, 4); !errors.Is(err, ErrNotRun) {
				t.Errorf("before the job: %v", err)
			}
			job, err := NewJob(p, plan, opt)
			if err != nil {
				t.Fatal(err)
			}
			report, err := job.Run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			nearest, err := NewJob(p, p.NewPlan(), Options{})
			if err != nil {
				t.Fatal(err)
			}
			peft, err := nearest.Run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if k, want := KeptOver(report.Layers, (*LayerReport).Result), report.Totals; !nearlySame(float64(k.Kept), float64(want.Kept)) || !nearlySame(float64(k.OnInputs), float64(want.KeptOnInputs)) {
				t.Errorf("over all layers %v, totals %v, %v", k, want.Kept, want.KeptOnInputs)
			}
			for i, l := range report.Layers {
				sameFigures(t, p, plan, job, l)
				if l.Method == "" || l.Output != Same {
					continue
				}
				switch {
				case l.Peft == nil || l.DeltaOnInputs == nil || !(*l.DeltaOnInputs > 0):
					t.Errorf("%s: peft %v, delta on inputs %v", l.Name, l.Peft, l.DeltaOnInputs)
				case l.Peft.Kept != peft.Layers[i].Kept:
					t.Errorf("%s: PEFT's codes keep %v here, %v in its own merge", l.Name, l.Peft.Kept, peft.Layers[i].Kept)
				case c.base == "base-nf4" && !(l.Peft.OnInputs < l.KeptOnInputs):
					t.Errorf("%s: PEFT's codes keep %v on inputs, those chosen %v", l.Name, l.Peft.OnInputs, l.KeptOnInputs)
				}
			}
		})
	}
}

// sameFigures compares what Examine and Explain say of a layer with the job's.
func sameFigures(t *testing.T, p *Project, plan Plan, job *Job, l *LayerReport) {
	t.Helper()
	rows, cols := int(l.Shape[0]), int(l.Shape[1])
	e, err := p.Examine(t.Context(), plan, l.Name, 0, 0, rows, cols)
	if err != nil {
		t.Fatal(err)
	}
	if m := MetricsOf(e.Sums); m.Kept != l.Kept || m.CodesChanged != l.CodesChanged || m.ErrorMax != l.ErrorMax {
		t.Errorf("%s: examined kept %v, codes %v, the job's %v, %v", l.Name, m.Kept, m.CodesChanged, l.Kept, l.CodesChanged)
	}
	if w := l.WorstBlock; w != nil {
		tr, err := p.Explain(t.Context(), plan, l.Name, w.Row, w.Col)
		if err != nil {
			t.Fatal(err)
		}
		if kept := float64(tr.Sum.RD) / float64(tr.Sum.DD); kept != float64(w.Kept) {
			t.Errorf("%s: worst block keeps %v, explained %v", l.Name, w.Kept, kept)
		}
		if tr.Choice == quant.ForInputs != (l.Method != "" && l.Output == Same) {
			t.Errorf("%s: method %q, output %s, choice %d", l.Name, l.Method, l.Output, tr.Choice)
		}
	}
	whole, err := p.Examine(t.Context(), plan, l.Name, 0, 0, 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	v, _ := whole.Tile.At(MetricOnInputs, Mean, 0, 0)
	if want := float64(l.KeptOnInputs); math.Abs(v-want) > 1e-6*math.Abs(want) {
		t.Errorf("%s: the whole map has kept on inputs %v, the report %v", l.Name, v, want)
	}
	worst, _ := whole.Tile.At(MetricOnInputs, Worst, 0, 0)
	if !(worst < v) {
		t.Errorf("%s: the worst row keeps %v on inputs, all of them %v", l.Name, worst, v)
	}
	for i := range job.layers {
		if job.layers[i].Weight.Name != l.Name {
			continue
		}
		tile, low := job.Tile(i), math.Inf(1)
		for cell := range tile.Rows {
			if v, state := tile.At(MetricOnInputs, Worst, cell, 0); state == CellValue {
				low = min(low, v)
			}
		}
		if low != worst {
			t.Errorf("%s: the job's map has a worst row of %v, examined %v", l.Name, low, worst)
		}
	}
}

// A delta that is no product is seen by its whole matrix, with the same result.
func TestSightOfAnyDelta(t *testing.T) {
	p := lightDemo(t, "base-nf4")
	l, err := p.layer(p.NewPlan(), "model.layers.1.mlp.down_proj")
	if err != nil {
		t.Fatal(err)
	}
	n := l.Weight.Cols()
	h := make([]float32, n*n) // of inputs that are correlated
	for i := range n {
		for j := range n {
			h[i*n+j] = float32(math.Exp(-math.Abs(float64(i-j)) / 5))
		}
	}
	var memory quant.Memory
	moments := quant.NewMoments(&memory, n, model.Product, model.PairProduct)
	for i := range n {
		moments.SetUpper(i, h[i*n+i:(i+1)*n])
	}
	with := *l
	if with.inputs, err = newLayerInputs(l, mergeOptions{}, moments, alongMoments(moments)); err != nil {
		t.Fatal(err)
	}
	s, err := openSubject(&with, mergeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	sums := func(x *sight) onInputs {
		s := *s
		s.sight = x
		f := newFlight(&s, nil, 1000, nil)
		f.pending, f.settled = nil, nil
		var w work
		if err := f.alone(t.Context(), &w); err != nil {
			t.Fatal(err)
		}
		if len(f.result.seen) != s.rows {
			t.Fatalf("sums of %d rows, want %d", len(f.result.seen), s.rows)
		}
		return sumOf(f.result.seen)
	}
	small, whole := sums(s.sight), sums(&sight{moments: s.sight.moments})
	if s.sight.terms == nil || !nearlySame(small.RD, whole.RD) || !nearlySame(small.DD, whole.DD) {
		t.Errorf("by factors %v, by the matrix %v", small, whole)
	}
	kept := float64(ratio(whole.RD, whole.DD))
	if !(kept > 0 && kept < 1) {
		t.Errorf("kept on inputs %v", kept)
	}
}

func nearlySame(a, b float64) bool { return math.Abs(a-b) <= 1e-4*math.Abs(b) }

// What a merge wrote is taken up by another project, layers in which PEFT's codes
// stayed included; what the plan does not write there is refused.
func TestRecall(t *testing.T) {
	p := lightDemo(t, "base-nf4")
	for _, method := range []string{"calibrated,tokens=256", "calibrated,tokens=256,scales=fresh", "calibrated,tokens=256,scales=move", "peft"} {
		plan, opt := calibratedPlan(p, method)
		opt.Calibrate.Texts, opt.Out = shortText(t, 512), filepath.Join(t.TempDir(), "out")
		job, err := NewJob(p, plan, opt)
		if err != nil {
			t.Fatal(err)
		}
		report, err := job.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		merged, err := loader.Source{}.Checkpoint(opt.Out)
		if err != nil {
			t.Fatal(err)
		}
		defer merged.Close()
		written, err := WrittenReport(merged)
		if err != nil || len(written.Layers) != len(report.Layers) {
			t.Fatalf("%s: %v", method, err)
		}
		// PEFT's merge stands for layers in which its codes are better.
		asked := plan
		if method == "peft" {
			asked.Method = "calibrated,tokens=256"
		}
		other := NewProject(p.Model, p.Adapters...)
		for _, l := range report.Layers[:9] {
			if err := other.Recall(asked, l.Name, merged); err != nil {
				t.Fatal(err)
			}
			e, err := other.Examine(t.Context(), asked, l.Name, 0, 0, 4, 4)
			if err != nil {
				t.Fatal(err)
			}
			if m := MetricsOf(e.Sums); m.Kept != written.Layer(l.Name).Kept || m.CodesChanged != l.CodesChanged {
				t.Errorf("%s: %s keeps %v, recalled %v", method, l.Name, l.Kept, m.Kept)
			}
		}
	}
	plan, _ := calibratedPlan(p, "calibrated")
	if err := p.Recall(plan, "model.layers.0.mlp.up_proj", lightDemo(t, "base-int8").Model); err == nil {
		t.Error("int8 codes are taken up for a plan that writes nf4")
	}
}
