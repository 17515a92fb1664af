package merge

import (
	"cmp"
	"fmt"
	"strings"

	"mergescope/loader"
)

// Project is an opened checkpoint with the adapters at hand. It is immutable
// but for the list of adapters, which only its owner changes; jobs take their
// own copy of what they need.
type Project struct {
	Model    *loader.Checkpoint
	Adapters []*loader.Adapter
	Original *loader.Checkpoint // what plans with Onto are merged onto, see SetOriginal; nil if none is open

	originalName string
	against      *loader.Checkpoint // the quantized model, if Model is its original
	seen         examined           // by Examine and Explain
	known        *knownLayers       // of jobs, shared by projects over the same files
}

// NewProject returns a project over an opened model. The project does not close
// what it is given.
func NewProject(model *loader.Checkpoint, adapters ...*loader.Adapter) *Project {
	return &Project{Model: model, Adapters: adapters, known: &knownLayers{}}
}

// Adapter returns the adapter of that name, or nil.
func (p *Project) Adapter(name string) *loader.Adapter {
	for _, a := range p.Adapters {
		if a.Name == name {
			return a
		}
	}
	return nil
}

// NewPlan returns the plan that applies all adapters of the project everywhere.
func (p *Project) NewPlan() Plan {
	refs := make([]AdapterRef, len(p.Adapters))
	for i, a := range p.Adapters {
		refs[i] = AdapterRef{Name: a.Name, Path: a.Path}
	}
	return NewPlan(p.Model.Name, refs...)
}

// Layer is what a plan does with one weight.
type Layer struct {
	Index  int // position in Project.Layers and in snapshots
	Weight *loader.Weight
	Steps  []Step // adapters to merge, in order
	Output Output
	Method Method
	Reason string // why no adapter applies, "" if one does

	// Tensors of adapters that take the place of the weight and of its bias
	// before anything is merged; nil if the model's own do.
	base, bias *loader.Tensor

	// turned says that the layer is written as floats [in, out], the other way
	// round than its quantized weight.
	turned bool

	// Under a plan with Onto, Weight is the original's: the quantized model's
	// weight, which the figures compare with, and what Weight is quantized to, nil
	// if it stays as it is.
	against, into *loader.Weight

	inputs    *layerInputs // nil if no model was run; set by a job in its own copy
	remainder *remainder   // nil if none is asked for; as inputs
}

// Merges reports whether the layer's weights are changed by an adapter. The
// steps of a separate layer are not merged but written beside the checkpoint.
func (l *Layer) Merges() bool { return len(l.Steps) > 0 && l.Output != Separate }

// Copies reports whether the layer's bytes are copied as they are.
func (l *Layer) Copies() bool {
	return !l.Merges() && l.into == nil && (!l.Output.Dequantized() || l.Weight.Format == outputFormats[l.Output])
}

// Base is the weight of the model that was opened: the quantized one, also
// under a plan that merges onto its original.
func (l *Layer) Base() *loader.Weight { return cmp.Or(l.against, l.Weight) }

// Step is one adapter on one layer.
type Step struct {
	Adapter *loader.Adapter
	Module  *loader.Module // without A and B where the file has no tensors for a targeted weight: the delta is 0
	Factor  float64        // the plan's scale
	Scale   float64        // Module.Scale * Factor, what B@A is multiplied with

	// Transpose says that the weight is stored [in, out], as float Conv1D and
	// embedding weights are, so the delta to add is the transpose of B@A.
	Transpose bool

	Share *Share // the weight's share of the factors, nil if it has all of them

	Defect string // what PEFT does wrongly in this merge, which the method reproduces; "" for nothing
}

// Validate reports the first reason why the plan cannot be run on the project:
// whatever Plan.Check finds, or an adapter that is not open. Findings that
// concern single layers are alerts of Layers.
func (p *Project) Validate(plan Plan) error {
	if err := plan.Check(); err != nil {
		return err
	}
	for _, a := range plan.Adapters {
		if p.Adapter(a.Name) == nil {
			return fmt.Errorf("plan: adapters.%s: %s is not open", a.Name, a.Path)
		}
	}
	if plan.Onto != "" && (p.Original == nil || p.originalName != plan.Onto) {
		return fmt.Errorf("plan: onto: %s is not open", plan.Onto)
	}
	return nil
}

// Layers resolves a plan: one Layer for every weight of the checkpoint, or of
// the original under a plan with Onto, in natural order, and the alerts that need
// no merge. It reads no tensors. If a pattern does not compile no rule applies,
// and an alert says so.
func (p *Project) Layers(plan Plan) ([]Layer, []Alert) {
	layers, _, alerts := p.written(plan).layers(plan)
	return layers, alerts
}

// layers is Layers with the tensors that adapters replace beside the layers
// that are merged.
func (p *Project) layers(plan Plan) ([]Layer, []replacement, []Alert) {
	layers := make([]Layer, len(p.Model.Weights))
	var alerts []Alert
	if err := plan.Check(); err != nil {
		alerts = append(alerts, newAlert(Error, CodeConflict, "", err.Error()))
	}
	rules, _ := compileRules(plan.Rules)
	quantize, _ := ParseQuantization(plan.Quantize) // likewise, and "" is none
	for i, w := range p.Model.Weights {
		layers[i] = Layer{Index: i, Weight: w, Output: rules.output(w.Name)}
		layers[i].Method, _ = ParseMethod(cmp.Or(rules.method(w.Name), plan.Method)) // Check reports what is wrong
		if p.against != nil {
			layers[i].face(p.against, quantize)
		} else if layers[i].Output.Dequantized() && (w.Format.IsFloat() || w.Problem != nil) {
			layers[i].Output = Same // output forms concern quantized weights that can be decoded
		} else {
			layers[i].turned = layers[i].Output.Dequantized() && p.transposes(w)
		}
	}
	widths, wrong := widthsOf(p.Model), reproduces(layers)
	why := make([][]string, len(layers))
	for _, ref := range plan.Adapters {
		a := p.Adapter(ref.Name)
		if a == nil {
			alerts = append(alerts, newAlert(Error, CodeUnmatched, "", fmt.Sprintf("adapter %s (%s) is not open", ref.Name, ref.Path)))
			continue
		}
		if code, reason := refusal(a, p.reached(a, widths), wrong); reason != "" {
			alerts = append(alerts, finding(a, Error, code, "%s. Nothing of it is merged", reason))
			for i := range why {
				why[i] = append(why[i], a.Name+" cannot be merged: "+reason)
			}
			continue
		}
		hits, found := p.resolve(a)
		found = append(found, p.lintFactors(a, hits, rules)...)
		found = append(found, lintDefects(a, hits, layers)...)
		for _, al := range found {
			// What is wrong with a layer does not matter where the plan leaves
			// the adapter off.
			if al.Layer == "" || rules.scale(al.Layer, a.Name) != 0 {
				alerts = append(alerts, al)
			}
		}
		for i := range layers {
			w := layers[i].Weight
			step, reason := stepFor(a, hits[w], rules.scale(w.Name, a.Name), &layers[i])
			if reason != "" {
				why[i] = append(why[i], reason)
				continue
			}
			layers[i].Steps = append(layers[i].Steps, step)
		}
	}
	for i := range layers {
		layers[i].settle(why[i], len(plan.Adapters))
	}
	alerts = append(alerts, defects(layers)...)
	alerts = append(alerts, splitExperts(layers)...)
	replaced, found := p.replacements(plan, rules, layers)
	alerts = append(alerts, found...)
	return layers, replaced, append(alerts, p.findings(plan, layers)...)
}

// stepFor returns the step of an adapter on a layer, or why there is none.
func stepFor(a *loader.Adapter, h hit, factor float64, l *Layer) (Step, string) {
	defect := ""
	if h.module != nil {
		defect = defectOf(h.module.Tuner, l.Weight)
	}
	switch {
	case h.problem != "":
		return Step{}, a.Name + " cannot be merged: " + h.problem
	case h.module == nil && h.miss == "":
		return Step{}, "not targeted by " + a.Name
	case h.module == nil:
		return Step{}, "not targeted by " + a.Name + ": " + h.miss
	case factor == 0:
		return Step{}, "scale of " + a.Name + " is 0"
	case defect != "" && (!l.Method.Defects || l.Output.Dequantized()):
		return Step{}, a.Name + " cannot be merged: " + defect
	case factor != 1 && unscalable(h.module.Tuner) != "":
		return Step{}, a.Name + " cannot be merged: its scale is not 1. " + unscalable(h.module.Tuner)
	}
	return Step{
		Adapter: a, Module: h.module, Factor: factor, Scale: h.module.Scale * factor, Transpose: h.transpose, Share: h.share, Defect: defect,
	}, ""
}

// settle applies the output form and words the reason.
func (l *Layer) settle(why []string, adapters int) {
	switch {
	case len(l.Steps) > 0 && l.Output == Keep:
		l.Steps = nil
		l.Reason = "output keep: base bytes stay, the adapter is dropped"
	case len(l.Steps) > 0:
		l.Reason = ""
	case adapters == 0:
		l.Reason = "the plan has no adapter"
	default:
		l.Reason = strings.Join(why, "; ")
	}
}
