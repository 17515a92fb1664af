package merge

import (
	"fmt"

	"mergescope/loader"
)

// conv1dModels are the model types of transformers whose linear layers are
// Conv1D, which stores weights [in, out]. PEFT sets fan_in_fan_out for them
// whatever the config says.
var conv1dModels = map[string]bool{"gpt2": true, "openai-gpt": true, "imagegpt": true, "decision_transformer": true}

// storesInOut reports whether float linear layers are stored [in, out]. Their
// class decides, and PEFT sets fan_in_fan_out to it with a warning; only where
// the class is not known is the adapter's word taken.
func (p *Project) storesInOut(a *loader.Adapter) bool {
	kind := p.Model.Config.ModelType
	return conv1dModels[kind] || kind == "" && a.Config.FanInFanOut
}

// transposes reports whether a quantized weight is that of a Conv1D layer, which
// has been transposed for it: as floats it must be stored [in, out] again.
func (p *Project) transposes(w *loader.Weight) bool {
	_, leaf := splitName(w.Name)
	switch leaf {
	case "c_attn", "c_proj", "c_fc", "q_attn":
		return conv1dModels[p.Model.Config.ModelType] && !w.Format.IsFloat() && len(w.Shape) == 2
	}
	return false
}

// fit checks A [r, in] and B [out, r] of a module against the shape of its
// weight. transpose is true for weights stored [in, out]: embeddings, and float
// layers where fanIn is set. problem says with numbers what does not fit, and
// tensor is where.
//
// Quantized weights are always [out, in]: bitsandbytes transposes Conv1D before
// quantizing, and PEFT's bnb layers ignore fan_in_fan_out.
func fit(m *loader.Module, w *loader.Weight, fanIn bool) (transpose bool, tensor *loader.Tensor, problem string) {
	if tensor, problem = matrices(m, w); problem != "" {
		return false, tensor, problem
	}
	r, in := m.A.Shape[0], m.A.Shape[1]
	out, rb := m.B.Shape[0], m.B.Shape[1]
	rows, cols := w.Shape[0], w.Shape[1]
	flipped := rows == in && cols == out
	switch {
	case r != rb:
		return false, m.B, fmt.Sprintf("%s is %v but %s is %v: ranks %d and %d differ", m.A.Name, m.A.Shape, m.B.Name, m.B.Shape, r, rb)
	case m.Embedding && !w.Format.IsFloat():
		return false, m.A, fmt.Sprintf("%s is an embedding adapter, weight %s is %s: only float embeddings can be merged", m.A.Name, w.Name, w.Format)
	case flipped && (m.Embedding || fanIn && w.Format.IsFloat()):
		return true, nil, ""
	case m.Embedding: // A is [r, vocab], B is [dim, r], the weight [vocab, dim]
		rows, cols = cols, rows
	case rows == out && cols == in:
		return false, nil, ""
	}
	if in != cols {
		return false, m.A, fmt.Sprintf("%s is %v but weight %s is %v: %d columns where %d are needed", m.A.Name, m.A.Shape, w.Name, w.Shape, in, cols)
	}
	return false, m.B, fmt.Sprintf("%s is %v but weight %s is %v: %d rows where %d are needed", m.B.Name, m.B.Shape, w.Name, w.Shape, out, rows)
}

// matrices checks that everything is there and has two dimensions.
func matrices(m *loader.Module, w *loader.Weight) (tensor *loader.Tensor, problem string) {
	if m.A == nil || m.B == nil {
		return m.A, fmt.Sprintf("adapter module %s lacks lora_A or lora_B", m.Path)
	}
	for _, t := range [...]*loader.Tensor{m.A, m.B} {
		if len(t.Shape) != 2 {
			return t, fmt.Sprintf("%s is %v: only matrices can be merged", t.Name, t.Shape)
		}
	}
	if len(w.Shape) != 2 {
		return w.Data, fmt.Sprintf("weight %s is %v: only matrices take a LoRA delta", w.Name, w.Shape)
	}
	return nil, ""
}
