package main

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// Field names of the contract. Other programs read them: a change here is a
// change of `report --json`.
var (
	reportFields   = []string{"version", "model", "adapters", "method", "profile", "totals", "layers", "alerts", "seconds"}
	reportOptional = []string{"plan_digest", "inputs", "reference"}
	metricFields   = []string{
		"kept", "snr_db", "codes_changed", "scales_changed", "delta_rms", "weight_rms", "delta_ratio",
		"error_rms", "error_max", "error_relative", "absmax_growth", "nonfinite", "noise_floor", "ambiguous", "kept_on_inputs",
	}
	layerFields     = append([]string{"name", "format", "shape", "adapters", "output", "worst_block", "offset_ulp", "alerts"}, metricFields...)
	alertFields     = []string{"level", "code", "layer", "place", "message", "hint", "count"}
	nonFiniteFields = []string{"a", "b", "delta", "sum", "output"}
	adapterFields   = []string{"name", "path", "peft_type", "rank", "alpha", "scale", "use_rslora", "use_dora", "modules"}
	modelFields     = []string{"name", "path", "model_type", "weights", "formats", "bytes"}
)

type object = map[string]any

// wantFields demands the fields and no others but the optional ones.
func wantFields(t *testing.T, what string, got any, want []string, optional ...string) {
	t.Helper()
	o, ok := got.(object)
	if !ok {
		t.Fatalf("%s is %T, not an object", what, got)
	}
	for _, name := range want {
		if _, ok := o[name]; !ok {
			t.Errorf("%s has no field %q", what, name)
		}
	}
	for name := range o {
		if !slices.Contains(want, name) && !slices.Contains(optional, name) {
			t.Errorf("%s has a field %q that the contract does not name", what, name)
		}
	}
}

func TestReportShape(t *testing.T) {
	for _, tc := range []struct {
		adapter string
		code    int
	}{{"demo:gocode-light", exitFine}, {"demo:broken", exitAlerts}} {
		var r object
		commandJSON(t, &r, tc.code, "report", "demo", "-a", tc.adapter, "--json")
		wantFields(t, "report", r, reportFields, reportOptional...)
		wantFields(t, "model", r["model"], modelFields)
		wantFields(t, "totals", r["totals"], metricFields)
		for _, a := range r["adapters"].([]any) {
			wantFields(t, "adapter", a, adapterFields)
		}
		alerts := r["alerts"].([]any)
		if len(alerts) == 0 {
			t.Errorf("%s: no alerts", tc.adapter)
		}
		for _, l := range r["layers"].([]any) {
			l := l.(object)
			wantFields(t, "layer", l, layerFields)
			wantFields(t, "nonfinite", l["nonfinite"], nonFiniteFields)
			if l["worst_block"] != nil {
				wantFields(t, "worst_block", l["worst_block"], []string{"row", "col", "kept"})
			}
			for _, s := range l["adapters"].([]any) {
				wantFields(t, "step", s, []string{"name", "rank", "scale"})
			}
			for _, name := range metricFields {
				switch v := l[name].(type) {
				case float64, nil, object:
				default:
					t.Errorf("layer %v: %s is %T, not a number or null", l["name"], name, v)
				}
			}
			alerts = append(alerts, l["alerts"].([]any)...)
		}
		for _, a := range alerts {
			wantFields(t, "alert", a, alertFields)
			if a := a.(object); a["place"] != nil {
				wantFields(t, "place", a["place"], []string{"row", "col"}, "file", "tensor")
			}
		}
	}
}

// figures is what the tests read of a report.
type figures struct {
	Totals layerFigures `json:"totals"`
	Layers []struct {
		Name string `json:"name"`
		layerFigures
	} `json:"layers"`
}

type layerFigures struct {
	Kept         *float64 `json:"kept"`
	SNR          *float64 `json:"snr_db"`
	CodesChanged *float64 `json:"codes_changed"`
	DeltaRMS     *float64 `json:"delta_rms"`
	WeightRMS    *float64 `json:"weight_rms"`
	DeltaRatio   *float64 `json:"delta_ratio"`
	ErrorMax     *float64 `json:"error_max"`
}

// near reports a figure that is further from want than rel*|want| + abs, where
// abs is half the last digit that the expected file keeps.
func near(t *testing.T, what string, got *float64, want, rel, abs float64) {
	t.Helper()
	switch {
	case got == nil:
		t.Errorf("%s is null, want %v", what, want)
	case !(math.Abs(*got-want) <= rel*math.Abs(want)+abs):
		t.Errorf("%s is %v, want %v", what, *got, want)
	}
}

func readJSON(t *testing.T, name string, v any) {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, v); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// The figures of the demo were worked out in float64 numpy from PEFT's merged
// checkpoints, against the base as a float32 forward pass reads it.
func TestDemoFigures(t *testing.T) {
	type figure struct {
		Kept  float64
		SNR   float64 `json:"snr_db"`
		Flips float64
		Ratio float64 `json:"delta_ratio"`
	}
	var want struct {
		Adapters map[string]struct {
			NF4   map[string]figure `json:"layers: PEFT merge into base-nf4"`
			Int8  map[string]figure `json:"layers: PEFT merge into base-int8"`
			Total map[string]figure
		}
	}
	readJSON(t, "testdata/demo/expected.json", &want)
	if len(want.Adapters) != 3 {
		t.Fatalf("%d adapters in expected.json, want 3", len(want.Adapters))
	}
	for adapter, w := range want.Adapters {
		for base, layers := range map[string]map[string]figure{"base-nf4": w.NF4, "base-int8": w.Int8} {
			t.Run(adapter+"/"+base, func(t *testing.T) {
				var got figures
				commandJSON(t, &got, exitFine, "report", "demo:"+base, "-a", "demo:"+adapter, "--json", "--reference", "as-inferred")
				if len(got.Layers) != 28 || len(layers) != 28 {
					t.Fatalf("%d layers, %d expected, want 28", len(got.Layers), len(layers))
				}
				for _, l := range got.Layers {
					f, ok := layers[l.Name]
					if !ok {
						t.Fatalf("layer %s is not in expected.json", l.Name)
					}
					near(t, l.Name+" kept", l.Kept, f.Kept, 1e-4, 5e-6)
					near(t, l.Name+" snr_db", l.SNR, f.SNR, 1e-4, 5e-4)
					near(t, l.Name+" codes_changed", l.CodesChanged, f.Flips, 1e-4, 5e-7)
					near(t, l.Name+" delta_ratio", l.DeltaRatio, f.Ratio, 1e-4, 5e-7)
				}
				total, ok := w.Total["PEFT merge into "+base]
				if !ok {
					t.Fatal("no total in expected.json")
				}
				near(t, "total kept", got.Totals.Kept, total.Kept, 1e-4, 5e-6)
				near(t, "total codes_changed", got.Totals.CodesChanged, total.Flips, 1e-4, 5e-7)
			})
		}
	}
}

// The figures of the golden cases: float64 numpy over real PEFT merges.
func TestGoldenFigures(t *testing.T) {
	cases := []string{"nf4-plain", "nf4-dq", "fp4", "int8", "rslora", "patterns", "shards"}
	sweeps, err := filepath.Glob("testdata/golden/cases/sweep-*")
	if err != nil || len(sweeps) != 14 {
		t.Fatalf("%d sweeps, want 14 (%v)", len(sweeps), err)
	}
	for _, s := range sweeps {
		cases = append(cases, filepath.Base(s))
	}
	for _, name := range cases {
		t.Run(name, func(t *testing.T) {
			c := readGolden(t, name)
			var want struct {
				Layers map[string]struct {
					Kept  float64
					SNR   float64 `json:"snr_db"`
					Codes float64 `json:"codes_changed"`
					Delta float64 `json:"delta_rms"`
					W     float64 `json:"w_rms"`
					Error float64 `json:"err_max_abs"`
				}
			}
			readJSON(t, filepath.Join(c.dir, "expected.json"), &want)
			var got figures
			commandJSON(t, &got, exitFine, "report", c.base, "-a", c.adapter, "--json")
			if len(got.Layers) != len(want.Layers) || len(got.Layers) == 0 {
				t.Fatalf("%d layers, want %d", len(got.Layers), len(want.Layers))
			}
			for _, l := range got.Layers {
				f, ok := want.Layers[l.Name]
				if !ok {
					t.Fatalf("layer %s is not in expected.json", l.Name)
				}
				near(t, l.Name+" kept", l.Kept, f.Kept, 1e-4, 0)
				near(t, l.Name+" snr_db", l.SNR, f.SNR, 1e-4, 0)
				near(t, l.Name+" codes_changed", l.CodesChanged, f.Codes, 1e-4, 0)
				near(t, l.Name+" delta_rms", l.DeltaRMS, f.Delta, 1e-4, 0)
				near(t, l.Name+" weight_rms", l.WeightRMS, f.W, 1e-4, 0)
				near(t, l.Name+" error_max", l.ErrorMax, f.Error, 1e-4, 0)
			}
		})
	}
}

// golden is a case under testdata/golden.
type golden struct {
	dir, base, adapter string
	safe, slim         bool
}

func readGolden(t *testing.T, name string) golden {
	t.Helper()
	g := golden{dir: filepath.Join("testdata/golden/cases", name)}
	var c struct {
		Base     string
		Adapters []string
		Safe     bool `json:"safe_merge"`
		Exact    bool `json:"delta_exact"`
		Expected struct{ Slim bool }
	}
	readJSON(t, filepath.Join(g.dir, "case.json"), &c)
	if len(c.Adapters) != 1 {
		t.Fatalf("%s: %d adapters, want 1", name, len(c.Adapters))
	}
	g.base = filepath.Join("testdata/golden", filepath.FromSlash(c.Base))
	g.adapter = filepath.Join(g.dir, c.Adapters[0])
	g.safe, g.slim = c.Safe, c.Expected.Slim
	return g
}
