package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"mergescope/loader"
	"mergescope/merge"
	"mergescope/model"
	"mergescope/quant"
)

// expectedRun is what transformers, bitsandbytes and PEFT measured of one
// configuration on one text.
type expectedRun struct {
	NLL           float64            `json:"nll"`
	Perplexity    float64            `json:"perplexity"`
	KL            *float64           `json:"kl"`
	Top1          float64            `json:"top1"`
	KLByPosition  map[string]float64 `json:"kl_by_position"`
	NLLByPosition map[string]float64 `json:"nll_by_position"`
}

// originalBase names the variable that leads to the demo's bfloat16 original,
// which is too large for the repository.
const originalBase = "MERGESCOPE_DEMO_ORIGINAL"

// allAdapters names the variable that has all three adapters checked, at about
// half a minute each.
const allAdapters = "MERGESCOPE_DEMO_ADAPTERS"

// demoRuns lists the configurations of expected.json by the variant of a run
// that is one.
func demoRuns(original string) map[string]string {
	runs := map[string]string{
		"base-nf4 alone": "base",
		"adapter separate on base-nf4 (reference)":   "separate",
		"PEFT merge into base-nf4":                   "merged",
		"adapter separate on base-int8":              "on demo:int8",
		"PEFT merge into base-int8":                  "int8",
		"merged into dequantized base-nf4, float32":  "dequantized-merged",
		"merged into dequantized base-nf4, bfloat16": "dequantized-merged-bf16",
	}
	if original != "" {
		runs["merged onto original base-bf16, bfloat16"] = "original-merged-bf16"
		runs["merged onto original base-bf16, then NF4"] = "original-merged-nf4"
	}
	return runs
}

// TestExpectedRuns holds every figure of expected.json that `mergescope verify`
// can make against it: NLL, perplexity, KL and top-1 on both texts, by position
// too.
func TestExpectedRuns(t *testing.T) {
	if testing.Short() || underRace {
		t.Skip("passes 128 windows through nine variants; TestScripts/running does the same with three")
	}
	var want struct {
		Base     map[string]json.RawMessage
		Adapters map[string]struct {
			Configs map[string]map[string]expectedRun
		}
	}
	readJSON(t, "testdata/demo/expected.json", &want)
	original := os.Getenv(originalBase)
	adapters := []string{"gocode-light"}
	if os.Getenv(allAdapters) != "" {
		adapters = append(adapters, "gocode", "gocode-mid")
	}
	for _, adapter := range adapters {
		t.Run(adapter, func(t *testing.T) {
			r := demoRun(t, adapter, original)
			checked := 0
			for config, variant := range demoRuns(original) {
				for _, text := range []string{"eval.txt", "eval-domain.txt"} {
					e, ok := want.Adapters["adapter-"+adapter].Configs[config][text]
					if !ok {
						t.Fatalf("expected.json has no %s on %s", config, text)
					}
					checked += e.check(t, r, variant, text)
				}
			}
			for base, variant := range map[string]string{"base-nf4": "base", "base-int8": "demo:int8"} {
				var texts map[string]expectedRun
				if err := json.Unmarshal(want.Base[base], &texts); err != nil {
					t.Fatal(err)
				}
				for _, text := range []string{"eval.txt", "eval-domain.txt"} {
					e := texts[text]
					e.KL = nil // against the base in bfloat16
					checked += e.check(t, r, variant, text)
				}
			}
			t.Logf("%d figures", checked)
			if checked < 230 {
				t.Errorf("only %d figures were checked", checked)
			}
		})
	}
}

// demoRun merges the adapter in several ways and runs all of them at once.
func demoRun(t *testing.T, adapter, original string) *merge.EvalReport {
	t.Helper()
	dir := t.TempDir()
	make := func(base, name string, flags ...string) string {
		out := filepath.Join(dir, name)
		args := append([]string{"merge", base, "-a", "demo:" + adapter, "-o", out}, flags...)
		if _, stderr, code := command(t, args...); code != exitFine {
			t.Fatalf("exit code %d\n%s", code, stderr)
		}
		return out
	}
	args := []string{
		"verify", "demo", "-a", "demo:" + adapter, "--json", "--text", "builtin", "--on", "demo:int8", "--beside", "demo:int8",
		"--merged", make("demo", "nf4"), "--beside", make("demo:int8", "int8"),
	}
	bases := map[string]string{"dequantized": "demo"}
	if original != "" {
		bases["original"] = original
	}
	for name, base := range bases {
		wide := filepath.Join(dir, name)
		writeWide(t, base, wide, func(w []float32) {})
		merged := make(wide, name+"-merged", "--unsafe")
		bf16, nf4 := merged+"-bf16", merged+"-nf4"
		writeWide(t, merged, bf16, func(w []float32) { quant.RoundTo(w, quant.BF16) })
		args = append(args, "--beside", merged, "--beside", bf16)
		if name == "original" {
			writeWide(t, merged, nf4, throughNF4)
			args = append(args, "--beside", nf4)
		}
	}
	var v verified
	commandJSON(t, &v, exitFine, args...)
	if v.Run == nil || !v.Run.Complete || v.Run.Tokens != 65536 {
		t.Fatalf("run: %+v", v.Run)
	}
	if v.AuditReport == nil || len(v.Layers) == 0 {
		t.Error("the audit is not in the report")
	}
	return v.Run
}

// check compares a variant on a text and returns how many figures it compared.
func (e expectedRun) check(t *testing.T, r *merge.EvalReport, variant, text string) (n int) {
	t.Helper()
	v := r.Variant(variant)
	if v == nil {
		t.Fatalf("no variant %s", variant)
	}
	near := func(what string, got merge.Figure, want float64) {
		t.Helper()
		n++
		if !(math.Abs(float64(got)-want) <= max(1e-5, 1e-4*math.Abs(want))) {
			t.Errorf("%s, %s, %s: %.7g, want %.7g", variant, text, what, float64(got), want)
		}
	}
	for _, x := range v.Texts {
		if x.Name != text {
			continue
		}
		near("nll", x.Figures.NLL.Value, e.NLL)
		near("perplexity", x.Figures.PPL.Value, e.Perplexity)
		if e.KL == nil {
			return n
		}
		near("kl", x.Figures.KL.Value, *e.KL)
		near("top1", x.Figures.Top1.Value, e.Top1)
		if len(x.Positions) != len(e.KLByPosition) {
			t.Errorf("%s: %d ranges of positions, want %d", variant, len(x.Positions), len(e.KLByPosition))
		}
		for _, p := range x.Positions {
			name := fmt.Sprintf("%d-%d", p.From, p.To)
			near("kl "+name, p.Figures.KL.Value, e.KLByPosition[name])
			near("nll "+name, p.Figures.NLL.Value, e.NLLByPosition[name])
		}
	}
	return n
}

// writeWide writes a checkpoint of a model's weights in float32, those of linear
// layers after a change.
func writeWide(t *testing.T, from, dir string, change func(w []float32)) {
	t.Helper()
	c, err := loader.Source{Demo: demoFS()}.Checkpoint(from)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	type entry struct {
		Dtype   string   `json:"dtype"`
		Shape   []int64  `json:"shape"`
		Offsets [2]int64 `json:"data_offsets"`
	}
	header, data := map[string]entry{}, []byte{}
	put := func(name string, shape []int64, values []float32) {
		raw := make([]byte, 4*len(values))
		quant.EncodeFloats(raw, values, quant.F32)
		header[name] = entry{"F32", shape, [2]int64{int64(len(data)), int64(len(data) + len(raw))}}
		data = append(data, raw...)
	}
	for _, w := range c.Weights {
		m, err := model.Checkpoint(c).Matrix(w.Param)
		if err != nil {
			t.Fatal(err)
		}
		values := make([]float32, w.Numel())
		if err := m.Rows(values, 0); err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(w.Name, "_proj") {
			change(values)
		}
		put(w.Param, w.Shape, values)
	}
	for _, l := range c.Loose {
		values, err := model.Checkpoint(c).Vector(l.Name)
		if err != nil {
			t.Fatal(err)
		}
		put(l.Name, l.Shape, values)
	}
	text, err := json.Marshal(header)
	if err != nil {
		t.Fatal(err)
	}
	var config map[string]any
	if err := json.Unmarshal(c.Config.Raw, &config); err != nil {
		t.Fatal(err)
	}
	delete(config, "quantization_config")
	config["dtype"] = "float32"
	plain, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	file := append(append(binary.LittleEndian.AppendUint64(nil, uint64(len(text))), text...), data...)
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, "config.json"), plain, 0o644),
		os.WriteFile(filepath.Join(dir, "model.safetensors"), file, 0o644)); err != nil {
		t.Fatal(err)
	}
}

// throughNF4 quantizes as bitsandbytes does with double quantization, and back.
func throughNF4(w []float32) {
	p := quant.Panel{Spec: quant.Spec{Format: quant.NF4, Blocksize: 64, Nested: true, Dtype: quant.F32}, Rows: 1, Cols: len(w), T: w}
	p.Requantize()
	n := quant.QuantizeAbsmax(p.NewAbsmax, quant.CPU)
	n.Dequantize(p.NewAbsmax)
	quant.Dequantize4(w, p.NewCodes, p.NewAbsmax, p.Spec)
}

// The statistics that a calibrated plan is run with are kept for the next one.
func TestVerifyKeepsStatistics(t *testing.T) {
	file := filepath.Join(t.TempDir(), "s.safetensors")
	args := []string{
		"verify", "demo", "-a", "demo:gocode-light", "--method", "calibrated,tokens=64",
		"--statistics", file, "--text", "builtin", "--max-tokens", "64", "--json",
	}
	first, stderr, code := command(t, args...)
	if code != exitFine {
		t.Fatalf("code %d: %s", code, stderr)
	}
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var runs [2]struct {
		Run struct{ Variants []json.RawMessage }
	}
	second, stderr, code := command(t, args...)
	if code != exitFine {
		t.Fatalf("code %d: %s", code, stderr)
	}
	after, err := os.ReadFile(file)
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("the file is written anew (%v)", err)
	}
	for i, text := range [][]byte{first, second} {
		if err := json.Unmarshal(text, &runs[i]); err != nil {
			t.Fatal(err)
		}
	}
	if len(runs[0].Run.Variants) == 0 || !reflect.DeepEqual(runs[0], runs[1]) {
		t.Error("the same statistics give other figures")
	}
}
