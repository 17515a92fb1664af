package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"mergescope/merge"
)

func newReport(a *app) *cobra.Command {
	var sel selection
	var job jobFlags
	var files reportFiles
	var eval evalFlags
	c := &cobra.Command{
		Use:   "report MODEL",
		Short: "Run the merge without writing and print its figures",
		Long: `Run the whole merge arithmetic without writing anything and print how much
of each adapter is kept, layer by layer. "kept" is 1 where the merged weights
carry the adapter in full and 0 where requantization erased it.

For CI it writes JUnit and SARIF, for people a page of HTML or a summary in
Markdown. With --baseline it exits with 3 only for what is worse than in an
earlier report. With --text or --tokens the model is run as well, before and after
the merge: docs/running.md.`,
		Example: `mergescope report demo -a demo:gocode-light
mergescope report ./model -a ./adapter=0.5 --layer 'q_proj$' --json
mergescope report ./model -a ./adapter --html report.html
mergescope report ./model -a ./adapter --fail-on erased --baseline baseline.json --junit junit.xml`,
		Args: arguments(1, 1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.report(c, args[0], sel, &job, &files, &eval)
		},
	}
	sel.addPlan(c)
	sel.addForms(c)
	sel.addLayer(c)
	job.add(c)
	files.add(c)
	eval.add(c)
	return c
}

// report runs the command.
func (a *app) report(c *cobra.Command, model string, sel selection, job *jobFlags, files *reportFiles, eval *evalFlags) error {
	opt, err := job.options(c)
	if err != nil {
		return err
	}
	if err := sel.needAdapter(); err != nil {
		return err
	}
	if err := files.check(c); err != nil {
		return err
	}
	if err := eval.check(c); err != nil {
		return err
	}
	base, err := files.readBaseline(sel.layer != "")
	if err != nil {
		return err
	}
	s, err := a.open(model, sel)
	if err != nil {
		return err
	}
	defer s.Close()
	if err := files.guard(s, sel.plan); err != nil {
		return err
	}
	opt.Tiles = files.html != ""
	if opt.Calibrate, err = job.calibration(a, s.project.Model); err != nil {
		return err
	}
	report, tiles, err := a.runTiled(c.Context(), s, opt, job.progress)
	if err != nil {
		return err
	}
	d := newDossier(report, job.failOn, base)
	d.plan, d.tiles, d.subject = s.plan, tiles, cmp.Or(sel.plan, model)
	if eval.wanted(c) {
		how, err := eval.options(a, s.project.Model)
		if err != nil {
			return err
		}
		how.Plans, how.Calibrate, how.Unsafe = []merge.NamedPlan{{Name: merge.VariantPlan, Plan: s.plan}}, opt.Calibrate, opt.Unsafe
		if d.run, err = a.evaluate(c.Context(), s, how, job.progress); err != nil {
			return err
		}
		d.findings = append(d.findings, alertFindings(ofModel(d.run.Alerts), job.failOn)...)
	}
	return a.deliver(d, files, job.json)
}

// ofModel are the alerts about no single layer: a run repeats those of layers.
func ofModel(alerts []merge.Alert) []merge.Alert {
	return slices.DeleteFunc(slices.Clone(alerts), func(al merge.Alert) bool { return al.Layer != "" })
}

// deliver writes the files of a report, prints it and sets the exit code.
func (a *app) deliver(d *dossier, files *reportFiles, asJSON bool) error {
	names, err := files.write(d)
	if err != nil {
		return err
	}
	a.code = d.code()
	if asJSON {
		if d.baseline != nil {
			d.baseline.print(a.err, d.findings)
		}
		return printJSON(a.out, merged{d.report, d.run})
	}
	if err := printReport(a.out, d.report); err != nil {
		return err
	}
	if d.run != nil {
		fmt.Fprintln(a.out)
		if err := printEval(a.out, d.run); err != nil {
			return err
		}
	}
	if d.baseline != nil {
		d.baseline.print(a.out, d.findings)
	}
	for i, name := range names {
		if i == 0 {
			fmt.Fprintln(a.out)
		}
		fmt.Fprintf(a.out, "wrote %s\n", name)
	}
	return nil
}

// printReport writes the table of text.
func printReport(w io.Writer, r *merge.Report) error {
	b := &strings.Builder{}
	fmt.Fprintln(b, modelLine(r.Model))
	if r.Onto != nil {
		fmt.Fprintln(b, ontoLine(r.Onto))
	}
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

func ontoLine(o *merge.OntoInfo) string {
	line := "onto " + strings.TrimPrefix(modelLine(o.ModelInfo), "model")
	if o.Quantize != "" {
		line += ", quantized to " + o.Quantize
	}
	return line
}

func adapterLine(ad merge.AdapterInfo) string {
	return fmt.Sprintf("adapter  %s  rank %d, alpha %.4g, scale %.4g, %s", ad.Name, ad.Rank, ad.Alpha, ad.Scale, plural(ad.Modules, "module"))
}

// reportTable has one line a layer and the totals at the end.
func reportTable(r *merge.Report) *table {
	head := []string{"layer", "format", "adapter", "output", ">kept", ">snr dB", ">codes", ">delta/W", ">error/W"}
	if r.Peft != nil {
		head = append(head, ">on inputs", ">peft kept", ">peft inputs")
	}
	t := newTable(append(head, "alerts")...)
	row := func(first []string, m merge.Metrics, peft *merge.Kept, alerts string) {
		cells := append(first, figureCells(m)...)
		if r.Peft != nil {
			cells = append(cells, inputCells(m, peft)...)
		}
		t.add(append(cells, alerts)...)
	}
	for _, l := range r.Layers {
		var codes []string
		for _, al := range l.Alerts {
			codes = append(codes, string(al.Code))
		}
		row([]string{l.Name, l.Format, stepsText(l.Adapters), string(l.Output)}, l.Metrics, l.Peft, strings.Join(codes, " "))
	}
	row([]string{"total", "", "", ""}, r.Totals, r.Peft, "")
	return t
}

// inputCells are the figures that only a merge with calibrated layers has: of the
// result on the layer's inputs, and of PEFT's codes.
func inputCells(m merge.Metrics, peft *merge.Kept) []string {
	if peft == nil {
		return []string{number(m.KeptOnInputs, 3), dash, dash}
	}
	return []string{number(m.KeptOnInputs, 3), number(peft.Kept, 3), number(peft.OnInputs, 3)}
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
