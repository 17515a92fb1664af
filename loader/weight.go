package loader

import (
	"fmt"
	"strings"

	"mergescope/quant"
)

// Weight is one parameter of a model as a merge sees it: a matrix together
// with the companions that decode it.
type Weight struct {
	Name   string       // module path without ".weight", or the parameter's full name
	Param  string       // tensor name, for example "model.layers.0.mlp.up_proj.weight"
	Format quant.Format // of Data; Unknown if Problem says so
	Shape  []int64      // logical shape, [out, in] for a linear layer
	Data   *Tensor

	State *QuantState // 4-bit only
	SCB   *Tensor     // int8 only: F32 [out]
	Bias  *Tensor     // "M.bias", if the module has one

	Companions []*Tensor // every tensor that belongs to the weight besides Data and Bias
	Problem    error     // why the weight cannot be decoded; nil if it can
}

// Rows returns the rows of the weight's shape flattened to a matrix: the
// product of all dimensions but the last.
func (w *Weight) Rows() int {
	if len(w.Shape) == 0 {
		return 1
	}
	n, _ := product(w.Shape[:len(w.Shape)-1])
	return int(n)
}

// Cols returns the last dimension.
func (w *Weight) Cols() int {
	if len(w.Shape) == 0 {
		return 1
	}
	return int(w.Shape[len(w.Shape)-1])
}

// Numel returns the number of weights.
func (w *Weight) Numel() int64 {
	n, _ := product(w.Shape)
	return n
}

// Bytes returns what the weight occupies on disk, companions included, its
// bias not.
func (w *Weight) Bytes() int64 {
	n := w.Data.Size
	for _, t := range w.Companions {
		n += t.Size
	}
	return n
}

// Spec says how the weight is quantized. It is meaningful only if Problem is
// nil.
func (w *Weight) Spec() quant.Spec {
	s := quant.Spec{Format: w.Format, Dtype: w.Format}
	switch {
	case w.State != nil:
		s.Blocksize, s.Dtype, s.Nested = w.State.Blocksize, w.State.Dtype, w.State.Nested
	case w.Format == quant.Int8:
		s.Dtype = quant.F32
	}
	return s
}

// problem records the first reason why the weight cannot be decoded.
func (w *Weight) problem(t *Tensor, format string, args ...any) {
	if w.Problem == nil {
		w.Problem = &FormatError{File: t.file.Name, Tensor: t.Name, Offset: t.Offset, Err: fmt.Errorf(format, args...)}
	}
}

// moduleName strips the parameter name of an ordinary module.
func moduleName(param string) string { return strings.TrimSuffix(param, ".weight") }

// formatOf returns the format of an unquantized tensor.
func formatOf(d DType) quant.Format {
	switch d {
	case "F32":
		return quant.F32
	case "F16":
		return quant.F16
	case "BF16":
		return quant.BF16
	}
	return quant.Unknown
}
