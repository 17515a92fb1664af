package merge

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"mergescope/model"
)

// generated is testdata/generate/texts.json: what PEFT and transformers make of
// prompts, adapters separate and merged.
func generated(t *testing.T) (g struct {
	Prompts []string
	Demo    map[string][][]int32
},
) {
	t.Helper()
	text, err := os.ReadFile("../testdata/generate/texts.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &g); err != nil {
		t.Fatal(err)
	}
	return g
}

func generationOf(t *testing.T, p *Project, opt GenerateOptions) *GenerationReport {
	t.Helper()
	plan := p.NewPlan()
	opt.Variants.Plans = []NamedPlan{{VariantPlan, plan}}
	g, err := NewGeneration(p, plan, opt)
	if err != nil {
		t.Fatal(err)
	}
	r, err := g.Run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if s := g.Snapshot(); s.State != Done || s.Report != r || s.Tokens < s.Done {
		t.Errorf("%+v", s)
	}
	return r
}

func idsOf(v *VariantText) (ids []int32) {
	for _, t := range v.Tokens {
		ids = append(ids, t.ID)
	}
	return ids
}

// Without a merge the light adapter writes Go, merged it is gone: the texts of
// base, separate adapter and plan are those of PEFT and transformers.
func TestGenerationIsPEFT(t *testing.T) {
	want := generated(t)
	p := lightDemo(t, "base-nf4")
	for i, prompt := range want.Prompts {
		r := generationOf(t, p, GenerateOptions{Prompt: prompt})
		for v, name := range []string{"", "adapter-gocode-light", "merged adapter-gocode-light"} {
			x := r.Variants[v]
			if !slices.Equal(idsOf(x), want.Demo[name][i]) || x.End != "length" {
				t.Errorf("%q, %s: %q (%s), want %v", prompt, x.Name, x.Text, x.End, want.Demo[name][i])
			}
			text := ""
			for _, tok := range x.Tokens {
				text += tok.Text
			}
			if text != x.Text || !strings.HasPrefix(string(bytesOf(want.Demo[name][i])), x.Text) {
				t.Errorf("%q, %s: pieces %q of %q", prompt, x.Name, text, x.Text)
			}
			if (x.Divergence == nil) != (v == reference) {
				t.Errorf("%s: divergence %+v", x.Name, x.Divergence)
			}
			if d := x.Divergence; d != nil {
				ref := r.Variants[reference]
				if d.Before != ref.Text[:len(d.Before)] || d.Before != x.Text[:len(d.Before)] || d.Variant.ID != x.Tokens[d.At].ID || d.Reference.ID != ref.Tokens[d.At].ID ||
					!(d.Variant.ByVariant >= d.Reference.ByVariant) || !(d.Reference.ByReference >= d.Variant.ByReference) {
					t.Errorf("%s: %+v %+v %+v", x.Name, d, d.Reference, d.Variant)
				}
			}
		}
		if r.Prompt != prompt || r.IDs[0] != 0 || len(r.IDs) != len(prompt)+1 || r.Reference != VariantSeparate || len(r.Alerts) != 0 {
			t.Errorf("%+v", r)
		}
	}
}

func bytesOf(ids []int32) (b []byte) {
	for _, id := range ids {
		b = append(b, byte(id))
	}
	return b
}

// numbers is a tokenizer of which token 1 and 2 together are one character.
type numbers struct{ Tokenizer }

func (numbers) Decode(ids []int32) string {
	s := ""
	for i := 0; i < len(ids); i++ {
		switch {
		case ids[i] == 1 && i+1 < len(ids) && ids[i+1] == 2:
			s += "é"
			i++
		case ids[i] == 1 || ids[i] == 2:
			s += "\uFFFD"
		case i == 0:
			s += "x" // a decoder that strips the first space
		default:
			s += " x"
		}
	}
	return s
}

func TestPieces(t *testing.T) {
	for _, x := range []struct{ ids, want string }{
		{"5", " x"},
		{"55", " x| x"},
		{"5125", " x||é| x"},
		{"5225", " x|||\uFFFD\uFFFD x"},
		{"1", "\uFFFD"}, // at the end, not whole
		{"51", " x|\uFFFD"},
		{"22222", "|||\uFFFD\uFFFD\uFFFD\uFFFD|\uFFFD"},
	} {
		p := newPieces(numbers{}, []int32{5})
		for _, id := range x.ids {
			p.add(id - '0')
		}
		p.end()
		if got := strings.Join(p.list, "|"); got != x.want {
			t.Errorf("%s: %q, want %q", x.ids, got, x.want)
		}
	}
	p := newPieces(nil, []int32{5, 7})
	if p.add(12); p.list[0] != " 12" {
		t.Errorf("%q", p.list)
	}
}

// What makes texts worth less is told before they are there.
func TestGenerationAlerts(t *testing.T) {
	p := lightDemo(t, "base-nf4")
	r := generationOf(t, p, GenerateOptions{Prompt: "a\x00b", Tokens: 1})
	if len(r.Alerts) != 1 || r.Alerts[0].Code != CodeUnknownTokens || !strings.Contains(r.Alerts[0].Message, "1 token") {
		t.Errorf("%+v", r.Alerts)
	}
	g, err := NewGeneration(p, p.NewPlan(), GenerateOptions{Prompt: "x", Tokens: 511})
	if err != nil {
		t.Fatal(err)
	}
	if list := g.eval.log.All(); len(list) != 1 || list[0].Code != CodeLongWindow || !strings.Contains(list[0].Message, "513 tokens, prompt included, are longer than the 512 positions") {
		t.Errorf("%+v", list)
	}
}

func TestGenerationEnds(t *testing.T) {
	noLeaks(t)
	p := lightDemo(t, "base-nf4")
	for _, x := range []struct {
		opt  GenerateOptions
		want string
	}{
		{GenerateOptions{IDs: []int32{0, 256}}, "token 256 at position 1 is outside the vocabulary of 256"},
		{GenerateOptions{Prompt: "x", Tokens: -1}, "-1 tokens are nothing to generate"},
		{GenerateOptions{Prompt: "x", Sampling: model.Sampling{TopP: 3}}, "top-p 3"},
	} {
		g, err := NewGeneration(p, NewPlan("demo"), x.opt)
		if err == nil {
			_, err = g.Run(context.Background())
		}
		if err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%v, want %q", err, x.want)
		}
	}
	g, err := NewGeneration(p, NewPlan("demo"), GenerateOptions{Prompt: "x"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := g.Run(ctx); !errors.Is(err, context.Canceled) || g.Snapshot().State != Cancelled {
		t.Errorf("%v, %v", err, g.Snapshot().State)
	}
	if _, err := g.Run(context.Background()); err == nil {
		t.Error("it runs twice")
	}
	if list, err := stopTokens(p.Model); err != nil || !slices.Equal(list, []int32{0}) {
		t.Errorf("%v, %v", list, err)
	}
}

// Merged weights are kept as far as there is room, and texts and figures are those
// of weights merged anew for every token.
func TestGenerationKeepsWeights(t *testing.T) {
	p := lightDemo(t, "base-nf4")
	plan := p.NewPlan().SetOutput(AsBF16, "model.layers.1.mlp.up_proj")
	run := func(room int64) (text string, left int64, kept int) {
		g, err := NewGeneration(p, plan, GenerateOptions{Prompt: "func main", Tokens: 12, Variants: EvalOptions{Plans: []NamedPlan{{VariantPlan, plan}}}})
		if err != nil {
			t.Fatal(err)
		}
		g.eval.room.Store(room)
		r, err := g.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range g.eval.variants {
			if w, ok := v.Weights.(*planWeights); ok {
				kept = max(kept, len(w.ready))
			}
		}
		b, err := json.Marshal(r.Variants)
		if err != nil {
			t.Fatal(err)
		}
		return string(b), g.eval.room.Load(), kept
	}
	all, left, n := run(1 << 30)
	if n != 28 || left <= 1<<29 || left >= 1<<30 {
		t.Errorf("%d weights kept, %d bytes left", n, left)
	}
	some, left, n := run(200_000)
	if n == 0 || n >= 28 || left < 0 {
		t.Errorf("with little room %d weights kept, %d bytes left", n, left)
	}
	none, _, n := run(0)
	if n != 0 {
		t.Errorf("without room %d weights kept", n)
	}
	if some != all || none != all {
		t.Errorf("with room\n%s\nwith little\n%s\nwithout\n%s", all, some, none)
	}
}
