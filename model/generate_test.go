package model

import (
	"context"
	"math"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// generatedTexts is testdata/generate/texts.json.
type generatedTexts struct {
	Prompts       []string             `json:"prompts"`
	Demo          map[string][][]int32 `json:"demo"` // by adapter, kept separate by PEFT
	Architectures map[string][]int32   `json:"architectures"`
	Warped        []struct {
		Temperature   float64   `json:"temperature"`
		TopK          int       `json:"top_k"`
		TopP          float64   `json:"top_p"`
		Logits        []float32 `json:"logits"`
		Probabilities []float64 `json:"probabilities"`
	} `json:"warped"`
}

func readGenerated(t *testing.T) (g generatedTexts) {
	t.Helper()
	readJSON(t, "../testdata/generate/texts.json", &g)
	return g
}

func generate(t *testing.T, c *Config, variants []Variant, prompt []int32, opt GenerateOptions) *Generation {
	t.Helper()
	g, err := Generate(context.Background(), c, variants, prompt, opt)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// byteIDs are the tokens of the demo: bos, which is byte 0, and bytes.
func byteIDs(text string) []int32 {
	ids := []int32{0}
	for _, b := range []byte(text) {
		ids = append(ids, int32(b))
	}
	return ids
}

// The likeliest tokens are those transformers and PEFT generate.
func TestGreedyIsTransformers(t *testing.T) {
	want := readGenerated(t)
	c, nf4 := openModel(t, filepath.Join(demoDir, "base-nf4"))
	var variants []Variant
	names := []string{"", "adapter-gocode", "adapter-gocode-light"}
	for _, n := range names {
		v := Variant{Weights: nf4}
		if n != "" {
			v.LoRA = openLoRA(t, filepath.Join(demoDir, n))
		}
		variants = append(variants, v)
	}
	for i, prompt := range want.Prompts {
		g := generate(t, c, variants, byteIDs(prompt), GenerateOptions{Tokens: 60})
		for v, n := range names {
			if x := g.Variants[v]; !slices.Equal(x.Tokens, want.Demo[n][i]) || x.End != EndLength {
				t.Errorf("%q, adapter %q: %v (%s), want %v", prompt, n, x.Tokens, x.End, want.Demo[n][i])
			}
		}
	}
	for _, a := range archCases(t) {
		x := generate(t, a.c, []Variant{{Weights: a.weights}}, a.sequences[0][:9], GenerateOptions{Tokens: 20, Stop: []int32{1}}).Variants[0]
		if !slices.Equal(x.Tokens, want.Architectures[a.name]) || (x.End == EndStop) != (x.Tokens[len(x.Tokens)-1] == 1) {
			t.Errorf("%s: %v (%s), want %v", a.name, x.Tokens, x.End, want.Architectures[a.name])
		}
	}
}

// What temperature, top-k and top-p leave is what transformers' warpers leave,
// and tokens are drawn as often as they say.
func TestSampling(t *testing.T) {
	const draws = 20000
	for _, w := range readGenerated(t).Warped {
		s := Sampling{Temperature: w.Temperature, TopK: w.TopK, TopP: w.TopP, Seed: 3}
		left := map[int32]bool{}
		for _, c := range s.candidates(w.Logits) {
			left[c.id] = true
		}
		count := make([]int, len(w.Logits))
		for step := range draws {
			count[s.choose(w.Logits, step)]++
		}
		for id, p := range w.Probabilities {
			if left[int32(id)] != (p > 0) {
				t.Errorf("%+v: token %d of probability %v is left: %v", s, id, p, left[int32(id)])
			}
			if sigma := math.Sqrt(draws * p * (1 - p)); math.Abs(float64(count[id])-draws*p) > 4.5*sigma+1e-9 {
				t.Errorf("%+v: token %d drawn %d times, want %.1f +- %.1f", s, id, count[id], draws*p, sigma)
			}
		}
	}
	if got := (Sampling{}).choose([]float32{1, 3, 3, 2}, 0); got != 1 {
		t.Errorf("of equals %d is taken", got)
	}
	for _, s := range []Sampling{{Temperature: -1}, {Temperature: math.NaN()}, {TopK: -1}, {TopP: 1.5}, {TopP: math.NaN()}} {
		if s.Check() == nil {
			t.Errorf("%+v is allowed", s)
		}
	}
}

func TestParseSampling(t *testing.T) {
	for text, want := range map[string]Sampling{
		"greedy":          {},
		"seed=7":          {Temperature: 1, Seed: 7},
		"temperature=0.5": {Temperature: 0.5},
		"top-p=0.9,seed=18446744073709551615,top-k=3,temperature=2": {Temperature: 2, TopK: 3, TopP: 0.9, Seed: math.MaxUint64},
	} {
		got, err := ParseSampling(text)
		again, err2 := ParseSampling(got.String())
		if err != nil || got != want || err2 != nil || again != want {
			t.Errorf("%s: %+v, %v; %+v, %v", text, got, err, again, err2)
		}
	}
	for _, text := range []string{"", "hot", "temperature=0", "temperature=-1", "temperature=NaN", "top-k=1.5", "top-k=-1", "top-p=2", "seed=-1", "seed=1,"} {
		if s, err := ParseSampling(text); err == nil {
			t.Errorf("%q is %+v", text, s)
		}
	}
}

// A seed decides a text, whatever the workers and other variants are; equal
// variants draw equally, and near ones nearly so.
func TestSeed(t *testing.T) {
	c, nf4 := openModel(t, filepath.Join(demoDir, "base-nf4"))
	_, int8 := openModel(t, filepath.Join(demoDir, "base-int8"))
	l := openLoRA(t, filepath.Join(demoDir, "adapter-gocode"))
	variants := []Variant{{Weights: nf4, LoRA: l}, {Weights: nf4, LoRA: l}, {Weights: int8, LoRA: l}, {Weights: merged(t, nf4, l)}}
	prompt := byteIDs("func main() {\n\t")
	opt := GenerateOptions{Tokens: 80, Sampling: Sampling{Temperature: 1, Seed: 11}}
	g := generate(t, c, variants, prompt, opt)
	if g.Variants[1].Divergence != nil || !reflect.DeepEqual(g.Variants[0].Tokens, g.Variants[1].Tokens) || len(g.Variants[1].KL) != 80 || slices.Max(g.Variants[1].KL) != 0 {
		t.Errorf("equal variants part: %+v", g.Variants[1])
	}
	if x := g.Variants[3]; x.Divergence != nil || slices.Max(x.KL) > 1e-5 {
		t.Errorf("the adapter added to float32 weights parts at %+v", x.Divergence)
	}
	opt.Workers = 1
	alone := generate(t, c, variants[2:3], prompt, opt).Variants[0]
	if !slices.Equal(alone.Tokens, g.Variants[2].Tokens) || !slices.Equal(alone.LogProbs, g.Variants[2].LogProbs) {
		t.Error("alone it is another text")
	}
	opt.Seed++
	if other := generate(t, c, variants[:1], prompt, opt).Variants[0]; slices.Equal(other.Tokens, g.Variants[0].Tokens) {
		t.Error("another seed gives the same text")
	}
	d := g.Variants[2].Divergence
	if d == nil {
		t.Fatal("other weights never part")
	}
	if !slices.Equal(g.Variants[0].Tokens[:d.At], g.Variants[2].Tokens[:d.At]) || g.Variants[0].Tokens[d.At] != d.Reference || g.Variants[2].Tokens[d.At] != d.Variant || d.Reference == d.Variant {
		t.Errorf("%+v", d)
	}
}

// Figures beside the tokens follow from the logits of Forward over the texts.
func TestGenerationFigures(t *testing.T) {
	c, nf4 := openModel(t, filepath.Join(demoDir, "base-nf4"))
	variants := []Variant{{Weights: nf4, LoRA: openLoRA(t, filepath.Join(demoDir, "adapter-gocode-mid"))}, {Weights: nf4}}
	prompt := byteIDs("return ")
	g := generate(t, c, variants, prompt, GenerateOptions{Tokens: 12})
	d := g.Variants[1].Divergence
	if d == nil || len(g.Variants[1].KL) != d.At+1 {
		t.Fatalf("%+v, %d KL", d, len(g.Variants[1].KL))
	}
	logP := func(v, text int) [][]float64 {
		ids := slices.Concat(prompt, g.Variants[text].Tokens)
		logits := logitsOf(t, c, variants[v:v+1], [][]int32{ids}, Options{})[0]
		var rows [][]float64
		for i := range g.Variants[text].Tokens {
			row := logits[(len(prompt)-1+i)*c.Vocab:][:c.Vocab]
			sum := 0.0
			for _, l := range row {
				sum += math.Exp(float64(l))
			}
			out := make([]float64, c.Vocab)
			for j, l := range row {
				out[j] = float64(l) - math.Log(sum)
			}
			rows = append(rows, out)
		}
		return rows
	}
	for v := range variants {
		own := logP(v, v)
		for i, id := range g.Variants[v].Tokens {
			near(t, "log p", g.Variants[v].LogProbs[i], own[i][id])
		}
	}
	ref, other := logP(0, 0), logP(1, 0)
	for i, kl := range g.Variants[1].KL {
		want := 0.0
		for j, p := range ref[i] {
			want += math.Exp(p) * (p - other[i][j])
		}
		near(t, "kl", kl, want)
	}
	near(t, "p of reference's token by reference", d.ByReference[0], math.Exp(ref[d.At][d.Reference]))
	near(t, "p of variant's token by reference", d.ByReference[1], math.Exp(ref[d.At][d.Variant]))
	near(t, "p of reference's token by variant", d.ByVariant[0], math.Exp(other[d.At][d.Reference]))
	near(t, "p of variant's token by variant", d.ByVariant[1], math.Exp(other[d.At][d.Variant]))
}

// A variant whose logits are not finite ends; others go on.
func TestGenerateBroken(t *testing.T) {
	c, nf4 := openModel(t, filepath.Join(demoDir, "base-nf4"))
	variants := []Variant{{Weights: nf4}, {Weights: nf4, LoRA: openLoRA(t, filepath.Join(demoDir, "adapter-broken"))}}
	steps := 0
	g := generate(t, c, variants, byteIDs("x"), GenerateOptions{Tokens: 5, Step: func(*Generation) { steps++ }})
	x := g.Variants[1]
	if steps != 5 || len(g.Variants[0].Tokens) != 5 || len(x.Tokens) != 0 || x.End != EndNonFinite || x.Divergence == nil || x.Divergence.At != 0 || x.Divergence.Variant != -1 {
		t.Errorf("%d steps, %+v", steps, g.Variants)
	}
}

func TestGenerateErrors(t *testing.T) {
	a := archNamed(t, "llama")
	one := []Variant{{Weights: a.weights}}
	for _, x := range []struct {
		prompt []int32
		opt    GenerateOptions
		want   string
	}{
		{nil, GenerateOptions{Tokens: 1}, "the prompt has no tokens"},
		{[]int32{1}, GenerateOptions{}, "0 tokens are nothing to generate"},
		{[]int32{1}, GenerateOptions{Tokens: 1, Reference: 1}, "no variant 1"},
		{[]int32{1, 99}, GenerateOptions{Tokens: 1}, "token 99 at position 1 is outside the vocabulary of 32"},
		{[]int32{1}, GenerateOptions{Tokens: 1, Sampling: Sampling{TopP: 2}}, "top-p 2"},
	} {
		if _, err := Generate(context.Background(), a.c, one, x.prompt, x.opt); err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%v, want %q", err, x.want)
		}
	}
}
