package main

import (
	"fmt"
	"math"
	"strings"

	"mergescope/merge"
)

// pageRun is what running the model showed.
type pageRun struct {
	What     string
	Summary  []string
	Variants pageTable
	Texts    []pageTable
	Charts   []pageChart
	Layers   pageTable // one merged at a time; empty if not asked for
	Ranks    string
}

// pageTable is a table; the first column is text.
type pageTable struct {
	Title string
	Heads []string
	Rows  [][]string
}

// pageChart is a chart with a logarithmic axis, in the units of its view box.
type pageChart struct {
	Title  string
	Ticks  []pageMark // of the vertical axis
	Labels []pageMark // of the horizontal one
	Lines  []pageLine
}

type (
	pageMark struct {
		At   float64
		Text string
	}
	pageLine struct {
		Class, Name, Path string
		Points            []pagePoint
	}
	pagePoint struct {
		X, Y, Low, High float64
		Title           string
	}
)

// The room of a chart's curves in its view box of 420 by 220.
const (
	chartLeft, chartRight = 50.0, 410.0
	chartTop, chartBottom = 10.0, 190.0
)

func newPageRun(r *merge.EvalReport) *pageRun {
	if r == nil {
		return nil
	}
	p := &pageRun{
		What: fmt.Sprintf("%s in %s of at most %d; all is held against %q, the adapters kept separate",
			plural(r.Tokens, "token"), plural(r.Windows, "window"), r.Window, r.Reference),
		Variants: runTable("", r, func(v *merge.VariantReport) merge.EvalFigures { return v.Figures }),
	}
	for _, s := range r.Summary() {
		p.Summary = append(p.Summary, clean(s))
	}
	if len(r.Texts) > 1 {
		for i, x := range r.Texts {
			title := fmt.Sprintf("%s, %d of %s", clean(x.Name), x.Run, plural(x.Tokens, "token"))
			p.Texts = append(p.Texts, runTable(title, r, func(v *merge.VariantReport) merge.EvalFigures { return v.Texts[i].Figures }))
		}
	}
	p.Charts = []pageChart{positionChart(r), depthChart(r)}
	if s := r.Sensitivity; s != nil {
		p.Layers.Heads = []string{"merged alone", "KL", "kept", "error"}
		for _, l := range s.Layers {
			p.Layers.Rows = append(p.Layers.Rows, []string{clean(l.Name), pm(l.KL, 6), percent(l.Kept, 1), percent(l.ErrorRelative, 2)})
		}
		p.Ranks = rankText(s)
	}
	return p
}

func runTable(title string, r *merge.EvalReport, of func(*merge.VariantReport) merge.EvalFigures) pageTable {
	t := pageTable{Title: title, Heads: []string{"variant", "NLL", "PPL", "ln PPL ratio", "KL", "median", "99 %", "max", "top-1", "Δp"}}
	for _, v := range r.Variants {
		t.Rows = append(t.Rows, append([]string{clean(v.Name)}, evalCells(of(v))...))
	}
	return t
}

// rankText is how well figures that need no run rank the layers.
func rankText(s *merge.Sensitivity) string {
	parts := make([]string, len(s.Correlations))
	for i, c := range s.Correlations {
		parts[i] = c.Figure + " " + number(c.Rank, 2)
	}
	return fmt.Sprintf("%s over %s; rank correlation with KL: %s", plural(len(s.Layers), "layer"), plural(s.Tokens, "token"), strings.Join(parts, ", "))
}

// series is a curve before it is drawn.
type series struct {
	name          string
	values, width []float64 // and standard errors, nil without
}

func positionChart(r *merge.EvalReport) pageChart {
	var labels []string
	var list []series
	for _, p := range r.Variants[0].Positions {
		labels = append(labels, fmt.Sprintf("%d-%d", p.From, p.To))
	}
	for _, v := range r.Variants {
		s := series{name: v.Name}
		for _, p := range v.Positions {
			s.values, s.width = append(s.values, float64(p.Figures.KL.Value)), append(s.width, float64(p.Figures.KL.Error))
		}
		if v.Name != r.Reference {
			list = append(list, s)
		}
	}
	return newChart("KL from the separate adapter by position, nats per token", labels, list)
}

func depthChart(r *merge.EvalReport) pageChart {
	var labels []string
	var list []series
	for i := range r.Variants[0].Depth {
		labels = append(labels, fmt.Sprint(i))
	}
	for _, v := range r.Variants {
		s := series{name: v.Name}
		for _, e := range v.Depth {
			s.values = append(s.values, float64(e))
		}
		if v.Name != r.Reference {
			list = append(list, s)
		}
	}
	return newChart("relative error of the hidden state after each block", labels, list)
}

// newChart places curves. What is not positive and finite is left out.
func newChart(title string, labels []string, list []series) pageChart {
	c := pageChart{Title: title}
	low, high := math.Inf(1), math.Inf(-1)
	for _, s := range list {
		for _, v := range s.values {
			if drawn(v) {
				low, high = min(low, v/1.3), max(high, v*1.3)
			}
		}
	}
	if !(high > low) {
		return c
	}
	y := func(v float64) float64 {
		f := math.Log(min(max(v, low), high)/low) / math.Log(high/low)
		return roundTenth(chartBottom - f*(chartBottom-chartTop))
	}
	x := func(i int) float64 {
		return roundTenth(chartLeft + (float64(i)+0.5)/float64(len(labels))*(chartRight-chartLeft))
	}
	for i := range 4 {
		v := low * math.Pow(high/low, float64(i)/3)
		c.Ticks = append(c.Ticks, pageMark{y(v), fmt.Sprintf("%.2g", v)})
	}
	every := (len(labels) + 11) / 12
	for i := 0; i < len(labels); i += every {
		c.Labels = append(c.Labels, pageMark{x(i), labels[i]})
	}
	for n, s := range list {
		l := pageLine{Class: fmt.Sprintf("run%d", min(n, 3)), Name: clean(s.name)}
		for i, v := range s.values {
			if !drawn(v) {
				continue
			}
			p := pagePoint{X: x(i), Y: y(v), Low: y(v), High: y(v), Title: fmt.Sprintf("%s, %s: %.4g", l.Name, labels[i], v)}
			if i < len(s.width) && s.width[i] > 0 {
				p.Low, p.High = y(v-s.width[i]), y(v+s.width[i])
				p.Title += fmt.Sprintf(" ± %.2g", s.width[i])
			}
			l.Points = append(l.Points, p)
			letter := "L"
			if len(l.Points) == 1 {
				letter = "M"
			}
			l.Path += fmt.Sprintf("%s%g %g", letter, p.X, p.Y)
		}
		c.Lines = append(c.Lines, l)
	}
	return c
}

func drawn(v float64) bool { return v > 0 && !math.IsInf(v, 0) }

func roundTenth(v float64) float64 { return math.Round(v*10) / 10 }
