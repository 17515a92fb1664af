package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/spf13/cobra"

	"mergescope/loader"
	"mergescope/merge"
)

func newInspect(a *app) *cobra.Command {
	var sel selection
	var asJSON, stats bool
	c := &cobra.Command{
		Use:   "inspect MODEL",
		Short: "List what is in the files",
		Long: `List weights, formats and quantization states of a checkpoint, and what adapters
hold for them. Only headers and configuration are read, unless --stats asks
for figures of the weights themselves.`,
		Example: `mergescope inspect demo
mergescope inspect ./model -a ./adapter --json`,
		Args: arguments(1, 1),
		RunE: func(c *cobra.Command, args []string) error {
			s, err := a.open(args[0], sel)
			if err != nil {
				return err
			}
			defer s.Close()
			in, err := inspect(c.Context(), s, stats)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(a.out, in)
			}
			return printInspection(a.out, in, stats)
		},
	}
	sel.addAdapter(c)
	sel.addLayer(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.Flags().BoolVar(&stats, "stats", false, "read the weights and give their rms")
	return c
}

// inspection is the shape of `inspect --json`.
type inspection struct {
	Version  int             `json:"version"`
	Model    merge.ModelInfo `json:"model"`
	Adapters []adapterFacts  `json:"adapters"`
	Weights  []weightFacts   `json:"weights"` // natural order
	Loose    []tensorFacts   `json:"other_tensors"`
	Alerts   []merge.Alert   `json:"alerts"`
}

// adapterFacts is an adapter and what in it is no LoRA factor.
type adapterFacts struct {
	merge.AdapterInfo
	Replaces []tensorFacts `json:"replaces"`
}

type tensorFacts struct {
	Name  string  `json:"name"`
	DType string  `json:"dtype"`
	Shape []int64 `json:"shape"`
	Bytes int64   `json:"bytes"`
	File  string  `json:"file"`
	Kind  string  `json:"kind,omitempty"`
}

// weightFacts is one weight with the adapters that change it.
type weightFacts struct {
	Name      string            `json:"name"`
	Param     string            `json:"param"`
	Format    string            `json:"format"`
	Shape     []int64           `json:"shape"`
	Blocksize int               `json:"blocksize"` // 0 if the format has no blocks
	Dtype     string            `json:"dtype"`     // a dequantized weight is rounded to it
	Nested    bool              `json:"nested"`    // double quantization
	Bytes     int64             `json:"bytes"`     // companions included
	File      string            `json:"file"`
	Adapters  []merge.LayerStep `json:"adapters"`
	RMS       merge.Figure      `json:"weight_rms"` // null without --stats
	Problem   string            `json:"problem,omitempty"`
}

// inspect collects the facts; stats decodes every weight.
func inspect(ctx context.Context, s *session, stats bool) (*inspection, error) {
	p := s.project
	layers, _ := p.Layers(s.plan)
	in := &inspection{
		Version: 1, Model: merge.NewModelInfo(p.Model), Alerts: p.Lint(s.plan),
		Adapters: []adapterFacts{}, Weights: []weightFacts{}, Loose: []tensorFacts{},
	}
	for _, ad := range p.Adapters {
		f := adapterFacts{AdapterInfo: merge.NewAdapterInfo(ad), Replaces: []tensorFacts{}}
		for _, r := range ad.Others {
			t := newTensorFacts(r.Tensor)
			t.Kind = r.Kind
			f.Replaces = append(f.Replaces, t)
		}
		in.Adapters = append(in.Adapters, f)
	}
	for _, l := range layers {
		if s.only != nil && !s.only(l.Weight.Name) {
			continue
		}
		w := newWeightFacts(l)
		if stats && l.Weight.Problem == nil {
			rms, err := weightRMS(ctx, p, l.Weight)
			if err != nil {
				return nil, &failure{what: "read " + l.Weight.Name, err: err}
			}
			w.RMS = rms
		}
		in.Weights = append(in.Weights, w)
	}
	for _, t := range p.Model.Loose {
		in.Loose = append(in.Loose, newTensorFacts(t))
	}
	return in, nil
}

func newTensorFacts(t *loader.Tensor) tensorFacts {
	return tensorFacts{Name: t.Name, DType: string(t.DType), Shape: t.Shape, Bytes: t.Size, File: t.File().Name}
}

func newWeightFacts(l merge.Layer) weightFacts {
	w := l.Weight
	f := weightFacts{
		Name: w.Name, Param: w.Param, Format: w.Format.String(), Shape: w.Shape,
		Bytes: w.Bytes(), File: w.Data.File().Name,
		Adapters: l.LayerSteps(), RMS: merge.Figure(math.NaN()),
	}
	if w.Problem != nil {
		f.Problem = w.Problem.Error()
		return f
	}
	spec := w.Spec()
	f.Blocksize, f.Dtype, f.Nested = spec.Blocksize, spec.Dtype.String(), spec.Nested
	return f
}

// weightRMS decodes a weight. A plan that writes every layer dequantized, with
// no adapter, makes it one to examine.
func weightRMS(ctx context.Context, p *merge.Project, w *loader.Weight) (merge.Figure, error) {
	plan := merge.NewPlan(p.Model.Name)
	plan.Rules = []merge.Rule{{Match: "*", Output: merge.AsF32}}
	ex, err := p.Examine(ctx, plan, w.Name, 0, 0, 1, 1)
	if err != nil {
		return 0, err
	}
	return merge.MetricsOf(ex.Sums).WeightRMS, nil
}

func printInspection(w io.Writer, in *inspection, stats bool) error {
	b := &strings.Builder{}
	fmt.Fprintln(b, modelLine(in.Model))
	for _, ad := range in.Adapters {
		fmt.Fprintln(b, adapterLine(ad.AdapterInfo))
	}
	fmt.Fprintln(b)
	head := []string{"layer", "format", ">shape", "quantization", ">size", "adapters"}
	if stats {
		head = append(head, ">rms")
	}
	t := newTable(head...)
	for _, f := range in.Weights {
		row := []string{f.Name, f.Format, shapeText(f.Shape), f.quantization(), byteSize(f.Bytes), stepsText(f.Adapters)}
		if stats {
			row = append(row, short(f.RMS))
		}
		t.add(row...)
	}
	t.write(b)
	for _, ad := range in.Adapters {
		for _, r := range ad.Replaces {
			fmt.Fprintf(b, "%s also holds %s (%s, %s %s)\n", ad.Name, r.Name, r.Kind, r.DType, shapeText(r.Shape))
		}
	}
	if len(in.Loose) > 0 {
		fmt.Fprintf(b, "\nand %s that no weight owns (norms, biases): --json lists them\n", plural(len(in.Loose), "tensor"))
	}
	if len(in.Alerts) > 0 {
		fmt.Fprintln(b)
		printAlerts(b, in.Alerts)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// quantization is one cell: blocksize, dtype, nesting, or what is wrong.
func (f *weightFacts) quantization() string {
	switch {
	case f.Problem != "":
		return "cannot be decoded: " + f.Problem
	case f.Blocksize > 0 && f.Nested:
		return fmt.Sprintf("blocks of %d, %s, double", f.Blocksize, f.Dtype)
	case f.Blocksize > 0:
		return fmt.Sprintf("blocks of %d, %s", f.Blocksize, f.Dtype)
	case f.Format == "int8":
		return "rows"
	}
	return ""
}
