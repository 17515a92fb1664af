package merge

import (
	"fmt"
	"math"

	"mergescope/loader"
	"mergescope/quant"
)

// update is one adapter's part in a weight, read into memory. It is read only
// and safe for concurrent use.
type update interface {
	// add sets p.D, the delta with its scaling, and p.T, the weight after the
	// merge before it is stored, from p.W. r0 is the weight row the panel begins
	// with.
	add(p *quant.Panel, r0 int)

	// dtype is that of the sum when the base has the given one. A 4-bit quant
	// state takes it over.
	dtype(base quant.Format) quant.Format

	// faults says what of the adapter's tensors is not finite.
	faults() factorFaults
}

// factorFaults counts the elements of A and B that are NaN or infinite. At is
// the first of B, else of A.
type factorFaults struct {
	A, B   int64
	Origin string // "lora_A" or "lora_B"
	At     Place
}

// lora adds scale*(B@A), or its transpose.
type lora struct {
	a     *quant.Factor // [rank, cols]
	b     []float32     // [rows, rank]
	scale float32
	kind  quant.Format // dtype of the adapter's arithmetic
	upper bool         // a half-precision product is computed in float32 and rounded once
	round quant.Format // what the delta is rounded to before it is added; Unknown: it is not
	minus bool         // subtract
	bad   factorFaults
}

// openLoRA reads A [r, in] and B [out, r] of a module and widens them to
// float32, rounded as opt.lora says.
//
// For a weight stored [in, out] the roles of A and B are swapped and both
// transposed: the chain of each element stays the same, factors exchanged.
func openLoRA(step *Step, w *loader.Weight, opt mergeOptions) (*lora, error) {
	m := step.Module
	a, err := readFloats(m.A)
	if err != nil {
		return nil, err
	}
	b, err := readFloats(m.B)
	if err != nil {
		return nil, err
	}
	stored, kind := loadedAs(step, w, opt)
	l := &lora{scale: float32(step.Scale), kind: kind, round: opt.rounding(step, w)}
	l.bad = factorFaultsOf(m, a, b)
	quant.RoundTo(a, stored)
	quant.RoundTo(b, stored)
	l.upper = w.Format.IsFloat() // lora/layer.py multiplies in float32 on CPU, lora/bnb.py does not
	rank, in, out := int(m.A.Shape[0]), int(m.A.Shape[1]), int(m.B.Shape[0])
	if step.Transpose {
		a, b = transpose(b, out, rank), transpose(a, rank, in)
		in = out
	}
	l.a, l.b = quant.NewFactor(a, rank, in), b
	return l, nil
}

func (l *lora) faults() factorFaults { return l.bad }

func (l *lora) dtype(base quant.Format) quant.Format { return promote(base, l.kind) }

// delta sets p.D.
func (l *lora) delta(p *quant.Panel, r0 int) {
	rank := l.a.Rank
	p.D = resize(p.D, p.Len())
	b := l.b[r0*rank : (r0+p.Rows)*rank]
	switch {
	case rank == 0:
		clear(p.D)
	case l.kind == quant.F32:
		quant.Delta(p.D, b, l.a, p.Rows, l.scale)
	case l.upper:
		quant.Delta(p.D, b, l.a, p.Rows, l.scale)
		quant.RoundTo(p.D, l.kind)
	default:
		quant.DeltaHalf(p.D, b, l.a, p.Rows, l.scale, l.kind)
	}
	if l.minus {
		for i, d := range p.D {
			p.D[i] = -d
		}
	}
}

func (l *lora) add(p *quant.Panel, r0 int) {
	l.delta(p, r0)
	p.Add()
	if l.round != quant.Unknown && l.round != quant.F32 {
		copy(p.T, p.D)
		quant.RoundTo(p.T, l.round)
		for i, w := range p.W {
			p.T[i] = w + p.T[i]
		}
	}
	quant.RoundTo(p.T, l.dtype(p.Spec.Dtype))
}

// zero adds nothing, as an adapter whose B is zero does: the weight is requantized
// all the same. Its value is the dtype of the adapter's arithmetic.
type zero quant.Format

func (zero) faults() factorFaults { return factorFaults{At: Nowhere()} }

func (z zero) dtype(base quant.Format) quant.Format { return promote(base, quant.Format(z)) }

func (z zero) add(p *quant.Panel, _ int) {
	p.D = resize(p.D, p.Len())
	clear(p.D)
	p.Add()
}

// factorFaultsOf finds the elements of A and B that are not finite. B is named
// first: a row of the delta is easier to find than a column.
func factorFaultsOf(m *loader.Module, a, b []float32) factorFaults {
	nb, firstB := nonFinite(b)
	na, firstA := nonFinite(a)
	f := factorFaults{A: na, B: nb, At: Nowhere()}
	switch {
	case nb > 0:
		f.Origin, f.At = "lora_B", elementPlace(m.B, firstB)
	case na > 0:
		f.Origin, f.At = "lora_A", elementPlace(m.A, firstA)
	}
	return f
}

// elementPlace points at element i of a matrix.
func elementPlace(t *loader.Tensor, i int) Place {
	at := tensorPlace(t)
	cols := int(t.Shape[len(t.Shape)-1])
	at.Row, at.Col = i/cols, i%cols
	return at
}

// nonFinite counts NaN and infinities and returns the index of the first, -1 if
// there is none.
func nonFinite(x []float32) (n int64, first int) {
	first = -1
	for i, v := range x {
		if !isFinite(v) {
			if n == 0 {
				first = i
			}
			n++
		}
	}
	return n, first
}

func isFinite(v float32) bool { return math.Float32bits(v)&^(1<<31) < 0x7f800000 }

// readFloats reads a float tensor and widens it to float32.
func readFloats(t *loader.Tensor) ([]float32, error) {
	f, ok := tensorFormats[t.DType]
	if !ok {
		return nil, fmt.Errorf("%s: tensor %s: dtype %s, want F32, F16 or BF16", t.File().Name, t.Name, t.DType)
	}
	dst := make([]float32, t.Numel())
	var buf []byte
	for i := 0; i < len(dst); i += floatsAtOnce {
		if err := decodeFrom(t, f, dst[i:min(i+floatsAtOnce, len(dst))], i, &buf); err != nil {
			return nil, err
		}
	}
	return dst, nil
}

// floatsAtOnce is how many elements of a tensor are read at a time.
const floatsAtOnce = 1 << 14

// decodeFrom fills dst with elements of a tensor from the first on; buf is
// memory to use.
func decodeFrom(t *loader.Tensor, f quant.Format, dst []float32, first int, buf *[]byte) error {
	*buf = resize(*buf, int(f.Bytes(int64(len(dst)))))
	if err := t.ReadFull(*buf, f.Bytes(int64(first))); err != nil {
		return err
	}
	quant.DecodeFloats(dst, *buf, f)
	return nil
}

// tensorFormats are the element types arithmetic is done on.
var tensorFormats = map[loader.DType]quant.Format{"F32": quant.F32, "F16": quant.F16, "BF16": quant.BF16}

// transpose returns the transpose of x [rows, cols].
func transpose(x []float32, rows, cols int) []float32 {
	t := make([]float32, len(x))
	for r := range rows {
		for c := range cols {
			t[c*rows+r] = x[r*cols+c]
		}
	}
	return t
}

// resize returns a slice of n elements of no defined value, s itself if it is
// large enough.
func resize[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}
