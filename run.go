package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"mergescope/merge"
)

// jobFlags are the flags of commands that run the merge arithmetic.
type jobFlags struct {
	workers   int
	safe      bool
	unsafe    bool
	reference string
	failOn    []string
	progress  string
	json      bool
}

func (f *jobFlags) add(c *cobra.Command) {
	fl := c.Flags()
	fl.IntVar(&f.workers, "workers", 0, "how many layers are computed at once; 0 means all cores")
	fl.BoolVar(&f.safe, "safe", true, "stop a layer at non-finite values and keep its original bytes")
	fl.BoolVar(&f.unsafe, "unsafe", false, "write non-finite values as PEFT does without safe_merge")
	fl.StringVar(&f.reference, "reference", "as-merged", "base the figures compare with: as-merged or as-inferred")
	fl.StringSliceVar(&f.failOn, "fail-on", nil, "exit with 3 if these alerts are raised, for example erased,nonfinite")
	fl.StringVar(&f.progress, "progress", "", "progress on stderr: bar, json or none (default: a bar on a terminal)")
	fl.BoolVar(&f.json, "json", false, "print JSON")
	c.MarkFlagsMutuallyExclusive("safe", "unsafe")
}

// options checks the flags and returns the job's options.
func (f *jobFlags) options() (merge.Options, error) {
	opt := merge.Options{Workers: f.workers, Unsafe: f.unsafe || !f.safe}
	if f.workers < 0 {
		return opt, usagef("0 means all cores", "--workers: %d is negative", f.workers)
	}
	if err := checkWord("--reference", f.reference, "as-merged", "as-inferred"); err != nil {
		return opt, err
	}
	if f.reference == "as-inferred" {
		opt.Reference = merge.AsInferred
	}
	return opt, nil
}

// runJob runs the session's plan and shows its progress.
func (a *app) runJob(ctx context.Context, s *session, opt merge.Options, kind string) (*merge.Report, error) {
	p, err := newProgress(kind, a.err)
	if err != nil {
		return nil, err
	}
	opt.Only = s.only
	job, err := merge.NewJob(s.project, s.plan, opt)
	if err != nil {
		return nil, jobFailure("plan the merge", err)
	}
	return watch(ctx, job, p)
}

// jobFailure adds exit code and hint to an error of package merge.
func jobFailure(what string, err error) error {
	return &failure{what: what, err: err}
}

// alertCode is the exit code that alerts ask for: errors always, other codes
// when --fail-on names them.
func alertCode(alerts []merge.Alert, failOn []string) int {
	for _, al := range alerts {
		if al.Level == merge.Error || slices.Contains(failOn, string(al.Code)) {
			return exitAlerts
		}
	}
	return exitFine
}

// printAlerts lists alerts with their remedies.
func printAlerts(w io.Writer, alerts []merge.Alert) {
	for _, al := range alerts {
		where := al.Layer
		if where == "" {
			where = al.Place.Tensor
		}
		fmt.Fprintf(w, "%-7s  %s", al.Level, al.Code)
		if where != "" {
			fmt.Fprintf(w, "  %s", where)
		}
		if al.Count > 1 {
			fmt.Fprintf(w, "  (%d times)", al.Count)
		}
		fmt.Fprintf(w, "\n         %s\n", al.Message)
		if al.Hint != "" {
			fmt.Fprintf(w, "         hint: %s\n", al.Hint)
		}
	}
}

// printJSON writes v indented.
func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// stepsText names the adapters of a layer with their scales.
func stepsText(steps []merge.LayerStep) string {
	parts := make([]string, len(steps))
	for i, s := range steps {
		parts[i] = fmt.Sprintf("%s*%.4g", s.Name, s.Scale)
	}
	return strings.Join(parts, " + ")
}
