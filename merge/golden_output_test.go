package merge

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"mergescope/loader"
)

// goldenJob merges a golden case with the real engine.
func goldenJob(t *testing.T, name, base, dir string) {
	t.Helper()
	a, err := loader.Source{}.Adapter(filepath.Join("..", "testdata", "golden", "cases", name, "adapter"))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	p := NewProject(goldenBase(t, base), a)
	j, err := NewJob(p, p.NewPlan(), Options{Out: dir})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := j.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestGoldenDirectories compares whole directories with what transformers'
// save_pretrained wrote after PEFT's merge: the files, which tensor is in which,
// their order in the header, the index and config.json byte for byte.
func TestGoldenDirectories(t *testing.T) {
	for _, tt := range []struct{ name, base string }{
		{"shards", "llama-nf4-shards"},
		{"nf4-dq", "llama-nf4-dq"},
		{"../../golden-forms/cases/tied-save-embed", "llama-nf4-tied"}, // one more tensor, and another config.json
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "out")
			goldenJob(t, tt.name, tt.base, dir)
			want := filepath.Join("..", "testdata", "golden", "cases", tt.name, "expected")
			list, err := os.ReadDir(want)
			if err != nil {
				t.Fatal(err)
			}
			names := []string{reportName}
			for _, e := range list {
				names = append(names, e.Name())
				got, want := filepath.Join(dir, e.Name()), filepath.Join(want, e.Name())
				if filepath.Ext(e.Name()) == ".safetensors" {
					compareFiles(t, got, want)
					continue
				}
				a, err1 := os.ReadFile(got)
				b, err2 := os.ReadFile(want)
				if err1 != nil || err2 != nil || !bytes.Equal(a, b) {
					t.Errorf("%s differs: %v %v", e.Name(), err1, err2)
				}
			}
			checkNames(t, dir, names...)
		})
	}
}

// compareFiles checks that two weights files have the same tensors in the same
// order, of the same size but for printed offsets. Their values are the
// conformance tests' concern.
func compareFiles(t *testing.T, got, want string) {
	t.Helper()
	names, tensors, metadata := readPlain(t, got)
	wantNames, wantTensors, wantMetadata := readPlain(t, want)
	if !slices.Equal(names, wantNames) {
		t.Errorf("%s: tensors\n%v\nwant\n%v", got, names, wantNames)
	}
	if metadata["format"] != wantMetadata["format"] {
		t.Errorf("%s: metadata %v", got, metadata)
	}
	for _, n := range names {
		a, b := tensors[n], wantTensors[n]
		if a.dtype != b.dtype || len(a.data) != len(b.data) && !bytes.Contains(a.data, []byte("nested_offset")) {
			t.Errorf("%s: %s is %s of %d bytes, want %s of %d", got, n, a.dtype, len(a.data), b.dtype, len(b.data))
		}
	}
}
