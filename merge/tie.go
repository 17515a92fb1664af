package merge

import (
	"slices"
	"strings"
)

// outputEmbedding is the output embedding's weight in the models that tie it to
// the input embedding.
const outputEmbedding = "lm_head.weight"

// inputEmbedding names the weight of the input embedding, "" if it is not known.
func (p *Project) inputEmbedding() string {
	for _, w := range p.Model.Weights {
		switch w.Name[strings.LastIndexByte(w.Name, '.')+1:] {
		case "embed_tokens", "wte", "word_embeddings", "embed_in", "tok_embeddings", "shared":
			return w.Param
		}
	}
	return ""
}

// tied reports whether the output embedding is the input embedding.
func (p *Project) tied() bool { return p.Model.Config.TieEmbeddings && p.inputEmbedding() != "" }

// unties reports whether a replacement parts tied embeddings: modules_to_save
// makes a module of its own of one, unless ensure_weight_tying makes the other
// follow.
func (p *Project) unties(list []replacement) bool {
	if !p.tied() {
		return false
	}
	in := p.inputEmbedding()
	return slices.ContainsFunc(list, func(r replacement) bool { return r.parts(in) })
}

func (r *replacement) parts(input string) bool {
	return r.saved != nil && (r.name == outputEmbedding || r.name == input && !r.saved.Config.WeightTying)
}

// untie adds the output embedding where modules_to_save replaces the input
// embedding alone: the output keeps what both were, as in PEFT.
func (c *replacing) untie() {
	if !c.p.tied() {
		return
	}
	in := c.p.inputEmbedding()
	for _, name := range [...]string{in, outputEmbedding} {
		r := c.byName[name]
		if r == nil || !r.parts(in) || c.refused[name] {
			continue
		}
		if c.p.Model.Tensor(outputEmbedding) == nil {
			c.of(outputEmbedding, c.p.Model.Tensor(in))
		}
		msg := r.saved.Name + ": modules_to_save replaces one of two tied embeddings, so the model is written with both. PEFT: " +
			"\"Input and output embeddings are no longer tied after merging. Setting `tie_word_embeddings=False` in the model config.\""
		c.alerts = append(c.alerts, newAlert(Warning, CodeTied, "", msg).at(tensorPlace(r.whole)))
		return
	}
}

// setUntied writes into config.json that the embeddings are not tied.
func setUntied(raw []byte) ([]byte, error) {
	const key = "tie_word_embeddings"
	doc := jsonText(raw)
	if _, ok, err := doc.find(key); err != nil || ok {
		if err != nil {
			return nil, err
		}
		return doc.set([]byte("false"), key)
	}
	if _, ok, err := doc.find("text_config", key); err != nil || ok {
		if err != nil {
			return nil, err
		}
		return doc.set([]byte("false"), "text_config", key)
	}
	return doc.set([]byte("false"), key)
}
