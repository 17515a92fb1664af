package merge

import (
	"fmt"

	"mergescope/loader"
	"mergescope/quant"
)

// syntheticCases are square layers in memory, one of each kind of storage.
func syntheticCases(size, rank int) []benchCase {
	var cases []benchCase
	for _, spec := range []quant.Spec{
		{Format: quant.NF4, Blocksize: 64, Dtype: quant.BF16},
		{Format: quant.NF4, Blocksize: 64, Dtype: quant.BF16, Nested: true},
		{Format: quant.Int8, Dtype: quant.F32},
		{Format: quant.BF16, Dtype: quant.BF16},
	} {
		s := newSynthetic(spec, size, rank)
		cases = append(cases, benchCase{
			name: fmt.Sprintf("%dx%d r%d", size, size, rank), format: benchFormat(spec), layers: 1, weights: int64(size) * int64(size),
			open: func(int) (*subject, error) {
				fresh := *s
				return &fresh, nil
			},
		})
	}
	return cases
}

// synthetic returns numbers in [-1, 1) that depend on nothing but how many were
// drawn before (Knuth's MMIX generator).
type synthetic uint64

func (n *synthetic) next() float32 {
	*n = *n*6364136223846793005 + 1442695040888963407
	return float32(int32(*n>>40)-1<<23) / (1 << 23)
}

func (n *synthetic) fill(x []float32, scale float32) []float32 {
	for i := range x {
		x[i] = n.next() * scale
	}
	return x
}

// newSynthetic returns a square layer of weights of about 0.01 and a LoRA
// adapter of a tenth of that.
func newSynthetic(spec quant.Spec, size, rank int) *subject {
	n := synthetic(1)
	s := &subject{
		layer: &Layer{Weight: &loader.Weight{Data: &loader.Tensor{Name: "weight"}}},
		spec:  spec, form: spec.Format, rows: size, cols: size, unit: 1,
	}
	w := s.layer.Weight
	codes := make(memory, spec.Format.Bytes(int64(size)*int64(size)))
	switch {
	case spec.Format.IsFloat():
		quant.EncodeFloats(codes, n.fill(make([]float32, size*size), 0.02), spec.Format)
	case spec.Format == quant.Int8:
		w.SCB = &loader.Tensor{Name: "scb"}
		s.absmax = make([]float32, size)
	default:
		w.State = &loader.QuantState{
			Absmax: &loader.Tensor{Name: "absmax"}, NestedAbsmax: &loader.Tensor{Name: "nested_absmax"}, NestedMap: &loader.Tensor{Name: "nested_quant_map"},
		}
		s.absmax = make([]float32, size*size/spec.Blocksize)
	}
	if !spec.Format.IsFloat() {
		for i := range codes {
			codes[i] = byte(128 + 127*n.next())
		}
		for i := range s.absmax {
			s.absmax[i] = 0.015 + 0.005*n.next()
		}
	}
	s.data = codes
	a, b := n.fill(make([]float32, rank*size), 0.02), n.fill(make([]float32, size*rank), 0.02)
	l := &lora{a: quant.NewFactor(a, rank, size), b: b, scale: 1, kind: quant.F32, upper: spec.Format.IsFloat()}
	if l.upper {
		l.round = spec.Format // as safe_merge
	}
	s.updates = []update{l}
	s.dtypes = []quant.Format{spec.Dtype, l.dtype(spec.Dtype)}
	return s
}

// memory is content that lies in memory.
type memory []byte

func (m memory) ReadFull(p []byte, off int64) error {
	copy(p, m[off:off+int64(len(p))])
	return nil
}
