package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"
)

func newPlan(a *app) *cobra.Command {
	var sel selection
	var out string
	var force bool
	c := &cobra.Command{
		Use:   "plan MODEL",
		Short: "Write a plan file to edit",
		Long: `Write a plan: which adapter goes on which layers, at which scale and in which
output form. Edit it and give it to report or merge with --plan. Rules match
module paths by glob or, after "re:" or "^", by RE2; later rules win. Output forms are
same, bf16, f16, f32, keep and separate.`,
		Example: `mergescope plan demo -a demo:gocode-light
mergescope plan ./model -a ./adapter -o mergescope-plan.json`,
		Args: arguments(1, 1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := sel.needAdapter(); err != nil {
				return err
			}
			s, err := a.open(args[0], sel)
			if err != nil {
				return err
			}
			defer s.Close()
			if out == "" {
				_, err := a.out.Write(s.plan.Encode())
				return err
			}
			return a.writePlan(out, s.plan.Encode(), force)
		},
	}
	sel.addPlan(c)
	c.Flags().StringVarP(&out, "out", "o", "", "write to this file instead of standard output")
	c.Flags().BoolVar(&force, "force", false, "overwrite the file")
	return c
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
