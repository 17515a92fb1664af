package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"mergescope/loader"
	"mergescope/merge"
)

// planFlags are the flags of plan.
type planFlags struct {
	sel             selection
	eval            evalFlags
	out, budget, by string
	above, residual float64
	force           bool
	advise, json    bool
}

func newPlan(a *app) *cobra.Command {
	var f planFlags
	c := &cobra.Command{
		Use:   "plan MODEL",
		Short: "Write a plan file to edit",
		Long: `Write a plan: which adapter goes on which layers, at which scale and in which
output form. Edit it and give it to report or merge with --plan. Rules match
module paths by glob or, after "re:" or "^", by RE2; later rules win. Output forms are
same, bf16, f16, f32, keep and separate.

With --keep-above the merge is run without writing, and layers that would keep
less of the adapter are planned as floats in the model's dtype, mostly bf16;
--budget limits by how much the checkpoint may grow, and takes those first that
save most for a byte. It says how far that is from the best possible choice.

With --by kl the model is run over a text with one layer merged at a time. Layers
with most KL for a byte are planned as floats, until those left have no more than
the rest of the KL of all: 1-X of it under --keep-above X.

With --advise the ways to ship the adapter are held against each other in one run
of the model over a text: peft, dithered, calibrated, the worst layers in bf16, and
the adapter kept separate, with size, kept, KL, NLL and time. The plan is the one
that is advised.

With --residual-kl calibrated layers get the smallest residual (residual=RANK, an
adapter beside the merged checkpoint) with which the model reaches that KL.

plan diff A B compares two plans.`,
		Example: `mergescope plan demo -a demo:gocode-light
mergescope plan ./model -a ./adapter -o mergescope-plan.json
mergescope plan ./model -a ./adapter --keep-above 0.9 --budget 50MB -o plan.json
mergescope plan ./model -a ./adapter --keep-above 0.8 --by kl --text validation.txt -o plan.json
mergescope plan demo -a demo:gocode-light --advise -o plan.json`,
		Args: arguments(1, 1),
		RunE: func(c *cobra.Command, args []string) error { return a.plan(c, args[0], &f) },
	}
	f.sel.addPlan(c)
	f.sel.addForms(c)
	f.eval.addTexts(c)
	fl := c.Flags()
	fl.StringVarP(&f.out, "out", "o", "", "write to this file instead of standard output")
	fl.Float64Var(&f.above, "keep-above", 0, "plan layers that keep less than this share of the adapter as floats (1 with --budget alone)")
	fl.StringVar(&f.by, "by", "kept", "what --keep-above goes by: kept, or kl for a run of the model with one layer merged at a time")
	fl.StringVar(&f.budget, "budget", "", "by how much the checkpoint may grow, for example 50MB (default: no limit)")
	fl.Float64Var(&f.residual, "residual-kl", 0, "plan the smallest residual with which calibrated layers have at most this KL from the separate\nadapter on the text, in nats per token")
	fl.BoolVar(&f.force, "force", false, "overwrite the file")
	fl.BoolVar(&f.advise, "advise", false, "measure the ways to ship the adapter on a text and plan the one that loses least for its size")
	fl.BoolVar(&f.json, "json", false, "with --advise, print the figures as JSON instead of the plan")
	c.AddCommand(newPlanDiff(a))
	return c
}

func (f *planFlags) check(c *cobra.Command) error {
	if err := f.sel.needAdapter(); err != nil {
		return err
	}
	if err := checkWord("--by", f.by, "kept", "kl"); err != nil {
		return err
	}
	if f.budget != "" && !c.Flags().Changed("keep-above") {
		f.above = 1 // wherever something is lost
	}
	switch {
	case f.by == "kl" && !f.advises(c):
		return usagef("add --keep-above 0.8", "--by needs --keep-above")
	case f.advise && f.advises(c):
		return usagef("one after the other: --plan takes a plan file", "--advise and --keep-above are two ways to a plan")
	case f.json && !f.advise:
		return usagef("a plan is JSON already", "--json is for --advise")
	case f.residual > 0 && (f.advise || f.advises(c)):
		return usagef("one after the other: --plan takes a plan file", "--residual-kl is another way to a plan")
	case f.by != "kl" && !f.advise && f.residual == 0 && f.eval.wanted(c):
		return usagef("add --by kl, --advise or --residual-kl", "the text is for --by kl, --advise and --residual-kl")
	case !(f.above >= 0 && f.above <= 1):
		return usagef("1 is all of the adapter", "--keep-above: %v is not between 0 and 1", f.above)
	}
	if err := checkResidual(c.Flags().Changed("residual-kl"), f.residual); err != nil {
		return err
	}
	return f.eval.check(c)
}

// advises reports whether output forms are to be planned.
func (f *planFlags) advises(c *cobra.Command) bool {
	return f.budget != "" || c.Flags().Changed("keep-above")
}

// plan runs the command.
func (a *app) plan(c *cobra.Command, model string, f *planFlags) error {
	if err := f.check(c); err != nil {
		return err
	}
	limit, err := parseBudget(f.budget)
	if err != nil {
		return err
	}
	s, err := a.open(model, f.sel)
	if err != nil {
		return err
	}
	defer s.Close()
	switch {
	case f.advise:
		err = a.advise(c.Context(), s, f)
	case f.residual > 0:
		var opt merge.EvalOptions
		if opt, err = f.eval.options(a, s.project.Model); err == nil {
			err = a.fitResidual(c.Context(), s, f.residual, opt, "")
		}
	case !f.advises(c):
	case s.plan.Onto != "":
		err = usagef("leave out --keep-above and --budget", "a merge onto the original erases no layer: there is nothing to advise")
	case f.by == "kl":
		err = a.keepSensitive(c.Context(), s, f, limit)
	default:
		err = a.keepAbove(c.Context(), s, f.above, limit)
	}
	if err != nil {
		return err
	}
	if f.out == "" && !f.json {
		_, err := a.out.Write(s.plan.Encode())
		return err
	}
	if f.out == "" {
		return nil
	}
	return a.writePlan(f.out, s.plan.Encode(), f.force)
}

// keepSensitive replaces the session's plan by one that changes less of what the
// model predicts, and says on stderr what that takes.
func (a *app) keepSensitive(ctx context.Context, s *session, f *planFlags, budget int64) error {
	opt, err := f.eval.options(a, s.project.Model)
	if err != nil {
		return err
	}
	if opt.MaxTokens == 0 {
		opt.MaxTokens = sensitivityTokens
	}
	opt.Sensitivity = opt.MaxTokens
	opt.Plans = []merge.NamedPlan{{Name: merge.VariantPlan, Plan: s.plan}}
	r, err := a.evaluate(ctx, s, opt, "")
	if err != nil {
		return err
	}
	if code := alertCode(ofModel(r.Alerts), nil); code != exitFine {
		printAlerts(a.err, r.Alerts)
		return &failure{what: "rank layers", err: errors.New("the run has no figures"), code: code}
	}
	p := s.project.KeepSensitive(s.plan, r.Sensitivity, f.above, budget)
	s.plan = p.Plan
	fmt.Fprintf(a.err, "%s in %s, the checkpoint grows by %s; %s\n", plural(len(p.Layers), "layer"), p.Form, byteSize(p.Bytes), rankText(r.Sensitivity))
	if n := len(p.Left); n > 0 {
		fmt.Fprintf(a.err, "%s left as planned: the budget is used up\n", plural(n, "layer"))
	}
	a.sayGap(s, p, budget, "KL")
	return nil
}

// keepAbove replaces the session's plan by one that keeps more, and says on
// stderr what that takes.
func (a *app) keepAbove(ctx context.Context, s *session, above float64, budget int64) error {
	report, err := a.runJob(ctx, s, merge.Options{}, "")
	if err != nil {
		return err
	}
	p := s.project.KeepAbove(s.plan, report, above, budget)
	s.plan = p.Plan
	fmt.Fprintf(a.err, "%s in %s, the checkpoint grows by %s\n", plural(len(p.Layers), "layer"), p.Form, byteSize(p.Bytes))
	if n := len(p.Left); n > 0 {
		fmt.Fprintf(a.err, "%s below %s left as planned: the budget is used up\n", plural(n, "layer"), percent(above, 0))
	}
	a.sayGap(s, p, budget, "energy")
	return nil
}

// sayGap says how much of what is lost a proposal within a budget recovers, how
// far that is from the best, and why int8 does not help.
func (a *app) sayGap(s *session, p merge.Proposal, budget int64, what string) {
	if budget < 0 || p.Lost <= 0 {
		return
	}
	share := func(v float64) string { return percent(v/p.Lost, 1) }
	fmt.Fprintf(a.err, "%s of the %s these layers lose is recovered; no choice within the budget recovers more than %s (gap %s)\n",
		share(p.Recovered), what, share(p.Bound), share(p.Bound-p.Recovered))
	if slices.ContainsFunc(s.project.Model.Weights, func(w *loader.Weight) bool { return w.Format.Is4Bit() }) {
		fmt.Fprintln(a.err, merge.NoInt8)
	}
}

// byteUnits are the units --budget knows, longest first.
var byteUnits = []struct {
	name string
	size float64
}{
	{"kib", 1 << 10},
	{"mib", 1 << 20},
	{"gib", 1 << 30},
	{"kb", 1e3},
	{"mb", 1e6},
	{"gb", 1e9},
	{"b", 1},
}

// parseBudget reads a number of bytes such as 50MB or +1.5GiB; -1 if there is
// none.
func parseBudget(text string) (int64, error) {
	if text == "" {
		return -1, nil
	}
	number, factor := strings.ToLower(strings.TrimPrefix(text, "+")), 1.0
	for _, u := range byteUnits {
		if rest, ok := strings.CutSuffix(number, u.name); ok {
			number, factor = rest, u.size
			break
		}
	}
	v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if err != nil || !(v >= 0) || v*factor > 1<<62 {
		return 0, usagef("for example --budget 50MB", "--budget: %q is no number of bytes", text)
	}
	return int64(v * factor), nil
}

// writePlan writes the file, over an existing one only if told to.
func (a *app) writePlan(name string, data []byte, force bool) error {
	flags := os.O_WRONLY | os.O_CREATE | os.O_EXCL
	if force {
		flags = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	}
	f, err := os.OpenFile(name, flags, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return &failure{what: "write plan", err: fmt.Errorf("%s exists", name), hint: "choose another name or add --force", code: exitRefused}
	}
	if err != nil {
		return &failure{what: "write plan", err: err}
	}
	if _, err := f.Write(data); err != nil {
		f.Close()
		return &failure{what: "write plan", err: err}
	}
	if err := f.Close(); err != nil {
		return &failure{what: "write plan", err: err}
	}
	fmt.Fprintf(a.out, "wrote %s\n", name)
	return nil
}
