package main

import (
	"fmt"
	"io"
	"math"
	"os"

	"mergescope/merge"
)

// Codes of findings against a baseline that no single alert says.
const (
	keptDropped = "kept-drop"
	layerGone   = "layer-gone"
)

// baselineHints says what to do about them.
var baselineHints = map[string]string{
	keptDropped: "compare plan, method and adapter with those of the baseline, or write the baseline again if the loss is meant",
	layerGone:   "check that the adapter still targets this layer and that the plan still applies it",
}

// baseline is an earlier report to compare with.
type baseline struct {
	name      string // of the file
	report    *merge.Report
	tolerance float64 // kept may fall by so much
	partial   bool    // layers of the baseline may be absent from the new report
}

// readBaseline reads an earlier report.
func readBaseline(name string) (*merge.Report, error) {
	fail := func(err error) (*merge.Report, error) {
		return nil, &failure{what: "read baseline", err: err, hint: "mergescope report MODEL -a ADAPTER --json > " + name + " writes one"}
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return fail(err)
	}
	r, err := merge.DecodeReport(data)
	if err != nil {
		return fail(fmt.Errorf("%s: %w", name, err))
	}
	return r, nil
}

// regressions lists what is worse in a report than in the baseline: alerts to
// fail on that are new or of a higher level, layers that are gone, and kept
// that fell by more than the tolerance.
func (b *baseline) regressions(now *merge.Report, failOn []string) []finding {
	before := b.alerts()
	var found []finding
	for _, al := range allAlerts(now) {
		old, known := before[keyOf(al)]
		if al.Code == merge.CodeWeak && !known {
			_, known = before[alertKey{merge.CodeErased, al.Layer, ""}] // it got better
			old = al.Level
		}
		if stops(al, failOn) && (!known || al.Level > old) {
			found = append(found, finding{al.Layer, string(al.Code), al.Message, al.Hint})
		}
	}
	return append(found, b.losses(now)...)
}

// alerts returns the levels of the baseline's alerts.
func (b *baseline) alerts() map[alertKey]merge.Level {
	levels := map[alertKey]merge.Level{}
	for _, al := range allAlerts(b.report) {
		levels[keyOf(al)] = max(levels[keyOf(al)], al.Level)
	}
	return levels
}

// losses compares kept layer by layer, and in total where the layers are the
// same.
func (b *baseline) losses(now *merge.Report) []finding {
	layers := map[string]*merge.LayerReport{}
	for _, l := range now.Layers {
		layers[l.Name] = l
	}
	var found []finding
	same := len(now.Layers) == len(b.report.Layers)
	for _, old := range b.report.Layers {
		l, ok := layers[old.Name]
		switch {
		case ok:
			found = append(found, b.loss(old.Name, float64(old.Kept), float64(l.Kept))...)
		case !b.partial:
			found = append(found, finding{old.Name, layerGone, "the baseline merges an adapter into this layer, the report does not", baselineHints[layerGone]})
		}
		same = same && ok
	}
	if same {
		found = append(found, b.loss("", float64(b.report.Totals.Kept), float64(now.Totals.Kept))...)
	}
	return found
}

// loss returns a finding if kept fell too far or cannot be computed any more.
func (b *baseline) loss(layer string, before, now float64) []finding {
	if math.IsNaN(before) || before-now <= b.tolerance {
		return nil
	}
	what := fmt.Sprintf("kept fell from %.4f to %.4f, by more than %g", before, now, b.tolerance)
	if math.IsNaN(now) {
		what = fmt.Sprintf("kept was %.4f and cannot be computed any more", before)
	}
	return []finding{{layer, keptDropped, what, baselineHints[keptDropped]}}
}

// print says what got worse.
func (b *baseline) print(w io.Writer, found []finding) {
	if len(found) == 0 {
		fmt.Fprintf(w, "\nagainst %s: nothing is worse\n", b.name)
		return
	}
	fmt.Fprintf(w, "\nagainst %s: %s\n", b.name, plural(len(found), "regression"))
	for _, f := range found {
		printWrapped(w, fmt.Sprintf("%s %s: %s", f.code, f.where(), f.message))
	}
}

// where names the layer of a finding.
func (f finding) where() string {
	if f.layer == "" {
		return "whole model"
	}
	return f.layer
}
