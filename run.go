package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"mergescope/loader"
	"mergescope/merge"
)

// jobFlags are the flags of commands that run the merge arithmetic.
type jobFlags struct {
	workers   int
	safe      bool
	unsafe    bool
	reference string
	loraDtype string
	unmerge   bool
	roundTrip bool
	failOn    []string
	calibrate []string // texts
	observed  []string // files of token ids
	progress  string
	json      bool
}

func (f *jobFlags) add(c *cobra.Command) {
	fl := c.Flags()
	fl.IntVar(&f.workers, "workers", 0, "how many layers are computed at once; 0 means all cores")
	fl.BoolVar(&f.safe, "safe", true, "stop a layer at non-finite values and keep its original bytes")
	fl.BoolVar(&f.unsafe, "unsafe", false, "write non-finite values as PEFT does without safe_merge")
	fl.StringVar(&f.reference, "reference", "as-merged", "base the figures compare with: as-merged or as-inferred")
	fl.StringVar(&f.loraDtype, "lora-dtype", "f32", "dtype of the adapter's arithmetic: f32 (PEFT's default), file (autocast_adapter_dtype=False)\nor compute (low_cpu_mem_usage=True)")
	fl.BoolVar(&f.unmerge, "unmerge", false, "take the adapters off a model they were merged into")
	fl.BoolVar(&f.roundTrip, "round-trip", false, "merge and unmerge, to see what is not given back")
	fl.StringArrayVar(&f.calibrate, "calibration", nil, "text over which method calibrated observes the layers; repeatable; \"builtin\" is some prose\nand Go source (default: what the model writes itself)")
	fl.StringArrayVar(&f.observed, "calibration-tokens", nil, "the same for a file of token ids, one sequence a line; repeatable")
	fl.StringSliceVar(&f.failOn, "fail-on", nil, "exit with 3 if these alerts are raised, by code (erased,nonfinite) or by level (warning and above);\nerrors always do; weak includes erased")
	fl.StringVar(&f.progress, "progress", "", "progress on stderr: bar, json or none (default: a bar on a terminal)")
	fl.BoolVar(&f.json, "json", false, "print JSON")
}

// options checks the flags and returns the job's options.
func (f *jobFlags) options(c *cobra.Command) (merge.Options, error) {
	opt := merge.Options{Workers: f.workers, Unsafe: f.unsafe || !f.safe}
	if c.Flags().Changed("safe") && c.Flags().Changed("unsafe") {
		return opt, usagef("--safe is the default", "--safe and --unsafe exclude each other")
	}
	if f.workers < 0 {
		return opt, usagef("0 means all cores", "--workers: %d is negative", f.workers)
	}
	if err := checkWord("--reference", f.reference, "as-merged", "as-inferred"); err != nil {
		return opt, err
	}
	if err := checkFailOn(f.failOn); err != nil {
		return opt, err
	}
	if f.reference == "as-inferred" {
		opt.Reference = merge.AsInferred
	}
	var err error
	if opt.LoRADtype, err = merge.ParseLoRADtype(f.loraDtype); err != nil {
		return opt, usagef("see "+c.CommandPath()+" --help", "--lora-dtype: %w", err)
	}
	switch {
	case f.unmerge && f.roundTrip:
		return opt, usagef("--unmerge starts from a merged model, --round-trip from its base", "--unmerge and --round-trip exclude each other")
	case f.unmerge:
		opt.Unmerge = merge.Subtract
	case f.roundTrip:
		opt.Unmerge = merge.RoundTrip
	}
	return opt, nil
}

// calibration reads the texts that method calibrated observes the model over.
func (f *jobFlags) calibration(a *app, model *loader.Checkpoint) (c merge.Calibration, err error) {
	if len(f.calibrate)+len(f.observed) == 0 {
		return c, nil
	}
	if c.Texts, err = merge.OpenTexts(model, a.source.Demo, f.calibrate, f.observed); err != nil {
		return c, &failure{what: "read the calibration text", err: err, hint: "without --calibration the model writes a text itself"}
	}
	return c, nil
}

// runJob runs the session's plan and shows its progress.
func (a *app) runJob(ctx context.Context, s *session, opt merge.Options, kind string) (*merge.Report, error) {
	report, _, err := a.runTiled(ctx, s, opt, kind)
	return report, err
}

// runTiled does so and returns the heat tiles by layer too, none unless the
// options ask for them.
func (a *app) runTiled(ctx context.Context, s *session, opt merge.Options, kind string) (*merge.Report, map[string]*merge.Tile, error) {
	p, err := newProgress(kind, a.err)
	if err != nil {
		return nil, nil, err
	}
	opt.Only = s.only
	job, err := merge.NewJob(s.project, s.plan, opt)
	if err != nil {
		return nil, nil, jobFailure(err, opt.Out)
	}
	report, err := watch(ctx, job, p)
	if err != nil {
		return report, nil, jobFailure(err, opt.Out)
	}
	tiles := map[string]*merge.Tile{}
	for i, l := range job.Snapshot().Layers {
		if t := job.Tile(i); t != nil && l.Result != nil {
			tiles[l.Result.Name] = t
		}
	}
	return report, tiles, nil
}

// jobFailure adds exit code and hint to an error of a job that writes to out,
// "" for a dry run.
func jobFailure(err error, out string) error {
	if f := (*failure)(nil); errors.As(err, &f) {
		return f // of a check
	}
	f := &failure{what: "merge", err: err}
	switch {
	case errors.Is(err, context.Canceled):
		f.err, f.code = errors.New("interrupted"), exitInterrupted
		f.hint = "nothing was to be written; run the command again"
		if out != "" {
			f.hint = "what is finished is kept in " + out + "; run the same command again to resume"
		}
	case errors.Is(err, merge.ErrRefused):
		f.code = exitRefused
		f.hint = "nothing was written; -o names a directory that is new, empty or an unfinished run of the same merge"
	}
	return f
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
