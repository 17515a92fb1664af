package tui

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	tea "charm.land/bubbletea/v2"

	"mergescope/merge"
	"mergescope/themes"
)

// outcome is what a writing job left behind.
type outcome struct {
	out      string
	state    merge.State
	layers   int
	errors   int
	warnings int
	err      error
}

// alerts counts the alerts that matter: "1 error, 3 warnings".
func (o *outcome) alerts() string {
	var parts []string
	if o.errors > 0 {
		parts = append(parts, plural(o.errors, "error"))
	}
	if o.warnings > 0 {
		parts = append(parts, plural(o.warnings, "warning"))
	}
	if len(parts) == 0 {
		return "no alerts"
	}
	return strings.Join(parts, ", ")
}

// noteOutcome keeps what a writing job did, for the line after leaving.
func (a *app) noteOutcome() {
	j := a.job
	o := &outcome{out: j.opt.Out, state: j.snap.State, layers: j.snap.LayersDone, err: j.err}
	seen := map[alertID]bool{}
	count := func(alerts []merge.Alert) {
		for _, al := range alerts {
			key := alertKey(&al)
			switch {
			case seen[key] || al.More():
			case al.Level == merge.Error:
				o.errors++
			case al.Level == merge.Warning:
				o.warnings++
			}
			seen[key] = true
		}
	}
	count(j.snap.Alerts)
	for _, l := range j.snap.Layers {
		if l.Result != nil { // the log of a large model is not complete
			count(l.Result.Alerts)
		}
	}
	if j.run != nil { // else it never began, and an earlier outcome stands
		a.wrote = o
	}
}

// announce says how a job ended.
func (a *app) announce() tea.Cmd {
	j := a.job
	switch {
	case errors.Is(j.err, context.Canceled):
		if j.quiet {
			return nil
		}
		if j.opt.Out != "" {
			return a.say(themes.Warn, "stopped; m goes on where it was, into "+clean(j.opt.Out))
		}
		return a.say(themes.Warn, "dry run cancelled")
	case j.err != nil && j.quiet:
		return a.say(themes.Bad, clean(j.err.Error()))
	case j.err != nil:
		return a.ask(&confirm{
			name:    "the " + j.kind() + " failed",
			lines:   []string{clean(j.err.Error())},
			choices: []choice{{"enter", "back", nil}},
		}, true)
	case j.opt.Out != "" && (a.lay.form < twoPanes || a.topOverlay() != nil || a.tree.typing):
		return a.hold(themes.Good, a.mergedLine()) // a dialog would cover what the user is at
	case j.opt.Out != "":
		return a.ask(a.mergedDialog(), true)
	case j.quiet:
		return nil
	}
	return a.say(themes.Good, "dry run done: "+a.verdict())
}

// mergedLine tells what was written in one line.
func (a *app) mergedLine() string {
	return fmt.Sprintf("%s merged into %s, %s", plural(a.wrote.layers, "layer"), clean(a.wrote.out), a.wrote.alerts())
}

// mergedFacts tells what a merge left: kept, alerts, and what to do next.
func (a *app) mergedFacts() []string {
	var lines []string
	if v := a.verdict(); v != "" {
		lines = append(lines, v)
	}
	if o := a.wrote; o.errors+o.warnings > 0 {
		lines = append(lines, o.alerts())
	}
	for _, g := range merge.Guidance() {
		if g.When == merge.Export {
			lines = append(lines, "", "next: "+g.Text)
		}
	}
	return lines
}

// mergedDialog tells what was written and what to do next.
func (a *app) mergedDialog() *confirm {
	lines := append([]string{fmt.Sprintf("%s merged into %s", plural(a.wrote.layers, "layer"), clean(a.wrote.out))}, a.mergedFacts()...)
	return &confirm{name: "merged", lines: lines, choices: []choice{
		{"4", "see the alerts", func(a *app) tea.Cmd { a.setFocus(alertsID); return nil }},
		{"enter", "back", nil},
	}}
}

// summary is the line for the user's shell after leaving.
func (a *app) summary() string {
	if a.busy() && a.job.run != nil && a.job.opt.Out != "" { // left while it ran
		a.job.snap = a.job.run.Snapshot()
		if a.job.snap.State != merge.Done {
			a.job.err = context.Canceled
		}
		a.noteOutcome()
	}
	o := a.wrote
	if o == nil {
		return ""
	}
	switch {
	case o.err == nil:
		return fmt.Sprintf("merged %s into %s, %s; details in %s", plural(o.layers, "layer"), o.out, o.alerts(), "mergescope-report.json")
	case errors.Is(o.err, context.Canceled):
		return fmt.Sprintf("stopped after %s; merging into %s again with the same plan goes on there", plural(o.layers, "layer"), o.out)
	default:
		return fmt.Sprintf("the merge into %s failed: %v", o.out, o.err)
	}
}

// verdict says in a sentence what the plan does to the adapter.
func (a *app) verdict() string {
	m := a.book.overall()
	kept := float64(m.Kept)
	if math.IsNaN(kept) {
		return ""
	}
	erased := a.countCode(merge.CodeErased)
	s := merge.Percent(kept) + " of the adapter is kept"
	if seen := float64(m.KeptOnInputs); !math.IsNaN(seen) {
		s = fmt.Sprintf("%s of the adapter is kept on the layers' inputs (%s with PEFT's codes), %s of the matrices",
			merge.Percent(seen), merge.Percent(float64(m.peft.OnInputs)), merge.Percent(kept))
	}
	if erased > 0 {
		s += fmt.Sprintf(", %d of %s erased", erased, plural(a.book.countPlanned(), "layer"))
	}
	if n := a.countCode(merge.CodeNonFinite); n > 0 {
		s += fmt.Sprintf(", %d with NaN or infinite values", n)
	}
	return s
}

func (a *app) countCode(code merge.Code) int {
	n := 0
	for i := range a.feed.alerts {
		if a.feed.alerts[i].Code == code {
			n++
		}
	}
	return n
}

// verdictRole colours the verdict.
func (a *app) verdictRole() themes.Role {
	return keptRole(float64(a.book.overall().Kept))
}
