package tokenizer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
)

// rawFile is tokenizer.json.
type rawFile struct {
	Version       string          `json:"version"`
	Truncation    json.RawMessage `json:"truncation"` // not applied
	Padding       json.RawMessage `json:"padding"`    // not applied
	Added         []addedToken    `json:"added_tokens"`
	Normalizer    json.RawMessage `json:"normalizer"`
	PreTokenizer  json.RawMessage `json:"pre_tokenizer"`
	PostProcessor json.RawMessage `json:"post_processor"`
	Decoder       json.RawMessage `json:"decoder"`
	Model         json.RawMessage `json:"model"`
}

// maxID bounds ids; no vocabulary comes near it.
const maxID = 1 << 28

func parse(text []byte) (*Tokenizer, error) {
	var raw rawFile
	if err := strict(text, &raw); err != nil {
		return nil, err
	}
	if raw.Version != "" && raw.Version != "1.0" {
		return nil, unsupported("version %q", raw.Version)
	}
	t := &Tokenizer{}
	if err := t.parseModel(raw.Model); err != nil {
		return nil, fmt.Errorf("model: %w", err)
	}
	if err := t.parseNormalizer(raw.Normalizer); err != nil {
		return nil, fmt.Errorf("normalizer: %w", err)
	}
	if err := t.parsePreTokenizer(raw.PreTokenizer, raw.Normalizer); err != nil {
		return nil, fmt.Errorf("pre_tokenizer: %w", err)
	}
	if err := t.parsePostProcessor(raw.PostProcessor); err != nil {
		return nil, fmt.Errorf("post_processor: %w", err)
	}
	if err := t.parseDecoder(raw.Decoder); err != nil {
		return nil, fmt.Errorf("decoder: %w", err)
	}
	return t, t.add(raw.Added, len(t.tokens))
}

func (t *Tokenizer) parseModel(text json.RawMessage) error {
	if absent(text) {
		return errors.New("there is none")
	}
	kind, err := typeOf(text)
	if err != nil {
		return err
	}
	switch kind {
	case "BPE":
		m, err := parseBPE(text)
		if err != nil {
			return err
		}
		t.model, t.ids, t.tokens = m, m.vocab, make(map[int]string, len(m.vocab))
		for token, id := range m.vocab {
			if id < 0 || id > maxID {
				return fmt.Errorf("token %q has id %d", token, id)
			}
			if other, taken := t.tokens[id]; taken {
				return fmt.Errorf("tokens %q and %q have one id, %d", min(token, other), max(token, other), id)
			}
			t.tokens[id] = token
		}
	case "Unigram":
		m, err := parseUnigram(text)
		if err != nil {
			return err
		}
		t.model, t.ids, t.tokens = m, m.vocab, make(map[int]string, len(m.tokens))
		for id, token := range m.tokens {
			t.tokens[id] = token
		}
	default:
		return unsupported("type %q", kind)
	}
	t.ids = maps.Clone(t.ids) // added tokens are not the model's
	return nil
}

// maxDepth bounds sequences within sequences.
const maxDepth = 8

// eachComponent calls do for a component, or for the members of a Sequence, a
// list under the name members.
func eachComponent(text json.RawMessage, members string, depth int, do func(kind string, text json.RawMessage) error) error {
	if absent(text) {
		return nil
	}
	kind, err := typeOf(text)
	if err != nil {
		return err
	}
	if kind != "Sequence" {
		if err := do(kind, text); err != nil {
			return fmt.Errorf("%s: %w", kind, err)
		}
		return nil
	}
	if depth == maxDepth {
		return unsupported("more than %d sequences within each other", maxDepth)
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(text, &fields); err != nil {
		return err
	}
	var list []json.RawMessage
	if err := json.Unmarshal(fields[members], &list); err != nil {
		return fmt.Errorf("a Sequence: %s: %w", members, err)
	}
	for _, member := range list {
		if err := eachComponent(member, members, depth+1, do); err != nil {
			return err
		}
	}
	return nil
}

func absent(text json.RawMessage) bool { return len(text) == 0 || string(text) == "null" }

func typeOf(text json.RawMessage) (string, error) {
	var tag struct {
		Type string `json:"type"`
	}
	if err := json.Unmarshal(text, &tag); err != nil {
		return "", err
	}
	if tag.Type == "" {
		return "", unsupported("a component without a type")
	}
	return tag.Type, nil
}

// strict decodes an object whose fields are all known.
func strict(text []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the object")
	}
	return nil
}

func unsupported(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrUnsupported, fmt.Sprintf(format, args...))
}
