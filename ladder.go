package main

import (
	"context"
	"fmt"
	"strings"

	"mergescope/merge"
)

// advise replaces the session's plan by the one that a run of the model speaks
// for, and says on stderr, or as JSON on stdout, what was measured.
func (a *app) advise(ctx context.Context, s *session, f *planFlags) error {
	opt, err := f.eval.options(a, s.project.Model)
	if err != nil {
		return err
	}
	e, err := merge.NewLadderRun(ctx, s.project, s.plan, opt)
	if err != nil {
		return &failure{what: "run the model", err: err}
	}
	r, err := a.runEval(ctx, e.Eval, "")
	if err != nil {
		return err
	}
	l := e.Ladder()
	for _, rung := range l.Rungs {
		if rung.Name == l.Advised {
			s.plan = rung.Plan
		}
	}
	a.code = alertCode(ofModel(r.Alerts), nil)
	if f.json {
		return printJSON(a.out, l)
	}
	var b strings.Builder
	ladderTable(l).write(&b)
	fmt.Fprintln(&b)
	printAlerts(&b, ofModel(r.Alerts))
	printWrapped(&b, "advised: "+l.Reason)
	_, err = fmt.Fprint(a.err, b.String())
	return err
}

// ladderTable has a line for each way to ship the adapters.
func ladderTable(l *merge.Ladder) *table {
	t := newTable("way", ">size", ">kept", ">on inputs", ">NLL", ">KL", ">effect lost", ">merge s")
	for _, r := range l.Rungs {
		name := r.Name
		if name == l.Advised {
			name += " *"
		}
		t.add(name, byteSize(r.Bytes), number(r.Kept, 3), number(r.OnInputs, 3), pm(r.NLL, 4), pm(r.KL, 5), percent(r.Lost, 1), fmt.Sprintf("%.1f", r.Seconds))
	}
	return t
}
