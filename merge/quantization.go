package merge

import (
	"fmt"
	"strings"

	"mergescope/loader"
	"mergescope/quant"
)

// Quantization is how the weights of a merge onto the original are quantized,
// once, when they are written.
type Quantization struct {
	Format quant.Format // NF4, FP4 or Int8
	Double bool         // scales are quantized themselves; 4-bit only
}

// defaultBlocksize is how many weights share an absmax unless somebody asks for
// more (bitsandbytes functional.quantize_4bit; transformers has no option).
const defaultBlocksize = 64

// ParseQuantization reads "nf4", "fp4" or "int8", the 4-bit ones with ",double"
// for double quantization.
func ParseQuantization(text string) (q Quantization, err error) {
	name, option, more := strings.Cut(text, ",")
	f, _ := quant.ParseFormat(name)
	switch {
	case !f.Is4Bit() && f != quant.Int8:
		return q, fmt.Errorf("unknown format %q, known are nf4, fp4 and int8", name)
	case more && option != "double":
		return q, fmt.Errorf("unknown option %q, known is double", option)
	case more && f == quant.Int8:
		return q, fmt.Errorf("int8 has no blocks of scales, so nothing is to be quantized twice")
	}
	return Quantization{f, more}, nil
}

// String is the inverse of ParseQuantization.
func (q Quantization) String() string {
	if q.Double {
		return q.Format.String() + ",double"
	}
	return q.Format.String()
}

// apply returns what becomes of a float weight [out, in]: the same parameter
// with the companions bitsandbytes gives it (functional.py, QuantState.as_dict;
// nn/modules.py, Linear8bitLt), all without bytes yet. blocksize is that of the
// scales of a 4-bit weight.
func (q Quantization) apply(w *loader.Weight, blocksize int) *loader.Weight {
	to := &loader.Weight{Name: w.Name, Param: w.Param, Format: q.Format, Shape: w.Shape, Bias: w.Bias}
	part := func(name string, dtype loader.DType, shape ...int64) *loader.Tensor {
		t := &loader.Tensor{Name: name, DType: dtype, Shape: shape, Size: dtype.Bits() / 8}
		for _, n := range shape {
			t.Size *= n
		}
		return t
	}
	companion := func(name string, dtype loader.DType, shape ...int64) *loader.Tensor {
		t := part(name, dtype, shape...)
		to.Companions = append(to.Companions, t)
		return t
	}
	if q.Format == quant.Int8 {
		to.Data = part(w.Param, "I8", w.Shape...)
		to.SCB = companion(w.Name+".SCB", "F32", w.Shape[0])
		companion(w.Name+weightFormat, "U8")
		return to
	}
	s := &loader.QuantState{Type: q.Format, Blocksize: blocksize, Dtype: w.Format, Shape: w.Shape}
	to.State = s
	to.Data = part(w.Param, "U8", q.Format.Bytes(w.Numel()), 1)
	blocks := s.Blocks()
	if q.Double {
		s.Nested, s.NestedBlocksize, s.NestedDtype = true, loader.NestedBlocksize, "float32"
		s.Absmax = companion(w.Param+".absmax", "U8", blocks)
		s.NestedAbsmax = companion(w.Param+".nested_absmax", "F32", (blocks+loader.NestedBlocksize-1)/loader.NestedBlocksize)
		s.NestedMap = companion(w.Param+".nested_quant_map", "F32", 256)
	} else {
		s.Absmax = companion(w.Param+".absmax", "F32", blocks)
	}
	s.QuantMap = companion(w.Param+".quant_map", "F32", 16)
	s.JSON = companion(w.Param+loader.StateMark+q.Format.String(), "U8", int64(len(s.Encode(s.Dtype, 0))))
	return to
}

// weightFormat ends the name of the byte that says how an int8 weight is
// arranged: 0, row by row.
const weightFormat = ".weight_format"

// writeConstants writes the companions that are the same for every weight.
func writeConstants(sink layerSink, w *loader.Weight) error {
	if w.State == nil {
		return sink.WriteAt(w.Name+weightFormat, []byte{0}, 0)
	}
	values := make([]float32, 16)
	for code := range values {
		if v := quant.CodeValue(w.Format, uint8(code)); v != 0 { // torch's table has one zero, of no sign
			values[code] = v
		}
	}
	var buf []byte
	return writeFloats(sink, w.State.QuantMap.Name, values, 0, &buf)
}
