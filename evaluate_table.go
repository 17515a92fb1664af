package main

import (
	"fmt"
	"io"
	"math"
	"strings"

	"mergescope/merge"
)

// printEval writes what running the model showed.
func printEval(w io.Writer, r *merge.EvalReport) error {
	b := &strings.Builder{}
	fmt.Fprintln(b, modelLine(r.Model))
	for _, ad := range r.Adapters {
		fmt.Fprintln(b, adapterLine(ad))
	}
	for _, t := range r.Texts {
		part := ""
		if t.Run < t.Tokens {
			part = fmt.Sprintf(" of %d", t.Tokens)
		}
		fmt.Fprintf(b, "text   %s, %d%s tokens\n", t.Name, t.Run, part)
	}
	fmt.Fprintf(b, "run    %s of at most %d tokens in %.1f s; all is held against %q\n\n", plural(r.Windows, "window"), r.Window, r.Seconds, r.Reference)
	figuresTable(r).write(b)
	if len(r.Texts) > 1 {
		fmt.Fprintln(b)
		textsTable(r).write(b)
	}
	fmt.Fprintln(b)
	positionsTable(r).write(b)
	fmt.Fprintln(b)
	depthTable(r).write(b)
	if r.Sensitivity != nil {
		fmt.Fprintln(b)
		printSensitivity(b, r.Sensitivity)
	}
	fmt.Fprintln(b)
	printAlerts(b, r.Alerts)
	for _, s := range r.Summary() {
		printWrapped(b, s)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// pm formats a figure with its standard error.
func pm(u merge.Uncertain, digits int) string {
	if math.IsNaN(float64(u.Value)) || math.IsNaN(float64(u.Error)) {
		return number(u.Value, digits)
	}
	return fmt.Sprintf("%.*f ± %.*f", digits, float64(u.Value), digits, float64(u.Error))
}

func percentile(list []merge.Quantile, share float64) merge.Figure {
	for _, q := range list {
		if q.Share == share {
			return q.Value
		}
	}
	return merge.Figure(math.NaN())
}

func figuresTable(r *merge.EvalReport) *table {
	t := newTable("variant", ">NLL", ">PPL", ">ln PPL ratio", ">KL", ">median", ">99 %", ">max", ">top-1", ">Δp", ">effect lost")
	for _, v := range r.Variants {
		t.add(append([]string{v.Name}, append(evalCells(v.Figures), percent(v.Lost, 1))...)...)
	}
	return t
}

func evalCells(f merge.EvalFigures) []string {
	return []string{
		pm(f.NLL, 4), pm(f.PPL, 3), pm(f.LogRatio, 4), pm(merge.Uncertain{Value: f.KL.Value, Error: f.KLSequences.Error}, 5),
		short(percentile(f.KLShares, 0.5)), short(percentile(f.KLShares, 0.99)), short(percentile(f.KLShares, 1)),
		percent(f.Top1.Value, 1) + errorOf(f.Top1), percent(f.DeltaP.Value, 2),
	}
}

// errorOf is the standard error of a share.
func errorOf(u merge.Uncertain) string {
	if math.IsNaN(float64(u.Error)) {
		return ""
	}
	return fmt.Sprintf(" ± %.1f", 100*float64(u.Error))
}

func textsTable(r *merge.EvalReport) *table {
	t := newTable("text", "variant", ">NLL", ">PPL", ">ln PPL ratio", ">KL", ">median", ">99 %", ">max", ">top-1", ">Δp")
	for i, x := range r.Texts {
		for _, v := range r.Variants {
			t.add(append([]string{x.Name, v.Name}, evalCells(v.Texts[i].Figures)...)...)
		}
	}
	return t
}

// positionsTable has KL by position, and what the trend test says.
func positionsTable(r *merge.EvalReport) *table {
	head := []string{"KL by position"}
	for _, p := range r.Variants[0].Positions {
		head = append(head, fmt.Sprintf(">%d-%d", p.From, p.To))
	}
	t := newTable(append(head, "trend")...)
	for _, v := range r.Variants {
		if v.Name == r.Reference {
			continue
		}
		row := []string{v.Name}
		for _, p := range v.Positions {
			row = append(row, number(p.Figures.KL.Value, 5)+" ± "+number(p.Figures.KL.Error, 5))
		}
		t.add(append(row, trendText(v.Trend))...)
	}
	return t
}

func trendText(t merge.TrendReport) string {
	if t.Verdict == "unknown" {
		return "unknown: too few sequences"
	}
	return fmt.Sprintf("%s, %+.2g per doubling, p %.2g", t.Verdict, float64(t.Slope.Value), float64(t.P))
}

// depthTable has the error of the hidden states after each block, at most a
// dozen of them.
func depthTable(r *merge.EvalReport) *table {
	n := len(r.Variants[0].Depth)
	step := (n + 11) / 12
	head := []string{"hidden state error"}
	var at []int
	for i := step - 1; i < n; i += step {
		head, at = append(head, fmt.Sprintf(">block %d", i)), append(at, i)
	}
	t := newTable(head...)
	for _, v := range r.Variants {
		if v.Name == r.Reference {
			continue
		}
		row := []string{v.Name}
		for _, i := range at {
			row = append(row, percent(v.Depth[i], 2))
		}
		t.add(row...)
	}
	return t
}

// printSensitivity writes the layers, the most sensitive ones first.
func printSensitivity(w io.Writer, s *merge.Sensitivity) {
	const most = 40
	t := newTable("merged alone", ">KL", ">kept", ">error")
	for i, l := range s.Layers {
		if i == most {
			break
		}
		t.add(l.Name, pm(l.KL, 6), percent(l.Kept, 1), percent(l.ErrorRelative, 2))
	}
	t.write(w)
	if n := len(s.Layers) - most; n > 0 {
		fmt.Fprintf(w, "and %s more; --json has all\n", plural(n, "layer"))
	}
	fmt.Fprintf(w, "\n%s\n", rankText(s))
}
