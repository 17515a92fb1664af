package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"mergescope/merge"
)

func newReport(a *app) *cobra.Command {
	var sel selection
	var job jobFlags
	c := &cobra.Command{
		Use:   "report MODEL",
		Short: "Run the merge without writing and print its figures",
		Long: `Run the whole merge arithmetic without writing anything and print how much
of each adapter is kept, layer by layer. "kept" is 1 where the merged weights
carry the adapter in full and 0 where requantization erased it.`,
		Example: `mergescope report demo -a demo:gocode-light
mergescope report ./model -a ./adapter=0.5 --layer 'q_proj$' --json`,
		Args: arguments(1, 1),
		RunE: func(c *cobra.Command, args []string) error {
			opt, err := job.options(c)
			if err != nil {
				return err
			}
			if err := sel.needAdapter(); err != nil {
				return err
			}
			s, err := a.open(args[0], sel)
			if err != nil {
				return err
			}
			defer s.Close()
			report, err := a.runJob(c.Context(), s, opt, job.progress)
			if err != nil {
				return err
			}
			a.code = alertCode(report.Alerts, job.failOn)
			if job.json {
				return printJSON(a.out, report)
			}
			return printReport(a.out, report)
		},
	}
	sel.addPlan(c)
	sel.addLayer(c)
	job.add(c)
	return c
}

// printReport writes the table of text.
func printReport(w io.Writer, r *merge.Report) error {
	b := &strings.Builder{}
	fmt.Fprintln(b, modelLine(r.Model))
	for _, ad := range r.Adapters {
		fmt.Fprintln(b, adapterLine(ad))
	}
	fmt.Fprintln(b)
	reportTable(r).write(b)
	fmt.Fprintln(b)
	printAlerts(b, r.Alerts)
	fmt.Fprintf(b, "\n%s\n", strings.Join(r.Summary(), "\n"))
	_, err := io.WriteString(w, b.String())
	return err
}

func modelLine(m merge.ModelInfo) string {
	return fmt.Sprintf("model    %s  %s, %s, %s", m.Name, m.Type, plural(m.Weights, "weight"), byteSize(m.Bytes))
}

func adapterLine(ad merge.AdapterInfo) string {
	return fmt.Sprintf("adapter  %s  rank %d, alpha %.4g, scale %.4g, %s", ad.Name, ad.Rank, ad.Alpha, ad.Scale, plural(ad.Modules, "module"))
}

// reportTable has one line a layer and the totals at the end.
func reportTable(r *merge.Report) *table {
	t := newTable("layer", "format", "adapter", "output", ">kept", ">snr dB", ">codes", ">delta/W", ">error/W", "alerts")
	for _, l := range r.Layers {
		var codes []string
		for _, al := range l.Alerts {
			codes = append(codes, string(al.Code))
		}
		t.add(append([]string{l.Name, l.Format, stepsText(l.Adapters), string(l.Output)},
			append(figureCells(l.Metrics), strings.Join(codes, " "))...)...)
	}
	t.add(append([]string{"total", "", "", ""}, append(figureCells(r.Totals), "")...)...)
	return t
}

func figureCells(m merge.Metrics) []string {
	return []string{
		number(m.Kept, 3),
		number(m.SNR, 1),
		percent(m.CodesChanged, 2),
		percent(m.DeltaRatio, 2),
		percent(m.ErrorRelative, 2),
	}
}
