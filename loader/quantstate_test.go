package loader

import (
	"encoding/json"
	"math"
	"os"
	"strconv"
	"strings"
	"testing"

	"mergescope/quant"
)

// spelling is one state as bitsandbytes wrote it.
type spelling struct {
	Bits  string `json:"offset_f32_bits"` // "" if not nested
	State string `json:"quant_state"`
}

func spellings(t testing.TB) []spelling {
	t.Helper()
	text, err := os.ReadFile("../testdata/kernels/quant_state_json.json")
	if err != nil {
		t.Fatal(err)
	}
	var all []spelling
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// TestQuantStateGolden reads the states bitsandbytes wrote and writes them
// again, byte for byte.
func TestQuantStateGolden(t *testing.T) {
	all := spellings(t)
	if len(all) != 20 {
		t.Fatalf("%d spellings", len(all))
	}
	for _, sp := range all {
		q, err := ParseQuantState([]byte(sp.State))
		if err != nil {
			t.Errorf("%s: %v", sp.State, err)
			continue
		}
		if q.Nested != (sp.Bits != "") {
			t.Errorf("%s: nested %v", sp.State, q.Nested)
		}
		if q.Nested {
			bits, err := strconv.ParseUint(sp.Bits, 16, 32)
			if err != nil {
				t.Fatal(err)
			}
			if got := math.Float32bits(q.NestedOffset); got != uint32(bits) {
				t.Errorf("%s: offset bits %08x, want %08x", sp.State, got, bits)
			}
		}
		if got := string(q.Encode(q.Dtype, q.NestedOffset)); got != sp.State {
			t.Errorf("encoded\n%s, want\n%s", got, sp.State)
		}
	}
	q, _ := ParseQuantState([]byte(all[0].State))
	want := `{"quant_type": "nf4", "blocksize": 64, "dtype": "float32", "shape": [4, 64], "nested_blocksize": 256, "nested_dtype": "float32", "nested_offset": -Infinity}`
	if got := string(q.Encode(quant.F32, float32(math.Inf(-1)))); got != want {
		t.Errorf("encoded\n%s, want\n%s", got, want)
	}
	if back, err := ParseQuantState([]byte(want)); err != nil || back.NestedOffset != float32(math.Inf(-1)) || back.Dtype != quant.F32 {
		t.Errorf("%+v %v", back, err)
	}
}

// TestPythonFloat compares with what CPython 3 prints for json.dumps(v).
func TestPythonFloat(t *testing.T) {
	for _, tt := range []struct {
		v    float64
		want string
	}{
		{0, "0.0"},
		{math.Copysign(0, -1), "-0.0"},
		{1, "1.0"},
		{-2.5, "-2.5"},
		{1e-4, "0.0001"},
		{9.999e-5, "9.999e-05"},
		{1e-5, "1e-05"},
		{1e15, "1000000000000000.0"},
		{123456789012345680, "1.2345678901234568e+17"},
		{9999999999999998, "9999999999999998.0"},
		{1e16, "1e+16"},
		{1e22, "1e+22"},
		{-1.5e300, "-1.5e+300"},
		{5e-324, "5e-324"},
		{math.MaxFloat64, "1.7976931348623157e+308"},
		{1.0 / 3, "0.3333333333333333"},
		{math.NaN(), "NaN"},
		{math.Inf(1), "Infinity"},
	} {
		if got := pythonFloat(tt.v); got != tt.want {
			t.Errorf("%v: %s, want %s", tt.v, got, tt.want)
		}
	}
}

func TestParseQuantStateErrors(t *testing.T) {
	const good = `{"quant_type": "nf4", "blocksize": 64, "dtype": "bfloat16", "shape": [4, 64], "nested_blocksize": 256, "nested_dtype": "float32", "nested_offset": 0.5}`
	if _, err := ParseQuantState([]byte(good)); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ old, new, words string }{
		{good, ``, "want an object, got the end"},
		{good, `null`, "want an object, got null"},
		{good, `{}`, `"quant_type" is missing`},
		{`}`, `} {}`, "text goes on"},
		{`}`, ``, "want ',' or '}'"},
		{`"nf4"`, `"int8"`, `field "quant_type": "int8" is neither`},
		{`"nf4"`, `4`, "want a string, got a number"},
		{`: 64,`, `: 48,`, `field "blocksize": 48 is not one of`},
		{`: 64,`, `: 16,`, "16 is not one of"},
		{`: 64,`, `: 8192,`, "8192 is not one of"},
		{`: 64,`, `: 0,`, "0 is not one of"},
		{`: 64,`, `: -64,`, "-64 is not one of"},
		{`: 64,`, `: 64.0,`, "want an integer, got 64.0"},
		{`: 64,`, `: NaN,`, "want an integer, got NaN"},
		{`: 64,`, `: 99999999999999999999,`, "beyond 64 bits"},
		{`: 64,`, `: 4294967360,`, "4294967360 is not one of"},
		{`"bfloat16"`, `"int8"`, `field "dtype": "int8" is none of`},
		{`"bfloat16"`, `"bf16"`, `"bf16" is none of`},
		{`"bfloat16"`, `null`, "want a string, got null"},
		{`[4, 64]`, `null`, "null, so the rows"},
		{`[4, 64]`, `[]`, "is empty or overflows"},
		{`[4, 64]`, `[4, 0]`, "is empty or overflows"},
		{`[4, 64]`, `[4, -64]`, "-64 is negative"},
		{`[4, 64]`, `[4294967296, 4294967296]`, "overflows"},
		{`[4, 64]`, `"4, 64"`, "want an array"},
		{`: 256`, `: 128`, `field "nested_blocksize": 128 is not 256`},
		{`"float32"`, `"bfloat16"`, "is not float32"},
		{`0.5`, `"0.5"`, "want a number, got a string"},
		{`0.5`, `nan`, "want a number"},
		{`0.5`, `+1`, "want a number"},
		{`0.5`, `01`, "leading zero"},
		{`0.5`, `1.`, "ends in a point"},
		{`0.5`, `1e`, "empty exponent"},
		{`, "nested_offset": 0.5`, ``, "only 2 of the fields"},
		{`"nested_blocksize": 256, `, ``, "only 2 of the fields"},
		{`"quant_type": "nf4", `, ``, `"quant_type" is missing`},
		{`"blocksize": 64, `, ``, `"blocksize" is missing`},
		{`, "shape": [4, 64]`, ``, `"shape" is missing`},
		{`{`, `{"blocksize": 64, `, `duplicate key "blocksize"`},
		{`{`, `{"absmax": 1, `, `field "absmax": unknown`},
		{`{`, `{"x": 1, `, `field "x": unknown`},
	} {
		text := strings.Replace(good, tt.old, tt.new, 1)
		_, err := ParseQuantState([]byte(text))
		if err == nil || !strings.Contains(err.Error(), tt.words) {
			t.Errorf("%s: error %v, want %q", text, err, tt.words)
		}
	}
}
