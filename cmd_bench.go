package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"mergescope/merge"
)

func newBench(a *app) *cobra.Command {
	var sel selection
	var asJSON bool
	c := &cobra.Command{
		Use:   "bench [MODEL]",
		Short: "Measure how fast this machine merges",
		Long: `Merge layers of a model, or synthetic ones, by one worker and by all, and print
the rate of each stage and its share of what the machine can do at most: bytes
against a copy in memory, kernels against fused multiply-adds in the first-level
cache, measured in the same run. Output goes to a temporary directory and is
removed. MERGESCOPE_KERNELS=go, neon, avx2 or avx512 chooses the kernels.`,
		Example: `mergescope bench
mergescope bench ./model -a ./adapter --json`,
		Args: arguments(0, 1),
		RunE: func(c *cobra.Command, args []string) error {
			report, err := a.bench(c, args, sel)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(a.out, report)
			}
			return printBench(a.out, report)
		},
	}
	sel.addPlan(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func (a *app) bench(c *cobra.Command, args []string, sel selection) (*merge.BenchReport, error) {
	var project *merge.Project
	var plan merge.Plan
	switch {
	case len(args) == 1:
		if err := sel.needAdapter(); err != nil {
			return nil, err
		}
		s, err := a.open(args[0], sel)
		if err != nil {
			return nil, err
		}
		defer s.Close()
		project, plan = s.project, s.plan
	case sel.needAdapter() == nil:
		return nil, usagef("name a model: mergescope bench MODEL -a ADAPTER", "bench has an adapter but no model to merge it into")
	}
	report, err := merge.Bench(c.Context(), project, plan)
	if err != nil {
		f := &failure{what: "bench", err: err}
		if c.Context().Err() != nil {
			f.err, f.code = errors.New("interrupted"), exitInterrupted
		}
		return nil, f
	}
	return report, nil
}

// printBench writes the table of text: rates in millions of weights and in GB a
// second.
func printBench(w io.Writer, r *merge.BenchReport) error {
	b := &strings.Builder{}
	fmt.Fprintf(b, "kernels  %s, %s\n", r.Kernels, plural(r.Cores, "core"))
	for _, p := range r.Peaks {
		fmt.Fprintf(b, "peak     %s: copy %.1f GB/s, fused multiply-add %.1f Gflop/s\n", plural(p.Workers, "worker"), p.Copy/1e9, p.FMA/1e9)
	}
	fmt.Fprintln(b)
	t := newTable("layers", "format", ">workers", "stage", ">s", ">Mw/s", ">GB/s", ">of peak")
	for _, run := range r.Runs {
		t.add(run.Name, run.Format, fmt.Sprint(run.Workers), "all", rate(run.Seconds, 1, 4),
			rate(run.WeightsPS, 1e6, 0), rate(run.BytesPS, 1e9, 2), percent(run.Share, 0))
		for _, s := range run.Stages {
			bytes := dash
			if s.Bytes > 0 {
				bytes = rate(s.BytesPS, 1e9, 2)
			}
			t.add("", "", "", s.Stage, rate(s.Seconds, 1, 4), rate(s.WeightsPS, 1e6, 0), bytes, percent(s.Share, 0))
		}
	}
	t.write(b)
	_, err := io.WriteString(w, b.String())
	return err
}

// rate formats v in a unit.
func rate(v, unit float64, digits int) string { return number(v/unit, digits) }
