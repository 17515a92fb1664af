package merge

import (
	"bytes"
	"fmt"
	"math"
	"testing"
)

// lightDemo is a base of the demo with its light adapter, whose delta is far
// below half a step of NF4.
func lightDemo(t *testing.T, base string) *Project {
	t.Helper()
	return openProject(t, demoDir+"/"+base, [2]string{"light", demoDir + "/adapter-gocode-light"})
}

func runMethod(t *testing.T, p *Project, method string, workers int) (*Report, map[string][]byte) {
	t.Helper()
	plan := p.NewPlan()
	plan.Method = method
	r, m := runPlan(t, p, plan, Options{Workers: workers})
	return r, m.tensors
}

// The demo's light adapter is erased by rounding to the nearest code (kept 0.07
// in expected.json); dithering keeps all of it but for the extremes of blocks,
// which cannot grow on the base's scales.
func TestDitheredKeepsTheLightAdapter(t *testing.T) {
	for _, c := range []struct {
		method string
		least  float64
	}{{"dithered", 0.97}, {"dithered,scales=fresh", 0.99}, {"dithered,seed=7", 0.97}} {
		r, _ := runMethod(t, lightDemo(t, "base-nf4"), c.method, 0)
		if kept := float64(r.Totals.Kept); kept < c.least || kept > 1.03 {
			t.Errorf("%s keeps %.4f, want %.2f to 1.03", c.method, kept, c.least)
		}
	}
}

// Kept averaged over seeds is 1 within its confidence interval on fresh scales.
// On kept scales the bias is what clipping takes off the block's extreme
// elements; the test works it out from the base and the delta.
func TestDitheredIsUnbiased(t *testing.T) {
	const seeds, layer = 200, "model.layers.1.self_attn.k_proj"
	for _, scales := range []string{"fresh", "keep"} {
		p := lightDemo(t, "base-nf4")
		var kept []float64
		for seed := range seeds {
			plan := p.NewPlan()
			plan.Method = fmt.Sprintf("dithered,seed=%d,scales=%s", seed, scales)
			e, err := p.Examine(t.Context(), plan, layer, 0, 0, 1, 1)
			if err != nil {
				t.Fatal(err)
			}
			kept = append(kept, float64(MetricsOf(e.Sums).Kept))
		}
		mean, sd := meanOf(kept)
		want := 1.0
		if scales == "keep" {
			want = 1 - clipped(t, p, layer)
		}
		if half := 3 * sd / math.Sqrt(seeds); math.Abs(mean-want) > half {
			t.Errorf("scales=%s: kept averages %.4f, want %.4f within %.4f", scales, mean, want, half)
		}
	}
}

func meanOf(x []float64) (mean, sd float64) {
	for _, v := range x {
		mean += v / float64(len(x))
	}
	for _, v := range x {
		sd += (v - mean) * (v - mean) / float64(len(x)-1)
	}
	return mean, math.Sqrt(sd)
}

// clipped is the share of <D,D> lost by values beyond the last code point of
// their block: sum over those of (T - limit) D, over sum D^2.
func clipped(t *testing.T, p *Project, layer string) float64 {
	t.Helper()
	plan := p.NewPlan()
	plan.Method = MethodDithered
	l, err := p.layer(plan, layer)
	if err != nil {
		t.Fatal(err)
	}
	s, err := openSubject(l, p.arithmetic(plan, Options{}))
	if err != nil {
		t.Fatal(err)
	}
	var w work
	if err := s.read(&w, 0, s.rows); err != nil {
		t.Fatal(err)
	}
	w.p.Dequantize()
	s.updates[0].add(&w.p, 0)
	var lost, all float64
	for i, v := range w.p.T {
		d, limit := float64(w.p.D[i]), math.Abs(float64(w.p.Absmax[i/s.spec.Blocksize]))
		all += d * d
		if t := float64(v); math.Abs(t) > limit {
			lost += (t - math.Copysign(limit, t)) * d
		}
	}
	return lost / all
}

// Nothing but the codes changes on kept scales, and all bytes are the same for
// any number of workers.
func TestDitheredBytes(t *testing.T) {
	for _, base := range []string{"base-nf4", "base-int8"} {
		for _, method := range []string{"dithered,seed=3", "dithered,seed=3,scales=fresh"} {
			p := lightDemo(t, base)
			_, one := runMethod(t, p, method, 1)
			_, many := runMethod(t, p, method, 5)
			if len(one) != len(many) {
				t.Fatalf("%s %s: %d tensors and %d", base, method, len(one), len(many))
			}
			for name, data := range one {
				if !bytes.Equal(data, many[name]) {
					t.Errorf("%s %s: %s depends on the number of workers", base, method, name)
				}
				if w := p.Model.Weight(name); method == "dithered,seed=3" && (w == nil || w.Param != name) {
					t.Errorf("%s %s: writes %s, want codes only", base, method, name)
				}
			}
		}
	}
}

// An adapter of scale 1e-30 changes nothing: every weight is a code point and
// stays one, where PEFT's merge moves nested scales.
func TestDitheredWithoutDeltaIsIdentity(t *testing.T) {
	for _, base := range []string{"base-nf4", "base-int8"} {
		p := lightDemo(t, base)
		plan := p.NewPlan().AssignAll("light", 1e-30)
		plan.Method = MethodDithered
		_, m := runPlan(t, p, plan, Options{})
		for name, data := range m.tensors {
			want, err := p.Model.Tensor(name).Bytes()
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(data, want) {
				t.Errorf("%s: %s changed", base, name)
			}
		}
	}
}

// Summing two adapters first rounds once: the figures are those of one adapter
// that holds both, which PEFT's cat makes.
func TestSumRoundsOnce(t *testing.T) {
	p := openProject(t, demoDir+"/base-nf4",
		[2]string{"mid", demoDir + "/adapter-gocode-mid"}, [2]string{"light", demoDir + "/adapter-gocode-light"})
	sum, codes := runMethod(t, p, MethodSum, 0)
	seq, _ := runMethod(t, p, MethodPeft, 0)
	cat, err := Combine(p.Model, p.Adapters, []float64{1, 1}, Combination{Type: "cat"})
	if err != nil {
		t.Fatal(err)
	}
	cat.Native = false // float32 factors, as the sum has
	_, want := runMethod(t, NewProject(p.Model, cat), MethodPeft, 0)
	differ, total := 0, 0
	for name, data := range codes {
		if w := p.Model.Weight(name); w == nil || w.Param != name {
			continue
		}
		for i, b := range data {
			total++
			if b != want[name][i] {
				differ++
			}
		}
	}
	// The factors of cat are rounded to bfloat16, so the deltas differ a little.
	if share := float64(differ) / float64(total); share > 0.05 {
		t.Errorf("%.3f of the bytes differ from a merge of the stacked adapter", share)
	}
	if sum.Totals.Kept <= seq.Totals.Kept-0.05 {
		t.Errorf("summed first %.3f is kept, one after the other %.3f", sum.Totals.Kept, seq.Totals.Kept)
	}
}

func TestParseMethod(t *testing.T) {
	for _, text := range []string{"peft", "sum", "dithered", "dithered,seed=7", "dithered,seed=7,scales=fresh", "calibrated", "calibrated,mu=0", "calibrated,scales=move", "calibrated,mu=1,base-text=0.25,guide=1.5,residual=2", "calibrated,seed=7,scales=fresh,tokens=512,damping=0.1,mu=2,residual=8,optimizer=descent"} {
		m, err := ParseMethod(text)
		if err != nil || m.String() != text {
			t.Errorf("%s: %v, %v", text, m, err)
		}
	}
	for _, text := range []string{"", "nearest", "peft,seed=1", "dithered,seed=x", "dithered,scales=old", "dithered,color=1", "dithered,tokens=5", "dithered,scales=move", "dithered,base-text=0.5", "calibrated,base-text=1.5", "calibrated,base-text=x", "dithered,guide=1", "calibrated,guide=-1", "calibrated,guide=NaN", "calibrated,tokens=0", "calibrated,damping=0", "calibrated,damping=x", "calibrated,residual=0", "calibrated,residual=257", "dithered,residual=8", "dithered,optimizer=descent", "calibrated,optimizer=best"} {
		if _, err := ParseMethod(text); err == nil {
			t.Errorf("%q is accepted", text)
		}
	}
}

func TestCommandLineSaysMethod(t *testing.T) {
	p := NewPlan("m", AdapterRef{Name: "a", Path: "dir/a"})
	p.Method = "dithered,seed=2"
	if got, want := p.CommandLine("out", ""), "mergescope merge m -a dir/a --method dithered,seed=2 -o out"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// A rule's method wins over the plan's on the layers it matches.
func TestMethodPerLayer(t *testing.T) {
	p := lightDemo(t, "base-nf4")
	const layer = "model.layers.0.self_attn.q_proj"
	m, err := ParseMethod("dithered,seed=2")
	if err != nil {
		t.Fatal(err)
	}
	plan := p.NewPlan().SetMethod(m, layer)
	again, err := DecodePlan(plan.Encode())
	if err != nil || !again.Equal(plan) {
		t.Fatalf("%v, %s", err, plan.Encode())
	}
	layers, _ := p.Layers(plan)
	for _, l := range layers {
		want := MethodPeft
		if l.Weight.Name == layer {
			want = "dithered,seed=2"
		}
		if l.Method.String() != want {
			t.Errorf("%s: method %s, want %s", l.Weight.Name, l.Method, want)
		}
	}
}
