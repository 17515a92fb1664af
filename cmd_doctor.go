package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func newDoctor(a *app) *cobra.Command {
	var sel selection
	var asJSON bool
	c := &cobra.Command{
		Use:   "doctor MODEL",
		Short: "Check files and configuration without merging",
		Args:  arguments(1, 1),
		RunE: func(c *cobra.Command, args []string) error {
			s, err := a.open(args[0], sel)
			if err != nil {
				return err
			}
			defer s.Close()
			_, alerts := s.project.Layers(s.plan)
			a.code = alertCode(alerts, nil)
			if asJSON {
				return printJSON(a.out, alerts)
			}
			printAlerts(a.out, alerts)
			_, err = fmt.Fprintln(a.out, plural(len(alerts), "finding"))
			return err
		},
	}
	sel.addAdapter(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}
