package merge

import "mergescope/loader"

// Project is an opened checkpoint with the adapters at hand. It is immutable
// but for the list of adapters, which only its owner changes; jobs take their
// own copy of what they need.
type Project struct {
	Model    *loader.Checkpoint
	Adapters []*loader.Adapter
}

// Layer is what a plan does with one weight.
type Layer struct {
	Index  int // position in Project.Layers and in snapshots
	Weight *loader.Weight
	Steps  []Step // adapters to merge, in order; empty means the bytes are copied
	Output Output
	Reason string // why no adapter applies, "" if one does
}

// Step is one adapter on one layer.
type Step struct {
	Adapter *loader.Adapter
	Module  *loader.Module
	Factor  float64 // the plan's scale
	Scale   float64 // Module.Scale * Factor, what B@A is multiplied with
}

// Layers resolves a plan: one Layer for every weight of the checkpoint, in
// natural order, and the alerts that need no merge.
func (p *Project) Layers(plan Plan) ([]Layer, []Alert) { return nil, nil }
