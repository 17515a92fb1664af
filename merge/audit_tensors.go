package merge

import (
	"bytes"
	"context"

	"mergescope/loader"
	"mergescope/quant"
)

// others compares the tensors that are no weights.
func (a *audit) others(ctx context.Context, layers []Layer) (AuditedTensors, error) {
	out := AuditedTensors{Changed: []string{}, Absent: []string{}}
	list := append([]*loader.Tensor{}, a.p.Model.Loose...)
	for i := range layers {
		l := &layers[i]
		if b := l.Weight.Bias; b != nil && l.bias == nil && len(l.biasTerms(a.opt)) == 0 {
			list = append(list, b)
		}
	}
	for _, t := range list {
		if err := ctx.Err(); err != nil {
			return out, err
		}
		m := a.names.tensor(t.Name)
		if m == nil {
			out.Absent = append(out.Absent, t.Name)
			continue
		}
		var from content = t
		dtype := t.DType
		if r := a.replaced[t.Name]; r != nil && r.old == t {
			x, err := r.tensor(a.opt)
			if err != nil {
				return out, err
			}
			from, dtype = x.from, x.dtype
			if x.through != nil {
				from = x.through
			}
		}
		out.Compared++
		same, err := sameValues(from, dtype, t.Numel(), m)
		if err != nil {
			return out, err
		}
		if !same {
			out.Changed = append(out.Changed, t.Name)
		}
	}
	return out, nil
}

// sameValues compares n elements with a tensor: bytes if both have one dtype,
// floats up to the coarser one's rounding otherwise.
func sameValues(a content, dtype loader.DType, n int64, b *loader.Tensor) (bool, error) {
	fa, fb := tensorFormats[dtype], tensorFormats[b.DType]
	switch {
	case n != b.Numel():
		return false, nil
	case dtype != b.DType && (fa == quant.Unknown || fb == quant.Unknown):
		return false, nil
	}
	const step = 1 << 14 // elements
	bits := [2]int64{dtype.Bits(), b.DType.Bits()}
	var raw [2][]byte
	var values [2][]float32
	for i := int64(0); i < n; i += step {
		k := min(step, n-i)
		for j, c := range [...]content{a, b} {
			raw[j] = resize(raw[j], int(k*bits[j]/8))
			if err := c.ReadFull(raw[j], i*bits[j]/8); err != nil {
				return false, err
			}
		}
		if dtype == b.DType {
			if !bytes.Equal(raw[0], raw[1]) {
				return false, nil
			}
			continue
		}
		for j, f := range [...]quant.Format{fa, fb} {
			values[j] = resize(values[j], int(k))
			quant.DecodeFloats(values[j], raw[j], f)
		}
		for e, v := range values[0] {
			w := values[1][e]
			if d := v - w; v != w && !(max(d, -d) <= max(ulp(v, fa), ulp(v, fb))) {
				return false, nil
			}
		}
	}
	return true, nil
}
