package model

import (
	"errors"
	"fmt"

	"mergescope/loader"
)

// LoRA is one or several adapters kept apart from the weights: by module path,
// what is added to the module's output. It is read only once in use.
type LoRA map[string][]Pair

// Pair adds Scale * ((x A^T) B^T + Bias) to a module's output (lora/layer.py,
// Linear.forward).
type Pair struct {
	A, B          []float32 // [Rank, In] and [Out, Rank]
	Bias          []float32 // of B, [Out] or nil
	Rank, In, Out int
	Scale         float32
}

// OpenLoRA reads the pairs of an adapter. What cannot be kept apart this way is
// an error that names it: tuners other than LoRA, DoRA, adapted embeddings,
// parameters of experts, and tensors that replace others.
func OpenLoRA(a *loader.Adapter) (LoRA, error) {
	l := LoRA{}
	var errs []error
	for _, o := range a.Others {
		errs = append(errs, fmt.Errorf("%s: tensor %s: it replaces or edits a tensor (%s), which cannot be kept separate here", a.Path, o.Tensor.Name, o.Kind))
	}
	for _, m := range a.Modules {
		p, err := OpenPair(m)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: module %s: %w", a.Path, m.Path, err))
			continue
		}
		l[m.Path] = append(l[m.Path], p)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return l, nil
}

// Add puts the pairs of another adapter behind those of l.
func (l LoRA) Add(other LoRA) {
	for path, pairs := range other {
		l[path] = append(l[path], pairs...)
	}
}

// OpenPair reads the pair of a module at its own scale. An error says what
// cannot be kept separate, or read.
func OpenPair(m *loader.Module) (p Pair, err error) {
	switch {
	case m.Problem != nil:
		return p, m.Problem
	case m.Tuner != "":
		return p, fmt.Errorf("tuner %s is not supported separately", m.Tuner)
	case m.Magnitude != nil:
		return p, errors.New("DoRA is not supported separately")
	case m.Embedding:
		return p, errors.New("an adapted embedding is not supported separately")
	case m.Parameter != "":
		return p, errors.New("target_parameters are not supported separately")
	case m.A == nil || m.B == nil || len(m.A.Shape) != 2 || len(m.B.Shape) != 2:
		return p, errors.New("want two matrices, lora_A and lora_B")
	}
	p = Pair{Rank: int(m.A.Shape[0]), In: int(m.A.Shape[1]), Out: int(m.B.Shape[0]), Scale: float32(m.Scale)}
	if p.A, err = floats(m.A); err != nil {
		return p, err
	}
	if p.B, err = floats(m.B); err != nil {
		return p, err
	}
	if len(p.B) != p.Out*p.Rank {
		return p, fmt.Errorf("lora_B has shape %v for rank %d", m.B.Shape, p.Rank)
	}
	if m.BiasB == nil {
		return p, nil
	}
	if p.Bias, err = floats(m.BiasB); err == nil && len(p.Bias) != p.Out {
		err = fmt.Errorf("lora_B.bias has %d elements for %d outputs", len(p.Bias), p.Out)
	}
	return p, err
}
