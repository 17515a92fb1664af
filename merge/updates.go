package merge

import (
	"slices"

	"mergescope/loader"
	"mergescope/quant"
)

// mergeOptions are what of a plan and of Options decides the arithmetic.
type mergeOptions struct {
	profile   quant.Profile
	unsafe    bool
	reference Reference
	lora      LoRADtype
	unmerge   Unmerge
	compute   quant.Format // dtype 4-bit layers compute in
}

// rounding is the dtype a delta is rounded to before it is added, Unknown if it
// is not. PEFT's safe merge and its unmerge of a float layer, and any merge into
// an embedding or a parameter, use delta.to(W.dtype) (lora/layer.py).
func (o mergeOptions) rounding(step *Step, w *loader.Weight) quant.Format {
	if w.Format.IsFloat() && (!o.unsafe || o.unmerge == Subtract || step.Module.Embedding || step.Share != nil) {
		return w.Format
	}
	return quant.Unknown
}

// openUpdates reads what the steps of a layer add to its weight, in order.
func openUpdates(l *Layer, opt mergeOptions) ([]update, error) {
	list, err := openSteps(l, opt)
	if err != nil || opt.unmerge != RoundTrip {
		return list, err
	}
	opt.unmerge = Subtract
	back, err := openSteps(l, opt)
	slices.Reverse(back)
	return append(list, back...), err
}

func openSteps(l *Layer, opt mergeOptions) ([]update, error) {
	var list []update
	for i := range l.Steps {
		if err := l.secondOnBase(i); err != nil {
			return nil, err
		}
		u, err := openUpdate(&l.Steps[i], l.Weight, opt)
		if err != nil {
			return nil, err
		}
		list = append(list, u)
	}
	return list, nil
}

// openUpdate reads what a step adds to a weight.
func openUpdate(step *Step, w *loader.Weight, opt mergeOptions) (update, error) {
	switch {
	case step.Module.Tuner != "":
		return openTuner(step, w, opt)
	case step.Share != nil:
		return openShare(step, w, opt)
	case step.Module.A == nil && step.Adapter.Config.UseDoRA:
		return freshDoRA(step, w, opt), nil
	case step.Module.A == nil: // a fresh adapter
		_, kind := loadedAs(step, w, opt)
		return zero(kind), nil
	}
	l, err := openLoRA(step, w, opt)
	if err != nil {
		return nil, err
	}
	l.minus = opt.unmerge == Subtract
	if step.Module.Magnitude != nil {
		stored, _ := loadedAs(step, w, opt)
		return openDoRA(step, l, stored)
	}
	return l, nil
}
