package tui

import (
	"slices"
	"strings"
	"testing"

	"mergescope/merge"
)

func TestCombineAdapters(t *testing.T) {
	r := demoRig(t, 120, 36, nil)
	r.choose("Combine adapters")
	b, ok := r.a.topOverlay().(*combineBox)
	if !ok {
		t.Fatalf("no dialog:\n%s", r.text())
	}
	r.press("enter")
	if !strings.Contains(b.bad, "two adapters at least") || r.a.topOverlay() != b {
		t.Errorf("one adapter is combined: %q", b.bad)
	}
	for b.kindName() != "ties" {
		r.press("right")
	}
	rowOf := func(label string) {
		t.Helper()
		i := slices.IndexFunc(b.rows(), func(row combineRow) bool { return row.label == label })
		if i < 0 {
			t.Fatalf("no row %s:\n%s", label, r.text())
		}
		for b.cur != i {
			r.press("down")
		}
	}
	rowOf("gocode")
	r.press("space", "backspace")
	r.typed("-0.5")
	rowOf("density")
	r.press("ctrl+u")
	r.typed("0.2")
	rowOf("majority")
	r.press("right")
	rowOf("name")
	r.typed("both")
	path, err := b.path()
	if want := "combine:ties,density=0.2,majority=frequency;demo:gocode-light=1;demo:gocode=-0.5"; err != nil || path != want {
		t.Fatalf("path %q, %v, want %q", path, err, want)
	}
	r.press("enter")
	if got := r.text(); !strings.Contains(got, "where does both go?") {
		t.Fatalf("not asked where it goes:\n%s", got)
	}
	r.press("enter")
	plan := r.a.history.Now()
	if len(plan.Adapters) != 1 || plan.Adapters[0] != (merge.AdapterRef{Name: "both", Path: path}) || r.a.book.countPlanned() != 28 {
		t.Errorf("plan %s", plan.Encode())
	}
	// What it is made of goes into the command line, "=" and all.
	if line, file := r.a.commandLine(); file || !strings.Contains(line, "-a '"+path+"=1'") {
		t.Errorf("command %q", line)
	}
	if kept := float64(r.a.book.overall().Kept); !(kept > 0) {
		t.Errorf("the combination keeps %v", kept)
	}

	// A combination is not offered as a part of another.
	r.choose("Combine adapters")
	b = r.a.topOverlay().(*combineBox)
	if slices.ContainsFunc(b.parts, func(p combinePart) bool { return p.name == "both" }) {
		t.Error("a combination can take part in a combination")
	}
}

func TestCombineSaysWhatIsWrong(t *testing.T) {
	for _, c := range []struct {
		kind         string
		weight       string
		option       combineOption
		value, wants string
	}{
		{"linear", "much", optName, "", `the weight "much" is no number`},
		{"ties", "1", optDensity, "", "density"},
		{"ties", "1", optDensity, "-1", "density should be >= 0"},
		{"svd", "1", optRank, "0", "want a positive rank"},
		{"dare_linear", "1", optSeed, "x", "seed=x"},
		{"linear", "NaN", optName, "", "NaN"},
	} {
		r := demoRig(t, 80, 24, nil)
		r.a.askCombine()
		b := r.a.topOverlay().(*combineBox)
		b.kind = slices.Index(merge.CombinationTypes(), c.kind)
		b.parts[1].weight.set(c.weight)
		b.options[c.option].set(c.value)
		r.press("enter")
		if !strings.Contains(b.bad, c.wants) || r.a.topOverlay() != b || b.wait {
			t.Errorf("%+v: said %q", c, b.bad)
		}
	}
}

func TestCombineKnowsEveryType(t *testing.T) {
	for i, kind := range merge.CombinationTypes() {
		if combineHelp[kind] == "" {
			t.Errorf("nothing is said of %s", kind)
		}
		b := combineBox{kind: i}
		for o := range b.options {
			b.options[o] = newField(combineOptions[o].first, "")
		}
		b.parts = []combinePart{{"a", "a", newField("1", "")}, {"b", "b", newField("2", "")}}
		path, err := b.path()
		if err != nil {
			t.Errorf("%s as it begins: %v", kind, err)
			continue
		}
		if c, parts, ok, err := merge.ParseCombinedPath(path); !ok || err != nil || c.Type != kind || len(parts) != 2 {
			t.Errorf("%s: %q is read as %+v %v, %v", kind, path, c, parts, err)
		}
	}
}

func TestScreensOfCombine(t *testing.T) {
	for _, s := range []struct {
		name string
		w, h int
	}{{"combine-120x36", 120, 36}, {"combine-80x24", 80, 24}, {"combine-60x16", 60, 16}} {
		r := demoRig(t, s.w, s.h, nil)
		r.a.askCombine()
		b := r.a.topOverlay().(*combineBox)
		b.kind = slices.Index(merge.CombinationTypes(), "dare_ties_svd")
		b.parts[2].weight.set("0.5")
		r.press("down", "down")
		r.golden(s.name)
	}
}
