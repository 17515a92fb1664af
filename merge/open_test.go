package merge

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"mergescope/loader"
)

const (
	goldenDir = "../testdata/golden"
	demoDir   = "../testdata/demo"
)

// openProject opens a checkpoint with adapters, which get the names given
// before their paths, and closes them with the test.
func openProject(t *testing.T, base string, adapters ...[2]string) *Project {
	t.Helper()
	c, err := loader.Source{}.Checkpoint(base)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	p := NewProject(c)
	for _, ref := range adapters {
		a, err := loader.Source{}.Adapter(ref[1])
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { a.Close() })
		a.Name = ref[0]
		p.Adapters = append(p.Adapters, a)
	}
	return p
}

// goldenFacts is what case.json says of a merge PEFT made.
type goldenFacts struct {
	Name     string
	Base     string
	Action   string
	Adapters []string
	Order    []string
	Safe     bool `json:"safe_merge"`
	Error    *struct{ Phase, Type, Text string }
	Warnings []struct {
		Text  string
		Count int
	} `json:"warnings_merge"`
}

// warned returns how often PEFT gave a warning while merging.
func (g goldenFacts) warned(text string) (n int) {
	for _, w := range g.Warnings {
		if w.Text == text {
			n += w.Count
		}
	}
	return n
}

func goldenCases(t *testing.T) []goldenFacts {
	t.Helper()
	files, err := filepath.Glob(goldenDir + "/cases/*/case.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden cases: %v", err)
	}
	var out []goldenFacts
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		var g goldenFacts
		if err := json.Unmarshal(data, &g); err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		out = append(out, g)
	}
	return out
}

// openGolden opens the base and the adapters of a case in merge order.
func openGolden(t *testing.T, g goldenFacts) *Project {
	t.Helper()
	dir := filepath.Join(goldenDir, "cases", g.Name)
	dirs := map[string]string{"default": "adapter"}
	order := []string{"default"}
	for _, a := range g.Adapters[1:] {
		name := a[len("adapter_"):]
		dirs[name] = a
		order = append(order, name)
	}
	if g.Order != nil {
		order = g.Order
	}
	if g.Action == "combine" {
		dirs, order = map[string]string{"combined": "combined"}, []string{"combined"}
	}
	var refs [][2]string
	for _, name := range order {
		refs = append(refs, [2]string{name, filepath.Join(dir, dirs[name])})
	}
	return openProject(t, filepath.Join(goldenDir, g.Base), refs...)
}
