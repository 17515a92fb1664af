package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"mergescope/merge"
)

func newPlan(a *app) *cobra.Command {
	var sel selection
	var out, budget string
	var keepAbove float64
	var force bool
	c := &cobra.Command{
		Use:   "plan MODEL",
		Short: "Write a plan file to edit",
		Long: `Write a plan: which adapter goes on which layers, at which scale and in which
output form. Edit it and give it to report or merge with --plan. Rules match
module paths by glob or, after "re:" or "^", by RE2; later rules win. Output forms are
same, bf16, f16, f32, keep and separate.

With --keep-above the merge is run without writing, and layers that would keep
less of the adapter are planned in bf16; --budget limits by how much the
checkpoint may grow, and takes those first that save most for a byte.`,
		Example: `mergescope plan demo -a demo:gocode-light
mergescope plan ./model -a ./adapter -o mergescope-plan.json
mergescope plan ./model -a ./adapter --keep-above 0.9 --budget 50MB -o plan.json`,
		Args: arguments(1, 1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := sel.needAdapter(); err != nil {
				return err
			}
			limit, err := parseBudget(budget)
			if err != nil {
				return err
			}
			if budget != "" && !c.Flags().Changed("keep-above") {
				return usagef("add --keep-above 0.9", "--budget needs --keep-above")
			}
			if !(keepAbove >= 0 && keepAbove <= 1) {
				return usagef("1 is all of the adapter", "--keep-above: %v is not between 0 and 1", keepAbove)
			}
			s, err := a.open(args[0], sel)
			if err != nil {
				return err
			}
			defer s.Close()
			if c.Flags().Changed("keep-above") {
				if err := a.keepAbove(c.Context(), s, keepAbove, limit); err != nil {
					return err
				}
			}
			if out == "" {
				_, err := a.out.Write(s.plan.Encode())
				return err
			}
			return a.writePlan(out, s.plan.Encode(), force)
		},
	}
	sel.addPlan(c)
	sel.addForms(c)
	c.Flags().StringVarP(&out, "out", "o", "", "write to this file instead of standard output")
	c.Flags().Float64Var(&keepAbove, "keep-above", 0, "plan layers that keep less than this share of the adapter in bf16")
	c.Flags().StringVar(&budget, "budget", "", "by how much the checkpoint may grow, for example 50MB (default: no limit)")
	c.Flags().BoolVar(&force, "force", false, "overwrite the file")
	return c
}

// keepAbove replaces the session's plan by one that keeps more, and says on
// stderr what that takes.
func (a *app) keepAbove(ctx context.Context, s *session, above float64, budget int64) error {
	report, err := a.runJob(ctx, s, merge.Options{}, "")
	if err != nil {
		return err
	}
	p := s.project.KeepAbove(s.plan, report, above, budget)
	s.plan = p.Plan
	fmt.Fprintf(a.err, "%s in bf16, the checkpoint grows by %s\n", plural(len(p.Layers), "layer"), byteSize(p.Bytes))
	if n := len(p.Left); n > 0 {
		fmt.Fprintf(a.err, "%s below %s left as planned: the budget is used up\n", plural(n, "layer"), percent(above, 0))
	}
	return nil
}

// byteUnits are the units --budget knows, longest first.
var byteUnits = []struct {
	name string
	size float64
}{
	{"kib", 1 << 10},
	{"mib", 1 << 20},
	{"gib", 1 << 30},
	{"kb", 1e3},
	{"mb", 1e6},
	{"gb", 1e9},
	{"b", 1},
}

// parseBudget reads a number of bytes such as 50MB or +1.5GiB; -1 if there is
// none.
func parseBudget(text string) (int64, error) {
	if text == "" {
		return -1, nil
	}
	number, factor := strings.ToLower(strings.TrimPrefix(text, "+")), 1.0
	for _, u := range byteUnits {
		if rest, ok := strings.CutSuffix(number, u.name); ok {
			number, factor = rest, u.size
			break
		}
	}
	v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if err != nil || !(v >= 0) || v*factor > 1<<62 {
		return 0, usagef("for example --budget 50MB", "--budget: %q is no number of bytes", text)
	}
	return int64(v * factor), nil
}

// writePlan writes the file, over an existing one only if told to.
func (a *app) writePlan(name string, data []byte, force bool) error {
	flags := os.O_WRONLY | os.O_CREATE | os.O_EXCL
	if force {
		flags = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	}
	f, err := os.OpenFile(name, flags, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return &failure{what: "write plan", err: fmt.Errorf("%s exists", name), hint: "choose another name or add --force", code: exitRefused}
	}
	if err != nil {
		return &failure{what: "write plan", err: err}
	}
	if _, err := f.Write(data); err != nil {
		f.Close()
		return &failure{what: "write plan", err: err}
	}
	if err := f.Close(); err != nil {
		return &failure{what: "write plan", err: err}
	}
	fmt.Fprintf(a.out, "wrote %s\n", name)
	return nil
}
