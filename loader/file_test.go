package loader

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func newFile(b []byte) (*File, error) {
	return NewFile(bytes.NewReader(b), int64(len(b)), "x.safetensors")
}

func TestNewFile(t *testing.T) {
	head := `{"__metadata__":{"format":"pt","a\u00e9":"b\n"},` +
		`"late":{"shape":[2],"data_offsets":[4,8],"dtype":"BF16"},` +
		`"empty":{"dtype":"F32","shape":[0,3],"data_offsets":[4,4]},` +
		`"first":{"dtype":"F4","shape":[2,4],"data_offsets":[0,4]},` +
		`"scalar":{"dtype":"U8","shape":[],"data_offsets":[8,9]}}   `
	b := withHeader(head, []byte{1, 2, 3, 4, 5, 6, 7, 8, 9})
	f, err := newFile(b)
	if err != nil {
		t.Fatal(err)
	}
	names := func(ts []*Tensor) string {
		var s []string
		for _, x := range ts {
			s = append(s, x.Name)
		}
		return strings.Join(s, " ")
	}
	if got := names(f.Tensors); got != "first empty late scalar" {
		t.Errorf("data order %s", got)
	}
	if got := names(f.HeaderOrder()); got != "late empty first scalar" {
		t.Errorf("header order %s", got)
	}
	if f.Header != int64(len(head)) || f.Size != int64(len(b)) || f.Metadata["format"] != "pt" || f.Metadata["aé"] != "b\n" {
		t.Errorf("%+v", f)
	}
	late := f.Tensor("late")
	if late.Offset != int64(8+len(head)+4) || late.Size != 4 || late.Numel() != 2 || late.File() != f {
		t.Errorf("%+v", late)
	}
	if got, err := late.Bytes(); err != nil || !bytes.Equal(got, []byte{5, 6, 7, 8}) {
		t.Errorf("%v %v", got, err)
	}
	if n := f.Tensor("scalar").Numel(); n != 1 {
		t.Errorf("a scalar has %d elements", n)
	}
	if f.Tensor("none") != nil {
		t.Error("found a tensor that is not there")
	}
}

// TestDTypes checks that every dtype of the format's reference implementation
// (safetensors/src/tensor.rs, Dtype::bitsize) is known with its width.
func TestDTypes(t *testing.T) {
	widths := map[int64]string{
		4: "F4", 6: "F6_E2M3 F6_E3M2", 8: "BOOL U8 I8 F8_E5M2 F8_E4M3 F8_E8M0 F8_E5M2FNUZ F8_E4M3FNUZ",
		16: "I16 U16 F16 BF16", 32: "I32 U32 F32", 64: "I64 U64 F64 C64",
	}
	for width, names := range widths {
		for _, d := range strings.Fields(names) {
			b := build(entry{"t", d, []int64{4, 2}, make([]byte, width)})
			if f, err := newFile(b); err != nil || f.Tensors[0].DType.Bits() != width {
				t.Errorf("%s: %v", d, err)
			}
		}
	}
}

func TestNewFileErrors(t *testing.T) {
	one := func(fields string) []byte { return withHeader(`{"t":{`+fields+`}}`, make([]byte, 8)) }
	ok := `"dtype":"F32","shape":[2],"data_offsets":[0,8]`
	if _, err := newFile(one(ok)); err != nil {
		t.Fatal(err)
	}
	pair := func(a, b string) []byte {
		return withHeader(fmt.Sprintf(`{"a":{"dtype":"U8","shape":[4],"data_offsets":[%s]},"b":{"dtype":"U8","shape":[4],"data_offsets":[%s]}}`, a, b), make([]byte, 8))
	}
	huge := binary.LittleEndian.AppendUint64(nil, maxHeader+1)
	tests := []struct {
		name   string
		data   []byte
		tensor string
		at     int64
		words  string
	}{
		{"no bytes", nil, "", 0, "0 bytes are too few"},
		{"seven bytes", make([]byte, 7), "", 0, "7 bytes are too few"},
		{"header too long", append(huge, '{'), "", 0, "longer than the format's limit"},
		{"header length negative", bytes.Repeat([]byte{255}, 16), "", 0, "longer than the format's limit"},
		{"header beyond the file", withHeader("{}", nil)[:9], "", 0, "does not fit into a file of 9"},
		{"empty header", withHeader("", nil), "", 8, "does not begin with '{'"},
		{"header an array", withHeader("[]", nil), "", 8, "does not begin with '{'"},
		{"header cut", withHeader(`{"t":{`, nil), "t", 14, "the end of the text"},
		{"text after header", withHeader(`{} x`, nil), "", 11, "text goes on"},
		{"duplicate tensor", withHeader(`{"t":{`+ok+`},"t":{`+ok+`}}`, make([]byte, 8)), "", 0, `duplicate key "t"`},
		{"duplicate field", one(ok + `,"dtype":"F32"`), "t", 0, `duplicate key "dtype"`},
		{"unknown field", one(ok + `,"offset":1`), "t", 0, `unknown field "offset"`},
		{"entry is a list", withHeader(`{"t":[]}`, nil), "t", 13, "want an object, got an array"},
		{"dtype is a number", one(`"dtype":1,"shape":[2],"data_offsets":[0,8]`), "t", 0, "want a string, got a number"},
		{"dtype unknown", one(`"dtype":"F33","shape":[2],"data_offsets":[0,8]`), "t", 9, `unknown dtype "F33"`},
		{"no dtype", one(`"shape":[2],"data_offsets":[0,8]`), "t", 9, `field "dtype" is missing`},
		{"no shape", one(`"dtype":"F32","data_offsets":[0,8]`), "t", 9, `field "shape" is missing`},
		{"no offsets", one(`"dtype":"F32","shape":[2]`), "t", 9, `field "data_offsets" must have two numbers`},
		{"one offset", one(`"dtype":"F32","shape":[2],"data_offsets":[0]`), "t", 9, "two numbers"},
		{"three offsets", one(`"dtype":"F32","shape":[2],"data_offsets":[0,8,8]`), "t", 0, "more than 2 numbers"},
		{"offsets backwards", one(`"dtype":"F32","shape":[2],"data_offsets":[8,0]`), "t", 9, "run backwards"},
		{"offset negative", one(`"dtype":"F32","shape":[2],"data_offsets":[-1,8]`), "t", 0, "-1 is negative"},
		{"offset a fraction", one(`"dtype":"F32","shape":[2],"data_offsets":[0,8.0]`), "t", 0, "want an integer, got 8.0"},
		{"offset beyond 64 bits", one(`"dtype":"F32","shape":[2],"data_offsets":[0,18446744073709551616]`), "t", 0, "beyond 64 bits"},
		{"offset near 2^63", one(`"dtype":"U8","shape":[9223372036854775807],"data_offsets":[0,9223372036854775807]`), "t", 9, "overflows"},
		{"shape negative", one(`"dtype":"F32","shape":[-2],"data_offsets":[0,8]`), "t", 0, "-2 is negative"},
		{"shape a string", one(`"dtype":"F32","shape":"2","data_offsets":[0,8]`), "t", 0, "want an array, got a string"},
		{"shape overflows", one(`"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]`), "t", 9, "overflows"},
		{"bytes overflow", one(`"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,8]`), "t", 9, "overflows"},
		{"product wraps to the size", one(`"dtype":"U8","shape":[8,3,6148914691236517206],"data_offsets":[0,8]`), "t", 9, "overflows"},
		{"too many dimensions", one(`"dtype":"F32","shape":[2` + strings.Repeat(",1", 64) + `],"data_offsets":[0,8]`), "t", 0, "more than 64"},
		{"shape too small", one(`"dtype":"F32","shape":[1],"data_offsets":[0,8]`), "t", 9, "takes 4 bytes, data_offsets give 8"},
		{"half a byte", one(`"dtype":"F4","shape":[15],"data_offsets":[0,8]`), "t", 9, "does not end on a byte"},
		{"metadata a number", withHeader(`{"__metadata__":{"a":1}}`, nil), "", 0, "want a string, got a number"},
		{"metadata null", withHeader(`{"__metadata__":null}`, nil), "", 0, "want an object, got null"},
		{"name empty", withHeader(`{"":{`+ok+`}}`, make([]byte, 8)), "", 9, "not printable"},
		{"name steers terminal", withHeader(`{"a\u001b[31m":{`+ok+`}}`, make([]byte, 8)), "", 9, "not printable"},
		{"name not UTF-8", withHeader("{\"a\xff\":{"+ok+"}}", make([]byte, 8)), "", 10, "not valid UTF-8"},
		{"lone surrogate", withHeader(`{"a\ud800":{`+ok+`}}`, make([]byte, 8)), "", 11, "invalid escape"},
		{"overlap", pair("0,4", "3,7"), "b", 0, "overlap those of a"},
		{"same place", pair("0,4", "0,4"), "b", 0, "overlap those of a"},
		{"hole", withHeader(`{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[3],"data_offsets":[5,8]}}`, make([]byte, 8)), "b", 0, "a hole of 1 bytes lies before"},
		{"hole at the start", pair("4,8", "4,8"), "a", 0, "after the header"},
		{"bytes left over", withHeader(`{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}`, make([]byte, 8)), "", 0, "4 bytes follow"},
		{"data beyond any file", one(`"dtype":"U8","shape":[1152921504606846975],"data_offsets":[0,1152921504606846975]`), "t", 9, "data end at byte 1152921504606847072 of a file of 105: truncated"},
		{"data truncated", one(ok)[:len(one(ok))-1], "t", 9, "truncated"},
		{"pickle", []byte("PK\x03\x04 and so on, an archive"), "", 0, "PyTorch pickle"},
		{"gguf", []byte("GGUF\x03\x00\x00\x00\x00\x00\x00\x00"), "", 0, "GGUF"},
		{"lfs pointer", []byte("version https://git-lfs.github.com/spec/v1\noid"), "", 0, "git lfs pull"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := newFile(tt.data)
			runtime.ReadMemStats(&after)
			if n := after.TotalAlloc - before.TotalAlloc; n > 64<<10 {
				t.Errorf("%d bytes allocated for a file of %d", n, len(tt.data))
			}
			wantError(t, err, "x.safetensors: ", tt.words)
			var fe *FormatError
			if !errors.As(err, &fe) {
				t.Fatalf("%T is no *FormatError", err)
			}
			if fe.Tensor != tt.tensor || fe.Offset < 0 || tt.at > 0 && fe.Offset != tt.at {
				t.Errorf("tensor %q byte %d, want %q %d: %v", fe.Tensor, fe.Offset, tt.tensor, tt.at, err)
			}
		})
	}
}

// TestDepth checks that nesting is bounded wherever a value may be anything.
func TestDepth(t *testing.T) {
	deep := strings.Repeat("[", 100_000)
	_, _, err := parseIndex("i.json", []byte(`{"metadata":`+deep))
	wantError(t, err, "i.json: byte 75: ", "nested more than 64 deep")
	_, err = parseConfig("config.json", []byte(strings.Repeat(`{"a":`, 100_000)))
	wantError(t, err, "nested more than 64 deep")
	_, err = ParseAdapterConfig("c.json", []byte(`{"eva_config":`+deep))
	wantError(t, err, "nested more than 64 deep")
	_, err = newFile(withHeader(`{"t":`+strings.Repeat(`{"dtype":`, 1000), nil))
	wantError(t, err, "want a string, got an object")
	at64 := strings.Repeat("[", 62) + strings.Repeat("]", 62)
	if _, err := parseConfig("config.json", []byte(`{"a":[`+at64+`]}`)); err != nil {
		t.Error(err)
	}
}

// shrinking answers like a file cut off at end while its size stays.
type shrinking struct {
	data []byte
	end  int64
}

func (s *shrinking) ReadAt(p []byte, off int64) (int, error) {
	return bytes.NewReader(s.data[:s.end]).ReadAt(p, off)
}

func TestFileShrinks(t *testing.T) {
	b := build(entry{"t", "F32", []int64{4}, f32s(1, 2, 3, 4)})
	for end := range int64(len(b)) {
		r := &shrinking{b, end}
		if f, err := NewFile(r, int64(len(b)), "x"); err == nil && end < f.Header+8 {
			t.Fatalf("opened with %d of %d bytes", end, len(b))
		} else if err != nil {
			wantError(t, err, "x: byte ", "file shrank", "it had ")
			if !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Error(err)
			}
		}
	}
	r := &shrinking{b, int64(len(b))}
	f, err := NewFile(r, int64(len(b)), "x")
	if err != nil {
		t.Fatal(err)
	}
	r.end -= 6
	v := make([]float32, 4)
	err = f.Tensors[0].ReadFloat32s(v, 0)
	wantError(t, err, fmt.Sprintf("x: tensor t: byte %d: ", len(b)-6), "file shrank")
	if !errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		t.Error(err)
	}
	if err := f.Tensors[0].ReadFloat32s(v[:2], 0); err != nil || v[0] != 1 || v[1] != 2 {
		t.Error(v, err)
	}
	_, err = f.SHA256(context.Background())
	wantError(t, err, fmt.Sprintf("x: tensor t: byte %d: ", len(b)-6), "file shrank")
	r.end = 5
	_, err = f.SHA256(context.Background())
	wantError(t, err, "x: byte 5: ", "file shrank")
}

func TestTensorReads(t *testing.T) {
	f, err := newFile(build(
		entry{"pad", "U8", []int64{3}, []byte{9, 9, 9}},
		entry{"t", "F32", []int64{2, 2}, f32s(1, -2, 3.5, 4)},
		entry{"after", "U8", []int64{1}, []byte{7}},
	))
	if err != nil {
		t.Fatal(err)
	}
	x := f.Tensor("t")
	if v, err := x.Float32s(); err != nil || len(v) != 4 || v[1] != -2 || v[2] != 3.5 {
		t.Errorf("%v %v", v, err)
	}
	one := make([]float32, 1)
	if err := x.ReadFloat32s(one, 3); err != nil || one[0] != 4 {
		t.Errorf("%v %v", one, err)
	}
	wantError(t, x.ReadFloat32s(one, 4), "x.safetensors: tensor t: byte ", "elements 4 to 5 are outside")
	wantError(t, x.ReadFloat32s(one, -1), "outside")
	wantError(t, x.ReadFloat32s(one, 1<<62), "outside")
	wantError(t, f.Tensor("pad").ReadFloat32s(one, 0), "want F32, got U8")
	p := make([]byte, 8)
	if err := x.ReadFull(p, 8); err != nil || !bytes.Equal(p, f32s(3.5, 4)) {
		t.Errorf("%v %v", p, err)
	}
	wantError(t, x.ReadFull(p, 9), "tensor t", "goes beyond")
	if n, err := x.ReadAt(p, 12); n != 4 || err != io.EOF {
		t.Errorf("%d %v", n, err)
	}
	if n, err := x.ReadAt(p, 16); n != 0 || err != io.EOF {
		t.Errorf("%d %v", n, err)
	}
	_, err = x.ReadAt(p, -1)
	wantError(t, err, "outside the tensor")
	_, err = x.ReadAt(p, 17)
	wantError(t, err, "outside the tensor")
	if b, err := io.ReadAll(io.NewSectionReader(x, 0, x.Size)); err != nil || len(b) != 16 {
		t.Errorf("%d %v", len(b), err)
	}
}

func TestDigest(t *testing.T) {
	b := build(entry{"t", "U8", []int64{3 << 20}, make([]byte, 3<<20)})
	f, err := newFile(b)
	if err != nil {
		t.Fatal(err)
	}
	want := sha256.Sum256(b)
	if got, err := f.SHA256(context.Background()); err != nil || got != hex.EncodeToString(want[:]) {
		t.Errorf("%s %v", got, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := f.SHA256(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// TestSparse opens a file of 2 GiB whose data take no room on disk. Opening
// must read the header alone, so the memory it asks for stays small.
func TestSparse(t *testing.T) {
	const size int64 = 2 << 30
	head := fmt.Sprintf(`{"w.weight":{"dtype":"BF16","shape":[32768,32768],"data_offsets":[0,%d]}}`, size)
	name := filepath.Join(t.TempDir(), "model.safetensors")
	if err := os.WriteFile(name, withHeader(head, nil), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(name, int64(8+len(head))+size); err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	c, err := Source{}.Checkpoint(name)
	runtime.ReadMemStats(&after)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
		t.Errorf("opening 2 GiB allocates %d bytes", n)
	}
	w := c.Weight("w")
	if w.Rows() != 32768 || w.Cols() != 32768 || w.Bytes() != size || c.Facts().Bytes < size {
		t.Errorf("%+v", w)
	}
	p := []byte{1, 1}
	if err := w.Data.ReadFull(p, size-2); err != nil || p[0] != 0 || p[1] != 0 {
		t.Error(p, err)
	}
}
