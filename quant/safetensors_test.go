package quant

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"
)

// tensor is one entry of a safetensors file.
type tensor struct {
	DType   string `json:"dtype"`
	Shape   []int  `json:"shape"`
	Offsets [2]int `json:"data_offsets"`
	raw     []byte
}

// vectors are the tensors of one file of golden test vectors.
type vectors map[string]*tensor

// load reads ../testdata/name.safetensors. It is independent of package loader,
// which quant must not import.
func load(t testing.TB, name string) vectors {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "testdata", name+".safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	n := binary.LittleEndian.Uint64(data)
	var entries map[string]json.RawMessage
	if err := json.Unmarshal(data[8:8+n], &entries); err != nil {
		t.Fatal(err)
	}
	delete(entries, "__metadata__")
	v := vectors{}
	for name, entry := range entries {
		x := new(tensor)
		if err := json.Unmarshal(entry, x); err != nil {
			t.Fatal(err)
		}
		body := data[8+n:]
		x.raw = body[x.Offsets[0]:x.Offsets[1]]
		v[name] = x
	}
	return v
}

func (v vectors) get(t testing.TB, name string) *tensor {
	t.Helper()
	x := v[name]
	if x == nil {
		t.Fatalf("no tensor %q", name)
	}
	return x
}

// bytes returns a tensor's data as stored.
func (v vectors) bytes(t testing.TB, name string) []byte {
	t.Helper()
	return v.get(t, name).raw
}

// floats returns a float tensor widened to float32. It decodes by itself, not
// with DecodeFloats.
func (v vectors) floats(t testing.TB, name string) []float32 {
	t.Helper()
	x := v.get(t, name)
	var out []float32
	switch x.DType {
	case "F32":
		for i := 0; i < len(x.raw); i += 4 {
			out = append(out, math.Float32frombits(binary.LittleEndian.Uint32(x.raw[i:])))
		}
	case "F16":
		for i := 0; i < len(x.raw); i += 2 {
			out = append(out, slowHalf(binary.LittleEndian.Uint16(x.raw[i:])))
		}
	case "BF16":
		for i := 0; i < len(x.raw); i += 2 {
			out = append(out, math.Float32frombits(uint32(binary.LittleEndian.Uint16(x.raw[i:]))<<16))
		}
	default:
		t.Fatalf("%s: dtype %s", name, x.DType)
	}
	return out
}

// slowHalf decodes IEEE binary16 by its definition.
func slowHalf(h uint16) float32 {
	sign, exp, frac := 1.0, int(h>>10&31), float64(h&1023)
	if h>>15 == 1 {
		sign = -1
	}
	switch exp {
	case 31:
		if frac != 0 {
			return float32(math.NaN())
		}
		return float32(math.Inf(int(sign)))
	case 0:
		return float32(sign * math.Ldexp(frac, -24))
	}
	return float32(sign * math.Ldexp(1024+frac, exp-25))
}

// sameBits fails if got and want differ in bits; any NaN equals any NaN.
func sameBits(t testing.TB, what string, got, want []float32) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d values, want %d", what, len(got), len(want))
	}
	bad := 0
	for i := range got {
		if math.Float32bits(got[i]) == math.Float32bits(want[i]) || got[i] != got[i] && want[i] != want[i] {
			continue
		}
		if bad++; bad <= 3 {
			t.Errorf("%s: [%d] = %v (%08x), want %v (%08x)", what, i,
				got[i], math.Float32bits(got[i]), want[i], math.Float32bits(want[i]))
		}
	}
	if bad > 3 {
		t.Errorf("%s: %d of %d differ", what, bad, len(got))
	}
}

// sameBytes fails if got and want differ.
func sameBytes(t testing.TB, what string, got, want []byte) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d bytes, want %d", what, len(got), len(want))
	}
	bad := 0
	for i := range got {
		if got[i] != want[i] {
			if bad++; bad <= 3 {
				t.Errorf("%s: byte %d = %02x, want %02x", what, i, got[i], want[i])
			}
		}
	}
	if bad > 3 {
		t.Errorf("%s: %d of %d bytes differ", what, bad, len(got))
	}
}
