package merge

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mergescope/loader"
)

// TestLayoutOrder works the order of the safetensors library out by hand:
// larger elements first, else the order given; late tensors last.
func TestLayoutOrder(t *testing.T) {
	l, err := newLayout(map[string]string{"format": "pt", "a": "b"}, []outTensor{
		{name: "bytes", dtype: "U8", shape: []int64{3}, size: 3},
		{name: "state", dtype: "U8", size: 100, late: true},
		{name: "half", dtype: "BF16", shape: []int64{3}, size: 6},
		{name: "single", dtype: "F32", shape: []int64{1, 2}, size: 8},
		{name: "gone", dtype: "F32", size: 8, absent: true},
		{name: "bits", dtype: "F4", shape: []int64{2}, size: 1},
		{name: "double", dtype: "I64", shape: []int64{}, size: 8},
		{name: `q"<é`, dtype: "F16", shape: []int64{0}, size: 0},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"__metadata__":{"a":"b","format":"pt"},` +
		`"bytes":{"dtype":"U8","shape":[3],"data_offsets":[22,25]},` +
		`"state":{"dtype":"U8","shape":[7],"data_offsets":[26,33]},` +
		`"half":{"dtype":"BF16","shape":[3],"data_offsets":[16,22]},` +
		`"single":{"dtype":"F32","shape":[1,2],"data_offsets":[8,16]},` +
		`"bits":{"dtype":"F4","shape":[2],"data_offsets":[25,26]},` +
		`"double":{"dtype":"I64","shape":[],"data_offsets":[0,8]},` +
		`"q\"<é":{"dtype":"F16","shape":[0],"data_offsets":[22,22]}}`
	seven := func(*slot) int64 { return 7 }
	head := l.header(seven)
	if got := strings.TrimRight(string(head[8:]), " "); got != want {
		t.Errorf("header\n%s\nwant\n%s", got, want)
	}
	if len(head)%8 != 0 || int64(len(head)) != l.start() || l.size(seven) != l.start()+33 {
		t.Errorf("%d bytes of header, data at %d, %d bytes in all", len(head), l.start(), l.size(seven))
	}
	if len(l.absent) != 1 || l.absent[0].name != "gone" {
		t.Errorf("absent %v", l.absent)
	}
}

func TestLayoutErrors(t *testing.T) {
	_, err := newLayout(nil, []outTensor{{name: "a", dtype: "U8"}, {name: "a", dtype: "U8"}})
	if err == nil || err.Error() != "tensor a: written twice" {
		t.Error(err)
	}
	_, err = newLayout(map[string]string{"x": strings.Repeat("y", maxHeader)}, nil)
	if err == nil || !strings.Contains(err.Error(), "header of") {
		t.Error(err)
	}
}

// TestLayoutRandom writes files of random tensors and late lengths and reads
// them with both readers.
func TestLayoutRandom(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	dtypes := []loader.DType{"F32", "F16", "BF16", "U8", "I8"}
	for range 200 {
		var list []outTensor
		for i := range r.IntN(30) {
			d := dtypes[r.IntN(len(dtypes))]
			n := r.Int64N(40)
			e := outTensor{name: fmt.Sprint("t", i), dtype: d, shape: []int64{n}, size: n * d.Bits() / 8}
			if r.IntN(4) == 0 {
				e = outTensor{name: e.name, dtype: "U8", size: 200, late: true}
			}
			list = append(list, e)
		}
		l, err := newLayout(nil, list)
		if err != nil {
			t.Fatal(err)
		}
		data := map[string][]byte{}
		for _, s := range l.slots {
			n := s.size
			if s.late {
				n = r.Int64N(s.size + 1)
				s.text = fakeBytes(s.name, n)
			}
			data[s.name] = fakeBytes(s.name, n)
		}
		file := make([]byte, l.size((*slot).length))
		copy(file, l.header((*slot).length))
		at := l.start() + l.fixed
		for _, s := range l.slots {
			if !s.late {
				copy(file[l.start()+s.off:], data[s.name])
			}
		}
		for _, s := range l.late {
			at += int64(copy(file[at:], s.text))
		}
		name := filepath.Join(t.TempDir(), "x.safetensors")
		if err := os.WriteFile(name, file, 0o644); err != nil {
			t.Fatal(err)
		}
		_, tensors, _ := readPlain(t, name)
		f, err := loader.NewFile(bytes.NewReader(file), int64(len(file)), "x")
		if err != nil {
			t.Fatal(err)
		}
		for n, want := range data {
			if !bytes.Equal(tensors[n].data, want) {
				t.Errorf("%s differs", n)
			}
			if got, err := f.Tensor(n).Bytes(); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s differs for loader: %v", n, err)
			}
		}
	}
}

// TestUntouchedFile copies a file with an odd header, whose order of data is not
// the safetensors library's, byte for byte.
func TestUntouchedFile(t *testing.T) {
	dir := t.TempDir()
	head := `{ "b":{"shape":[1],"dtype":"U8","data_offsets":[0,1]}, "a":{"dtype":"F32","shape":[1],"data_offsets":[1,5]} } `
	file := append([]byte{byte(len(head)), 0, 0, 0, 0, 0, 0, 0}, head+"\x01\x02\x03\x04\x05"...)
	if err := os.WriteFile(filepath.Join(dir, "model.safetensors"), file, 0o644); err != nil {
		t.Fatal(err)
	}
	c := modelAt(t, dir)
	out := filepath.Join(t.TempDir(), "out")
	writeFake(t, out, c, nil)
	got, err := os.ReadFile(filepath.Join(out, "model.safetensors"))
	if err != nil || !bytes.Equal(got, file) {
		t.Errorf("got %q, %v\nwant %q", got, err, file)
	}
}

// TestExtraTensors: tensors may be replaced by others of another type and size,
// given or written by the engine, and new ones join their module's file.
func TestExtraTensors(t *testing.T) {
	c := goldenBase(t, "llama-nf4-shards")
	layers := layersOf(c, func(*loader.Weight) Output { return "" })
	norm := c.Tensor("model.norm.weight")
	const owner, bias = "model.layers.0.mlp.gate_proj", "model.layers.0.mlp.gate_proj.bias"
	given := fakeBytes("given", norm.Size*2)
	dir := filepath.Join(t.TempDir(), "out")
	o, err := openOutput(t.Context(), outputSpec{dir: dir, model: c, layers: layers, plan: "p", extra: []outTensor{
		{name: norm.Name, dtype: "F32", shape: norm.Shape, size: norm.Size * 2, data: given},
		{name: bias, dtype: "F32", shape: []int64{2}, size: 8, owner: owner},
	}})
	if err != nil {
		t.Fatal(err)
	}
	w := o.layer(owner)
	if err := w.WriteAt(bias, []byte("12345678"), 0); err != nil {
		t.Fatal(err)
	}
	if err := w.commit(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if err := fakeMerge(t.Context(), diskSink{o}, layers); err != nil {
		t.Fatal(err)
	}
	if err := o.close(); err != nil {
		t.Fatal(err)
	}
	_, tensors, _ := readPlain(t, filepath.Join(dir, norm.File().Rel))
	if got := tensors[norm.Name]; got.dtype != "F32" || !bytes.Equal(got.data, given) {
		t.Errorf("replaced tensor %v", got)
	}
	_, tensors, _ = readPlain(t, filepath.Join(dir, c.Tensor(owner+".weight").File().Rel))
	if got := tensors[bias]; string(got.data) != "12345678" {
		t.Errorf("new tensor %v", got)
	}
	if again := modelAt(t, dir); again.Tensor(bias) == nil {
		t.Error("the index does not lead to the new tensor")
	}
}
