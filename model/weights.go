package model

import (
	"fmt"
	"sync"

	"mergescope/loader"
	"mergescope/quant"
)

// Weights gives the parameters of a model by their tensor names, for example
// "model.layers.0.mlp.up_proj.weight". A checkpoint is one, and so is anything
// that computes rows when asked. Its methods are safe for concurrent use. Values
// must be comparable: Forward reads equal ones once.
type Weights interface {
	// Matrix opens a weight; it is an error if there is none of that name.
	Matrix(param string) (Matrix, error)

	// Vector reads a norm's weight or a bias.
	Vector(param string) ([]float32, error)
}

// Matrix is a weight whose rows can be read in float32, as inference multiplies
// with them. It is safe for concurrent use. Values must be comparable: where
// several Weights have equal ones, Forward reads them once.
type Matrix interface {
	// Size returns out_features and in_features.
	Size() (rows, cols int)

	// Rows fills dst with len(dst)/cols rows from row first on.
	Rows(dst []float32, first int) error
}

// Checkpoint returns the weights of a checkpoint, which must stay open. 4-bit
// weights are float32(table[code]*absmax), not rounded to the dtype of their
// state, as bitsandbytes dequantizes for float32 activations; int8 weights are
// (q*SCB)*(1/127); floats are widened.
func Checkpoint(c *loader.Checkpoint) Weights { return &checkpoint{c: c} }

type checkpoint struct {
	c   *loader.Checkpoint
	raw sync.Pool // *[]byte
	row sync.Pool // *[]float32

	mu   sync.Mutex
	last *stored // opened last: those who build on one checkpoint open a weight one after the other
}

func (s *checkpoint) Matrix(param string) (Matrix, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last != nil && s.last.w.Param == param {
		return s.last, nil
	}
	m, err := s.open(param)
	if err != nil {
		return nil, err
	}
	s.last = m
	return m, nil
}

func (s *checkpoint) open(param string) (*stored, error) {
	w := s.c.Weight(param)
	if w == nil || w.Param != param {
		return nil, fmt.Errorf("%s: there is no weight %s", s.c.Name, param)
	}
	if w.Problem != nil {
		return nil, w.Problem
	}
	if len(w.Shape) != 2 {
		return nil, fmt.Errorf("%s: weight %s has shape %v, want a matrix", s.c.Name, param, w.Shape)
	}
	spec := w.Spec()
	spec.Dtype = quant.F32
	scales, err := readScales(w)
	if err != nil {
		return nil, err
	}
	return &stored{s, w, spec, scales}, nil
}

func (s *checkpoint) Vector(param string) ([]float32, error) {
	t := s.c.Tensor(param)
	if t == nil {
		return nil, fmt.Errorf("%s: there is no tensor %s", s.c.Name, param)
	}
	return floats(t)
}

// floats reads a float tensor.
func floats(t *loader.Tensor) ([]float32, error) {
	f, ok := floatFormats[t.DType]
	if !ok {
		return nil, fmt.Errorf("%s: tensor %s: dtype %s, want F32, F16 or BF16", t.File().Name, t.Name, t.DType)
	}
	raw, err := t.Bytes()
	if err != nil {
		return nil, err
	}
	v := make([]float32, t.Numel())
	quant.DecodeFloats(v, raw, f)
	return v, nil
}

// floatFormats are the dtypes of tensors that hold numbers to compute with.
var floatFormats = map[loader.DType]quant.Format{"F32": quant.F32, "F16": quant.F16, "BF16": quant.BF16}

// readScales returns the effective scales of a weight, nested ones decoded.
func readScales(w *loader.Weight) ([]float32, error) {
	switch q := w.State; {
	case w.Format == quant.Int8:
		return w.SCB.Float32s()
	case q == nil:
		return nil, nil
	case !q.Nested:
		return q.Absmax.Float32s()
	default:
		n := quant.Nested{Offset: q.NestedOffset, Blocksize: q.NestedBlocksize, Map: new([256]float32)}
		var err error
		if n.Codes, err = q.Absmax.Bytes(); err != nil {
			return nil, err
		}
		if n.Absmax, err = q.NestedAbsmax.Float32s(); err != nil {
			return nil, err
		}
		if err := q.NestedMap.ReadFloat32s(n.Map[:], 0); err != nil {
			return nil, err
		}
		scales := make([]float32, len(n.Codes))
		n.Dequantize(scales)
		return scales, nil
	}
}

// stored is a weight of a checkpoint.
type stored struct {
	from   *checkpoint
	w      *loader.Weight
	spec   quant.Spec
	scales []float32
}

func (m *stored) Size() (rows, cols int) { return m.w.Rows(), m.w.Cols() }

func (m *stored) Rows(dst []float32, first int) error {
	_, cols := m.Size()
	lo := int64(first) * int64(cols)
	hi := lo + int64(len(dst))
	if lo < 0 || hi > m.w.Numel() || len(dst)%cols != 0 {
		return fmt.Errorf("weight %s: rows from %d on, %d elements, are outside of %v", m.w.Param, first, len(dst), m.w.Shape)
	}
	f := m.spec.Format
	if f.Is4Bit() {
		return m.blocks(dst, lo, hi)
	}
	raw := borrow[byte](&m.from.raw, int(f.Bytes(hi-lo)))
	defer m.from.raw.Put(raw)
	if err := m.w.Data.ReadFull(*raw, f.Bytes(lo)); err != nil {
		return err
	}
	if f == quant.Int8 {
		quant.DequantizeInt8(dst, *raw, m.scales[first:first+len(dst)/cols])
	} else {
		quant.DecodeFloats(dst, *raw, f)
	}
	return nil
}

// blocks decodes elements [lo, hi) of a 4-bit weight, by way of whole blocks
// where rows do not begin or end with one.
func (m *stored) blocks(dst []float32, lo, hi int64) error {
	size := int64(m.spec.Blocksize)
	b0, b1 := lo/size, (hi+size-1)/size
	from, to := b0*size, min(b1*size, m.w.Numel())
	raw := borrow[byte](&m.from.raw, int((to+1)/2-from/2))
	defer m.from.raw.Put(raw)
	if err := m.w.Data.ReadFull(*raw, from/2); err != nil {
		return err
	}
	scales := m.scales[b0:b1]
	if from == lo && to == hi {
		quant.Dequantize4(dst, *raw, scales, m.spec)
		return nil
	}
	whole := borrow[float32](&m.from.row, int(to-from))
	defer m.from.row.Put(whole)
	quant.Dequantize4(*whole, *raw, scales, m.spec)
	copy(dst, (*whole)[lo-from:])
	return nil
}

// borrow takes a slice of n elements from a pool.
func borrow[T any](p *sync.Pool, n int) *[]T {
	s, _ := p.Get().(*[]T)
	if s == nil {
		s = new([]T)
	}
	*s = grow(*s, n)
	return s
}
