package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"mergescope/loader"
	"mergescope/merge"
)

// mergeFlags are the flags of merge.
type mergeFlags struct {
	sel            selection
	job            jobFlags
	eval           evalFlags
	out, shard     string
	resume, verify bool
	residual       float64 // KL
}

func newMerge(a *app) *cobra.Command {
	var f mergeFlags
	c := &cobra.Command{
		Use:   "merge MODEL",
		Short: "Merge and write a checkpoint that transformers loads",
		Long: `Merge adapters into the checkpoint and write the result, in the same format
and layout, together with mergescope-report.json. The inputs are never changed.
An interrupted merge is resumed by the same command; --resume insists on that.

With --verify what is written is run over a text before config.json is, and held
against the adapter kept separate. If --max-kl is exceeded, or there are no figures,
nothing loads the directory; the same command with a higher bound completes it.

With --shard several processes write one output, each a part of it. They may run
at once or one after the other, on any machines that see the directory. The last
one checks all parts and completes the output; docs/cluster.md has scripts.`,
		Example: `mergescope merge ./model -a ./adapter -o ./merged
mergescope merge ./model --plan mergescope-plan.json -o ./merged --fail-on erased
mergescope merge ./model -a ./adapter -o ./merged --verify --text validation.txt --max-kl 0.02
mergescope merge ./model -a ./adapter -o ./merged --shard 2/4`,
		Args: arguments(1, 1),
		RunE: func(c *cobra.Command, args []string) error { return a.merge(c, args[0], &f) },
	}
	f.sel.addPlan(c)
	f.sel.addForms(c)
	f.job.add(c)
	fl := c.Flags()
	fl.StringVarP(&f.out, "out", "o", "", "output directory, new or empty")
	fl.BoolVar(&f.resume, "resume", false, "only go on with an unfinished merge in the output directory")
	fl.StringVar(&f.shard, "shard", "", "write part i of n (i/n, from 1) of an output that other processes write too;\nauto or auto/n take i from a Slurm array or a Kubernetes indexed Job")
	fl.Float64Var(&f.residual, "residual-kl", 0, "with method calibrated: find the smallest residual with which the KL from the separate adapter on the\ntext is at most this, in nats per token, and write that")
	fl.BoolVar(&f.verify, "verify", false, "run what is written over a text before the output is complete")
	f.eval.add(c)
	return c
}

// options checks the flags and returns the job's options.
func (f *mergeFlags) options(c *cobra.Command) (merge.Options, error) {
	if f.out == "" {
		return merge.Options{}, usagef("name a new or empty directory: -o DIR", "merge needs an output directory")
	}
	opt, err := f.job.options(c)
	if err != nil {
		return opt, err
	}
	opt.Out, opt.Resume = f.out, f.resume
	if f.shard != "" {
		if opt.Part, err = parseShard(f.shard, os.Getenv); err != nil {
			return opt, err
		}
	}
	if f.eval.wanted(c) && !f.verify && f.residual == 0 {
		return opt, usagef("add --verify", "the text is for --verify and --residual-kl")
	}
	if err := checkResidual(c.Flags().Changed("residual-kl"), f.residual); err != nil {
		return opt, err
	}
	if f.residual > 0 && f.shard != "" {
		return opt, usagef("mergescope plan --residual-kl writes a plan for all parts", "--residual-kl and --shard exclude each other")
	}
	if err := f.eval.check(c); err != nil {
		return opt, err
	}
	return opt, f.sel.needAdapter()
}

// merge runs the command.
func (a *app) merge(c *cobra.Command, model string, f *mergeFlags) error {
	opt, err := f.options(c)
	if err != nil {
		return err
	}
	s, err := a.open(model, f.sel)
	if err != nil {
		return err
	}
	defer s.Close()
	if err := a.somethingToWrite(s); err != nil {
		return err
	}
	if opt.Calibrate, err = f.job.calibration(a, s.project.Model); err != nil {
		return err
	}
	var m merged
	var eval merge.EvalOptions
	if f.verify || f.residual > 0 {
		if eval, err = f.eval.options(a, s.project.Model); err != nil {
			return err
		}
	}
	if f.residual > 0 {
		fit := eval
		fit.Calibrate, fit.MaxKL = opt.Calibrate, 0
		if err := a.fitResidual(c.Context(), s, f.residual, fit, f.job.progress); err != nil {
			return err
		}
	}
	if f.verify {
		opt.Check = func(ctx context.Context, written *loader.Checkpoint) (err error) {
			m.Run, err = a.accept(ctx, s, eval, written)
			return err
		}
	}
	run := a.runJob
	if opt.Part.Count > 0 {
		run = a.runShards
	}
	if m.Report, err = run(c.Context(), s, opt, f.job.progress); err != nil || m.Report == nil {
		return err
	}
	a.code = alertCode(m.Alerts, f.job.failOn)
	if f.job.json {
		return printJSON(a.out, m)
	}
	if err := printMerged(a.out, m.Report, f.out); err != nil || m.Run == nil {
		return err
	}
	fmt.Fprintln(a.out)
	return printEval(a.out, m.Run)
}

// merged is `merge --json` and `report --json`: the report, and that of the run
// if there was one.
type merged struct {
	*merge.Report
	Run *merge.EvalReport `json:"run,omitempty"`
}

// accept runs what a merge wrote, and refuses it if the run raised an error.
func (a *app) accept(ctx context.Context, s *session, opt merge.EvalOptions, written *loader.Checkpoint) (*merge.EvalReport, error) {
	opt.Merged = []*loader.Checkpoint{written}
	e, err := merge.NewEval(s.project, s.plan, opt)
	if err != nil {
		return nil, err
	}
	r, err := e.Run(ctx)
	if err != nil {
		return r, err
	}
	for _, al := range r.Alerts {
		if al.Level == merge.Error {
			return r, &failure{
				what: "verify", err: errors.New(al.Message), code: exitAlerts,
				hint: "config.json is not written, so nothing loads the output; the same command with a higher --max-kl completes it",
			}
		}
	}
	return r, nil
}

// somethingToWrite refuses a merge of which nothing is left but a copy of the
// model, since its output would look like one that has the adapter.
func (a *app) somethingToWrite(s *session) error {
	layers, alerts := s.project.Layers(s.plan)
	changes := slices.ContainsFunc(layers, func(l merge.Layer) bool { return !l.Copies() })
	if changes || alertCode(alerts, nil) == exitFine {
		return nil
	}
	printAlerts(a.err, alerts)
	return &failure{what: "merge", err: errors.New("the plan changes no layer of this model"), hint: "mergescope doctor says more"}
}

// printMerged sums a merge up.
func printMerged(w io.Writer, r *merge.Report, out string) error {
	b := &strings.Builder{}
	fmt.Fprintf(b, "wrote %s in %.1f s; figures and digests are in %s\n\n", out, r.Seconds, filepath.Join(out, "mergescope-report.json"))
	printAlerts(b, r.Alerts)
	fmt.Fprintf(b, "\n%s\n", strings.Join(r.Summary(), "\n"))
	_, err := io.WriteString(w, b.String())
	return err
}
