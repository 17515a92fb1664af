package loader

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"mergescope/quant"
)

// StateMark precedes the quant_type in the name of a 4-bit weight's state
// (bitsandbytes/functional.py, QuantState.as_dict).
const StateMark = ".quant_state.bitsandbytes__"

// maxState bounds the state's JSON; real ones have 80 to 200 bytes.
const maxState = 64 << 10

// NestedBlocksize is how many absmax share one scale under double
// quantization. bitsandbytes knows no other.
const NestedBlocksize = 256

// blocksizes are those bitsandbytes quantizes with.
var blocksizes = []int{32, 64, 128, 256, 512, 1024, 2048, 4096}

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

// Blocks returns the number of blocks, the last of which may be partial.
func (q *QuantState) Blocks() int64 {
	n, _ := product(q.Shape)
	return ceilDiv(n, int64(q.Blocksize))
}

// ceilDiv is safe for every a >= 0, b > 0.
func ceilDiv(a, b int64) int64 {
	n := a / b
	if a%b != 0 {
		n++
	}
	return n
}

// ParseQuantState reads the JSON of a 4-bit weight's state. It accepts what
// Python's json.loads accepts as a number, NaN and Infinity included, and
// refuses unknown, missing and repeated fields and values bitsandbytes never
// writes. The tensors of the result are nil.
func ParseQuantState(text []byte) (*QuantState, error) {
	s := &scanner{s: string(text), words: true}
	q := &QuantState{}
	seen := map[string]bool{}
	err := s.object(func(key string, at int) error {
		seen[key] = true
		if err := q.field(s, key, at); err != nil {
			return fmt.Errorf("field %q: %w", key, err)
		}
		return nil
	})
	if err == nil {
		err = s.end()
	}
	if err != nil {
		return nil, err
	}
	for _, key := range [...]string{"quant_type", "blocksize", "dtype", "shape"} {
		if !seen[key] {
			return nil, fmt.Errorf("field %q is missing", key)
		}
	}
	n := 0
	nested := [...]string{"nested_blocksize", "nested_dtype", "nested_offset"}
	for _, key := range nested {
		if seen[key] {
			n++
		}
	}
	if n != 0 && n != len(nested) {
		return nil, fmt.Errorf("only %d of the fields %s are there", n, strings.Join(nested[:], ", "))
	}
	q.Nested = n > 0
	return q, nil
}

// field reads the value of one field.
func (q *QuantState) field(s *scanner, key string, at int) error {
	switch key {
	case "quant_type":
		v, err := s.text()
		f, _ := quant.ParseFormat(v)
		if q.Type = f; err == nil && !f.Is4Bit() {
			err = s.failAt(at, "%q is neither nf4 nor fp4", v)
		}
		return err
	case "blocksize":
		v, err := s.integer()
		if q.Blocksize = int(v); err == nil && !slices.Contains(blocksizes, q.Blocksize) {
			err = s.failAt(at, "%d is not one of %v", v, blocksizes)
		}
		return err
	case "dtype":
		v, err := s.text()
		f, _ := quant.ParseFormat(v)
		if q.Dtype = f; err == nil && (!f.IsFloat() || v == f.String()) {
			err = s.failAt(at, "%q is none of bfloat16, float16, float32", v)
		}
		return err
	case "shape":
		if s.null() {
			return s.failAt(at, "null, so the rows of the weight are not known")
		}
		return q.shape(s, at)
	case "nested_blocksize":
		v, err := s.integer()
		if q.NestedBlocksize = int(v); err == nil && v != NestedBlocksize {
			err = s.failAt(at, "%d is not %d", v, NestedBlocksize)
		}
		return err
	case "nested_dtype":
		v, err := s.text()
		if q.NestedDtype = v; err == nil && v != "float32" {
			err = s.failAt(at, "%q is not float32", v)
		}
		return err
	case "nested_offset":
		v, err := s.float()
		q.NestedOffset = float32(v)
		return err
	}
	return s.failAt(at, "unknown")
}

func (q *QuantState) shape(s *scanner, at int) error {
	if err := s.sizes(&q.Shape, maxDims); err != nil {
		return err
	}
	if n, ok := product(q.Shape); !ok || n == 0 || len(q.Shape) == 0 {
		return s.failAt(at, "%v is empty or overflows", q.Shape)
	}
	return nil
}

// Encode returns the state's JSON with another dtype and nested offset, byte
// for byte as Python's json.dumps writes it (bitsandbytes/utils.py,
// pack_dict_to_tensor). offset is ignored unless the state is nested.
func (q *QuantState) Encode(dtype quant.Format, offset float32) []byte {
	b := []byte(`{"quant_type": "` + q.Type.String() + `", "blocksize": `)
	b = strconv.AppendInt(b, int64(q.Blocksize), 10)
	b = append(b, `, "dtype": "`+torchName(dtype)+`", "shape": [`...)
	for i, d := range q.Shape {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = strconv.AppendInt(b, d, 10)
	}
	b = append(b, ']')
	if q.Nested {
		b = append(b, `, "nested_blocksize": `...)
		b = strconv.AppendInt(b, int64(q.NestedBlocksize), 10)
		b = append(b, `, "nested_dtype": "`+q.NestedDtype+`", "nested_offset": `...)
		b = append(b, pythonFloat(float64(offset))...)
	}
	return append(b, '}')
}

// torchName returns torch's name of a float format, without "torch.".
func torchName(f quant.Format) string {
	switch f {
	case quant.F16:
		return "float16"
	case quant.BF16:
		return "bfloat16"
	default:
		return "float32"
	}
}

// pythonFloat formats v as Python's json.dumps does: repr, that is the
// shortest digits that read back, in exponent form outside [1e-4, 1e16), with
// a point otherwise (float_repr_style in CPython's pystrtod.c).
func pythonFloat(v float64) string {
	switch {
	case math.IsNaN(v):
		return "NaN"
	case math.IsInf(v, 1):
		return "Infinity"
	case math.IsInf(v, -1):
		return "-Infinity"
	}
	if a := math.Abs(v); a != 0 && (a < 1e-4 || a >= 1e16) {
		return strconv.FormatFloat(v, 'e', -1, 64)
	}
	t := strconv.FormatFloat(v, 'f', -1, 64)
	if !strings.Contains(t, ".") {
		t += ".0"
	}
	return t
}
