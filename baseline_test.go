package main

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"

	"mergescope/merge"
)

func TestRegressions(t *testing.T) {
	weak := merge.Alert{Level: merge.Warning, Code: merge.CodeWeak}
	erased := merge.Alert{Level: merge.Warning, Code: merge.CodeErased}
	shape := merge.Alert{Level: merge.Error, Code: merge.CodeShape}
	grown := merge.Alert{Level: merge.Info, Code: merge.CodeAbsmaxGrowth}
	worse := merge.Alert{Level: merge.Error, Code: merge.CodeAbsmaxGrowth}
	nan := math.NaN()
	layer := testLayer
	for name, tc := range map[string]struct {
		before, now []*merge.LayerReport
		failOn      string
		partial     bool
		want        []string // codes
	}{
		"the same":             {before: []*merge.LayerReport{layer("a", 0.05, erased, shape)}, now: []*merge.LayerReport{layer("a", 0.05, erased, shape)}, failOn: "erased"},
		"within tolerance":     {before: []*merge.LayerReport{layer("a", 0.75)}, now: []*merge.LayerReport{layer("a", 0.5)}},
		"beyond tolerance":     {before: []*merge.LayerReport{layer("a", 0.75)}, now: []*merge.LayerReport{layer("a", 0.49)}, want: []string{"kept-drop"}},
		"better":               {before: []*merge.LayerReport{layer("a", 0.05, erased)}, now: []*merge.LayerReport{layer("a", 0.9)}, failOn: "erased"},
		"better, but weak":     {before: []*merge.LayerReport{layer("a", 0.05, erased)}, now: []*merge.LayerReport{layer("a", 0.3, weak)}, failOn: "weak"},
		"weak, then erased":    {before: []*merge.LayerReport{layer("a", 0.11, weak)}, now: []*merge.LayerReport{layer("a", 0.09, erased)}, failOn: "weak", want: []string{"erased"}},
		"new, not asked for":   {before: []*merge.LayerReport{layer("a", 0.11)}, now: []*merge.LayerReport{layer("a", 0.09, erased)}},
		"new error":            {before: []*merge.LayerReport{layer("a", 0.5)}, now: []*merge.LayerReport{layer("a", 0.5, shape)}, want: []string{"shape"}},
		"known in other layer": {before: []*merge.LayerReport{layer("a", 0.5, shape), layer("b", 0.5)}, now: []*merge.LayerReport{layer("a", 0.5), layer("b", 0.5, shape)}, want: []string{"shape"}},
		"higher level":         {before: []*merge.LayerReport{layer("a", 0.5, grown)}, now: []*merge.LayerReport{layer("a", 0.5, worse)}, want: []string{"absmax-growth"}},
		"gone":                 {before: []*merge.LayerReport{layer("a", 0.5), layer("b", 0.5)}, now: []*merge.LayerReport{layer("a", 0.5)}, want: []string{"layer-gone"}},
		"left out":             {before: []*merge.LayerReport{layer("a", 0.5), layer("b", 0.5)}, now: []*merge.LayerReport{layer("a", 0.5)}, partial: true},
		"added":                {before: []*merge.LayerReport{layer("a", 0.5)}, now: []*merge.LayerReport{layer("a", 0.5), layer("b", 0)}},
		"no figure any more":   {before: []*merge.LayerReport{layer("a", 0.5)}, now: []*merge.LayerReport{layer("a", nan)}, want: []string{"kept-drop"}},
		"never had a figure":   {before: []*merge.LayerReport{layer("a", nan)}, now: []*merge.LayerReport{layer("a", 0)}},
		"every layer on its own": {
			before: []*merge.LayerReport{layer("a", 0.9), layer("b", 0.9), layer("c", 0.9)},
			now:    []*merge.LayerReport{layer("a", 0.1), layer("b", 1), layer("c", 0.2)},
			want:   []string{"kept-drop", "kept-drop"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := &baseline{report: testReport(tc.before...), tolerance: 0.25, partial: tc.partial}
			var failOn []string
			if tc.failOn != "" {
				failOn = []string{tc.failOn}
			}
			var got []string
			for _, f := range b.regressions(testReport(tc.now...), failOn) {
				got = append(got, f.code)
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("findings %v, want %v", got, tc.want)
			}
		})
	}
}

// Totals are compared only over the same layers.
func TestRegressionOfTotals(t *testing.T) {
	before, now := testReport(testLayer("a", 0.5)), testReport(testLayer("a", 0.5))
	before.Totals.Kept, now.Totals.Kept = 0.5, 0.4
	b := &baseline{report: before, tolerance: 0.05}
	if got := b.regressions(now, nil); len(got) != 1 || got[0].layer != "" || got[0].code != keptDropped {
		t.Errorf("findings %v, want kept-drop of the model", got)
	}
	now.Layers = append(now.Layers, testLayer("b", 0.1))
	if got := b.regressions(now, nil); len(got) != 0 {
		t.Errorf("findings %v, want none: the layers differ", got)
	}
}

func TestDecodeReportErrors(t *testing.T) {
	for text, want := range map[string]string{
		``:                                      "EOF",
		`{`:                                     "EOF",
		`[]`:                                    "array",
		`{"version":2,"layers":[]}`:             "version: 2",
		`{"version":1,"model":{},"alerts":[]}`:  "layers: missing", // of doctor --json
		`{"version":1,"layers":[null]}`:         "layers[0]: null",
		`{"version":1,"layers":[{},{}]}`:        "layers[1]: \"\" is given twice",
		`{"version":1,"layers":[]} x`:           "text after the report",
		`{"version":1,"layers":[{"kept":"1"}]}`: "offset",
		`{"version":1,"layers":[],"alerts":[{"level":"bad"}]}`: "unknown alert level",
	} {
		_, err := merge.DecodeReport([]byte(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q in it", text, err, want)
		}
	}
}

// Whatever is read as a report is no worse than itself.
func FuzzDecodeReport(f *testing.F) {
	r := testReport(
		testLayer("a", 0.5, merge.Alert{Level: merge.Warning, Code: merge.CodeWeak}),
		testLayer("b", math.NaN(), merge.Alert{Level: merge.Error, Code: merge.CodeNonFinite}),
	)
	data, err := json.Marshal(r)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"version":1,"layers":[],"alerts":[{"level":"error","code":"weak","layer":"x"},{"level":"info","code":"weak","layer":"x"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := merge.DecodeReport(data)
		if err != nil {
			return
		}
		b := &baseline{report: r}
		if got := b.regressions(r, []string{"info"}); len(got) > 0 {
			t.Errorf("worse than itself: %v", got)
		}
	})
}
