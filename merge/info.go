package merge

import (
	"math"

	"mergescope/loader"
)

// NewModelInfo describes a checkpoint for a report.
func NewModelInfo(c *loader.Checkpoint) ModelInfo {
	facts := c.Facts()
	info := ModelInfo{
		Name: c.Name, Path: c.Path, Type: c.Config.ModelType,
		Weights: len(c.Weights), Formats: map[string]int{}, Bytes: facts.Bytes,
	}
	for _, f := range facts.Formats {
		info.Formats[f.Format.String()] = f.Weights
	}
	return info
}

// NewAdapterInfo describes an adapter for a report. Rank, alpha and scale are
// those of the config; patterns can give single modules others.
func NewAdapterInfo(a *loader.Adapter) AdapterInfo {
	c := a.Config
	return AdapterInfo{
		Name: a.Name, Path: a.Path, PeftType: c.PeftType,
		Rank: c.R, Alpha: c.Alpha, Scale: configScale(a),
		RSLoRA: c.UseRSLoRA, DoRA: c.UseDoRA, Modules: len(a.Modules),
	}
}

// configScale is alpha/r, or alpha/sqrt(r) with rsLoRA, 0 if the rank is not
// known.
func configScale(a *loader.Adapter) Figure {
	c := a.Config
	switch {
	case c.R <= 0:
		return Figure(math.NaN())
	case c.UseRSLoRA:
		return Figure(c.Alpha / math.Sqrt(float64(c.R)))
	default:
		return Figure(c.Alpha / float64(c.R))
	}
}

// LayerSteps describes the adapters of a layer for a report.
func (l *Layer) LayerSteps() []LayerStep {
	out := make([]LayerStep, len(l.Steps))
	for i, s := range l.Steps {
		out[i] = LayerStep{Name: s.Adapter.Name, Rank: s.Module.Rank, Scale: s.Scale}
	}
	return out
}
