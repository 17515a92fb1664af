package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"mergescope/merge"
)

func newMerge(a *app) *cobra.Command {
	var sel selection
	var job jobFlags
	var out, shard string
	var resume bool
	c := &cobra.Command{
		Use:   "merge MODEL",
		Short: "Merge and write a checkpoint that transformers loads",
		Long: `Merge adapters into the checkpoint and write the result, in the same format
and layout, together with mergescope-report.json. The inputs are never changed.
An interrupted merge is resumed by the same command; --resume insists on that.

With --shard several processes write one output, each a part of it. They may run
at once or one after the other, on any machines that see the directory. The last
one checks all parts and completes the output; docs/cluster.md has scripts.`,
		Example: `mergescope merge ./model -a ./adapter -o ./merged
mergescope merge ./model --plan mergescope-plan.json -o ./merged --fail-on erased
mergescope merge ./model -a ./adapter -o ./merged --shard 2/4`,
		Args: arguments(1, 1),
		RunE: func(c *cobra.Command, args []string) error {
			if out == "" {
				return usagef("name a new or empty directory: -o DIR", "merge needs an output directory")
			}
			opt, err := job.options(c)
			if err != nil {
				return err
			}
			if shard != "" {
				if opt.Part, err = parseShard(shard, os.Getenv); err != nil {
					return err
				}
			}
			if err := sel.needAdapter(); err != nil {
				return err
			}
			s, err := a.open(args[0], sel)
			if err != nil {
				return err
			}
			defer s.Close()
			if err := a.somethingToWrite(s); err != nil {
				return err
			}
			opt.Out, opt.Resume = out, resume
			if opt.Calibrate, err = job.calibration(a, s.project.Model); err != nil {
				return err
			}
			run := a.runJob
			if opt.Part.Count > 0 {
				run = a.runShards
			}
			report, err := run(c.Context(), s, opt, job.progress)
			if err != nil || report == nil {
				return err
			}
			a.code = alertCode(report.Alerts, job.failOn)
			if job.json {
				return printJSON(a.out, report)
			}
			return printMerged(a.out, report, out)
		},
	}
	sel.addPlan(c)
	sel.addForms(c)
	job.add(c)
	c.Flags().StringVarP(&out, "out", "o", "", "output directory, new or empty")
	c.Flags().BoolVar(&resume, "resume", false, "only go on with an unfinished merge in the output directory")
	c.Flags().StringVar(&shard, "shard", "", "write part i of n (i/n, from 1) of an output that other processes write too;\nauto or auto/n take i from a Slurm array or a Kubernetes indexed Job")
	return c
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
