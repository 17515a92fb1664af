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

// verifyFlags are the flags of verify.
type verifyFlags struct {
	sel              selection
	eval             evalFlags
	merged, progress string
	failOn           []string
	beside           besideFlags
	sensitivity      int
	json             bool
}

func newVerify(a *app) *cobra.Command {
	var f verifyFlags
	c := &cobra.Command{
		Use:   "verify MODEL",
		Short: "Check a merge by its weights and by running the model",
		Long: `Check whether a merged checkpoint, made by whatever program and stored in
whatever format, holds what MODEL and the adapters say. Found are adapters applied
at a wrong scale, twice, not at all or in part, another base, another adapter, rows
in a converter's order, NaN, and what changed without an adapter. Exits with 3 if
the merge is not the one it should be; an adapter that requantization erased was
merged right, see --fail-on.

With --text or --tokens the model is run as well, with the adapter kept separate and
merged, and what changed is told: NLL, perplexity, KL, the token found most likely,
by position, by text, and by depth. Without --merged the plan's merge is run before
anything is written. --max-kl sets a bound to what may change.`,
		Example: `mergescope verify ./model -a ./adapter --merged ./merged
mergescope verify ./model -a ./adapter --merged ./merged --text validation.txt --max-kl 0.02
mergescope verify ./model --plan mergescope-plan.json --time 60s
mergescope verify demo -a demo:gocode-light --sensitivity
mergescope verify org/name -a ./adapter --merged ./merged --fail-on erased --json`,
		Args: arguments(1, 1),
		RunE: func(c *cobra.Command, args []string) error { return a.verify(c, args[0], &f) },
	}
	f.sel.addPlan(c)
	f.sel.addStatistics(c)
	f.eval.add(c)
	f.beside.add(c)
	fl := c.Flags()
	fl.StringVar(&f.merged, "merged", "", "merged checkpoint: a directory, a file or a name in the cache")
	fl.StringSliceVar(&f.failOn, "fail-on", nil, "exit with 3 on these verdicts too: erased, weak, undecided")
	fl.IntVar(&f.sensitivity, "sensitivity", 0, "merge one layer at a time over about so many tokens and rank the layers by KL")
	fl.Lookup("sensitivity").NoOptDefVal = fmt.Sprint(sensitivityTokens)
	fl.StringVar(&f.progress, "progress", "", "progress on stderr: bar, json or none (default: a bar on a terminal)")
	fl.BoolVar(&f.json, "json", false, "print JSON")
	return c
}

// runs reports whether the model is to be run: if a flag needs it, or if there
// is nothing else to check.
func (f *verifyFlags) runs(c *cobra.Command) bool {
	return f.merged == "" || f.eval.wanted(c) || f.beside.any() || f.sensitivity > 0
}

func (f *verifyFlags) check(c *cobra.Command) error {
	if f.merged == "" && len(f.failOn) > 0 {
		return usagef("name the merged checkpoint: --merged DIR", "--fail-on is about verdicts on a merged checkpoint")
	}
	if f.merged == "" && f.sel.plan == "" && !f.eval.wanted(c) && !f.beside.any() && f.sensitivity <= 0 {
		return usagef("name the merged checkpoint: --merged DIR, or run the plan before it is written: --text builtin", "verify needs a merged checkpoint or a text")
	}
	if f.sensitivity < 0 {
		return usagef("about so many tokens for each layer", "--sensitivity: %d is negative", f.sensitivity)
	}
	if err := checkVerdicts(f.failOn); err != nil {
		return err
	}
	if err := f.eval.check(c); err != nil {
		return err
	}
	return f.sel.needAdapter()
}

// verify runs the command.
func (a *app) verify(c *cobra.Command, name string, f *verifyFlags) error {
	if err := f.check(c); err != nil {
		return err
	}
	show, err := newProgress(f.progress, a.err)
	if err != nil {
		return err
	}
	s, err := a.open(name, f.sel)
	if err != nil {
		return err
	}
	defer s.Close()
	var opt merge.EvalOptions
	if f.runs(c) {
		closeAll, err := f.variants(a, s, &opt)
		defer closeAll()
		if err != nil {
			return err
		}
	}
	var v verified
	if f.merged != "" {
		ckpt, err := a.source.Checkpoint(f.merged)
		if err != nil {
			return &failure{what: "open merged checkpoint", err: err}
		}
		defer ckpt.Close()
		if v.AuditReport, err = audit(c.Context(), s, ckpt, show); err != nil {
			return err
		}
		a.code = verdictCode(v.AuditReport, f.failOn)
		opt.Merged = append([]*loader.Checkpoint{ckpt}, opt.Merged...)
	}
	if f.runs(c) {
		if v.Run, err = a.evaluate(c.Context(), s, opt, f.progress); err != nil {
			return err
		}
		a.code = max(a.code, alertCode(v.Run.Alerts, nil))
	}
	return f.print(a, v)
}

// variants opens what is run beside the merged checkpoint. closeAll is never
// nil.
func (f *verifyFlags) variants(a *app, s *session, opt *merge.EvalOptions) (closeAll func(), err error) {
	if *opt, err = f.eval.options(a, s.project.Model); err != nil {
		return func() {}, err
	}
	opt.Sensitivity = f.sensitivity
	if f.merged == "" || f.sensitivity > 0 {
		opt.Plans = append(opt.Plans, merge.NamedPlan{Name: merge.VariantPlan, Plan: s.plan})
	}
	return f.beside.open(a, s, opt)
}

// print shows the results.
func (f *verifyFlags) print(a *app, v verified) error {
	if f.json {
		return printJSON(a.out, v)
	}
	if v.AuditReport != nil {
		if err := printAudit(a.out, v.AuditReport); err != nil {
			return err
		}
	}
	if v.Run == nil {
		return nil
	}
	if v.AuditReport != nil {
		fmt.Fprintln(a.out)
	}
	return printEval(a.out, v.Run)
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
