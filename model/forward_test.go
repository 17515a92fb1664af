package model

import (
	"context"
	"errors"
	"maps"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"mergescope/loader"
	"mergescope/quant"
)

// overlay is a source of weights of which some are in memory.
type overlay struct {
	Weights
	extra map[string]*dense
}

func (o *overlay) Matrix(param string) (Matrix, error) {
	if m, ok := o.extra[param]; ok {
		return m, nil
	}
	return o.Weights.Matrix(param)
}

// merged adds the pairs of an adapter to the weights they are for.
func merged(t *testing.T, w Weights, l LoRA) Weights {
	t.Helper()
	o := &overlay{w, map[string]*dense{}}
	for path, pairs := range l {
		m, err := w.Matrix(path + ".weight")
		if err != nil {
			t.Fatal(err)
		}
		d := &dense{}
		d.rows, d.cols = m.Size()
		d.data = make([]float32, d.rows*d.cols)
		if err := m.Rows(d.data, 0); err != nil {
			t.Fatal(err)
		}
		for _, p := range pairs {
			delta := make([]float32, len(d.data))
			quant.Delta(delta, p.B, quant.NewFactor(p.A, p.Rank, p.In), p.Out, p.Scale)
			for i, v := range delta {
				d.data[i] += v
			}
		}
		o.extra[path+".weight"] = d
	}
	return o
}

// randomLoRA adapts every linear layer of a case, the head included.
func randomLoRA(t *testing.T, w Weights, modules []string, rank int) LoRA {
	t.Helper()
	l := LoRA{}
	for i, path := range modules {
		m, err := w.Matrix(path + ".weight")
		if err != nil {
			t.Fatal(err)
		}
		rows, cols := m.Size()
		p := Pair{Rank: rank, In: cols, Out: rows, Scale: 0.05}
		p.A, p.B = random(rank*cols + i)[i:], random(rows*rank + i)[i:]
		l[path] = append(l[path], p)
	}
	return l
}

func linearsOf(c *Config) (names []string) {
	for _, layer := range []string{"model.layers.0.", "model.layers.1."} {
		parts := []string{"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"}
		if c.Fused {
			parts = []string{"self_attn.qkv_proj", "self_attn.o_proj", "mlp.gate_up_proj", "mlp.down_proj"}
		}
		for _, p := range parts {
			names = append(names, layer+p)
		}
	}
	return names
}

// An adapter kept apart gives what adding it to the weights gives, alone or two
// at once, and in one pass with other variants the same bits as alone.
func TestSeparateIsMerged(t *testing.T) {
	for _, a := range archCases(t) {
		if strings.Contains(a.name, "-") {
			continue // the same weights once more
		}
		modules := linearsOf(a.c)
		if !a.c.Tied {
			modules = append(modules, "lm_head")
		}
		l := randomLoRA(t, a.weights, modules, 3)
		two := maps.Clone(l)
		two.Add(randomLoRA(t, a.weights, modules[1:4], 40))
		variants := []Variant{{Weights: a.weights}, {Weights: a.weights, LoRA: l}, {Weights: merged(t, a.weights, l)}, {Weights: a.weights, LoRA: two}, {Weights: merged(t, a.weights, two)}}
		got := logitsOf(t, a.c, variants, a.sequences, Options{})
		for v := 1; v < len(got); v += 2 {
			if d := worst(got[v], got[v+1]) / largest(got[v]); !(d < 1e-5) {
				t.Errorf("%s: separate and merged differ by %.3g", a.name, d)
			}
			if d := worst(got[v], got[0]) / largest(got[v]); d < 1e-2 {
				t.Errorf("%s: the adapter changes %.3g only", a.name, d)
			}
			sameBits(t, a.name, got[v], logitsOf(t, a.c, variants[v:v+1], a.sequences, Options{Workers: 1})[0])
		}
	}
}

func archNamed(t *testing.T, name string) archCase {
	t.Helper()
	for _, a := range archCases(t) {
		if a.name == name {
			return a
		}
	}
	t.Fatalf("no case %s", name)
	return archCase{}
}

// lora_bias adds scale times a bias behind B.
func TestBiasOfB(t *testing.T) {
	a := archNamed(t, "llama")
	l := randomLoRA(t, a.weights, []string{"model.layers.1.mlp.down_proj"}, 2)
	p := &l["model.layers.1.mlp.down_proj"][0]
	for i := range p.B {
		p.B[i] = 0
	}
	p.Bias, p.Scale = random(p.Out), 2
	var plain, biased []float32
	sink := func(to *[]float32) Sink {
		return Sink{Hidden: func(layer, token int, states [][]float32) {
			if layer == 1 && token == 3 {
				*to = append([]float32{}, states[0]...)
			}
		}}
	}
	for _, x := range []struct {
		l  LoRA
		to *[]float32
	}{{nil, &plain}, {l, &biased}} {
		if err := Forward(context.Background(), a.c, []Variant{{Weights: a.weights, LoRA: x.l}}, a.sequences, sink(x.to), Options{}); err != nil {
			t.Fatal(err)
		}
	}
	for i, b := range p.Bias {
		if d := float64(biased[i]) - float64(plain[i]) - 2*float64(b); math.Abs(d) > 1e-5 {
			t.Fatalf("feature %d: off by %v", i, d)
		}
	}
}

// Any rows of a weight are those of the whole, whatever blocks they cut.
func TestRows(t *testing.T) {
	for _, name := range []string{"llama-nf4-ragged", "llama-nf4-dq", "llama-fp4", "llama-int8", "llama-bf16", "llama-f16"} {
		ck, err := loader.Source{}.Checkpoint(filepath.Join("../testdata/golden/bases", name))
		if err != nil {
			t.Fatal(err)
		}
		defer ck.Close()
		cut := false
		for _, w := range ck.Weights {
			if len(w.Shape) != 2 {
				continue
			}
			m, err := Checkpoint(ck).Matrix(w.Param)
			if err != nil {
				t.Fatal(err)
			}
			rows, cols := m.Size()
			whole := make([]float32, rows*cols)
			if err := m.Rows(whole, 0); err != nil {
				t.Fatal(err)
			}
			cut = cut || w.State != nil && cols%w.State.Blocksize != 0
			for r := 0; r < rows; r += 1 + r/3 {
				for _, n := range []int{1, 2, 5} {
					if r+n > rows {
						continue
					}
					got := make([]float32, n*cols)
					if err := m.Rows(got, r); err != nil {
						t.Fatal(err)
					}
					sameBits(t, w.Param, got, whole[r*cols:(r+n)*cols])
				}
			}
			if err := m.Rows(make([]float32, cols), rows); err == nil {
				t.Errorf("%s: a row behind the last was read", w.Param)
			}
		}
		if name == "llama-nf4-ragged" && !cut {
			t.Error("no block of the ragged base straddles rows")
		}
	}
}

func TestForwardErrors(t *testing.T) {
	a := archNamed(t, "llama")
	long := *a.c
	long.Layers = append(append([]LayerConfig{}, a.c.Layers...), a.c.Layers[0])
	wide := *a.c
	wide.Intermediate++
	big := *a.c
	big.Vocab++
	bad := LoRA{"model.layers.0.mlp.up_proj": {{A: make([]float32, 5), B: make([]float32, 5), Rank: 1, In: 5, Out: 5}}}
	stopped, cancel := context.WithCancel(context.Background())
	cancel()
	for _, x := range []struct {
		ctx       context.Context
		c         *Config
		v         []Variant
		sequences [][]int32
		want      string
	}{
		{nil, a.c, nil, a.sequences, "no variants"},
		{nil, a.c, []Variant{{Weights: a.weights}}, nil, "no sequences"},
		{nil, a.c, []Variant{{Weights: a.weights}}, [][]int32{{1}, {}}, "sequence 1 is empty"},
		{nil, a.c, []Variant{{Weights: a.weights}}, [][]int32{{1, 32}}, "token 32 at position 1 is outside the vocabulary of 32"},
		{nil, a.c, []Variant{{Weights: a.weights}}, [][]int32{{-1}}, "token -1"},
		{nil, &long, []Variant{{Weights: a.weights}}, a.sequences, "layer 2: llama: there is no tensor model.layers.2.input_layernorm.weight"},
		{nil, &wide, []Variant{{Weights: a.weights}}, a.sequences, "weight model.layers.0.mlp.gate_proj.weight is [40, 24], config.json asks for [41, 24]"},
		{nil, &big, []Variant{{Weights: a.weights}}, a.sequences, "weight model.embed_tokens.weight is [32, 24], config.json asks for [33, 24]"},
		{nil, a.c, []Variant{{Weights: a.weights, LoRA: bad}}, a.sequences, "adapter of model.layers.0.mlp.up_proj is for [5, 5], the weight is [40, 24]"},
		{stopped, a.c, []Variant{{Weights: a.weights}}, a.sequences, "context canceled"},
	} {
		if x.ctx == nil {
			x.ctx = context.Background()
		}
		err := Forward(x.ctx, x.c, x.v, x.sequences, Sink{Logits: func(int, int, [][]float32) {}}, Options{})
		if err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%v, want %q", err, x.want)
		}
	}
	panics := Sink{Hidden: func(int, int, [][]float32) { panic("in a sink") }}
	if err := Forward(context.Background(), a.c, []Variant{{Weights: a.weights}}, a.sequences, panics, Options{}); err == nil || !strings.Contains(err.Error(), "in a sink") {
		t.Errorf("a panic became %v", err)
	}
	broken := errors.New("disk on fire")
	if err := Forward(context.Background(), a.c, []Variant{{Weights: failing{a.weights, broken}}}, a.sequences, Sink{}, Options{}); !errors.Is(err, broken) {
		t.Errorf("a read error became %v", err)
	}
}

// failing cannot read the rows of the down projections.
type failing struct {
	Weights
	err error
}

type failingMatrix struct {
	Matrix
	err error
}

func (f failing) Matrix(param string) (Matrix, error) {
	m, err := f.Weights.Matrix(param)
	if strings.Contains(param, "down_proj") {
		return failingMatrix{m, f.err}, err
	}
	return m, err
}

func (f failingMatrix) Rows([]float32, int) error { return f.err }

// NaN in an adapter is told, not averaged away.
func TestBrokenAdapter(t *testing.T) {
	c, nf4 := openModel(t, filepath.Join(demoDir, "base-nf4"))
	inputs, targets, _ := windows(t, "eval.txt", 1)
	inputs, targets = [][]int32{inputs[0][:20]}, targets[:20]
	s, d := NewScores(targets, 2, 0), NewDepth(len(c.Layers), 2, 20, 0)
	variants := []Variant{{Weights: nf4}, {Weights: nf4, LoRA: openLoRA(t, filepath.Join(demoDir, "adapter-broken"))}}
	if err := Forward(context.Background(), c, variants, inputs, Sink{Logits: s.Logits, Hidden: d.Hidden}, Options{}); err != nil {
		t.Fatal(err)
	}
	f := Summarize(s.Tokens(1))
	if f.NonFinite != 20 || f.KL.Value == f.KL.Value || f.NLL.Value == f.NLL.Value || f.RefNLL.Value != f.RefNLL.Value {
		t.Errorf("%+v", f)
	}
	// The NaN is in layer 1, an infinity in layer 2; layer 0 is the light adapter.
	for layer, want := range []bool{false, true, true, true} {
		if e := d.RelativeRMS(layer, 1); e != e != want || !want && !(e > 1e-4 && e < 1) {
			t.Errorf("layer %d: %v", layer, e)
		}
	}
}

func TestOpenLoRARefuses(t *testing.T) {
	for name, want := range map[string]string{
		"dora-nf4":        "DoRA is not supported separately",
		"embedding":       "embedding",
		"modules-to-save": "modules_to_save",
		"bias-all":        "bias",
		"missing-layer":   "",
	} {
		dir := filepath.Join("../testdata/golden/cases", name)
		matches, _ := filepath.Glob(filepath.Join(dir, "*", "adapter_config.json"))
		if len(matches) == 0 {
			matches, _ = filepath.Glob(filepath.Join(dir, "adapter_config.json"))
		}
		if len(matches) == 0 {
			t.Errorf("%s: no adapter", name)
			continue
		}
		a, err := loader.Source{}.Adapter(filepath.Dir(matches[0]))
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		_, err = OpenLoRA(a)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
}

// dense is a weight in memory.
type dense struct {
	data       []float32
	rows, cols int
}

func (m *dense) Size() (rows, cols int) { return m.rows, m.cols }

func (m *dense) Rows(dst []float32, first int) error {
	copy(dst, m.data[first*m.cols:(first+len(dst)/m.cols)*m.cols])
	return nil
}
