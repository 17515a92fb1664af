package quant

import "testing"

func TestFormat(t *testing.T) {
	for _, c := range []struct {
		f           Format
		name, torch string
		bytes       int64 // of 5 elements
		four, float bool
	}{
		{NF4, "nf4", "nf4", 3, true, false},
		{FP4, "fp4", "fp4", 3, true, false},
		{Int8, "int8", "int8", 5, false, false},
		{F32, "f32", "float32", 20, false, true},
		{F16, "f16", "float16", 10, false, true},
		{BF16, "bf16", "bfloat16", 10, false, true},
	} {
		if c.f.String() != c.name || c.f.Bytes(5) != c.bytes || c.f.Is4Bit() != c.four || c.f.IsFloat() != c.float {
			t.Errorf("%s: %d bytes, 4-bit %v, float %v", c.f, c.f.Bytes(5), c.f.Is4Bit(), c.f.IsFloat())
		}
		for _, s := range []string{c.name, c.torch} {
			if got, ok := ParseFormat(s); got != c.f || !ok {
				t.Errorf("%q parsed as %s, %v", s, got, ok)
			}
		}
	}
	if f, ok := ParseFormat("int4"); f != Unknown || ok {
		t.Errorf("int4 parsed as %s", f)
	}
	if Unknown.Bytes(5) != 0 || Format(99).String() != "format(99)" {
		t.Errorf("%d bytes, %s", Unknown.Bytes(5), Format(99))
	}
	if CPU.String() != "cpu" || CUDA.String() != "cuda" {
		t.Errorf("%s %s", CPU, CUDA)
	}
}
