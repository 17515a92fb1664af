package tui

import (
	"math/rand/v2"

	"mergescope/quant"
)

// traceOf runs a block of 64 Gaussian weights with a Gaussian delta of a given
// rms, relative to theirs, through the kernels of package quant.
func traceOf(f quant.Format, seed uint64, ratio float64) *quant.Trace {
	rng := rand.New(rand.NewPCG(seed, 7))
	spec := quant.Spec{Format: f, Dtype: quant.F32}
	w := make([]float32, 64)
	d := make([]float32, 64)
	for i := range w {
		w[i] = float32(0.02 * rng.NormFloat64())
		d[i] = float32(0.02 * ratio * rng.NormFloat64())
	}
	p := &quant.Panel{Spec: spec, Rows: 1, Cols: 64, First: 2113*4096 + 37*64, D: d}
	p.Codes = make([]byte, f.Bytes(64))
	switch {
	case f.Is4Bit():
		p.Spec.Blocksize = 64
		p.Absmax = make([]float32, 1)
		quant.Quantize4(p.Codes, p.Absmax, w, p.Spec, quant.CPU)
	case f == quant.Int8:
		p.Absmax = make([]float32, 1)
		quant.QuantizeInt8(p.Codes, p.Absmax, w, quant.CPU)
	default:
		quant.EncodeFloats(p.Codes, w, f)
	}
	p.Dequantize()
	p.Add()
	p.Requantize()
	p.Measure(nil)
	t := quant.TraceBlock(p, 0, nil)
	t.Row, t.Col = 2113, 37*64
	return t
}
