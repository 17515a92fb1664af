package main

import (
	"context"
	"fmt"
	"strings"

	"mergescope/merge"
)

// fitResidual replaces the session's plan by one whose residual has the smallest rank
// that reaches a KL, and says on stderr what was tried.
func (a *app) fitResidual(ctx context.Context, s *session, target float64, opt merge.EvalOptions, kind string) error {
	f, err := s.project.FitResidual(ctx, s.plan, target, opt, func(ctx context.Context, e *merge.Eval) (*merge.EvalReport, error) {
		return a.runEval(ctx, e, kind)
	})
	if f != nil && len(f.Steps) > 0 {
		t := newTable(">rank", ">KL", ">residual")
		for _, step := range f.Steps {
			t.add(fmt.Sprint(step.Rank), pm(step.KL, 5), byteSize(step.Bytes))
		}
		var b strings.Builder
		t.write(&b)
		fmt.Fprint(a.err, b.String())
	}
	if err != nil {
		return &failure{what: "find a residual", err: err, hint: "--residual-kl is the KL from the separate adapter on the text, in nats per token"}
	}
	s.plan = f.Plan
	r := f.Reached()
	if f.Rank == 0 {
		fmt.Fprintf(a.err, "no residual is needed: the codes alone have a KL of %s\n", pm(r.KL, 5))
		return nil
	}
	fmt.Fprintf(a.err, "a residual of rank %d, %s, reaches a KL of %s\n", f.Rank, byteSize(r.Bytes), pm(r.KL, 5))
	return nil
}

// checkResidual checks --residual-kl.
func checkResidual(changed bool, kl float64) error {
	if changed && !(kl > 0) {
		return usagef("for example --residual-kl 0.001", "--residual-kl: %v is no KL", kl)
	}
	return nil
}
