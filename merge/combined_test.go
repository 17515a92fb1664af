package merge

import (
	"testing"

	"mergescope/loader"
)

func TestCombinedPathOpens(t *testing.T) {
	c, model, adapters, want := openCombineCase(t, "weighted-linear")
	var parts []Weighted
	for i, a := range adapters {
		parts = append(parts, Weighted{a.Path, c.Combine.Weights[i]})
	}
	path := CombinedPath(c.combination(), parts)
	got, err := OpenAdapter(loader.Source{}, model, path)
	if err != nil {
		t.Fatal(err)
	}
	if got.Path != path {
		t.Errorf("path %q, want %q", got.Path, path)
	}
	for i, m := range want.Modules {
		sameTensor(t, got.Modules[i].A, m.A)
		sameTensor(t, got.Modules[i].B, m.B)
	}
	for _, bad := range []string{"combine:mean;a=1", "combine:linear;a", "combine:linear;a=x", "combine:linear;nowhere=1", "combine:linear"} {
		if _, err := OpenAdapter(loader.Source{}, model, bad); err == nil {
			t.Errorf("%q opens", bad)
		}
	}
}
