package tui

import (
	"strings"
	"testing"

	"mergescope/loader"
	"mergescope/merge"
)

// TestReproduceDefects asks for PEFT's wrong merge in the method box: the
// refused layers are merged, and the alert says what is wrong with them.
func TestReproduceDefects(t *testing.T) {
	r := defectRig(t, "llama-int8", "c3a-int8")
	if got := r.text(); !strings.Contains(got, "Nothing of it is merged") {
		t.Errorf("the wrong merge is not refused:\n%s", got)
	}
	r.choose("Requantize all layers by")
	if got := r.text(); !strings.Contains(got, "peft,reproduce-defects") {
		t.Fatalf("not offered:\n%s", got)
	}
	r.press("down", "enter")
	if m := r.a.history.Now().Method; m != "peft,reproduce-defects" {
		t.Fatalf("method %s", m)
	}
	if got := r.text(); !strings.Contains(got, "merged wrongly, as PEFT does") {
		t.Errorf("no alert:\n%s", got)
	}
}

// TestUndecodable shows a layer that PEFT leaves as floats under a 4-bit quant
// state: merged, without figures, and why.
func TestUndecodable(t *testing.T) {
	r := defectRig(t, "llama-nf4", "pvera-nf4")
	r.choose("Requantize all layers by")
	r.press("down", "enter")
	for range 5 {
		r.press("down")
	}
	got := r.text()
	for _, want := range []string{"merged wrongly, as PEFT does", "there is no arithmetic to show", "plan 2/16"} {
		if !strings.Contains(strings.Join(strings.Fields(strings.ReplaceAll(got, "│", " ")), " "), want) {
			t.Errorf("%q is not shown:\n%s", want, got)
		}
	}
}

// defectRig opens a golden case of a tuner that PEFT merges wrongly.
func defectRig(t *testing.T, base, name string) *rig {
	t.Helper()
	var src loader.Source
	model, err := src.Checkpoint("../testdata/golden/bases/" + base)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = model.Close() })
	a, err := src.Adapter("../testdata/golden-tuners/cases/" + name + "/adapter")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() })
	opt := demoOptions(t)
	opt.Project = merge.NewProject(model, a)
	opt.Plan, opt.Demo = opt.Project.NewPlan(), false
	return newRig(t, opt, nil, 140, 40)
}
