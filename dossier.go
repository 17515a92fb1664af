package main

import (
	"strings"
	"time"
	"unicode"

	"mergescope/merge"
)

// dossier is everything the files of `report` are made of.
type dossier struct {
	report   *merge.Report
	plan     merge.Plan
	subject  string                 // what results point at: the plan file if there is one, else the model as named
	tiles    map[string]*merge.Tile // by layer
	failOn   []string
	findings []finding         // why the command fails; none if it does not
	baseline *baseline         // nil without --baseline
	run      *merge.EvalReport // nil if the model was not run
	at       time.Time
}

// newDossier judges a report.
func newDossier(r *merge.Report, failOn []string, b *baseline) *dossier {
	d := &dossier{report: r, failOn: failOn, baseline: b, at: time.Now()}
	if b != nil {
		d.findings = b.regressions(r, failOn)
	} else {
		d.findings = alertFindings(allAlerts(r), failOn)
	}
	return d
}

// code is the exit code of the command.
func (d *dossier) code() int {
	if len(d.findings) > 0 {
		return exitAlerts
	}
	return exitFine
}

// warnings counts alerts of level warning.
func (d *dossier) warnings() int {
	n := 0
	for _, al := range allAlerts(d.report) {
		if al.Level == merge.Warning {
			n++
		}
	}
	return n
}

// verdict says in a sentence how the report was judged.
func (d *dossier) verdict() string {
	var rules []string
	if d.baseline != nil {
		rules = append(rules, "against the baseline")
	}
	if len(d.failOn) > 0 {
		rules = append(rules, "with --fail-on "+strings.Join(d.failOn, ","))
	}
	by := strings.Join(append([]string{""}, rules...), " ")
	switch {
	case len(d.findings) > 0:
	case len(rules) > 0:
		return "passed" + by
	case d.warnings() > 0: // nobody asked for a judgement: "passed" would be one
		return "no errors, " + plural(d.warnings(), "warning")
	default:
		return "no errors"
	}
	return "failed" + by + ": " + plural(len(d.findings), "finding")
}

// clean makes text out of a file safe to show: what is not printable, marks
// that turn the direction of text among it, becomes "?".
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}
