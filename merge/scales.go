package merge

import (
	"mergescope/loader"
	"mergescope/quant"
)

// readScales returns the effective scales of a weight, nested ones decoded; nil
// if its format has none.
func readScales(w *loader.Weight) ([]float32, error) {
	switch q := w.State; {
	case w.Format == quant.Int8:
		return w.SCB.Float32s()
	case q == nil:
		return nil, nil
	case !q.Nested:
		return q.Absmax.Float32s()
	default:
		n, err := readNested(q)
		if err != nil {
			return nil, err
		}
		absmax := make([]float32, len(n.Codes))
		n.Dequantize(absmax)
		return absmax, nil
	}
}

// readNested reads the scales of a 4-bit weight with double quantization.
func readNested(q *loader.QuantState) (n quant.Nested, err error) {
	n = quant.Nested{Offset: q.NestedOffset, Blocksize: q.NestedBlocksize, Map: new([256]float32)}
	if n.Codes, err = q.Absmax.Bytes(); err != nil {
		return n, err
	}
	if n.Absmax, err = q.NestedAbsmax.Float32s(); err != nil {
		return n, err
	}
	return n, q.NestedMap.ReadFloat32s(n.Map[:], 0)
}
