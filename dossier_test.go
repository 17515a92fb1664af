package main

import (
	"math"
	"testing"
	"time"

	"mergescope/merge"
)

// testLayer is a layer that keeps so much, with alerts of these codes.
func testLayer(name string, kept float64, alerts ...merge.Alert) *merge.LayerReport {
	l := &merge.LayerReport{Name: name, Format: "nf4", Output: merge.Same, Metrics: merge.Metrics{Kept: merge.Figure(kept)}}
	for _, al := range alerts {
		al.Layer, al.Place = name, merge.Nowhere()
		l.Alerts = append(l.Alerts, al)
	}
	return l
}

// testReport is a report of layers, its list of alerts made of theirs.
func testReport(layers ...*merge.LayerReport) *merge.Report {
	r := &merge.Report{Version: 1, Method: "peft", Profile: "cpu", Layers: layers}
	r.Model.Name = "model"
	r.Totals.Kept = merge.Figure(math.NaN())
	for _, l := range layers {
		r.Alerts = append(r.Alerts, l.Alerts...)
	}
	return r
}

// testDossier judges a report at a fixed time.
func testDossier(r *merge.Report, failOn ...string) *dossier {
	d := newDossier(r, failOn, nil)
	d.at = time.Date(2030, 5, 6, 7, 8, 9, 0, time.FixedZone("east", 3600))
	d.subject = "model"
	d.plan = merge.NewPlan("model")
	return d
}

// hostile is a name from a file that means something in every format.
const hostile = "a.<script>alert(1)</script>\"'><img src=x onerror=alert(1)>|`*[x](http://x.example)](\u202e]]>&amp;\x00\x1b[31m{{.}}"

// hostileReport has it wherever a name can come from a file.
func hostileReport() *merge.Report {
	l := testLayer(hostile, 0.05, merge.Alert{Level: merge.Error, Code: merge.CodeNonFinite, Message: hostile, Hint: hostile, Count: 1})
	l.Alerts[0].Place = merge.Place{File: hostile, Tensor: hostile, Row: 1, Col: 2}
	l.Format = hostile
	l.Adapters = []merge.LayerStep{{Name: hostile, Rank: 1, Scale: 1}}
	l.WorstBlock = &merge.WorstBlock{Kept: merge.Figure(math.NaN())}
	r := testReport(l)
	r.Model.Name, r.Model.Type = hostile, hostile
	r.Adapters = []merge.AdapterInfo{{Name: hostile, PeftType: hostile}}
	r.Inputs = []merge.FileDigest{{Name: hostile, SHA256: "00"}}
	return r
}

func hostileDossier() *dossier {
	d := testDossier(hostileReport())
	d.subject = hostile
	d.plan = merge.NewPlan(hostile, merge.AdapterRef{Name: hostile, Path: hostile})
	return d
}

func TestVerdict(t *testing.T) {
	erased := merge.Alert{Level: merge.Warning, Code: merge.CodeErased}
	for _, tc := range []struct {
		failOn []string
		want   string
		code   int
	}{
		{nil, "no errors, 1 warning", exitFine},
		{[]string{"nonfinite"}, "passed with --fail-on nonfinite", exitFine},
		{[]string{"erased", "shape"}, "failed with --fail-on erased,shape: 1 finding", exitAlerts},
	} {
		d := testDossier(testReport(testLayer("a", 0.05, erased)), tc.failOn...)
		if got := d.verdict(); got != tc.want || d.code() != tc.code {
			t.Errorf("--fail-on %v: %q with exit code %d, want %q with %d", tc.failOn, got, d.code(), tc.want, tc.code)
		}
	}
}

func TestClean(t *testing.T) {
	if got := clean("a\u202eb\x1b[0m\nc é"); got != "a?b?[0m?c é" {
		t.Errorf("got %q", got)
	}
}
