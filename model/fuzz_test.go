package model

import (
	"os"
	"path/filepath"
	"testing"
)

// Whatever a configuration says, parsing it ends in an error or in sizes that
// fit together.
func FuzzParseConfig(f *testing.F) {
	files, err := filepath.Glob(filepath.Join(modelDir, "*.json"))
	if err != nil || len(files) == 0 {
		f.Fatal("no seeds")
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := ParseConfig(text)
		if err != nil {
			return
		}
		if c.Heads%c.KVHeads != 0 || c.HeadDim < 2 || len(c.Layers) == 0 {
			t.Errorf("%+v", c)
		}
		for _, l := range c.Layers {
			if l.Window < 0 || l.Rope == nil || l.Rope.Dim > c.HeadDim || l.Rope.Dim%2 != 0 {
				t.Fatalf("%+v", l)
			}
		}
		if r := c.Layers[0].Rope; r.Dim < 1<<12 {
			r.table(2, 2)
		}
	})
}
