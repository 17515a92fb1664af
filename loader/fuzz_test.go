package loader

import (
	"encoding/json"
	"maps"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"mergescope/quant"
)

// addFiles seeds f with files of at most limit bytes.
func addFiles(f *testing.F, limit int, patterns ...string) {
	n := 0
	for _, p := range patterns {
		files, err := filepath.Glob(p)
		if err != nil {
			f.Fatal(err)
		}
		for _, name := range files {
			b, err := os.ReadFile(name)
			if err != nil {
				f.Fatal(err)
			}
			if len(b) <= limit {
				f.Add(b)
				n++
			}
		}
	}
	if n == 0 {
		f.Fatal("no seeds in ", patterns)
	}
}

// FuzzSafetensorsHeader checks that a file either is refused or keeps every
// promise of NewFile, and that what stands on it never panics.
func FuzzSafetensorsHeader(f *testing.F) {
	addFiles(f, 20_000, golden+"/cases/*/adapter/adapter_model.safetensors", golden+"/bases/llama-nf4-shards/*.safetensors")
	f.Add(build(append(nested4("a.weight", "nf4"), int8s("i")...)...))
	f.Add(build(append(nested4("m.experts.up", "fp4"), mat("x.weight", 2, 2))...))
	f.Add(withHeader(`{"a":{"dtype":"F4","shape":[2,1],"data_offsets":[0,1]},"__metadata__":{"k":"v\u00e9"}}`, []byte{1}))
	f.Add(withHeader(`{"e":{"dtype":"I64","shape":[0],"data_offsets":[0,0]},"s":{"dtype":"BOOL","shape":[],"data_offsets":[0,1]}}  `, []byte{1}))
	f.Add([]byte("version https://git-lfs"))
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := newFile(b)
		if err != nil {
			return
		}
		var raw map[string]json.RawMessage
		if err := json.Unmarshal(b[8:8+file.Header], &raw); err != nil {
			t.Fatalf("encoding/json refuses: %v", err)
		}
		delete(raw, metaKey)
		if len(raw) != len(file.Tensors) || len(file.HeaderOrder()) != len(raw) {
			t.Fatalf("%d tensors, want %d", len(file.Tensors), len(raw))
		}
		at := 8 + file.Header
		for _, x := range file.Tensors {
			var e rawTensor
			if err := json.Unmarshal(raw[x.Name], &e); err != nil || string(x.DType) != e.DType {
				t.Fatalf("%s: %v", x.Name, err)
			}
			if x.Offset != at || x.Size < 0 || x.Numel()*x.DType.Bits() != 8*x.Size || file.Tensor(x.Name) != x {
				t.Fatalf("%+v at %d", x, at)
			}
			at += x.Size
			if _, err := x.Bytes(); err != nil {
				t.Fatal(err)
			}
		}
		if at != int64(len(b)) {
			t.Fatalf("data end at %d of %d", at, len(b))
		}
		checkAssembly(t, file)
		for _, kind := range append(slices.Collect(maps.Keys(tuners)), "LORA", "NEWEST") {
			a := &Adapter{File: file, Config: AdapterConfig{PeftType: kind, R: 8, Alpha: 8, Tuner: defaultTuner()}}
			if err := a.group(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// checkAssembly checks that every tensor has one place.
func checkAssembly(t *testing.T, file *File) {
	weights, loose, err := assemble(file.Tensors, file.byName)
	if err != nil {
		return
	}
	seen := map[*Tensor]int{}
	for _, x := range loose {
		seen[x]++
	}
	for _, w := range weights {
		seen[w.Data]++
		if w.Bias != nil {
			seen[w.Bias]++
		}
		for _, x := range w.Companions {
			seen[x]++
		}
		if w.Problem == nil && (w.Format == quant.Unknown || w.Rows() < 1 || w.Cols() < 1 || int64(w.Rows())*int64(w.Cols()) != w.Numel()) {
			t.Fatalf("%+v", w)
		}
		if w.Problem == nil && w.Format.Bytes(w.Numel()) != w.Data.Size {
			t.Fatalf("%s: %d bytes", w.Name, w.Data.Size)
		}
	}
	for _, x := range file.Tensors {
		if seen[x] != 1 {
			t.Fatalf("%s is in %d places", x.Name, seen[x])
		}
	}
	Tree(weights)
}

func FuzzIndex(f *testing.F) {
	addFiles(f, 1<<20, golden+"/bases/*/*.index.json")
	f.Add([]byte(`{"metadata":{"a":[1,{"b":null}]},"weight_map":{"x":"a.safetensors","y":"s/b.safetensors"}}`))
	f.Add([]byte(`{"weight_map":{"x":"../a.safetensors"}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		names, shard, err := parseIndex("i", b)
		if err != nil {
			return
		}
		if len(names) != len(shard) {
			t.Fatalf("%d names, %d entries", len(names), len(shard))
		}
		for _, file := range shardsOf(shard) {
			if !filepath.IsLocal(filepath.FromSlash(file)) || filepath.Ext(file) != ".safetensors" {
				t.Fatalf("%q is accepted", file)
			}
		}
	})
}

func FuzzQuantState(f *testing.F) {
	for _, s := range spellings(f) {
		f.Add([]byte(s.State))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		q, err := ParseQuantState(b)
		if err != nil {
			return
		}
		if !q.Type.Is4Bit() || !q.Dtype.IsFloat() || q.Blocks() < 1 || q.Nested != (q.NestedBlocksize == NestedBlocksize) {
			t.Fatalf("%+v", q)
		}
		text := q.Encode(q.Dtype, q.NestedOffset)
		back, err := ParseQuantState(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if math.IsNaN(float64(q.NestedOffset)) && math.IsNaN(float64(back.NestedOffset)) {
			q.NestedOffset, back.NestedOffset = 0, 0
		}
		if !reflect.DeepEqual(q, back) {
			t.Fatalf("%+v, want %+v", back, q)
		}
	})
}

func FuzzAdapterConfig(f *testing.F) {
	addFiles(f, 1<<20, golden+"/cases/*/adapter/adapter_config.json", golden+"-tuners/cases/*/adapter/adapter_config.json", demo+"/adapter-*/adapter_config.json")
	f.Add([]byte(`{"peft_type":"LORA","r":4,"rank_pattern":{"a(?P<n>b)(?P=n)|c":1,"[x-z]+?\\.":2},"trainable_token_indices":{"e":[1]},"layer_replication":[[0,1]]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ParseAdapterConfig("c", b)
		if err != nil {
			return
		}
		if c.PeftType == "LORA" && c.R < 1 || c.R < 0 || c.PeftType == "" || math.IsNaN(c.Alpha) || math.IsInf(c.Alpha, 0) {
			t.Fatalf("%+v", c)
		}
		var raw map[string]any
		if json.Unmarshal(b, &raw) == nil && !reflect.DeepEqual(raw, c.Raw) {
			t.Fatalf("%v, want %v", c.Raw, raw)
		}
	})
}
