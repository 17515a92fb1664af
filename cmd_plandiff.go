package main

import (
	"cmp"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"mergescope/merge"
)

func newPlanDiff(a *app) *cobra.Command {
	var model string
	var asJSON bool
	c := &cobra.Command{
		Use:   "diff A B",
		Short: "Say in what two plan files differ",
		Long: `Compare two plan files: fields, adapters and rules, comments left out. With
--model also what they do differently with each layer, which is the same for
plans that say it in other words.`,
		Example: `mergescope plan diff old.json new.json
mergescope plan diff old.json new.json --model ./model --json`,
		Args: arguments(2, 2),
		RunE: func(_ *cobra.Command, args []string) error {
			var plans [2]merge.Plan
			for i, name := range args {
				var err error
				if plans[i], err = readPlan(name); err != nil {
					return err
				}
			}
			var modules []string
			if model != "" {
				ckpt, err := a.source.Checkpoint(model)
				if err != nil {
					return &failure{what: "open checkpoint", err: err}
				}
				defer ckpt.Close()
				for _, w := range ckpt.Weights {
					modules = append(modules, w.Name)
				}
			}
			d := merge.DiffPlans(plans[0], plans[1], modules)
			if asJSON {
				return printJSON(a.out, d)
			}
			return printPlanDiff(a.out, d, model != "")
		},
	}
	c.Flags().StringVar(&model, "model", "", "compare layer by layer on this checkpoint, too")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// printPlanDiff writes the differences as text.
func printPlanDiff(w io.Writer, d merge.PlanDiff, layers bool) error {
	b := &strings.Builder{}
	for _, f := range d.Fields {
		fmt.Fprintf(b, "%s: %s\n", f.Field, fromTo(f))
	}
	for _, f := range d.Adapters {
		fmt.Fprintf(b, "adapter %s: %s\n", f.Field, fromTo(f))
	}
	if d.Reorder {
		fmt.Fprintln(b, "adapters are merged in another order")
	}
	for _, r := range d.Rules {
		fmt.Fprintf(b, "%s rules[%d] %s\n", r.Op, r.Index, r.Rule)
	}
	if d.Empty() {
		fmt.Fprintln(b, "the plans say the same")
	}
	for _, l := range d.Layers {
		var parts []string
		for _, f := range l.Changes {
			parts = append(parts, f.Field+" "+fromTo(f))
		}
		fmt.Fprintf(b, "%s: %s\n", l.Layer, strings.Join(parts, ", "))
	}
	if layers && len(d.Layers) == 0 {
		fmt.Fprintln(b, "no layer is treated differently")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func fromTo(f merge.FieldDiff) string {
	return cmp.Or(f.A, "none") + " -> " + cmp.Or(f.B, "none")
}
