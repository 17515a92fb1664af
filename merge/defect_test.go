package merge_test

import (
	"encoding/json"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mergescope/merge"
)

const wrongMethod = "peft,reproduce-defects"

// TestMisread merges ragged layers as PEFT does on a CPU with AVX-512, where
// bitsandbytes reads them with the scales of other blocks.
func TestMisread(t *testing.T) {
	for _, name := range []string{"ragged", "nf4-bs128-narrow"} {
		t.Run(name, func(t *testing.T) {
			c := readCase(t, goldenDir, name)
			c.Method = wrongMethod
			if tensors, equal, result := c.verdict(t); equal != tensors || tensors == 0 {
				t.Errorf("%d of %d tensors equal: %s", equal, tensors, result)
			}
		})
	}
}

// alertsOf returns the alerts of a code.
func alertsOf(list []merge.Alert, code merge.Code) (out []merge.Alert) {
	for _, a := range list {
		if a.Code == code {
			out = append(out, a)
		}
	}
	return out
}

// TestDefectAlert: what is reproduced is said, in the alert's JSON too, and what
// nothing can decode has no figures.
func TestDefectAlert(t *testing.T) {
	for name, want := range map[string]struct {
		says    string
		figures bool
	}{
		"pvera-nf4":            {"PVeRA: PEFT stores the float result as if it were quantized", false},
		"randlora-square-int8": {"in the wrong order", true},
		"c3a-int8":             {"divides the codes by in_features", true},
		"hra-int8":             {"truncates them", true},
	} {
		p := readCase(t, tunersDir, name).project(t)
		plan := p.NewPlan()
		plan.Method = wrongMethod
		report, err := mergeAll(t, p, merge.Options{Tiles: true})
		if err != nil || len(alertsOf(report.Alerts, merge.CodeDefect)) != 0 {
			t.Errorf("%s by default: %v %+v", name, err, report)
		}
		job, err := merge.NewJob(p, plan, merge.Options{Tiles: true})
		if err != nil {
			t.Fatal(err)
		}
		if report, err = job.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		found := alertsOf(report.Alerts, merge.CodeDefect)
		if len(found) == 0 || found[0].Level != merge.Error || !strings.Contains(found[0].Message, want.says) {
			t.Errorf("%s: %+v", name, found)
			continue
		}
		text, err := json.Marshal(found[0])
		if err != nil || !strings.Contains(string(text), `"code":"peft-defect"`) {
			t.Errorf("%s: %s %v", name, text, err)
		}
		merged := 0
		for _, l := range report.Layers {
			if len(l.Adapters) == 0 {
				continue
			}
			merged++
			if math.IsNaN(float64(l.Kept)) == want.figures || l.Method != wrongMethod {
				t.Errorf("%s: layer %s: kept %v, method %s", name, l.Name, l.Kept, l.Method)
			}
			_, err := p.Explain(t.Context(), plan, l.Name, 0, 0)
			if (err == nil) != want.figures {
				t.Errorf("%s: explain: %v", name, err)
			}
		}
		if merged == 0 || merged != len(found) {
			t.Errorf("%s: %d layers merged, %d alerts", name, merged, len(found))
		}
	}
}

// TestDefectOfOneLayer: a rule can ask for a single layer; the other is refused.
func TestDefectOfOneLayer(t *testing.T) {
	p := readCase(t, tunersDir, "c3a-int8").project(t)
	plan := p.NewPlan()
	const wrong = "model.layers.0.self_attn.v_proj"
	plan.Rules = append(plan.Rules, merge.Rule{Match: wrong, Method: wrongMethod})
	layers, alerts := p.Layers(plan)
	for _, l := range layers {
		if l.Merges() != (l.Weight.Name == wrong) {
			t.Errorf("%s: merges %t", l.Weight.Name, l.Merges())
		}
		if l.Weight.Name == "model.layers.0.self_attn.q_proj" && !strings.Contains(l.Reason, "divides the codes") {
			t.Errorf("%s: %s", l.Weight.Name, l.Reason)
		}
	}
	if len(alertsOf(alerts, merge.CodeDefect)) != 1 || len(alertsOf(alerts, merge.CodeUnmergeable)) != 1 {
		t.Errorf("%+v", alerts)
	}
}

// TestDefectsNotReproduced: several adapters and taking off are refused.
func TestDefectsNotReproduced(t *testing.T) {
	c := readCase(t, tunersDir, "hra-int8")
	c.Adapters = []string{"adapter", "adapter"}
	p := c.project(t)
	plan := p.NewPlan()
	plan.Method = wrongMethod
	layers, alerts := p.Layers(plan)
	for _, l := range layers {
		if l.Merges() {
			t.Errorf("%s is merged", l.Weight.Name)
		}
	}
	if a := alertsOf(alerts, merge.CodeUnmergeable); len(a) == 0 || !strings.Contains(a[0].Message, "single adapter only") {
		t.Errorf("%+v", alerts)
	}
	for _, u := range []merge.Unmerge{merge.Subtract, merge.RoundTrip} {
		if _, err := merge.NewJob(p, plan, merge.Options{Unmerge: u}); err == nil {
			t.Errorf("unmerge %d is no error", u)
		}
	}
	p = readCase(t, tunersDir, "pvera-nf4").project(t)
	plan = p.NewPlan().SetOutputAll(merge.AsBF16)
	plan.Method = wrongMethod
	if layers, _ := p.Layers(plan); slices.ContainsFunc(layers, func(l merge.Layer) bool { return l.Merges() }) {
		t.Error("with output bf16 there is no quant state to be left behind")
	}
}

func TestDefectMethod(t *testing.T) {
	m, err := merge.ParseMethod(wrongMethod)
	if err != nil || m != (merge.Method{Kind: merge.MethodPeft, Defects: true}) || m.String() != wrongMethod {
		t.Errorf("%+v %v", m, err)
	}
	for _, bad := range []string{"peft,", "peft,defects", "sum,reproduce-defects", "peft,reproduce-defects,x"} {
		if _, err := merge.ParseMethod(bad); err == nil {
			t.Errorf("%s is a method", bad)
		}
	}
	p := merge.NewPlan("m")
	p.Method = wrongMethod
	q, err := merge.DecodePlan(p.Encode())
	if err != nil || !p.Equal(q) {
		t.Errorf("%+v %v", q, err)
	}
	if got := p.CommandLine(filepath.Join("o"), ""); !strings.Contains(got, "--method "+wrongMethod) {
		t.Error(got)
	}
}
