package loader

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/bits"
)

// DType is the element type of a safetensors tensor, spelled as in the file's
// header: "F32", "BF16", "U8" and so on.
type DType string

// dtypeBits lists the element types of safetensors 0.7 with their width.
var dtypeBits = map[DType]int64{
	"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
	"BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F8_E5M2FNUZ": 8, "F8_E4M3FNUZ": 8,
	"I16": 16, "U16": 16, "F16": 16, "BF16": 16,
	"I32": 32, "U32": 32, "F32": 32,
	"F64": 64, "I64": 64, "U64": 64, "C64": 64,
}

// Bits returns the width of an element, 0 for an unknown type. F4 and the F6
// types pack elements across bytes.
func (d DType) Bits() int64 { return dtypeBits[d] }

// Tensor is one entry of a safetensors file.
type Tensor struct {
	Name   string
	DType  DType
	Shape  []int64
	Offset int64 // of the first byte, from the start of the file
	Size   int64 // in bytes

	file *File
}

// File returns the file the tensor is stored in.
func (t *Tensor) File() *File { return t.file }

// Numel returns the number of elements.
func (t *Tensor) Numel() int64 {
	n, _ := product(t.Shape)
	return n
}

// product multiplies the dimensions of a shape; ok is false if the result or
// a dimension does not fit a non-negative int64.
func product(shape []int64) (n int64, ok bool) {
	n, ok = 1, true
	for _, d := range shape {
		hi, lo := bits.Mul64(uint64(n), uint64(d))
		if d < 0 || hi != 0 || lo > math.MaxInt64 {
			ok = false
		}
		n = int64(lo)
	}
	if !ok {
		return 0, false
	}
	return n, true
}

// ReadAt reads len(p) bytes from offset off of the tensor's data. Errors name
// file, tensor and byte offset; a file that shrank is reported as such and
// matches io.ErrUnexpectedEOF. Reading up to the tensor's end and beyond gives
// io.EOF, as io.ReaderAt asks.
func (t *Tensor) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off > t.Size {
		return 0, t.errorAt(off, fmt.Errorf("read outside the tensor's %d bytes", t.Size))
	}
	want := int(min(int64(len(p)), t.Size-off))
	n, err := t.file.r.ReadAt(p[:want], t.Offset+off)
	switch {
	case n < want && (err == nil || errors.Is(err, io.EOF)):
		return n, t.errorAt(off+int64(n), fmt.Errorf("file shrank since it was opened, it had %d bytes: %w",
			t.file.Size, io.ErrUnexpectedEOF))
	case n < want:
		return n, t.errorAt(off+int64(n), err)
	case want < len(p):
		return n, io.EOF
	}
	return n, nil
}

// ReadFull fills p from offset off of the tensor's data. Nothing short of all
// of p is a success.
func (t *Tensor) ReadFull(p []byte, off int64) error {
	_, err := t.ReadAt(p, off)
	if errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return t.errorAt(off, fmt.Errorf("read of %d bytes goes beyond the tensor's %d", len(p), t.Size))
	}
	return err
}

// Bytes reads all of the tensor's data. Use it for small companions.
func (t *Tensor) Bytes() ([]byte, error) {
	p := make([]byte, t.Size)
	if err := t.ReadFull(p, 0); err != nil {
		return nil, err
	}
	return p, nil
}

// Float32s reads all elements of an F32 tensor.
func (t *Tensor) Float32s() ([]float32, error) {
	if t.DType != "F32" {
		return nil, t.errorAt(0, fmt.Errorf("want F32, got %s", t.DType))
	}
	v := make([]float32, t.Size/4)
	if err := t.ReadFloat32s(v, 0); err != nil {
		return nil, err
	}
	return v, nil
}

// ReadFloat32s fills dst with the elements of an F32 tensor from element first
// on.
func (t *Tensor) ReadFloat32s(dst []float32, first int64) error {
	if t.DType != "F32" {
		return t.errorAt(0, fmt.Errorf("want F32, got %s", t.DType))
	}
	if first < 0 || first > t.Size/4 || int64(len(dst)) > t.Size/4-first {
		return t.errorAt(0, fmt.Errorf("elements %d to %d are outside the tensor's %d", first, first+int64(len(dst)), t.Size/4))
	}
	var buf [8192]byte
	for len(dst) > 0 {
		n := min(len(dst), len(buf)/4)
		if err := t.ReadFull(buf[:4*n], 4*first); err != nil {
			return err
		}
		for i := range n {
			dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(buf[4*i:]))
		}
		dst, first = dst[n:], first+int64(n)
	}
	return nil
}

// errorAt places err at offset off of the tensor's data.
func (t *Tensor) errorAt(off int64, err error) error {
	return &FormatError{File: t.file.Name, Tensor: t.Name, Offset: t.Offset + off, Err: err}
}
