package merge

import (
	"fmt"
	"slices"

	"mergescope/loader"
	"mergescope/quant"
)

// peftBoolean is what torch says to PEFT's check of a merged bias: lora/bnb.py
// asks "not torch.isfinite(bias)" of the whole vector.
const peftBoolean = "Boolean value of Tensor with more than one value is ambiguous"

// trainsBias reports whether lora_B.bias goes into the layer's bias. The
// configuration decides; a tensor the file lacks is zero, as PEFT creates it.
func trainsBias(a *loader.Adapter, m *loader.Module) bool {
	return a.Config.LoraBias && !m.Embedding && m.Parameter == ""
}

// biasProblem says why the bias of a module cannot be merged, "" if it can.
func biasProblem(a *loader.Adapter, m *loader.Module, w *loader.Weight) string {
	switch {
	case a.Config.LoraBias && m.Embedding:
		return "lora_bias=True is not supported for Embedding."
	case !trainsBias(a, m):
		return ""
	case w.Bias == nil:
		// lora/layer.py; the bitsandbytes layers fail with an AttributeError.
		return "Impossible to merge LoRA with `lora_bias=True` because the base layer has no bias."
	case m.BiasB != nil && (m.BiasB.Numel() != w.Bias.Numel() || tensorFormats[m.BiasB.DType] == quant.Unknown):
		return fmt.Sprintf("%s is %s %v, but the bias is %v", m.BiasB.Name, m.BiasB.DType, m.BiasB.Shape, w.Bias.Shape)
	}
	return ""
}

// onPacked reports whether PEFT's bitsandbytes layers merge the layer, as
// against those for plain weights, which a dequantized layer has become.
func (l *Layer) onPacked() bool { return !l.Weight.Format.IsFloat() && !l.Output.Dequantized() }

// refusal returns the step for which PEFT's merge fails, and why; nil if it
// does not.
func (l *Layer) refusal(opt mergeOptions) (*Step, string) {
	for i := range l.Steps {
		s := &l.Steps[i]
		if l.onPacked() && trainsBias(s.Adapter, s.Module) && l.Weight.Bias.Numel() > 1 && !opt.unsafe && opt.unmerge != Subtract {
			return s, "lora_bias on a bitsandbytes layer: PEFT's safe_merge fails there (RuntimeError: " + peftBoolean +
				"); without the safe check it is merged"
		}
	}
	return nil, ""
}

// biasTerm is what one step does to a bias: value = value ± scale*lora_B.bias.
type biasTerm struct {
	step         *Step
	stored, kind quant.Format // see loadedAs
	scale        float32
	minus        bool
	sum          quant.Format // dtype of the bias afterwards

	// Of tuners that multiply the bias.
	layer *Layer
	opt   mergeOptions
}

// biasTerms lists the terms of a layer's bias in order. On bitsandbytes layers
// the scaling is left out and the sum takes the promoted dtype (lora/bnb.py);
// elsewhere the bias is scaled and keeps its dtype, but for safe_merge, which
// gives it the weight's (lora/layer.py). Taking off is in place everywhere.
func (l *Layer) biasTerms(opt mergeOptions) []biasTerm {
	var list []biasTerm
	f := quant.F32
	if l.Weight.Bias != nil {
		f = tensorFormats[l.Weight.Bias.DType]
	}
	pass := func(steps []*Step, minus bool) {
		for _, s := range steps {
			if l.scalesBias(s.Module) {
				list = append(list, biasTerm{step: s, layer: l, opt: opt, sum: f})
			}
			if !trainsBias(s.Adapter, s.Module) {
				continue
			}
			t := biasTerm{step: s, scale: float32(s.Scale), minus: minus}
			t.stored, t.kind = loadedAs(s, l.Weight, opt)
			switch {
			case l.onPacked():
				t.scale = 1
				if !minus {
					f = promote(f, t.kind)
				}
			case !minus && !opt.unsafe && l.Weight.Format.IsFloat():
				f = l.Weight.Format
			}
			t.sum = f
			list = append(list, t)
		}
	}
	steps := make([]*Step, len(l.Steps))
	for i := range l.Steps {
		steps[i] = &l.Steps[i]
	}
	pass(steps, opt.unmerge == Subtract)
	if opt.unmerge == RoundTrip {
		slices.Reverse(steps)
		pass(steps, true)
	}
	return list
}

// biasTensor describes the bias a layer is written with; ok is false if it
// stays as it is.
func (l *Layer) biasTensor(opt mergeOptions) (t outTensor, ok bool) {
	terms := l.biasTerms(opt)
	if l.Weight.Bias == nil || !l.Merges() || len(terms) == 0 && l.bias == nil {
		return t, false
	}
	t = copyOf(l.Weight.Bias)
	t.owner = l.Weight.Name
	if len(terms) > 0 {
		t.dtype = tensorTypes[terms[len(terms)-1].sum]
		t.size = t.from.Numel() * t.dtype.Bits() / 8
	}
	return t, true
}

// tensorTypes is the inverse of tensorFormats.
var tensorTypes = map[quant.Format]loader.DType{quant.F32: "F32", quant.F16: "F16", quant.BF16: "BF16"}

// newBias returns the bytes of biasTensor, nil if the bias stays.
func newBias(l *Layer, opt mergeOptions) ([]byte, error) {
	t, ok := l.biasTensor(opt)
	if !ok {
		return nil, nil
	}
	base := l.Weight.Bias
	if l.bias != nil {
		base = l.bias
	}
	sum, err := readFloats(base)
	if err != nil {
		return nil, err
	}
	quant.RoundTo(sum, tensorFormats[l.Weight.Bias.DType])
	for _, x := range l.biasTerms(opt) {
		if err := x.add(sum); err != nil {
			return nil, err
		}
	}
	raw := make([]byte, t.size)
	quant.EncodeFloats(raw, sum, tensorFormats[t.dtype])
	return raw, nil
}

func (t *biasTerm) add(sum []float32) error {
	if t.layer != nil {
		return t.multiply(sum)
	}
	b := t.step.Module.BiasB
	if b == nil {
		quant.RoundTo(sum, t.sum)
		return nil
	}
	term, err := readFloats(b)
	if err != nil {
		return err
	}
	quant.RoundTo(term, t.stored)
	if t.scale != 1 {
		for i, v := range term {
			term[i] = float32(v * t.scale)
		}
		quant.RoundTo(term, t.kind)
	}
	for i, v := range term {
		if t.minus {
			sum[i] -= v
		} else {
			sum[i] += v
		}
	}
	quant.RoundTo(sum, t.sum)
	return nil
}

// lintBias reports lora_B.bias on quantized layers, which PEFT adds without the
// scaling (peft issue 3741), and tensors the configuration does not ask for.
func lintBias(a *loader.Adapter, hits map[*loader.Weight]hit, weights []*loader.Weight) []Alert {
	var unscaled, idle tally
	for _, w := range weights {
		m := hits[w].module
		switch {
		case m == nil || m.BiasB == nil:
		case !a.Config.LoraBias:
			idle.add(m.BiasB.Name, tensorPlace(m.BiasB))
		case m.Scale != 1 && !w.Format.IsFloat():
			unscaled.add(m.Path, tensorPlace(m.BiasB))
		}
	}
	out := unscaled.alert(Warning, CodeLoraBias, a.Name+": modules with lora_B.bias: %d, first %s; on bitsandbytes layers PEFT merges it without the scaling "+
		"(peft issue 3741), so the merged model differs from the adapter kept separate")
	return append(out, idle.alert(Warning, CodeConflict, a.Name+": tensors of lora_B.bias although lora_bias is not set: %d, first %s; as PEFT does, they are left out")...)
}
