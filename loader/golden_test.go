package loader

import (
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

const golden = "../testdata/golden"

// rawEntry and rawHeader are a second reading of a header that shares no code
// with the package.
type rawEntry struct {
	DType   string   `json:"dtype"`
	Shape   []int64  `json:"shape"`
	Offsets [2]int64 `json:"data_offsets"`
}

func rawHeader(t *testing.T, file string) (entries map[string]rawEntry, data int64, text []byte) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	n := binary.LittleEndian.Uint64(b)
	var all map[string]json.RawMessage
	if err := json.Unmarshal(b[8:8+n], &all); err != nil {
		t.Fatal(err)
	}
	delete(all, "__metadata__")
	entries = map[string]rawEntry{}
	for name, raw := range all {
		var e rawEntry
		if err := json.Unmarshal(raw, &e); err != nil {
			t.Fatal(err)
		}
		entries[name] = e
	}
	return entries, int64(8 + n), b
}

func dirs(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, filepath.Join(dir, e.Name()))
		}
	}
	return names
}

func TestOpenAll(t *testing.T) {
	for _, dir := range append(dirs(t, golden+"/bases"), "../testdata/demo/base-nf4", "../testdata/demo/base-int8") {
		c, err := Source{}.Checkpoint(dir)
		if err != nil {
			t.Error(err)
			continue
		}
		for _, w := range c.Weights {
			if w.Problem != nil {
				t.Error(w.Problem)
			}
		}
		t.Log(dir, len(c.Weights), len(c.Loose), c.Other, c.Facts())
		c.Close()
	}
	for _, dir := range dirs(t, golden+"/cases") {
		m, _ := filepath.Glob(dir + "/adapter*")
		for _, d := range m {
			a, err := Source{}.Adapter(d)
			if err != nil {
				t.Error(err)
				continue
			}
			for _, m := range a.Modules {
				if m.Problem != nil {
					t.Log(m.Problem)
				}
			}
			for _, o := range a.Others {
				t.Log(o.Kind, o.Target, o.Tensor.Name)
			}
			if len(a.Config.Unknown) > 0 {
				t.Log(a.Config.Unknown)
			}
			a.Close()
		}
	}
}
