package merge

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"mergescope/model"
)

// GenerationReport holds the texts that variants of a model make of a prompt, in
// the shape of `generate --json`. It does not change once returned.
type GenerationReport struct {
	Version   int            `json:"version"`
	Model     ModelInfo      `json:"model"`
	Adapters  []AdapterInfo  `json:"adapters"`
	Plan      string         `json:"plan_digest"`
	Prompt    string         `json:"prompt"`
	IDs       []int32        `json:"prompt_ids"`
	Sampling  SamplingInfo   `json:"sampling"`
	Reference string         `json:"reference"` // name of the variant that the others are held against
	Variants  []*VariantText `json:"variants"`
	Alerts    []Alert        `json:"alerts"`
	Seconds   float64        `json:"seconds"`
}

// SamplingInfo is model.Sampling in a report.
type SamplingInfo struct {
	Temperature float64 `json:"temperature"` // 0: the likeliest token
	TopK        int     `json:"top_k"`
	TopP        float64 `json:"top_p"`
	Seed        uint64  `json:"seed"`
}

// VariantText is the text of one variant.
type VariantText struct {
	Name   string      `json:"name"`
	What   string      `json:"what"` // in words
	Text   string      `json:"text"`
	End    string      `json:"end"` // "length", "stop", "not finite", "" if it was broken off
	Tokens []TextToken `json:"tokens"`

	// KL of the reference from it before each token, nats, as long as both had the
	// same text.
	KL         []Figure        `json:"kl"`
	Divergence *DivergenceInfo `json:"divergence"` // null: it has the reference's text
}

// TextToken is a token and what it adds to the text: nothing if its bytes are a
// character with those of the next one.
type TextToken struct {
	ID      int32  `json:"id"`
	Text    string `json:"text"`
	LogProb Figure `json:"logprob"` // nats, before sampling cut or heated anything
}

// DivergenceInfo is the first token that is not the reference's.
type DivergenceInfo struct {
	At        int        `json:"at"`     // index of the token
	Before    string     `json:"before"` // what both have said until then
	Reference *ForkToken `json:"reference"`
	Variant   *ForkToken `json:"variant"` // null where a text has ended
}

// ForkToken is a token where two texts part, and how likely both found it.
type ForkToken struct {
	ID          int32  `json:"id"`
	Text        string `json:"text"`
	ByReference Figure `json:"p_reference"`
	ByVariant   Figure `json:"p_variant"`
}

// publish makes the report of the tokens so far.
func (g *Generation) publish(now *model.Generation) {
	e := g.eval
	s := g.opt.Sampling
	r := &GenerationReport{
		Version: 1, Model: NewModelInfo(e.p.Model), Adapters: []AdapterInfo{}, Plan: e.plan.Digest(),
		Prompt: g.opt.Prompt, IDs: g.prompt, Sampling: SamplingInfo{s.Temperature, s.TopK, s.TopP, s.Seed},
		Reference: e.names[reference].name,
	}
	for _, ref := range e.plan.Adapters {
		r.Adapters = append(r.Adapters, NewAdapterInfo(e.p.Adapter(ref.Name)))
	}
	done := 0
	for v := range now.Variants {
		r.Variants = append(r.Variants, g.variant(v, &now.Variants[v]))
		done = max(done, len(now.Variants[v].Tokens))
	}
	for v := range now.Variants {
		if d := now.Variants[v].Divergence; d != nil {
			r.Variants[v].Divergence = g.divergence(r, v, d)
		}
		if now.Variants[v].End == model.EndNonFinite && !g.broken[v] {
			name := e.names[v].name
			g.broken[v] = true
			e.log.Add(newAlert(Error, CodeNonFinite, name, fmt.Sprintf("%s: logits are NaN or infinite behind %s: there is no next one", name, count(len(now.Variants[v].Tokens), "token"))))
		}
	}
	r.Alerts = e.log.All()
	SortAlerts(r.Alerts)
	g.mu.Lock()
	defer g.mu.Unlock()
	r.Seconds = g.clock.elapsed(time.Now()).Seconds()
	g.done, g.report = done, r
}

func (g *Generation) variant(v int, x *model.Generated) *VariantText {
	p := g.texts[v]
	for _, id := range x.Tokens[len(p.list):] {
		p.add(id)
	}
	if x.End != "" {
		p.end()
	}
	t := &VariantText{Name: g.eval.names[v].name, What: g.eval.names[v].what, Text: strings.Join(p.list, ""), End: string(x.End), Tokens: []TextToken{}, KL: []Figure{}}
	for i, id := range x.Tokens {
		t.Tokens = append(t.Tokens, TextToken{id, p.list[i], Figure(x.LogProbs[i])})
	}
	for _, kl := range x.KL {
		t.KL = append(t.KL, Figure(kl))
	}
	return t
}

func (g *Generation) divergence(r *GenerationReport, v int, d *model.Divergence) *DivergenceInfo {
	info := &DivergenceInfo{At: d.At, Before: strings.Join(g.texts[v].list[:d.At], "")}
	fork := func(t *VariantText, i int) *ForkToken {
		if d.At >= len(t.Tokens) {
			return nil
		}
		x := t.Tokens[d.At]
		if x.Text == "" {
			x.Text = g.texts[v].all([]int32{x.ID}) // part of a character
		}
		return &ForkToken{x.ID, x.Text, Figure(d.ByReference[i]), Figure(d.ByVariant[i])}
	}
	info.Reference, info.Variant = fork(r.Variants[reference], 0), fork(r.Variants[v], 1)
	return info
}

// pieces is what each token adds to a text. Decoders treat the first token in
// their own way, so a token is decoded behind those of the piece before; and
// characters may have several tokens, so some pieces are empty.
type pieces struct {
	tok  Tokenizer // nil: tokens stay numbers
	ids  []int32   // of the piece before and of the one at hand
	from int       // where the one at hand begins
	list []string
}

func newPieces(tok Tokenizer, prompt []int32) *pieces {
	return &pieces{tok: tok, ids: slices.Clone(prompt), from: len(prompt)}
}

// all is the text of tokens.
func (p *pieces) all(ids []int32) string {
	if p.tok != nil {
		return p.tok.Decode(ids)
	}
	var list []string
	for _, id := range ids {
		list = append(list, strconv.Itoa(int(id)))
	}
	return strings.Join(list, " ")
}

// charTokens is how many tokens a character has at most: its bytes.
const charTokens = utf8.UTFMax

func (p *pieces) add(id int32) {
	p.ids = append(p.ids, id)
	text := p.text()
	if strings.HasSuffix(text, "\uFFFD") && len(p.ids)-p.from < charTokens {
		p.list = append(p.list, "") // until the character is whole
		return
	}
	p.list = append(p.list, text)
	p.ids = p.ids[p.from:]
	p.from = len(p.ids)
}

// text is that of the piece at hand.
func (p *pieces) text() string {
	text, ok := strings.CutPrefix(p.all(p.ids), p.all(p.ids[:p.from]))
	if !ok { // bytes before it became another character with it
		text = p.all(p.ids[p.from:])
	}
	return text
}

// end makes a piece of what has not become a character.
func (p *pieces) end() {
	if p.from < len(p.ids) {
		p.list[len(p.list)-1] = p.text()
		p.from = len(p.ids)
	}
}
