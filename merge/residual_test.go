package merge

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mergescope/loader"
)

func goldenAdapter(t *testing.T, name string) *loader.Adapter {
	t.Helper()
	a, err := loader.Source{}.Adapter(filepath.Join("..", "testdata", "golden", "cases", name, "adapter"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return a
}

// separate returns layers that keep the modules of an adapter whose path
// contains part separate, at the given factor.
func separate(c *loader.Checkpoint, part string, factor float64, adapters ...*loader.Adapter) []Layer {
	layers := layersOf(c, func(*loader.Weight) Output { return "" })
	for i, l := range layers {
		for _, a := range adapters {
			for _, m := range a.Modules {
				if m.Path == l.Weight.Name && strings.Contains(m.Path, part) {
					layers[i].Output = Separate
					layers[i].Steps = append(layers[i].Steps, Step{Adapter: a, Module: m, Factor: factor})
				}
			}
		}
	}
	return layers
}

// TestResidualAdapter: the layers kept separate come back as a PEFT adapter with
// the same factors and the plan's scale, whatever patterns the input had.
func TestResidualAdapter(t *testing.T) {
	for _, name := range []string{"shards", "patterns", "patterns-rslora", "adapter-bf16", "dora-nf4"} {
		t.Run(name, func(t *testing.T) {
			a := goldenAdapter(t, name)
			base := "llama-nf4"
			c := goldenBase(t, base)
			layers := separate(c, "layers.1", 0.75, a)
			dir := filepath.Join(t.TempDir(), "out")
			writeFake(t, dir, c, layers)

			got, err := loader.Source{}.Adapter(filepath.Join(dir, "adapter"))
			if err != nil {
				t.Fatal(err)
			}
			defer got.Close()
			want := map[string]*loader.Module{}
			for _, m := range a.Modules {
				if strings.Contains(m.Path, "layers.1") {
					want[m.Path] = m
				}
			}
			if len(want) == 0 || len(got.Modules) != len(want) || len(got.Config.TargetModules) != len(want) {
				t.Fatalf("%d modules and targets %v, want %d", len(got.Modules), got.Config.TargetModules, len(want))
			}
			if got.Config.BaseModel != dir {
				t.Errorf("base model %q", got.Config.BaseModel)
			}
			if patterned := strings.HasPrefix(name, "patterns"); !patterned {
				text, err := os.ReadFile(filepath.Join(dir, "adapter", "adapter_config.json"))
				if err != nil || !strings.Contains(string(text), "\"alpha_pattern\": {}") || !strings.Contains(string(text), "\"rank_pattern\": {}") {
					t.Errorf("one rank and one alpha need no patterns: %v\n%s", err, text)
				}
			}
			for _, m := range got.Modules {
				w := want[m.Path]
				if w == nil {
					t.Errorf("%s should not be there", m.Path)
					continue
				}
				if m.Problem != nil || m.Rank != w.Rank || math.Abs(m.Scale-0.75*w.Scale) > 1e-15 {
					t.Errorf("%s: rank %d scale %v, want %d and %v: %v", m.Path, m.Rank, m.Scale, w.Rank, 0.75*w.Scale, m.Problem)
				}
				for _, pair := range [][2]*loader.Tensor{{m.A, w.A}, {m.B, w.B}, {m.Magnitude, w.Magnitude}} {
					if (pair[0] == nil) != (pair[1] == nil) {
						t.Errorf("%s: tensors %v", m.Path, pair)
					} else if pair[0] != nil {
						x, err1 := pair[0].Bytes()
						y, err2 := pair[1].Bytes()
						if err1 != nil || err2 != nil || !bytes.Equal(x, y) || pair[0].DType != pair[1].DType {
							t.Errorf("%s: %s differs", m.Path, pair[0].Name)
						}
					}
				}
			}
		})
	}
}

// TestResidualAdapters: several adapters get a directory each, named safely; an
// interrupted merge with them is resumed.
func TestResidualAdapters(t *testing.T) {
	c := goldenBase(t, "llama-nf4")
	a, b, d := goldenAdapter(t, "nf4-plain"), goldenAdapter(t, "rslora"), goldenAdapter(t, "patterns")
	a.Name, b.Name, d.Name = "../../a", "b", "______a"
	layers := separate(c, "", 1, a, b, d)
	spec := outputSpec{dir: filepath.Join(t.TempDir(), "out"), model: c, layers: layers, plan: "p"}
	o, err := openOutput(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	if err := o.writeBeside(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := o.close(); err != nil {
		t.Fatal(err)
	}
	writeFake(t, spec.dir, c, layers)
	list, err := os.ReadDir(filepath.Join(spec.dir, "adapter"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range list {
		names = append(names, e.Name())
		got, err := loader.Source{}.Adapter(filepath.Join(spec.dir, "adapter", e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		got.Close()
	}
	if !sameSet(names, []string{"______a", "b", "______a-1"}) {
		t.Errorf("adapters %v", names)
	}
}
