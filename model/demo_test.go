package model

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"mergescope/loader"
)

const demoDir = "../testdata/demo"

// openModel opens a checkpoint below dir and reads its configuration.
func openModel(t testing.TB, dir string) (*Config, Weights) {
	t.Helper()
	ck, err := loader.Source{}.Checkpoint(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ck.Close() })
	c, err := ParseConfig(ck.Config.Raw)
	if err != nil {
		t.Fatal(err)
	}
	return c, Checkpoint(ck)
}

func openLoRA(t testing.TB, dir string) LoRA {
	t.Helper()
	a, err := loader.Source{}.Adapter(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	l, err := OpenLoRA(a)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// tensors opens a safetensors file that is no model.
func tensors(t testing.TB, name string) *loader.File {
	t.Helper()
	h, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	info, err := h.Stat()
	if err != nil {
		t.Fatal(err)
	}
	f, err := loader.NewFile(h, info.Size(), name)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func float32s(t testing.TB, f *loader.File, name string) []float32 {
	t.Helper()
	x := f.Tensor(name)
	if x == nil {
		t.Fatalf("%s: no tensor %s", f.Name, name)
	}
	v, err := x.Float32s()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func int32s(t testing.TB, f *loader.File, name string) []int32 {
	t.Helper()
	x := f.Tensor(name)
	if x == nil || x.DType != "I32" {
		t.Fatalf("%s: no int32 tensor %s", f.Name, name)
	}
	raw, err := x.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	v := make([]int32, len(raw)/4)
	for i := range v {
		v[i] = int32(uint32(raw[4*i]) | uint32(raw[4*i+1])<<8 | uint32(raw[4*i+2])<<16 | uint32(raw[4*i+3])<<24)
	}
	return v
}

// logitsOf runs a forward pass and returns the logits [tokens, vocab] of each
// variant.
func logitsOf(t testing.TB, c *Config, variants []Variant, sequences [][]int32, opt Options) [][]float32 {
	t.Helper()
	return logitsSeen(t, c, variants, sequences, opt, nil)
}

// logitsSeen shows inputs of layers to see on the way.
func logitsSeen(t testing.TB, c *Config, variants []Variant, sequences [][]int32, opt Options, see func([]string, Inputs) error) [][]float32 {
	t.Helper()
	tokens := 0
	for _, s := range sequences {
		tokens += len(s)
	}
	out := make([][]float32, len(variants))
	for v := range out {
		out[v] = make([]float32, tokens*c.Vocab)
	}
	sink := Sink{Inputs: see, Logits: func(token, first int, logits [][]float32) {
		for v, l := range logits {
			copy(out[v][token*c.Vocab+first:], l)
		}
	}}
	if err := Forward(context.Background(), c, variants, sequences, sink, opt); err != nil {
		t.Fatal(err)
	}
	return out
}

// worst returns the largest difference; NaN if there is any.
func worst(a, b []float32) float64 {
	if len(a) != len(b) {
		return math.NaN()
	}
	most := 0.0
	for i, x := range a {
		most = max(most, math.Abs(float64(x)-float64(b[i])))
	}
	return most
}

var demoAdapters = []string{"adapter-gocode", "adapter-gocode-mid", "adapter-gocode-light"}

// The logits were computed by transformers with bitsandbytes and PEFT, see
// testdata/demo/README.md. That file puts other summation orders at 2e-5.
func TestGoldenLogits(t *testing.T) {
	f := tensors(t, filepath.Join(demoDir, "golden_logits.safetensors"))
	ids := [][]int32{int32s(t, f, "input_ids")}
	c, nf4 := openModel(t, filepath.Join(demoDir, "base-nf4"))
	_, int8 := openModel(t, filepath.Join(demoDir, "base-int8"))
	variants := []Variant{{Name: "base-nf4", Weights: nf4}, {Name: "base-int8", Weights: int8}}
	for _, a := range demoAdapters {
		variants = append(variants, Variant{Name: "base-nf4+" + a, Weights: nf4, LoRA: openLoRA(t, filepath.Join(demoDir, a))})
	}
	for v, got := range logitsOf(t, c, variants, ids, Options{}) {
		d := worst(got, float32s(t, f, "logits."+variants[v].Name))
		t.Logf("%s: %.2g", variants[v].Name, d)
		if !(d <= 2e-5) {
			t.Errorf("%s: logits differ by %.3g", variants[v].Name, d)
		}
	}
}

func readJSON(t testing.TB, name string, v any) {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, v); err != nil {
		t.Fatal(err)
	}
}
