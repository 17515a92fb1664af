package tui

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"mergescope/loader"
	"mergescope/merge"
	"mergescope/quant"
)

// ledger is what is known of each layer: what the plan does with it and what
// jobs found for exactly that. Only Update changes it.
type ledger struct {
	plan    merge.Plan
	layers  []merge.Layer
	notes   []merge.Alert // of the plan itself
	sigs    []string      // what the plan does with each layer, as text
	reports []*merge.LayerReport
	states  []merge.LayerState // of the running job; nil if none runs
	levels  []merge.Level      // worst alert of a layer, where flagged
	flagged []bool
	whole   *figures // over all layers, nil until asked for

	known  map[string]*merge.LayerReport // by signature, for plans come back to
	tried  map[string]bool               // signatures a job has been through
	sees   bool                          // some report has what inputs see
	at     map[string]int                // index of each layer by module path
	prefix string                        // what the paths of all groups begin with
}

// maxKnown bounds the reports that are remembered for earlier plans.
const maxKnown = 1 << 16

// setPlan resolves another plan. Reports of layers it leaves as they were, or
// as they were once, stay.
func (b *ledger) setPlan(e engine, plan merge.Plan) {
	b.plan = plan
	b.layers, b.notes = e.layers(plan)
	b.sigs = make([]string, len(b.layers))
	b.reports = make([]*merge.LayerReport, len(b.layers))
	b.states, b.sees, b.whole = nil, false, nil
	b.at = make(map[string]int, len(b.layers))
	for i := range b.layers {
		b.at[b.layers[i].Weight.Name] = i
		b.sigs[i] = signature(&b.layers[i], plan)
		if b.layers[i].Merges() {
			b.reports[i] = b.known[b.sigs[i]]
			b.sees = b.sees || seesInputs(b.reports[i])
		}
	}
}

// signature names everything that the figures of a layer depend on.
func signature(l *merge.Layer, plan merge.Plan) string {
	var s strings.Builder
	s.WriteString(l.Weight.Name)
	for _, p := range []string{string(l.Output), l.Method.String(), plan.Profile} {
		s.WriteByte('\n')
		s.WriteString(p)
	}
	for _, st := range l.Steps {
		s.WriteByte('\n')
		s.WriteString(adapterName(st.Adapter))
		s.WriteByte('*')
		s.WriteString(strconv.FormatFloat(st.Factor, 'g', -1, 64))
	}
	return s.String()
}

func adapterName(a *loader.Adapter) string {
	if a == nil {
		return ""
	}
	return a.Name
}

// remember keeps the report of a layer whose signature was sig when the job
// began.
func (b *ledger) remember(i int, sig string, r *merge.LayerReport) {
	if b.known == nil || len(b.known) >= maxKnown {
		b.known = map[string]*merge.LayerReport{}
	}
	fits := i < len(b.sigs) && b.sigs[i] == sig
	if fits && b.reports[i] == r {
		return
	}
	b.known[sig] = r
	if fits {
		b.reports[i] = r
		b.sees = b.sees || seesInputs(r)
	}
}

// seesInputs reports whether a report, which may be nil, has what a layer's inputs
// see.
func seesInputs(r *merge.LayerReport) bool {
	return r != nil && !math.IsNaN(float64(r.KeptOnInputs))
}

// sameAs returns the states of a job for the layers with which the plan still
// does what it did when the job began.
func (b *ledger) sameAs(sigs []string, states []merge.LayerState) []merge.LayerState {
	if slices.Equal(sigs, b.sigs) {
		return states
	}
	states = slices.Clone(states)
	for i := range states {
		if i >= len(sigs) || i >= len(b.sigs) || sigs[i] != b.sigs[i] {
			states[i] = merge.LayerState{}
		}
	}
	return states
}

// report returns the report of a layer, nil if none fits the plan.
func (b *ledger) report(i int) *merge.LayerReport {
	if i < 0 || i >= len(b.reports) {
		return nil
	}
	return b.reports[i]
}

// layer returns a layer, nil if there is none.
func (b *ledger) layer(i int) *merge.Layer {
	if i < 0 || i >= len(b.layers) {
		return nil
	}
	return &b.layers[i]
}

// planned reports whether the plan has an adapter for layer i.
func (b *ledger) planned(i int) bool { return len(b.layers[i].Steps) > 0 }

// has reports whether the plan has an adapter of that name for layer i.
func (b *ledger) has(i int, adapter string) bool {
	return slices.ContainsFunc(b.layers[i].Steps, func(s merge.Step) bool { return adapterName(s.Adapter) == adapter })
}

// countPlanned returns how many layers have an adapter.
func (b *ledger) countPlanned() int {
	n := 0
	for i := range b.layers {
		if b.planned(i) {
			n++
		}
	}
	return n
}

// missing names the layers that are merged and have no report, and that no job
// has been through.
func (b *ledger) missing() map[string]bool {
	need := map[string]bool{}
	for i := range b.layers {
		if b.layers[i].Merges() && b.reports[i] == nil && !b.tried[b.sigs[i]] {
			need[b.layers[i].Weight.Name] = true
		}
	}
	return need
}

// pass notes that a job has been through the layers with these signatures.
func (b *ledger) pass(sigs []string, only func(layer string) bool) {
	if b.tried == nil || len(b.tried) > maxKnown {
		b.tried = map[string]bool{}
	}
	for i, sig := range sigs {
		if i < len(b.layers) && (only == nil || only(b.layers[i].Weight.Name)) {
			b.tried[sig] = true
		}
	}
}

// figures are those of some layers: of the plan, and of PEFT's codes where layers
// are calibrated.
type figures struct {
	merge.Metrics
	peft merge.Kept
}

// totals returns the figures over some layers as far as reports exist.
func (b *ledger) totals(layers func(yield func(int) bool)) figures {
	var sum quant.Sums
	var found []*merge.LayerReport
	for i := range layers {
		if r := b.report(i); r != nil && addReport(&sum, r) {
			found = append(found, r)
		}
	}
	if len(found) == 0 {
		return noFigures()
	}
	f := figures{merge.MetricsOf(sum), noFigures().peft}
	if b.sees {
		f.KeptOnInputs = merge.KeptOver(found, (*merge.LayerReport).Result).OnInputs
		f.peft = merge.KeptOver(found, (*merge.LayerReport).AsPeft)
	}
	return f
}

// overall returns the figures over all layers, as of when lists were last made.
func (b *ledger) overall() figures {
	if b.whole == nil {
		f := b.totals(func(yield func(int) bool) {
			for i := range b.layers {
				if !yield(i) {
					return
				}
			}
		})
		b.whole = &f
	}
	return *b.whole
}

// addReport adds the sums a report's figures were made of; product.md, section
// 3, has the formulas. It reports whether the figures exist.
func addReport(sum *quant.Sums, r *merge.LayerReport) bool {
	n := 1.0
	for _, d := range r.Shape {
		n *= float64(d)
	}
	kept, delta, weight := float64(r.Kept), float64(r.DeltaRMS), float64(r.WeightRMS)
	errRMS, errRel := float64(r.ErrorRMS), float64(r.ErrorRelative)
	if math.IsNaN(kept) || math.IsNaN(delta) || math.IsNaN(errRMS) {
		return false
	}
	sum.N += int64(n)
	sum.WW += weight * weight * n
	sum.DD += delta * delta * n
	sum.RD += kept * delta * delta * n
	sum.EE += errRMS * errRMS * n
	if errRel > 0 {
		sum.TT += errRMS * errRMS / (errRel * errRel) * n
	} else {
		sum.TT += (weight*weight + delta*delta) * n
	}
	sum.MaxE = max(sum.MaxE, float64(r.ErrorMax))
	if c := float64(r.CodesChanged); !math.IsNaN(c) {
		sum.Codes += int64(math.Round(c * n))
	}
	sum.Growth = max(sum.Growth, float64(r.AbsmaxGrowth))
	return true
}

// noFigures are figures of which none exists.
func noFigures() figures {
	nan := merge.Figure(math.NaN())
	return figures{peft: merge.Kept{Kept: nan, OnInputs: nan}, Metrics: merge.Metrics{
		Kept: nan, SNR: nan, CodesChanged: nan, ScalesChanged: nan, DeltaRMS: nan,
		WeightRMS: nan, DeltaRatio: nan, ErrorRMS: nan, ErrorMax: nan, ErrorRelative: nan,
		AbsmaxGrowth: nan, NoiseFloor: nan, KeptOnInputs: nan,
	}}
}

// flag notes the worst alert of each layer.
func (b *ledger) flag(alerts []merge.Alert) {
	b.levels = emptied(b.levels, len(b.layers))
	b.flagged = emptied(b.flagged, len(b.layers))
	for i := range alerts {
		al := &alerts[i]
		if i := b.index(al.Layer); i >= 0 {
			b.levels[i] = max(b.levels[i], al.Level)
			b.flagged[i] = true
		}
	}
}

// emptied returns n zero values, in the memory of s if they fit.
func emptied[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	s = s[:n]
	clear(s)
	return s
}

// index returns the layer of a name, -1 if there is none.
func (b *ledger) index(name string) int {
	if i, ok := b.at[name]; ok {
		return i
	}
	return -1
}

// short returns a module path without what all groups' paths begin with.
func (b *ledger) short(path string) string { return strings.TrimPrefix(path, b.prefix) }
