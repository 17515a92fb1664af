package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"mergescope/loader"
	"mergescope/merge"
	"mergescope/model"
	"mergescope/model/tokenizer"
)

// generateFlags are the flags of generate.
type generateFlags struct {
	sel            selection
	prompt, tokens string
	merged         string
	beside         besideFlags
	length         int
	sample         string
	sampling       model.Sampling
	unsafe, json   bool
}

func newGenerate(a *app) *cobra.Command {
	var f generateFlags
	c := &cobra.Command{
		Use:   "generate MODEL",
		Short: "Continue a prompt with the adapter separate and merged, side by side",
		Long: `Continue a prompt with the base, with the adapters kept separate and with what a
merge makes of both, and mark the first token where each parts from the separate
adapter: what "may get different generations" looks like. Without --merged the
plan's merge is run, not written; it is worked out anew for every token, so for
models of some size merge first.

Each time the likeliest token is taken, or with --sample one is drawn. All
variants draw with the same random numbers, so that what differs comes from the
weights. A seed decides a text on every machine.`,
		Example: `mergescope generate demo -a demo:gocode-light --prompt "func main() {"
mergescope generate ./model -a ./adapter --merged ./merged --prompt "Once" -n 100
mergescope generate ./model -a ./adapter --prompt "Once" --sample temperature=0.8,top-p=0.95,seed=7 --json`,
		Args: arguments(1, 1),
		RunE: func(c *cobra.Command, args []string) error { return a.generate(c.Context(), args[0], &f) },
	}
	f.sel.addPlan(c)
	f.sel.addStatistics(c)
	f.beside.add(c)
	fl := c.Flags()
	fl.StringVar(&f.prompt, "prompt", "", "text to continue")
	fl.StringVar(&f.tokens, "prompt-tokens", "", "the same as a file with one sequence of token ids")
	fl.StringVar(&f.merged, "merged", "", "merged checkpoint to run as it is (default: the plan's merge, not written)")
	fl.IntVarP(&f.length, "length", "n", merge.DefaultLength, "tokens to generate at most")
	fl.StringVar(&f.sample, "sample", model.Greedy, "draw tokens: temperature=T,top-k=K,top-p=P,seed=N or some of these")
	fl.BoolVar(&f.unsafe, "unsafe", false, "run a plan's merge with its non-finite values")
	fl.BoolVar(&f.json, "json", false, "print JSON")
	return c
}

func (f *generateFlags) check() error {
	switch {
	case (f.prompt == "") == (f.tokens == ""):
		return usagef(`for example --prompt "func main() {"`, "generate needs a prompt: --prompt TEXT or --prompt-tokens FILE")
	case f.length < 1:
		return usagef("at least one token", "--length: %d tokens are nothing to generate", f.length)
	}
	var err error
	if f.sampling, err = model.ParseSampling(f.sample); err != nil {
		return usagef("for example --sample temperature=0.8,top-p=0.95,seed=7", "--sample: %w", err)
	}
	return f.sel.needAdapter()
}

// generate runs the command.
func (a *app) generate(ctx context.Context, name string, f *generateFlags) error {
	if err := f.check(); err != nil {
		return err
	}
	s, err := a.open(name, f.sel)
	if err != nil {
		return err
	}
	defer s.Close()
	opt := merge.GenerateOptions{Prompt: f.prompt, Tokens: f.length, Sampling: f.sampling}
	opt.Variants.Unsafe = f.unsafe
	if opt.IDs, err = f.ids(); err != nil {
		return &failure{what: "read the prompt", err: err}
	}
	if f.merged != "" {
		ckpt, err := a.source.Checkpoint(f.merged)
		if err != nil {
			return &failure{what: "open merged checkpoint", err: err}
		}
		defer ckpt.Close()
		opt.Variants.Merged = []*loader.Checkpoint{ckpt}
	} else {
		opt.Variants.Plans = []merge.NamedPlan{{Name: merge.VariantPlan, Plan: s.plan}}
	}
	closeAll, err := f.beside.open(a, s, &opt.Variants)
	defer closeAll()
	if err != nil {
		return err
	}
	g, err := merge.NewGeneration(s.project, s.plan, opt)
	if err != nil {
		return &failure{what: "generate", err: err}
	}
	r, err := watchGeneration(ctx, g, a.err)
	switch {
	case errors.Is(err, context.Canceled):
		return &failure{what: "generate", err: errors.New("interrupted"), hint: "--length makes it shorter", code: exitInterrupted}
	case err != nil:
		return &failure{what: "generate", err: err}
	}
	a.code = alertCode(r.Alerts, nil)
	if f.json {
		return printJSON(a.out, r)
	}
	return printGeneration(a.out, r)
}

// ids reads the prompt of --prompt-tokens.
func (f *generateFlags) ids() ([]int32, error) {
	if f.tokens == "" {
		return nil, nil
	}
	h, err := os.Open(f.tokens)
	if err != nil {
		return nil, err
	}
	defer h.Close()
	lists, err := tokenizer.ReadSequences(h)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.tokens, err)
	}
	if len(lists) != 1 {
		return nil, fmt.Errorf("%s: %s, want 1", f.tokens, plural(len(lists), "sequence"))
	}
	ids := make([]int32, len(lists[0]))
	for i, id := range lists[0] {
		ids[i] = int32(id)
	}
	return ids, nil
}

// watchGeneration runs a generation and shows on a terminal how far it is.
func watchGeneration(ctx context.Context, g *merge.Generation, w io.Writer) (r *merge.GenerationReport, err error) {
	if !isTerminal(w) {
		return g.Run(ctx)
	}
	b := &bar{w: w}
	polling(func() {
		s := g.Snapshot()
		line := fmt.Sprintf("%d/%d tokens", s.Done, s.Tokens)
		if s.Phase != "" {
			line = s.Phase
		}
		fmt.Fprintf(w, "\r%s\x1b[K", b.cut(line))
	}, func() { r, err = g.Run(ctx) })
	b.done(err)
	return r, err
}

// printGeneration writes the texts one below the other.
func printGeneration(w io.Writer, r *merge.GenerationReport) error {
	b := &strings.Builder{}
	fmt.Fprintln(b, modelLine(r.Model))
	for _, ad := range r.Adapters {
		fmt.Fprintln(b, adapterLine(ad))
	}
	fmt.Fprintf(b, "prompt %s, %s\n", plural(len(r.IDs), "token"), model.Sampling(r.Sampling))
	printText(b, r.Prompt)
	for _, v := range r.Variants {
		fmt.Fprintf(b, "\n%s: %s; %s%s\n", v.Name, v.What, plural(len(v.Tokens), "token"), endings[v.End])
		d := v.Divergence
		if d == nil {
			printText(b, v.Text)
			if v.Name != r.Reference {
				fmt.Fprintf(b, "  the text of %s\n", r.Reference)
			}
			continue
		}
		text := d.Before
		if d.Variant != nil {
			token := v.Tokens[d.At].Text
			text += ">>" + token + "<<" + v.Text[len(d.Before)+len(token):]
		}
		printText(b, text)
		fmt.Fprintf(b, "  parts from %s at token %d: %s, there %s\n", r.Reference, d.At+1, fork(d.Variant, r.Reference), fork(d.Reference, r.Reference))
	}
	printAlerts(b, r.Alerts)
	_, err := io.WriteString(w, b.String())
	return err
}

// endings say why a text ends, by VariantText.End.
var endings = map[string]string{
	string(model.EndStop):      ", the last of which ends the text",
	string(model.EndNonFinite): ", then logits that are not finite",
}

// fork describes a token where texts part.
func fork(t *merge.ForkToken, by string) string {
	if t == nil {
		return "the text has ended"
	}
	return fmt.Sprintf("%s (p %s, by %s %s)", strconv.QuoteToGraphic(t.Text), short(t.ByVariant), by, short(t.ByReference))
}

// printText writes a text with a rule before each line.
func printText(w io.Writer, text string) {
	for line := range strings.SplitSeq(text, "\n") {
		fmt.Fprintln(w, "  | "+clean(strings.ReplaceAll(line, "\t", "    ")))
	}
}
