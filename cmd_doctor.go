package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"mergescope/merge"
)

// diagnosis is the shape of `doctor --json`.
type diagnosis struct {
	Version int             `json:"version"`
	Model   merge.ModelInfo `json:"model"`
	Alerts  []merge.Alert   `json:"alerts"`
}

func newDoctor(a *app) *cobra.Command {
	var sel selection
	var asJSON bool
	c := &cobra.Command{
		Use:   "doctor MODEL",
		Short: "Check files and configuration without merging",
		Long: `Check a checkpoint and adapters for everything that can be known without
merging: names and shapes that do not match, configuration against tensors, what
PEFT or other tools refuse, drop or read differently. Exits with 3 if a finding is
an error.`,
		Example: `mergescope doctor demo -a demo:broken
mergescope doctor ./model -a ./adapter --json`,
		Args: arguments(1, 1),
		RunE: func(c *cobra.Command, args []string) error {
			s, err := a.open(args[0], sel)
			if err != nil {
				return err
			}
			defer s.Close()
			alerts := s.project.Lint(s.plan)
			a.code = alertCode(alerts, nil)
			if asJSON {
				return printJSON(a.out, diagnosis{1, merge.NewModelInfo(s.project.Model), alerts})
			}
			b := &strings.Builder{}
			printAlerts(b, alerts)
			fmt.Fprintln(b, plural(len(alerts), "finding"))
			_, err = io.WriteString(a.out, b.String())
			return err
		},
	}
	sel.addAdapter(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}
