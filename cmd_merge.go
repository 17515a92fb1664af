package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"mergescope/merge"
)

func newMerge(a *app) *cobra.Command {
	var sel selection
	var job jobFlags
	var out string
	c := &cobra.Command{
		Use:   "merge MODEL",
		Short: "Merge and write a checkpoint that transformers loads",
		Long: `Merge adapters into the checkpoint and write the result, in the same format
and layout, together with mergescope-report.json. The inputs are never changed.
An interrupted merge is resumed by the same command.`,
		Example: `mergescope merge ./model -a ./adapter -o ./merged
mergescope merge ./model --plan mergescope-plan.json -o ./merged --fail-on erased`,
		Args: arguments(1, 1),
		RunE: func(c *cobra.Command, args []string) error {
			if out == "" {
				return usagef("name a new or empty directory: -o DIR", "merge needs an output directory")
			}
			opt, err := job.options()
			if err != nil {
				return err
			}
			s, err := a.open(args[0], sel)
			if err != nil {
				return err
			}
			defer s.Close()
			opt.Out = out
			report, err := a.runJob(c.Context(), s, opt, job.progress)
			if errors.Is(err, context.Canceled) {
				return &failure{what: "merge", err: errors.New("interrupted"), code: exitInterrupted,
					hint: "finished tensors are kept in " + out + "; run the same command again to resume"}
			}
			if err != nil {
				return err
			}
			a.code = alertCode(report.Alerts, job.failOn)
			if job.json {
				return printJSON(a.out, report)
			}
			a.printMerged(report, out)
			return nil
		},
	}
	sel.addPlan(c)
	job.add(c)
	c.Flags().StringVarP(&out, "out", "o", "", "output directory, new or empty")
	return c
}

// printMerged sums a merge up.
func (a *app) printMerged(r *merge.Report, out string) {
	fmt.Fprintf(a.out, "wrote %s: %s merged in %.1f s, kept %s, codes changed %s\n",
		out, plural(len(r.Layers), "layer"), r.Seconds, number(r.Totals.Kept, 3), percent(r.Totals.CodesChanged, 2))
	printAlerts(a.out, r.Alerts)
}
