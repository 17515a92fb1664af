package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mergescope/loader"
	"mergescope/merge"
)

func newVerify(a *app) *cobra.Command {
	var sel selection
	var merged, progress string
	var failOn []string
	var asJSON bool
	c := &cobra.Command{
		Use:   "verify MODEL",
		Short: "Check a merged checkpoint against model and adapter",
		Long: `Check whether a merged checkpoint, made by whatever program and stored in
whatever format, holds what MODEL and the adapters say. Weights are compared, no
model is run. Found are adapters applied at a wrong scale, twice, not at all or in
part, another base, another adapter, rows in a converter's order, NaN, and what
changed without an adapter. Exits with 3 if the merge is not the one it should
be; an adapter that requantization erased was merged right, see --fail-on.`,
		Example: `mergescope verify ./model -a ./adapter --merged ./merged
mergescope verify org/name -a ./adapter --merged ./merged --fail-on erased --json`,
		Args: arguments(1, 1),
		RunE: func(c *cobra.Command, args []string) error {
			if merged == "" {
				return usagef("name the merged checkpoint: --merged DIR", "verify needs a merged checkpoint")
			}
			if err := checkVerdicts(failOn); err != nil {
				return err
			}
			if err := sel.needAdapter(); err != nil {
				return err
			}
			show, err := newProgress(progress, a.err)
			if err != nil {
				return err
			}
			s, err := a.open(args[0], sel)
			if err != nil {
				return err
			}
			defer s.Close()
			ckpt, err := a.source.Checkpoint(merged)
			if err != nil {
				return &failure{what: "open merged checkpoint", err: err}
			}
			defer ckpt.Close()
			r, err := audit(c.Context(), s, ckpt, show)
			if err != nil {
				return err
			}
			a.code = verdictCode(r, failOn)
			if asJSON {
				return printJSON(a.out, r)
			}
			return printAudit(a.out, r)
		},
	}
	sel.addPlan(c)
	f := c.Flags()
	f.StringVar(&merged, "merged", "", "merged checkpoint: a directory, a file or a name in the cache")
	f.StringSliceVar(&failOn, "fail-on", nil, "exit with 3 on these verdicts too: erased, weak, undecided")
	f.StringVar(&progress, "progress", "", "progress on stderr: bar, json or none (default: a bar on a terminal)")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func checkVerdicts(names []string) error {
	known := merge.Verdicts()
	for _, n := range names {
		if !slices.Contains(known, merge.Verdict(n)) {
			return usagef("the verdicts are in docs/audit.md, for example erased or weak", "--fail-on: %q is not known", n)
		}
	}
	return nil
}

// audit runs the audit and shows its progress.
func audit(ctx context.Context, s *session, merged *loader.Checkpoint, show progress) (*merge.AuditReport, error) {
	start, last := time.Now(), time.Time{}
	r, err := s.project.Audit(ctx, s.plan, merged, func(p merge.AuditProgress) {
		if time.Since(last) < 100*time.Millisecond && p.LayersDone < p.LayersTotal {
			return
		}
		last = time.Now()
		took := last.Sub(start)
		snap := merge.Snapshot{
			LayersDone: p.LayersDone, LayersTotal: p.LayersTotal,
			WeightsDone: p.WeightsDone, WeightsTotal: p.WeightsTotal, Elapsed: took,
		}
		if seconds := took.Seconds(); seconds > 0 {
			snap.Rate = float64(p.WeightsDone) / seconds
		}
		show.update(snap)
	})
	show.done(err)
	switch {
	case errors.Is(err, context.Canceled):
		return nil, &failure{what: "verify", err: errors.New("interrupted"), hint: "nothing was written; run the command again", code: exitInterrupted}
	case err != nil:
		return nil, &failure{what: "verify", err: err}
	}
	return r, nil
}

// verdictCode is the exit code of an audit.
func verdictCode(r *merge.AuditReport, failOn []string) int {
	for _, f := range r.Findings {
		if f.Level == merge.Error || slices.Contains(failOn, string(f.Verdict)) {
			return exitAlerts
		}
	}
	return alertCode(r.Alerts, nil)
}

// printAudit writes the audit as text.
func printAudit(w io.Writer, r *merge.AuditReport) error {
	b := &strings.Builder{}
	fmt.Fprintln(b, modelLine(r.Model))
	fmt.Fprintln(b, "merged "+strings.TrimPrefix(modelLine(r.Merged), "model  "))
	for _, ad := range r.Adapters {
		fmt.Fprintln(b, adapterLine(ad))
	}
	fmt.Fprintln(b)
	auditTable(r).write(b)
	fmt.Fprintln(b)
	groupTable(r).write(b)
	fmt.Fprintln(b)
	for _, f := range r.Findings {
		fmt.Fprintf(b, "%-8s %s\n", f.Level, f.Verdict)
		printWrapped(b, f.Message)
		printWrapped(b, "hint: "+f.Hint)
	}
	printAlerts(b, slices.DeleteFunc(slices.Clone(r.Alerts), func(al merge.Alert) bool { return al.Level < merge.Error }))
	fmt.Fprintf(b, "\n%s: %s\n", r.Verdict, r.Summary)
	_, err := io.WriteString(w, b.String())
	return err
}

// auditTable has a line for every layer with an adapter or a fault.
func auditTable(r *merge.AuditReport) *table {
	t := newTable("layer", "format", "merged", ">applied", ">±", ">expected", ">cosine", ">equal", "verdict")
	for _, l := range r.Layers {
		if len(l.Adapters) == 0 && l.Verdict == merge.VerdictSame {
			continue
		}
		t.add(append(append([]string{l.Name, l.Format, l.MergedFormat}, auditCells(l.AuditFigures)...), string(l.Verdict))...)
	}
	return t
}

// groupTable has a line for every kind of module, and the totals.
func groupTable(r *merge.AuditReport) *table {
	t := newTable("modules", ">layers", ">right", ">applied", ">±", ">expected", ">cosine", ">equal")
	layers, right := 0, 0
	for _, g := range r.Modules {
		t.add(append([]string{g.Name, fmt.Sprint(g.Layers), fmt.Sprint(g.Right)}, auditCells(g.AuditFigures)...)...)
		layers, right = layers+g.Layers, right+g.Right
	}
	t.add(append([]string{"all", fmt.Sprint(layers), fmt.Sprint(right)}, auditCells(r.Totals)...)...)
	return t
}

func auditCells(f merge.AuditFigures) []string {
	return []string{number(f.Applied, 3), number(f.AppliedError, 3), number(f.Expected, 3), number(f.Cosine, 3), percent(f.Equal, 1)}
}
