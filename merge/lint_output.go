package merge

import (
	"strings"

	"mergescope/loader"
	"mergescope/quant"
)

// fusedGroups are the linear layers that vLLM loads as one, by the name it
// gives them (packed_modules_mapping of its models).
var fusedGroups = map[string][]string{
	"qkv_proj":     {"q_proj", "k_proj", "v_proj"},
	"gate_up_proj": {"gate_proj", "up_proj"},
}

// stored is the format a layer has after the merge.
func (l *Layer) stored() quant.Format {
	if f, ok := outputFormats[l.Output]; ok {
		return f
	}
	return l.target().Format
}

// FloatForm is the output form in the dtype of the model's activations, in
// which layers among quantized ones must be written: bf16 unless the model's
// embedding says otherwise. transformers 5.23 leaves the tensors of a prequantized
// checkpoint in the dtype they are stored in, whatever config.json and the
// caller say (core_model_loading.py).
func (p *Project) FloatForm() Output {
	w := p.Model.Weight(p.inputEmbedding())
	for form, f := range outputFormats {
		if w != nil && w.Format == f {
			return form
		}
	}
	return AsBF16
}

// lintOutput checks mixtures of quantized layers and floats.
func (p *Project) lintOutput(layers []Layer) []Alert {
	byName := make(map[string]*Layer, len(layers))
	mixed := false
	for i := range layers {
		l := &layers[i]
		byName[l.Weight.Name] = l
		mixed = mixed || !l.stored().IsFloat()
	}
	if !mixed {
		return nil
	}
	want := outputFormats[p.FloatForm()]
	var other, split tally
	for i := range layers {
		l := &layers[i]
		f := l.stored()
		if l.Output.Dequantized() && f != want {
			other.add(l.Weight.Name+" as "+f.String(), tensorPlace(l.Weight.Data))
		}
		if l.Output.Dequantized() && splitsGroup(l, byName) {
			split.add(l.Weight.Name, tensorPlace(l.Weight.Data))
		}
	}
	out := other.alert(Warning, CodeMixedDtypes, "layers written in another dtype than the model's "+want.String()+
		" among quantized ones: %d, first %s; transformers 5.23 does not convert them, and a forward pass fails")
	return append(out, split.alert(Info, CodeFusedSplit, "float layers that vLLM fuses with quantized ones (q_proj, k_proj, v_proj; gate_proj, up_proj): "+
		"%d, first %s; transformers loads the mixture, vLLM does not")...)
}

// splitsGroup reports whether a float layer belongs to a group of which another
// layer stays quantized.
func splitsGroup(l *Layer, byName map[string]*Layer) bool {
	parent, leaf := splitName(l.Weight.Name)
	for _, group := range fusedGroups {
		for _, own := range group {
			if own != leaf {
				continue
			}
			for _, name := range group {
				if o := byName[parent+name]; o != nil && !o.stored().IsFloat() {
					return true
				}
			}
		}
	}
	return false
}

// splitName parts a module path behind its last dot.
func splitName(path string) (parent, leaf string) {
	i := strings.LastIndexByte(path, '.') + 1
	return path[:i], path[i:]
}

// withFused adds vLLM's names of groups that are all in a list of skipped
// modules: it looks for them under that name only
// (layers/quantization/bitsandbytes.py, is_layer_skipped_bnb).
func withFused(skip []string) []string {
	listed := make(map[string]bool, len(skip))
	for _, s := range skip {
		listed[s] = true
	}
	for _, s := range skip {
		parent, leaf := splitName(s)
		for fused, group := range fusedGroups {
			all := leaf == group[0]
			for _, name := range group {
				all = all && listed[parent+name]
			}
			if all && !listed[parent+fused] {
				skip = append(skip, parent+fused)
			}
		}
	}
	return skip
}

// setDtype makes config.json say the dtype in which the linear layers of a model
// without any quantized one are stored, so that transformers does not convert
// them back to the old one when it loads them.
func setDtype(doc jsonText, layers []Layer, floats map[*loader.Weight]bool) ([]byte, error) {
	form := Output("")
	for _, l := range layers {
		if floats[l.Weight] {
			if form != "" && form != l.Output {
				return doc, nil
			}
			form = l.Output
		}
	}
	value := []byte(`"` + torchDtype(outputFormats[form]) + `"`)
	for _, path := range [...][]string{{"dtype"}, {"torch_dtype"}, {"text_config", "dtype"}, {"text_config", "torch_dtype"}} {
		at, ok, err := doc.find(path...)
		if err != nil {
			return nil, err
		}
		if !ok || doc[at.value] != '"' {
			continue
		}
		if doc, err = doc.set(value, path...); err != nil {
			return nil, err
		}
	}
	return doc, nil
}
