package merge

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"
)

func nothingKnown() Metrics {
	f := Figure(math.NaN())
	return Metrics{Kept: f, SNR: f, CodesChanged: f, ScalesChanged: f, DeltaRMS: f, WeightRMS: f, DeltaRatio: f, ErrorRMS: f, ErrorMax: f, ErrorRelative: f, AbsmaxGrowth: f, NoiseFloor: f, KeptOnInputs: f}
}

// keysOf returns the keys of an object, sorted.
func keysOf(v any) []string {
	var keys []string
	for k := range v.(map[string]any) {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// The keys are those of product.md, section 3.
func TestReportJSON(t *testing.T) {
	metrics := strings.Fields("absmax_growth ambiguous codes_changed delta_ratio delta_rms error_max error_relative error_rms kept kept_on_inputs noise_floor nonfinite scales_changed snr_db weight_rms")
	m := nothingKnown()
	m.Kept = 0.5
	m.SNR = Figure(math.Inf(1))
	r := Report{
		Version: 1, Method: "peft", Profile: "cpu", Totals: m,
		Adapters: []AdapterInfo{{Name: "a", Scale: Figure(math.NaN())}},
		Layers:   []*LayerReport{{Name: "model.layers.0.self_attn.q_proj", Metrics: m, Adapters: []LayerStep{{Name: "a"}}, WorstBlock: &WorstBlock{Kept: Figure(math.NaN())}}},
		Alerts:   []Alert{newAlert(Info, CodeNoisy, "", "m")},
	}
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	if want := strings.Fields("adapters alerts layers method model profile seconds totals version"); !slices.Equal(keysOf(got), want) {
		t.Errorf("report has %v, want %v", keysOf(got), want)
	}
	if !slices.Equal(keysOf(got["totals"]), metrics) {
		t.Errorf("totals have %v, want %v", keysOf(got["totals"]), metrics)
	}
	layer := got["layers"].([]any)[0].(map[string]any)
	want := append(strings.Fields("name format shape adapters output worst_block offset_ulp alerts"), metrics...)
	slices.Sort(want)
	if !slices.Equal(keysOf(layer), want) {
		t.Errorf("layer has %v, want %v", keysOf(layer), want)
	}
	if layer["kept"] != 0.5 || layer["codes_changed"] != nil || layer["snr_db"] != nil {
		t.Errorf("kept %v, codes_changed %v, snr_db %v", layer["kept"], layer["codes_changed"], layer["snr_db"])
	}
	if want := strings.Fields("col kept row"); !slices.Equal(keysOf(layer["worst_block"]), want) {
		t.Errorf("worst block has %v", keysOf(layer["worst_block"]))
	}
	if want := strings.Fields("a b delta output sum"); !slices.Equal(keysOf(layer["nonfinite"]), want) {
		t.Errorf("nonfinite has %v", keysOf(layer["nonfinite"]))
	}

	var back Report
	if err := json.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	if b := back.Layers[0]; b.Kept != 0.5 || b.CodesChanged == b.CodesChanged {
		t.Errorf("read back: %+v", b.Metrics)
	}
}

func TestSummary(t *testing.T) {
	layer := func(kept Figure, codes ...Code) *LayerReport {
		l := &LayerReport{Format: "nf4", Output: Same, Metrics: Metrics{Kept: kept}}
		for _, c := range codes {
			l.Alerts = append(l.Alerts, newAlert(Warning, c, "l", "m"))
		}
		return l
	}
	r := &Report{Totals: Metrics{Kept: 0.073, SNR: -0.7, CodesChanged: 0.0055}, Layers: []*LayerReport{
		layer(0.05, CodeErased), layer(0.05, CodeErased), layer(0.3, CodeWeak), layer(0.9, CodeNonFinite),
	}}
	lines := r.Summary()
	want := []string{
		"7.3% of the adapter kept over 4 layers; 0.55% of codes changed, snr -0.7 dB",
		"1 layer with NaN or infinite values",
		"2 layers erased (kept below 10%)",
		"1 layer weakened (kept below 50%)",
	}
	for _, a := range Guidance() {
		want = append(want, a.Text)
	}
	if !slices.Equal(lines, want) {
		t.Errorf("got %q\nwant %q", lines, want)
	}

	fine := &Report{Totals: Metrics{Kept: 1, SNR: 20}, Layers: []*LayerReport{layer(1)}}
	if got := fine.Advice(); len(got) != 3 {
		t.Errorf("advice for a merge that kept all: %v", got)
	}
	fine.Layers[0].Output = AsBF16
	if got := fine.Advice(); len(got) != 0 {
		t.Errorf("advice for bf16: %v", got)
	}
	if got := (&Report{}).Summary(); len(got) != 1 {
		t.Errorf("empty report: %q", got)
	}
}

// The points product.md section 5 lists as guidance of the PEFT community.
func TestGuidanceIsComplete(t *testing.T) {
	var all strings.Builder
	for _, a := range Guidance() {
		all.WriteString(a.Text + "\n")
	}
	for _, want := range []string{
		"inference keep adapters separate", "export verify", "full-precision base", "4-bit loses more than into 8-bit",
		"longer sequences accumulate more", "architectures differ", "safe_merge catches NaN, not rounding", "simpler to deploy",
	} {
		if !strings.Contains(all.String(), want) {
			t.Errorf("guidance lacks %q", want)
		}
	}
}
