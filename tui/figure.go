package tui

import (
	"math"
	"slices"

	"mergescope/merge"
)

// layerFigure is a number of a layer that a filter can ask for, rows can be
// sorted by and tables export.
type layerFigure struct {
	name   string // in filters and on screen
	help   string
	rising bool                       // when sorted, the least comes first
	of     func(*ledger, int) float64 // of layer i; NaN if it has none
}

// layerFigures lists the figures in the order of sorting.
var layerFigures = []layerFigure{
	{"kept", "share of the adapter that is kept", true, reported(func(r *merge.LayerReport) merge.Figure { return r.Kept })},
	{"err", "error relative to the exact sum", false, reported(func(r *merge.LayerReport) merge.Figure { return r.ErrorRelative })},
	{"codes", "share of codes that change", true, reported(func(r *merge.LayerReport) merge.Figure { return r.CodesChanged })},
	{"delta", "rms of the delta over rms of the weights", true, reported(func(r *merge.LayerReport) merge.Figure { return r.DeltaRatio })},
	{"snr", "decibels of the delta over the error", true, reported(func(r *merge.LayerReport) merge.Figure { return r.SNR })},
	{"growth", "largest new over old absmax of a block", false, reported(func(r *merge.LayerReport) merge.Figure { return r.AbsmaxGrowth })},
	{"max", "largest error of a weight", false, reported(func(r *merge.LayerReport) merge.Figure { return r.ErrorMax })},
	{"worst", "kept of the worst block", true, reported(func(r *merge.LayerReport) merge.Figure {
		if r.WorstBlock == nil {
			return merge.Figure(math.NaN())
		}
		return r.WorstBlock.Kept
	})},
	{"nonfinite", "NaN and infinite elements of delta and sum", false, reported(func(r *merge.LayerReport) merge.Figure {
		return merge.Figure(r.NonFinite.Delta + r.NonFinite.Sum)
	})},
	{"inputs", "share kept on the layer's inputs, if known", true, reported(func(r *merge.LayerReport) merge.Figure { return r.KeptOnInputs })},
	{"peft", "kept by PEFT's codes, of a calibrated layer", true, reported(func(r *merge.LayerReport) merge.Figure { return r.AsPeft().Kept })},
	{"peftinputs", "the same for the layer's inputs", true, reported(func(r *merge.LayerReport) merge.Figure { return r.AsPeft().OnInputs })},
	{"scale", "scale of the first adapter, 1 as trained", false, scaleOf},
	{"size", "number of weights", false, sizeOf},
}

// reported is a figure of the layer's report.
func reported(figure func(*merge.LayerReport) merge.Figure) func(*ledger, int) float64 {
	return func(b *ledger, i int) float64 {
		if r := b.report(i); r != nil {
			return float64(figure(r))
		}
		return math.NaN()
	}
}

func scaleOf(b *ledger, i int) float64 {
	if !b.planned(i) {
		return math.NaN()
	}
	return b.layers[i].Steps[0].Factor
}

func sizeOf(b *ledger, i int) float64 {
	w := b.layers[i].Weight
	return float64(w.Rows()) * float64(w.Cols())
}

func figureNamed(name string) (*layerFigure, bool) {
	i := slices.IndexFunc(layerFigures, func(f layerFigure) bool { return f.name == name })
	if i < 0 {
		return nil, false
	}
	return &layerFigures[i], true
}
