package merge

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// noLeaks asks that no goroutine is left over. regexp2, with which adapters match
// their patterns, keeps a clock running for as long as a timeout lasts.
func noLeaks(t *testing.T) {
	t.Helper()
	goleak.VerifyNone(t, goleak.IgnoreAnyFunction("github.com/dlclark/regexp2.runClock"))
}

// openDemo opens a base of the demo with one of its adapters.
func openDemo(t *testing.T, base, adapter string) *Project {
	t.Helper()
	return openProject(t, filepath.Join(demoDir, base), [2]string{adapter, filepath.Join(demoDir, "adapter-"+adapter)})
}

// TestDemoFigures compares with what make.py measured on the files PEFT wrote.
// Its kept takes the base as inference multiplies with it. An ulp of the mean of
// the nested scales, which torch sums in another order, decides the code of one
// scale of layers.3.mlp.gate_proj; hence the tolerance of the NF4 figures.
func TestDemoFigures(t *testing.T) {
	type figures struct {
		Kept  float64
		SNR   float64 `json:"snr_db"`
		Flips float64
		Ratio float64 `json:"delta_ratio"`
	}
	var expected struct {
		Adapters map[string]map[string]json.RawMessage
	}
	readJSON(t, filepath.Join(demoDir, "expected.json"), &expected)
	for _, adapter := range []string{"gocode", "gocode-mid", "gocode-light"} {
		for _, base := range []string{"base-nf4", "base-int8"} {
			t.Run(adapter+" into "+base, func(t *testing.T) {
				want, total := map[string]figures{}, map[string]figures{}
				measured := expected.Adapters["adapter-"+adapter]
				if err := json.Unmarshal(measured["layers: PEFT merge into "+base], &want); err != nil {
					t.Fatal(err)
				}
				if err := json.Unmarshal(measured["total"], &total); err != nil {
					t.Fatal(err)
				}
				p := openDemo(t, base, adapter)
				r, _ := runPlan(t, p, p.NewPlan(), Options{Reference: AsInferred})
				if len(want) != 28 || len(r.Layers) != len(want) {
					t.Fatalf("%d layers, want %d", len(r.Layers), len(want))
				}
				tolerance := 6e-6
				if base == "base-nf4" {
					tolerance = 1.5e-5
				}
				for _, l := range r.Layers {
					w := want[l.Name]
					within(t, l.Name+" kept", float64(l.Kept), w.Kept, tolerance)
					within(t, l.Name+" snr_db", float64(l.SNR), w.SNR, 6e-4)
					within(t, l.Name+" codes_changed", float64(l.CodesChanged), w.Flips, 6e-7)
					within(t, l.Name+" delta_ratio", float64(l.DeltaRatio), w.Ratio, 6e-7)
				}
				w := total["PEFT merge into "+base]
				within(t, "total kept", float64(r.Totals.Kept), w.Kept, 6e-6)
				within(t, "total codes_changed", float64(r.Totals.CodesChanged), w.Flips, 6e-7)
			})
		}
	}
}

func within(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tolerance) {
		t.Errorf("%s is %.9g, want %.9g", what, got, want)
	}
}

// outcomeOf runs a plan with a number of workers and a size of panels and
// returns everything it leaves.
func outcomeOf(t *testing.T, p *Project, plan Plan, opt Options, panel int) (report string, tensors map[string][]byte, tiles []*Tile) {
	t.Helper()
	opt.Tiles = true
	j, err := NewJob(p, plan, opt)
	if err != nil {
		t.Fatal(err)
	}
	m := newMemorySink()
	j.out = m
	if panel > 0 {
		j.panel = panel
	}
	r, err := j.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r.Seconds = 0
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	for i := range j.layers {
		tiles = append(tiles, j.Tile(i))
	}
	return string(text), m.tensors, tiles
}

func sameTile(a, b *Tile) bool {
	if a == nil || b == nil {
		return a == b
	}
	for m := range a.values {
		for g := range a.values[m] {
			if !slices.EqualFunc(a.values[m][g], b.values[m][g], func(x, y float32) bool {
				return math.Float32bits(x) == math.Float32bits(y)
			}) {
				return false
			}
		}
	}
	return bytes.Equal(a.state, b.state)
}

// TestSameBits asks for the same bytes, figures and alerts whatever the number
// of workers and the size of panels; tiles must not depend on workers.
func TestSameBits(t *testing.T) {
	defer noLeaks(t)
	for _, name := range []string{"nf4-all-layers", "sequence-nf4-dq", "int8-gauss", "ragged", "gpt2-f32", "nan-b-unsafe"} {
		t.Run(name, func(t *testing.T) {
			p, _ := golden(t, name)
			plan := p.NewPlan()
			if name == "nf4-all-layers" {
				plan = plan.SetOutput(AsBF16, "model.layers.0.self_attn.q_proj")
			}
			report, tensors, tiles := outcomeOf(t, p, plan, Options{Workers: 1}, 0)
			if len(tensors) == 0 {
				t.Fatal("nothing was written")
			}
			for _, c := range []struct{ workers, panel int }{{2, 0}, {3, 0}, {7, 0}, {1, 1}, {7, 1}, {3, 700}, {2, 5000}} {
				r, x, h := outcomeOf(t, p, plan, Options{Workers: c.workers}, c.panel)
				if r != report {
					t.Errorf("%d workers, panels of %d: report is\n%s\nwant\n%s", c.workers, c.panel, r, report)
				}
				for tensor := range tensors {
					if !bytes.Equal(x[tensor], tensors[tensor]) {
						t.Errorf("%d workers, panels of %d: %s differs", c.workers, c.panel, tensor)
					}
				}
				for i := range tiles {
					if c.panel == 0 && !sameTile(tiles[i], h[i]) {
						t.Errorf("%d workers: tile of layer %d differs", c.workers, i)
					}
				}
			}
		})
	}
}

// TestBroken looks for the values planted in demo/adapter-broken.
func TestBroken(t *testing.T) {
	const file = "../testdata/demo/adapter-broken/adapter_model.safetensors"
	p := openDemo(t, "base-nf4", "broken")
	r, m := runPlan(t, p, p.NewPlan(), Options{})
	want := map[string]Place{
		"model.layers.1.self_attn.v_proj": {file, "base_model.model.model.layers.1.self_attn.v_proj.lora_B.weight", 3, 2},
		"model.layers.2.self_attn.q_proj": {file, "base_model.model.model.layers.2.self_attn.q_proj.lora_A.weight", 1, 100},
	}
	nonfinite := map[string]NonFinite{
		"model.layers.1.self_attn.v_proj": {B: 1, Delta: 192, Sum: 192, Output: 12288},
		"model.layers.2.self_attn.q_proj": {A: 1, Delta: 192, Sum: 192, Output: 36864},
	}
	found := 0
	for _, a := range r.Alerts {
		if a.Code != CodeNonFinite {
			continue
		}
		found++
		at := want[a.Layer]
		at.File = filepath.Clean(at.File)
		got := a.Place
		got.File = filepath.Clean(got.File)
		if got != at || a.Level != Error {
			t.Errorf("%s: %s at %+v, want error at %+v", a.Layer, a.Level, got, at)
		}
	}
	if found != len(want) {
		t.Errorf("%d layers have non-finite values, want %d", found, len(want))
	}
	for _, l := range r.Layers {
		if bad := nonfinite[l.Name]; l.NonFinite != bad {
			t.Errorf("%s: counts %+v, want %+v", l.Name, l.NonFinite, bad)
		}
		written := m.tensors[l.Name+".weight"] != nil
		if _, stopped := want[l.Name]; stopped == written {
			t.Errorf("%s: written is %t", l.Name, written)
		}
		// 3e38 in lora_B: finite, but no code keeps what else is in its blocks.
		if l.Name == "model.layers.3.self_attn.q_proj" {
			if !(l.AbsmaxGrowth > 1e38) || len(l.Alerts) != 1 || l.Alerts[0].Code != CodeAbsmaxGrowth || l.Alerts[0].Level != Error {
				t.Errorf("%s: absmax grew by %g, alerts %+v", l.Name, float64(l.AbsmaxGrowth), l.Alerts)
			}
		}
	}
	if n := r.Totals.NonFinite; n != (NonFinite{A: 1, B: 1, Delta: 384, Sum: 384, Output: 12288 + 36864}) {
		t.Errorf("totals count %+v", n)
	}
}

// TestUnsafe has the same alerts, but everything is written.
func TestUnsafe(t *testing.T) {
	p := openDemo(t, "base-nf4", "broken")
	r, m := runPlan(t, p, p.NewPlan(), Options{Unsafe: true})
	n := 0
	for _, a := range r.Alerts {
		if a.Code == CodeNonFinite {
			n++
		}
	}
	if n != 2 {
		t.Errorf("%d non-finite alerts, want 2", n)
	}
	for _, l := range r.Layers {
		if m.tensors[l.Name+".weight"] == nil {
			t.Errorf("%s was not written", l.Name)
		}
	}
	state := string(m.tensors["model.layers.1.self_attn.v_proj.weight.quant_state.bitsandbytes__nf4"])
	if !strings.HasSuffix(state, `"nested_offset": NaN}`) {
		t.Errorf("state is %s", state)
	}
}

// TestOverflowAtStorage merges a delta that is finite in float32 and not in
// float16: PEFT's safe_merge lets it pass.
func TestOverflowAtStorage(t *testing.T) {
	p, _ := golden(t, "overflow-f16-int8-safe")
	r, _ := runPlan(t, p, p.NewPlan(), Options{})
	for _, l := range r.Layers {
		for _, a := range l.Alerts {
			if a.Code == CodeNonFinite {
				if l.NonFinite.Output == 0 || l.NonFinite.Sum != 0 || a.Place.Row < 0 {
					t.Errorf("%+v at %+v", l.NonFinite, a.Place)
				}
				return
			}
		}
	}
	t.Error("no alert")
}

// TestRounding counts the warnings PEFT gave.
func TestRounding(t *testing.T) {
	for _, g := range goldenCases(t) {
		if g.Error != nil || g.Action != "merge" || g.Name != "nf4-plain" && g.Name != "int8" && g.Name != "sequence-nf4" {
			continue
		}
		p := openGolden(t, g)
		r, _ := runPlan(t, p, p.NewPlan(), Options{})
		for _, text := range []string{peftRounding4, peftRounding8} {
			n := 0
			for _, a := range r.Alerts {
				if a.Message == text {
					n += a.Count
				}
			}
			if n != g.warned(text) {
				t.Errorf("%s: %q %d times, PEFT says so %d times", g.Name, text, n, g.warned(text))
			}
		}
	}
}

func TestPause(t *testing.T) {
	defer noLeaks(t)
	p := openDemo(t, "base-nf4", "gocode")
	j, err := NewJob(p, p.NewPlan(), Options{Workers: 2, Tiles: true})
	if err != nil {
		t.Fatal(err)
	}
	j.panel = 4096
	begun, paused := make(chan struct{}, j.workers), make(chan struct{})
	compute := j.pool.panel
	j.pool.panel = func(w *work, task task) error {
		select {
		case begun <- struct{}{}:
		default:
		}
		<-paused
		return compute(w, task)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := j.Run(t.Context())
		ended <- err
	}()
	<-begun
	j.Pause()
	if s := j.Snapshot(); s.State != Paused {
		t.Fatalf("state is %d", s.State)
	}
	close(paused)
	time.Sleep(50 * time.Millisecond) // for what should not happen
	s := j.Snapshot()
	if most := int64(2 * j.panel); s.WeightsDone > most {
		t.Errorf("%d weights done while paused, the panels two workers had at hand are %d", s.WeightsDone, most)
	}
	if s.ETA != 0 {
		t.Errorf("ETA is %v while paused", s.ETA)
	}
	j.SetWorkers(1)
	j.Resume()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	s = j.Snapshot()
	if s.State != Done || s.Workers != 1 || s.WeightsDone != s.WeightsTotal || j.bytes.Load() != s.BytesTotal || s.LayersDone != 28 {
		t.Errorf("ended with %+v", s)
	}
}

func TestCancel(t *testing.T) {
	defer noLeaks(t)
	p := openDemo(t, "base-nf4", "gocode")
	for _, paused := range []bool{false, true} {
		j, err := NewJob(p, p.NewPlan(), Options{Workers: 2})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		n := 0
		end := j.pool.end
		j.pool.limit = 1
		j.pool.end = func(ctx context.Context, w *work, layer int, f *flight) error {
			if n++; n == 3 {
				if paused {
					j.Pause()
				}
				cancel()
			}
			return end(ctx, w, layer, f)
		}
		r, err := j.Run(ctx)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error is %v", err)
		}
		if s := j.Snapshot(); s.State != Cancelled || s.LayersDone != len(r.Layers) || len(r.Layers) < 3 || len(r.Layers) == 28 {
			t.Errorf("state %d, %d layers done, %d in the report", s.State, s.LayersDone, len(r.Layers))
		}
		if _, err := j.Run(t.Context()); err == nil {
			t.Error("ran twice")
		}
	}
}

func TestWorkerPanic(t *testing.T) {
	defer noLeaks(t)
	p, _ := golden(t, "nf4-plain")
	j, err := NewJob(p, p.NewPlan(), Options{Workers: 3})
	if err != nil {
		t.Fatal(err)
	}
	compute := j.pool.panel
	j.pool.panel = func(w *work, task task) error {
		if j.layers[task.layer].Weight.Name == "model.layers.1.self_attn.q_proj" {
			var none []int
			_ = none[task.panel]
		}
		return compute(w, task)
	}
	_, err = j.Run(t.Context())
	var pe *PanicError
	if !errors.As(err, &pe) || !strings.Contains(err.Error(), "model.layers.1.self_attn.q_proj") || len(pe.Stack) == 0 {
		t.Errorf("error is %v", err)
	}
	s := j.Snapshot()
	if s.State != Failed || s.Err == nil {
		t.Errorf("state %d, error %v", s.State, s.Err)
	}
	for i, l := range s.Layers {
		if l.State == Active {
			t.Errorf("%s is still active", j.layers[i].Weight.Name)
		}
	}
}

// TestShrunkInput cuts the model's file behind the job's back.
func TestShrunkInput(t *testing.T) {
	dir := t.TempDir()
	base := filepath.Join(goldenDir, "bases", "llama-nf4")
	if err := os.CopyFS(dir, os.DirFS(base)); err != nil {
		t.Fatal(err)
	}
	p := openProject(t, dir, [2]string{"a", filepath.Join(goldenDir, "cases", "nf4-plain", "adapter")})
	file := filepath.Join(dir, "model.safetensors")
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(file, p.Model.Files[0].Header+100); err != nil {
		t.Fatal(err)
	}
	j, err := NewJob(p, p.NewPlan(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = j.Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), file) || !strings.Contains(err.Error(), "tensor model.layers.") {
		t.Errorf("error is %v", err)
	}
}

// TestWatching polls a running job, as a screen does.
func TestWatching(t *testing.T) {
	defer noLeaks(t)
	p := openDemo(t, "base-nf4", "broken")
	j, err := NewJob(p, p.NewPlan(), Options{Tiles: true})
	if err != nil {
		t.Fatal(err)
	}
	if s := j.Snapshot(); s.State != Idle || !s.Dry || s.LayersTotal != 8 || s.Rate != 0 {
		t.Errorf("before it runs: %+v", s)
	}
	j.panel = 2048
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if _, err := j.Run(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	var last Snapshot
	for running := true; running; {
		select {
		case <-ended:
			running = false
		default:
			runtime.Gosched()
		}
		s := j.Snapshot()
		if s.WeightsDone < last.WeightsDone || s.LayersDone < last.LayersDone || s.BytesDone < last.BytesDone || s.Elapsed < last.Elapsed {
			t.Errorf("went back from %+v to %+v", last, s)
		}
		for i, l := range s.Layers {
			if l.Fraction < 0 || l.Fraction > 1 || (l.State == Finished) != (l.Fraction == 1 && l.Result != nil && l.State != Stopped) {
				t.Errorf("layer %d: %+v", i, l)
			}
			if tile := j.Tile(i); tile != nil {
				tile.At(MetricKept, Worst, tile.Rows-1, tile.Cols-1)
			}
		}
		last = s
	}
	if last.State != Done || last.LayersDone != 8 || last.WeightsDone != last.WeightsTotal {
		t.Errorf("ended with %+v", last)
	}
}

func TestOnly(t *testing.T) {
	p, _ := golden(t, "nf4-plain")
	only := func(layer string) bool { return strings.HasSuffix(layer, "1.mlp.down_proj") }
	r, m := runPlan(t, p, p.NewPlan(), Options{Only: only})
	if len(r.Layers) != 1 || r.Layers[0].Name != "model.layers.1.mlp.down_proj" {
		t.Errorf("layers %v", r.Layers)
	}
	if len(m.tensors) != 3 { // codes, absmax, state
		t.Errorf("%d tensors", len(m.tensors))
	}
	if _, err := NewJob(p, p.NewPlan(), Options{Only: only, Out: t.TempDir()}); err == nil {
		t.Error("a part can be written")
	}
}

// TestSeparate leaves a layer's bytes alone and still lists it.
func TestSeparate(t *testing.T) {
	p, _ := golden(t, "nf4-plain")
	const layer = "model.layers.0.self_attn.q_proj"
	r, m := runPlan(t, p, p.NewPlan().SetOutput(Separate, layer), Options{})
	if m.tensors[layer+".weight"] != nil {
		t.Error("was written")
	}
	for _, l := range r.Layers {
		if l.Name == layer {
			if l.Output != Separate || !math.IsNaN(float64(l.Kept)) {
				t.Errorf("%+v", l)
			}
			return
		}
	}
	t.Error("not in the report")
}

// TestNoiseFloor compares with merges of adapters whose B is zero, whose largest
// error make.py knows.
func TestNoiseFloor(t *testing.T) {
	for _, c := range []struct{ zero, full string }{
		{"zero-b-nf4", "nf4-plain"}, {"zero-b-nf4-dq", "nf4-dq"}, {"zero-b-fp4", "fp4"}, {"zero-b-int8", "int8"},
	} {
		p, _ := golden(t, c.zero)
		r, _ := runPlan(t, p, p.NewPlan(), Options{Unsafe: true})
		want := map[string]float64{}
		figures := figuresOf(t, c.zero)
		for _, l := range r.Layers {
			if !near(l.ErrorMax, figures[l.Name].ErrorMax, 1e-6) {
				t.Errorf("%s: %s: largest error %g, want %s", c.zero, l.Name, float64(l.ErrorMax), show(figures[l.Name].ErrorMax))
			}
			want[l.Name] = float64(l.ErrorRMS / l.WeightRMS)
		}
		p, _ = golden(t, c.full)
		r, _ = runPlan(t, p, p.NewPlan(), Options{Unsafe: true, NoiseFloor: true})
		n := 0
		for _, l := range r.Layers {
			if w, ok := want[l.Name]; ok {
				n++
				if float64(l.NoiseFloor) != w {
					t.Errorf("%s: %s: noise floor %g, want %g", c.full, l.Name, float64(l.NoiseFloor), w)
				}
			}
		}
		if n == 0 {
			t.Errorf("%s and %s have no layer in common", c.zero, c.full)
		}
	}
}
