package quant

import "fmt"

// Format names how the elements of a weight are stored.
type Format uint8

// The formats a weight or a tensor can have. Unknown is whatever no rule of
// this package applies to, for example an integer tensor.
const (
	Unknown Format = iota
	NF4            // 4-bit NormalFloat, one absmax a block
	FP4            // 4-bit float e2m1-like, one absmax a block
	Int8           // LLM.int8(), one absmax (SCB) a row
	F32
	F16
	BF16
)

var formatNames = [...]string{"unknown", "nf4", "fp4", "int8", "f32", "f16", "bf16"}

// String returns the name used in JSON and on screen, for example "nf4".
func (f Format) String() string {
	if int(f) < len(formatNames) {
		return formatNames[f]
	}
	return fmt.Sprintf("format(%d)", uint8(f))
}

// ParseFormat is the inverse of String. It also reads torch's names of the
// float dtypes ("float32", "float16", "bfloat16"); ok is false for others.
func ParseFormat(s string) (f Format, ok bool) {
	switch s {
	case "nf4":
		return NF4, true
	case "fp4":
		return FP4, true
	case "int8":
		return Int8, true
	case "f32", "float32":
		return F32, true
	case "f16", "float16":
		return F16, true
	case "bf16", "bfloat16":
		return BF16, true
	}
	return Unknown, false
}

// Is4Bit reports whether f packs two codes into a byte.
func (f Format) Is4Bit() bool { return f == NF4 || f == FP4 }

// IsFloat reports whether f stores plain floating-point values.
func (f Format) IsFloat() bool { return f == F32 || f == F16 || f == BF16 }

// Bytes returns the bytes that n elements of format f occupy, scales not
// counted; n is odd for a 4-bit tensor whose last low nibble is padding.
func (f Format) Bytes(n int64) int64 {
	switch f {
	case NF4, FP4:
		return (n + 1) / 2
	case Int8:
		return n
	case F16, BF16:
		return 2 * n
	case F32:
		return 4 * n
	default:
		return 0
	}
}

// Profile selects whose rounding rules quantization follows where devices of
// bitsandbytes differ.
type Profile uint8

// CPU is bitsandbytes 0.50's default backend (backends/default/ops.py and
// csrc/cpu_ops.cpp); CUDA is csrc/kernels.cu with an exact reciprocal in place
// of the device's approximate one.
const (
	CPU Profile = iota
	CUDA
)

// String returns "cpu" or "cuda".
func (p Profile) String() string {
	if p == CUDA {
		return "cuda"
	}
	return "cpu"
}

// Spec says how one weight is quantized.
type Spec struct {
	Format    Format
	Blocksize int    // weights that share an absmax (4-bit); 0 for the other formats
	Dtype     Format // float format a dequantized weight is rounded to: the quant_state's dtype, F32 for Int8
	Nested    bool   // absmax itself is stored in 8 bits (double quantization)
}
