package main

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"unicode"

	"mergescope/merge"
)

// cardLayers is how many layers, and how many findings, a model card names.
const cardLayers = 10

// modelCard writes a section for a model card.
func modelCard(d *dossier) ([]byte, error) {
	r := d.report
	b := &bytes.Buffer{}
	fmt.Fprintf(b, "## Merge report\n\n| | |\n|---|---|\n")
	facts := append(d.facts(), d.totals()...)
	facts = append(facts, [2]string{"check", d.verdict()}, [2]string{"plan (SHA-256)", cmp.Or(r.Plan, dash)})
	for _, f := range facts {
		fmt.Fprintf(b, "| %s | %s |\n", f[0], markdown(f[1]))
	}
	fmt.Fprintln(b)
	for _, line := range d.summary() {
		fmt.Fprintf(b, "- %s\n", markdown(line))
	}
	if worst := worstLayers(r, cardLayers); len(worst) > 0 {
		head, rule := "| layer | format | output | kept | SNR dB | codes changed |", "|---|---|---|--:|--:|--:|"
		if r.Peft != nil {
			head, rule = head+" kept on inputs | PEFT keeps | PEFT on inputs |", rule+"--:|--:|--:|"
		}
		fmt.Fprintf(b, "\n### Layers that keep least\n\n%s\n%s\n", head, rule)
		for _, l := range worst {
			cells := []string{markdown(l.Name), markdown(l.Format), markdown(string(l.Output)), number(l.Kept, 3), number(l.SNR, 1), percent(l.CodesChanged, 2)}
			if r.Peft != nil {
				cells = append(cells, inputCells(l.Metrics, l.Peft)...)
			}
			fmt.Fprintf(b, "| %s |\n", strings.Join(cells, " | "))
		}
	}
	cardAlerts(b, allAlerts(r))
	if len(d.findings) > 0 {
		fmt.Fprintf(b, "\n### Why the check failed\n\n")
		for _, f := range d.findings[:min(len(d.findings), cardLayers)] {
			fmt.Fprintf(b, "- %s, %s: %s\n", markdown(f.code), markdown(f.where()), markdown(f.message))
		}
		if rest := len(d.findings) - cardLayers; rest > 0 {
			fmt.Fprintf(b, "- and %d more\n", rest)
		}
	}
	fmt.Fprintf(b, "\n### Before this is used\n\n")
	for _, a := range merge.Guidance() {
		fmt.Fprintf(b, "- %s\n", markdown(a.Text))
	}
	return b.Bytes(), nil
}

// cardAlerts lists alerts by code, with their remedies.
func cardAlerts(w io.Writer, alerts []merge.Alert) {
	if len(alerts) == 0 {
		return
	}
	fmt.Fprintf(w, "\n### Alerts\n\n| level | alert | layers | remedy |\n|---|---|--:|---|\n")
	for _, g := range groupAlerts(alerts) {
		first := g.alerts[0]
		layers := dash
		if first.Layer != "" {
			layers = fmt.Sprint(len(g.alerts))
		}
		fmt.Fprintf(w, "| %s | %s | %s | %s |\n", first.Level, markdown(string(first.Code)), layers, markdown(first.Hint))
	}
}

// facts say what was merged, by names without paths: these files are published.
func (d *dossier) facts() [][2]string {
	r := d.report
	facts := [][2]string{{"model", fmt.Sprintf("%s, %s, %s", r.Model.Name, cmp.Or(r.Model.Type, "unknown type"), byteSize(r.Model.Bytes))}}
	for _, a := range r.Adapters {
		facts = append(facts, [2]string{"adapter", fmt.Sprintf("%s: %s, rank %d, alpha %.4g, scale %s, %s",
			a.Name, cmp.Or(a.PeftType, "LORA"), a.Rank, a.Alpha, short(a.Scale), plural(a.Modules, "module"))})
	}
	return append(facts,
		[2]string{"method", r.Method + ", profile " + r.Profile},
		[2]string{"layers merged", fmt.Sprint(len(r.Layers))},
	)
}

// totals are the figures of the whole model.
func (d *dossier) totals() [][2]string {
	m := d.report.Totals
	list := [][2]string{
		{"kept", number(m.Kept, 3)},
		{"SNR dB", number(m.SNR, 1)},
		{"codes changed", percent(m.CodesChanged, 2)},
		{"delta / weight", percent(m.DeltaRatio, 2)},
		{"error / weight", percent(m.ErrorRelative, 2)},
	}
	if p := d.report.Peft; p != nil {
		cells := inputCells(m, p)
		list = append(list, [2]string{"kept on inputs", cells[0]}, [2]string{"PEFT's codes keep", cells[1]}, [2]string{"PEFT's on inputs", cells[2]})
	}
	return list
}

// summary is the report's own, without the advice at its end.
func (d *dossier) summary() []string {
	lines := d.report.Summary()
	return lines[:len(lines)-len(d.report.Advice())]
}

// worstLayers returns the n layers with the lowest kept, the worst first.
func worstLayers(r *merge.Report, n int) []*merge.LayerReport {
	worst := slices.DeleteFunc(slices.Clone(r.Layers), func(l *merge.LayerReport) bool { return math.IsNaN(float64(l.Kept)) })
	slices.SortStableFunc(worst, func(a, b *merge.LayerReport) int { return cmp.Compare(a.Kept, b.Kept) })
	return worst[:min(n, len(worst))]
}

// markdown escapes text for GitHub's Markdown, cells of tables included. An
// underscore within a word means nothing there and stays as it is.
func markdown(s string) string {
	var b strings.Builder
	text := []rune(clean(s))
	word := func(i int) bool {
		return 0 <= i && i < len(text) && (unicode.IsLetter(text[i]) || unicode.IsDigit(text[i]))
	}
	for i, r := range text {
		switch {
		case r == '<':
			b.WriteString("&lt;")
			continue
		case r == '&':
			b.WriteString("&amp;")
			continue
		case strings.ContainsRune("\\`*[]>|~#!$", r), r == '_' && !(word(i-1) && word(i+1)),
			r == ':' && i+1 < len(text) && text[i+1] == '/': // would become a link
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}
