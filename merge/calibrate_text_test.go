package merge

import (
	"slices"
	"testing"
)

// observedBy returns what a method runs the model with an adapter over.
func observedBy(t *testing.T, adapter, method string, texts []EvalText) [][]int32 {
	t.Helper()
	return observedIn(t, openDemo(t, "base-nf4", adapter), method, texts)
}

func observedIn(t *testing.T, p *Project, method string, texts []EvalText) [][]int32 {
	t.Helper()
	plan, opt := calibratedPlan(p, method)
	opt.Calibrate.Texts = texts
	j, err := NewJob(p, plan, opt)
	if err != nil {
		t.Fatal(err)
	}
	c := &calibration{j: j, ctx: t.Context()}
	reference, err := c.reference()
	if err != nil {
		t.Fatal(err)
	}
	list, err := c.sequences(reference)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// What the base writes alone is the same whatever the adapter, and takes its share
// of the tokens from what is written with the adapter or given.
func TestBaseText(t *testing.T) {
	same := func(a, b [][]int32) bool { return slices.EqualFunc(a, b, slices.Equal[[]int32]) }
	light := observedBy(t, "gocode-light", "calibrated,tokens=2048,base-text=0.5", nil)
	strong := observedBy(t, "gocode", "calibrated,tokens=2048,base-text=0.5", nil)
	if len(light) != 4 || !same(light[:2], strong[:2]) {
		t.Errorf("what the base writes depends on the adapter (%d sequences)", len(light))
	}
	own := observedBy(t, "gocode", "calibrated,tokens=1024", nil)
	if !same(strong[2:], own) || same(strong[:2], own) {
		t.Error("the rest is not what the model writes with its adapter")
	}
	text := shortText(t, 4096)
	given := observedBy(t, "gocode", "calibrated,tokens=2048,base-text=0.5", text)
	if !same(given[:2], strong[:2]) || !same(given[2:], observedBy(t, "gocode", "calibrated,tokens=1024", text)) {
		t.Error("the rest is not the text given")
	}
	if all := observedBy(t, "gocode", "calibrated,tokens=1024,base-text=1", text); !same(all, strong[:2]) {
		t.Error("a share of 1 leaves something to the text given")
	}
}

// The base is without the adapter too where that cannot be kept separate.
func TestBaseTextWithoutDoRA(t *testing.T) {
	const method = "calibrated,tokens=256,base-text=0.5"
	lora, _ := golden(t, "nf4-plain")
	dora, _ := golden(t, "dora-nf4")
	a, b := observedIn(t, lora, method, nil), observedIn(t, dora, method, nil)
	if len(a) != 4 || len(b) != 4 || !slices.EqualFunc(a[:2], b[:2], slices.Equal[[]int32]) {
		t.Error("what the base writes depends on the adapter")
	}
	if slices.EqualFunc(a[2:], b[2:], slices.Equal[[]int32]) {
		t.Error("the adapter does not change what is written")
	}
}

// A text that is guided is written by the model with its adapter, and another one;
// what the base writes is not guided.
func TestGuide(t *testing.T) {
	same := func(a, b [][]int32) bool { return slices.EqualFunc(a, b, slices.Equal[[]int32]) }
	plain := observedBy(t, "gocode", "calibrated,tokens=1024,base-text=0.5", nil)
	guided := observedBy(t, "gocode", "calibrated,tokens=1024,base-text=0.5,guide=1", nil)
	if len(guided) != 2 || !same(guided[:1], plain[:1]) || same(guided[1:], plain[1:]) {
		t.Error("a guide does not change what the model writes with its adapter, and that alone")
	}
}
