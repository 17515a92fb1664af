package tokenizer

import (
	"encoding/json"
	"fmt"
)

// rawTemplate is TemplateProcessing; only its template for one text is used.
type rawTemplate struct {
	Type    string          `json:"type"`
	Single  []rawTemplateAt `json:"single"`
	Pair    json.RawMessage `json:"pair"`
	Special map[string]struct {
		ID     string   `json:"id"`
		IDs    []int    `json:"ids"`
		Tokens []string `json:"tokens"`
	} `json:"special_tokens"`
}

// rawTemplateAt is one place of a template: one of both.
type rawTemplateAt struct {
	Sequence *struct {
		ID     string `json:"id"`
		TypeID int    `json:"type_id"`
	}
	SpecialToken *struct {
		ID     string `json:"id"`
		TypeID int    `json:"type_id"`
	}
}

func (t *Tokenizer) parsePostProcessor(text json.RawMessage) error {
	found := false
	return eachComponent(text, "processors", 0, func(kind string, text json.RawMessage) error {
		switch kind {
		case "ByteLevel": // offsets only
			return nil
		case "TemplateProcessing":
			if found {
				return unsupported("two templates")
			}
			found = true
			return t.parseTemplate(text)
		}
		return unsupported("type %q", kind)
	})
}

func (t *Tokenizer) parseTemplate(text json.RawMessage) error {
	var raw rawTemplate
	if err := strict(text, &raw); err != nil {
		return err
	}
	to, texts := &t.prefix, 0
	for i, at := range raw.Single {
		switch {
		case at.Sequence != nil && at.SpecialToken == nil:
			if at.Sequence.ID != "A" {
				return unsupported("template for one text with %q", at.Sequence.ID)
			}
			to = &t.suffix
			texts++
		case at.SpecialToken != nil && at.Sequence == nil:
			special, ok := raw.Special[at.SpecialToken.ID]
			if !ok {
				return fmt.Errorf("special token %q has no ids", at.SpecialToken.ID)
			}
			*to = append(*to, special.IDs...)
		default:
			return unsupported("element %d of the template", i)
		}
	}
	if texts != 1 {
		return unsupported("template for one text with %d texts", texts)
	}
	return nil
}
