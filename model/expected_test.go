package model

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"
)

const window = 512

// windows cuts a text as testdata/demo/README.md says: token ids are bytes, BOS
// begins every window, and every byte is predicted once.
func windows(t testing.TB, name string, most int) (inputs [][]int32, targets []int32, positions []int) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(demoDir, name))
	if err != nil {
		t.Fatal(err)
	}
	for at := 0; at+window <= len(text) && len(inputs) < most; at += window {
		in := []int32{0}
		for i, b := range text[at : at+window] {
			in = append(in, int32(b))
			targets = append(targets, int32(b))
			positions = append(positions, i+1)
		}
		inputs = append(inputs, in[:window])
	}
	return inputs, targets, positions
}

type expectedFigures struct {
	NLL           float64            `json:"nll"`
	Perplexity    float64            `json:"perplexity"`
	KL            float64            `json:"kl"`
	Top1          float64            `json:"top1"`
	KLByPosition  map[string]float64 `json:"kl_by_position"`
	NLLByPosition map[string]float64 `json:"nll_by_position"`
}

// near holds to 1e-4 relative or 1e-5 absolute.
func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if !(math.Abs(got-want) <= max(1e-5, 1e-4*math.Abs(want))) {
		t.Errorf("%s: %.7g, want %.7g", what, got, want)
	}
}

func (e expectedFigures) check(t *testing.T, what string, tokens []Token, positions []int) {
	t.Helper()
	f := Summarize(tokens)
	near(t, what+" nll", f.NLL.Value, e.NLL)
	near(t, what+" perplexity", f.PPL.Value, e.Perplexity)
	if e.KLByPosition == nil {
		return
	}
	near(t, what+" kl", f.KL.Value, e.KL)
	near(t, what+" top1", f.Top1.Value, e.Top1)
	for _, b := range ByPosition(tokens, positions) {
		near(t, what+" kl "+b.String(), b.KL.Value, e.KLByPosition[b.String()])
		near(t, what+" nll "+b.String(), b.NLL.Value, e.NLLByPosition[b.String()])
	}
}

// The figures were measured with transformers, bitsandbytes and PEFT.
func TestExpected(t *testing.T) {
	var want struct {
		Base     map[string]json.RawMessage
		Adapters map[string]struct {
			Configs map[string]map[string]expectedFigures
		}
	}
	readJSON(t, filepath.Join(demoDir, "expected.json"), &want)
	if testing.Short() || dotIsSlow {
		t.Skip("passes 128 windows through five variants")
	}
	c, nf4 := openModel(t, filepath.Join(demoDir, "base-nf4"))
	_, int8 := openModel(t, filepath.Join(demoDir, "base-int8"))
	variants := []Variant{{Weights: nf4}, {Weights: int8}}
	for _, a := range demoAdapters {
		variants = append(variants, Variant{Weights: nf4, LoRA: openLoRA(t, filepath.Join(demoDir, a))})
	}
	// One adapter on base-int8 only: all three double the time.
	const onInt8 = 2
	variants = append(variants, Variant{Weights: int8, LoRA: variants[2+onInt8].LoRA})
	for _, text := range []string{"eval.txt", "eval-domain.txt"} {
		inputs, targets, positions := windows(t, text, math.MaxInt)
		tokens := make([][3][]Token, len(demoAdapters)) // base, separate on base-nf4 and on base-int8
		var bases [2][]Token
		const batch = 16
		for at := 0; at < len(inputs); at += batch {
			in, want := inputs[at:at+batch], targets[at*window:(at+batch)*window]
			list := make([]*Scores, len(demoAdapters))
			for i := range list {
				list[i] = NewScores(want, len(variants), 2+i)
			}
			sink := Sink{Logits: func(token, first int, logits [][]float32) {
				for _, s := range list {
					s.Logits(token, first, logits)
				}
			}}
			if err := Forward(context.Background(), c, variants, in, sink, Options{}); err != nil {
				t.Fatal(err)
			}
			for i, s := range list {
				for k, v := range []int{0, 2 + i, len(variants) - 1} {
					tokens[i][k] = append(tokens[i][k], s.Tokens(v)...)
				}
			}
			bases[0] = append(bases[0], list[0].Tokens(0)...)
			bases[1] = append(bases[1], list[0].Tokens(1)...)
		}
		for i, a := range demoAdapters {
			for k, name := range []string{"base-nf4 alone", "adapter separate on base-nf4 (reference)", "adapter separate on base-int8"} {
				if k == 2 && i != onInt8 {
					continue
				}
				e, ok := want.Adapters[a].Configs[name][text]
				if !ok {
					t.Fatalf("expected.json has no %s of %s", name, a)
				}
				e.check(t, a+" "+name+" "+text, tokens[i][k], positions)
			}
		}
		for i, name := range []string{"base-nf4", "base-int8"} {
			var e map[string]expectedFigures
			if err := json.Unmarshal(want.Base[name], &e); err != nil {
				t.Fatal(err)
			}
			e[text].check(t, name+" "+text, bases[i], positions)
		}
	}
}
