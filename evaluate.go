package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mergescope/loader"
	"mergescope/merge"
)

// evalFlags are the flags of commands that run the model over a text.
type evalFlags struct {
	texts, tokens []string
	window        int
	maxTokens     int
	time          time.Duration
	maxKL         float64
}

// sensitivityTokens is over how many tokens layers are merged one at a time
// unless asked otherwise.
const sensitivityTokens = 2048

// evalNames are the flags by which a model is run even if nobody asks for it.
var evalNames = []string{"text", "tokens", "window", "max-tokens", "time", "max-kl"}

func (f *evalFlags) add(c *cobra.Command) {
	f.addTexts(c)
	fl := c.Flags()
	fl.DurationVar(&f.time, "time", 0, "stop after so long, for example 60s (default: no limit)")
	fl.Float64Var(&f.maxKL, "max-kl", 0, "bound to the mean KL from the separate adapter, in nats per token; beyond it the exit code is 3")
}

// addTexts adds the flags that say what is run.
func (f *evalFlags) addTexts(c *cobra.Command) {
	fl := c.Flags()
	fl.StringArrayVar(&f.texts, "text", nil, "run the model over this text; repeatable; \"builtin\" (the default) is some prose and Go source")
	fl.StringArrayVar(&f.tokens, "tokens", nil, "the same for a file of token ids, one sequence a line; repeatable")
	fl.IntVar(&f.window, "window", 0, fmt.Sprintf("tokens of a sequence (default %d, or as many as the model has positions)", merge.DefaultWindow))
	fl.IntVar(&f.maxTokens, "max-tokens", 0, "predict at most so many tokens, from all over the texts (default: all)")
}

// wanted reports whether a flag asks for the model to be run.
func (f *evalFlags) wanted(c *cobra.Command) bool {
	return slices.ContainsFunc(evalNames, func(n string) bool { return c.Flags().Changed(n) })
}

func (f *evalFlags) check(c *cobra.Command) error {
	switch {
	case f.window < 0 || f.window == 1:
		return usagef("at least 2 tokens", "--window: %d tokens predict nothing", f.window)
	case f.maxTokens < 0:
		return usagef("0 means all", "--max-tokens: %d is negative", f.maxTokens)
	case f.time < 0:
		return usagef("for example --time 60s", "--time: %v is negative", f.time)
	case c.Flags().Changed("max-kl") && !(f.maxKL > 0):
		return usagef("for example --max-kl 0.05", "--max-kl: %v is no bound", f.maxKL)
	}
	return nil
}

// options reads the texts.
func (f *evalFlags) options(a *app, model *loader.Checkpoint) (merge.EvalOptions, error) {
	texts, err := merge.OpenTexts(model, a.source.Demo, f.texts, f.tokens)
	if err != nil {
		return merge.EvalOptions{}, &failure{what: "run the model", err: err, hint: "--text FILE names another text, --tokens FILE token ids"}
	}
	return merge.EvalOptions{Texts: texts, Window: f.window, MaxTokens: f.maxTokens, Time: f.time, MaxKL: f.maxKL}, nil
}

// evaluate runs the model and shows its progress.
func (a *app) evaluate(ctx context.Context, s *session, opt merge.EvalOptions, kind string) (*merge.EvalReport, error) {
	e, err := merge.NewEval(s.project, s.plan, opt)
	if err != nil {
		return nil, &failure{what: "run the model", err: err}
	}
	return a.runEval(ctx, e, kind)
}

func (a *app) runEval(ctx context.Context, e *merge.Eval, kind string) (*merge.EvalReport, error) {
	show, err := newEvalProgress(kind, a.err)
	if err != nil {
		return nil, err
	}
	r, err := watchEval(ctx, e, show)
	switch {
	case errors.Is(err, context.Canceled):
		return r, &failure{what: "run the model", err: errors.New("interrupted"), hint: "--time and --max-tokens make it shorter", code: exitInterrupted}
	case err != nil:
		return r, &failure{what: "run the model", err: err}
	}
	return r, nil
}

// evalProgress shows a running evaluation on stderr.
type evalProgress func(s merge.EvalSnapshot, ended bool, err error)

func newEvalProgress(kind string, w io.Writer) (evalProgress, error) {
	p, err := newProgress(kind, w)
	if err != nil {
		return nil, err
	}
	switch p := p.(type) {
	case *bar:
		return p.eval, nil
	case *jsonLines:
		return p.eval, nil
	}
	return func(merge.EvalSnapshot, bool, error) {}, nil
}

// eval redraws the line, or clears it at the end.
func (b *bar) eval(s merge.EvalSnapshot, ended bool, err error) {
	if ended {
		b.done(err)
		return
	}
	const width = 24
	filled := int(s.Share * width)
	line := fmt.Sprintf("[%s%s] %3.0f %%  ", strings.Repeat("#", filled), strings.Repeat(".", width-filled), 100*s.Share)
	if s.Phase != "" {
		line += s.Phase
	} else {
		line += fmt.Sprintf("%d/%d windows", s.WindowsDone, s.WindowsAll)
	}
	if s.ETA > 0 {
		line += "  " + s.ETA.Round(time.Second).String() + " left"
	}
	if s.Report != nil {
		if v := s.Report.Against(); v != nil {
			line += fmt.Sprintf("  KL %s +- %s", short(v.Figures.KL.Value), short(v.Figures.KLSequences.Error))
		}
	}
	fmt.Fprintf(b.w, "\r%s\x1b[K", b.cut(line))
}

// evalLine is one line of --progress json.
type evalLine struct {
	Type        string       `json:"message_type"` // as in statusLine
	Fraction    float64      `json:"fraction"`
	Phase       string       `json:"phase"`
	WindowsDone int          `json:"windows_done"`
	WindowsAll  int          `json:"windows_total"`
	Elapsed     float64      `json:"seconds"`
	Remaining   float64      `json:"seconds_left"` // 0 if unknown
	KL          merge.Figure `json:"kl"`           // so far, of what is held against the separate adapter
}

func (j *jsonLines) eval(s merge.EvalSnapshot, ended bool, err error) {
	kind := "status"
	switch {
	case ended && err == nil:
		kind = "finished"
	case ended && errors.Is(err, context.Canceled):
		kind = "interrupted"
	case ended:
		kind = "failed"
	case time.Since(j.last) < 500*time.Millisecond:
		return
	}
	j.last = time.Now()
	line := evalLine{
		Type: kind, Fraction: s.Share, Phase: s.Phase, WindowsDone: s.WindowsDone, WindowsAll: s.WindowsAll,
		Elapsed: s.Elapsed.Seconds(), Remaining: s.ETA.Seconds(), KL: merge.Figure(math.NaN()),
	}
	if s.Report != nil {
		if v := s.Report.Against(); v != nil {
			line.KL = v.Figures.KL.Value
		}
	}
	_ = j.enc.Encode(line) // if stderr is gone there is nobody to tell
}

// watchEval runs an evaluation and shows its snapshots ten times a second.
func watchEval(ctx context.Context, e *merge.Eval, show evalProgress) (r *merge.EvalReport, err error) {
	polling(func() { show(e.Snapshot(), false, nil) }, func() { r, err = e.Run(ctx) })
	show(e.Snapshot(), true, err)
	return r, err
}

// verified is `verify --json`: the audit's report, and that of the run beside
// it.
type verified struct {
	*merge.AuditReport
	Run *merge.EvalReport `json:"run,omitempty"`
}
