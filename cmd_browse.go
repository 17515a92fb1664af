package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"mergescope/merge"
	"mergescope/themes"
	"mergescope/tui"
)

// browseFlags are the flags of the interface.
type browseFlags struct {
	out     string
	color   string
	theme   string
	ascii   bool
	plain   bool
	noMouse bool
	forget  bool
	workers int
}

// depths are the values of --color but auto.
var depths = map[string]themes.Depth{
	"never":  themes.NoColor,
	"16":     themes.ANSI16,
	"256":    themes.ANSI256,
	"always": themes.TrueColor,
}

// newBrowse is the root command: the inspector itself.
func newBrowse(a *app) *cobra.Command {
	var sel selection
	var flags browseFlags
	c := &cobra.Command{
		Use:   "mergescope [MODEL]",
		Short: "Inspect what merging LoRA adapters into a quantized checkpoint does",
		Long: `Browse a bitsandbytes-quantized checkpoint, apply LoRA adapters to layers, run
the merge in the background and watch what requantization keeps of them.

MODEL is a directory in Hugging Face layout, a .safetensors file, org/name in
the local Hugging Face cache or on the hub that --hub names, a URL, or demo. Without MODEL the embedded demo opens.
Without a terminal the layer table is printed as text.

Exit codes: 0 fine, 1 failed, 2 usage, 3 finished with alerts of level error,
4 interrupted (run the same command to resume), 5 refused by a safety check.`,
		Example: `mergescope
mergescope ./model -a ./adapter
mergescope report demo -a demo:gocode-light`,
		Args: arguments(0, 1),
		RunE: func(c *cobra.Command, args []string) error {
			model := "demo"
			if len(args) > 0 {
				model = args[0]
			}
			screen := isTerminal(a.out)
			if !screen && model == "demo" && len(sel.adapters) == 0 && sel.plan == "" {
				// On a screen the demo opens with this adapter by itself.
				sel.adapters = []string{"demo:gocode-light"}
			}
			if err := checkWord("--color", flags.color, "auto", "always", "256", "16", "never"); err != nil {
				return err
			}
			s, err := a.open(model, sel)
			if err != nil {
				return err
			}
			defer s.Close()
			if !screen {
				return a.printLayers(c.Context(), s)
			}
			return a.browse(c.Context(), s, sel.plan, flags)
		},
	}
	sel.addPlan(c)
	sel.addForms(c)
	f := c.Flags()
	f.StringVarP(&flags.out, "out", "o", "", "output directory that is proposed for writing")
	f.StringVar(&flags.color, "color", "auto", "colours: auto, always, 256, 16 or never")
	f.StringVar(&flags.theme, "theme", "", "colour theme (default: by the terminal's background)")
	f.BoolVar(&flags.ascii, "ascii", false, "draw with ASCII characters only")
	f.BoolVar(&flags.plain, "plain", false, "sentences instead of panes and maps, for screen readers")
	f.BoolVar(&flags.noMouse, "no-mouse", false, "leave the mouse to the terminal")
	f.BoolVar(&flags.forget, "no-session", false, "neither go on where the last session ended nor keep this one")
	f.IntVar(&flags.workers, "workers", 0, "how many layers are computed at once; 0 means all cores")
	return c
}

// browse runs the interface and prints its one line of summary.
func (a *app) browse(ctx context.Context, s *session, planFile string, flags browseFlags) error {
	opt := tui.Options{
		Source:   a.source,
		Project:  s.project,
		Plan:     s.plan,
		PlanFile: planFile,
		Out:      flags.out,
		Demo:     strings.HasPrefix(s.plan.Model, "demo"),
		Theme:    flags.theme,
		ASCII:    flags.ascii,
		Plain:    flags.plain,
		NoMouse:  flags.noMouse,
		Workers:  flags.workers,
	}
	if a.config != "" {
		opt.Themes = filepath.Join(a.config, "themes")
	}
	if a.config != "" && !flags.forget {
		opt.Sessions = filepath.Join(a.config, "sessions")
	}
	if d, ok := depths[flags.color]; ok {
		opt.Color = &d
	}
	summary, err := tui.Run(ctx, opt)
	if summary != "" {
		fmt.Fprintln(a.out, summary)
	}
	if ctx.Err() != nil || errors.Is(err, context.Canceled) {
		return &failure{err: errors.New("interrupted"), code: exitInterrupted}
	}
	return err
}

// printLayers writes the layer table as plain text, with the figures of a dry
// run if there is an adapter. Alerts do not change the exit code here.
func (a *app) printLayers(ctx context.Context, s *session) error {
	if len(s.plan.Adapters) > 0 {
		report, err := a.runJob(ctx, s, merge.Options{}, "none")
		if err != nil {
			return err
		}
		return printReport(a.out, report)
	}
	in, err := inspect(ctx, s, false)
	if err != nil {
		return err
	}
	return printInspection(a.out, in, false)
}
