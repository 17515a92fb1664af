package loader

import (
	"io"

	"mergescope/quant"
)

// DType is the element type of a safetensors tensor, spelled as in the file's
// header: "F32", "BF16", "U8" and so on.
type DType string

// Tensor is one entry of a safetensors file.
type Tensor struct {
	Name   string
	DType  DType
	Shape  []int64
	Offset int64 // of the first byte, from the start of the file
	Size   int64 // in bytes

	file *File
}

// File is one open safetensors file.
type File struct {
	Name     string            // as shown in messages: path or name inside the source
	Size     int64             // bytes of the whole file
	Header   int64             // bytes of the JSON header
	Metadata map[string]string // "__metadata__", nil if absent
	Tensors  []*Tensor         // in the order of their data

	order  []string // names in the order of the header
	byName map[string]*Tensor
	r      io.ReaderAt
	closer io.Closer
}

// Weight is one parameter of a model as a merge sees it: a matrix together
// with the companions that decode it.
type Weight struct {
	Name   string       // module path without ".weight", or the parameter's full name
	Param  string       // tensor name, for example "model.layers.0.mlp.up_proj.weight"
	Format quant.Format // of Data
	Shape  []int64      // logical shape, [out, in] for a linear layer
	Data   *Tensor

	State *QuantState // 4-bit only
	SCB   *Tensor     // int8 only: F32 [out]
	Bias  *Tensor     // "M.bias", if the module has one

	Companions []*Tensor // every tensor that belongs to the weight besides Data and Bias
	Problem    error     // why the weight cannot be decoded; nil if it can
}

// QuantState is the decoded "quant_state" of a 4-bit weight.
type QuantState struct {
	Type      quant.Format // NF4 or FP4
	Blocksize int
	Dtype     quant.Format // F32, F16 or BF16
	Shape     []int64

	Nested          bool
	NestedBlocksize int
	NestedOffset    float32
	NestedDtype     string

	JSON         *Tensor // the state itself
	Absmax       *Tensor // F32 [blocks], or U8 [blocks] if nested
	QuantMap     *Tensor // F32 [16]
	NestedAbsmax *Tensor // F32 [ceil(blocks/256)]
	NestedMap    *Tensor // F32 [256]
}
