package tokenizer

import (
	"encoding/json"
	"strings"
	"unicode"
	"unicode/utf8"
)

// splitter cuts a piece into words, and may rewrite it. Empty parts are dropped
// by its caller.
type splitter func(p piece) ([]piece, error)

func (t *Tokenizer) parsePreTokenizer(text, normalizers json.RawMessage) error {
	return eachComponent(text, "pretokenizers", 0, func(kind string, text json.RawMessage) error {
		s, err := newSplitter(kind, text, keepsStart(normalizers))
		t.split = append(t.split, s)
		return err
	})
}

// keepsStart reports whether what begins a text still does after the
// normalizers: some drop characters, some put others before them.
func keepsStart(text json.RawMessage) bool {
	keeps := true
	err := eachComponent(text, "normalizers", 0, func(kind string, _ json.RawMessage) error {
		keeps = keeps && strings.HasPrefix(kind, "NF")
		return nil
	})
	return err == nil && keeps
}

func newSplitter(kind string, text json.RawMessage, keepsStart bool) (splitter, error) {
	switch kind {
	case "ByteLevel":
		var raw rawByteLevel
		if err := strict(text, &raw); err != nil {
			return nil, err
		}
		return raw.splitter()
	case "Metaspace":
		m, err := parseMetaspace(text)
		if err == nil && m.scheme == "first" && !keepsStart {
			return nil, unsupported("prepend_scheme \"first\" behind normalizers that move the start")
		}
		return m.split, err
	case "Split":
		return newSplit(text)
	case "Digits":
		var raw struct {
			Type       string `json:"type"`
			Individual bool   `json:"individual_digits"`
		}
		b := contiguous
		err := strict(text, &raw)
		if raw.Individual {
			b = isolated
		}
		return b.by(runes(unicode.IsNumber)), err
	case "Punctuation":
		raw := struct {
			Type     string   `json:"type"`
			Behavior behavior `json:"behavior"`
		}{Behavior: isolated}
		if err := strict(text, &raw); err != nil {
			return nil, err
		}
		return raw.Behavior.by(runes(punctuation)), raw.Behavior.check()
	case "WhitespaceSplit":
		return removed.by(runes(unicode.IsSpace)), nil
	}
	return nil, unsupported("type %q", kind)
}

// rawByteLevel is ByteLevel as pre-tokenizer, post-processor and decoder; each
// reads some of the fields.
type rawByteLevel struct {
	Type        string `json:"type"`
	PrefixSpace *bool  `json:"add_prefix_space"`
	TrimOffsets *bool  `json:"trim_offsets"`
	Regex       *bool  `json:"use_regex"` // true if absent
}

// gpt2 is the pattern of encoder.py.
const gpt2 = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`

func (raw rawByteLevel) splitter() (splitter, error) {
	find := func(s string) ([]span, error) { return []span{{0, len(s), false}}, nil }
	if raw.Regex == nil || *raw.Regex {
		var err error
		if find, err = compile(gpt2); err != nil {
			return nil, err
		}
	}
	prefix := raw.PrefixSpace != nil && *raw.PrefixSpace
	cut := isolated.by(find)
	return func(p piece) ([]piece, error) {
		if prefix && !strings.HasPrefix(p.text, " ") {
			p.text = " " + p.text
		}
		words, err := cut(p)
		for i := range words {
			words[i].text = toRunes(words[i].text)
		}
		return words, err
	}, nil
}

// metaspace is Metaspace as pre-tokenizer and decoder.
type metaspace struct {
	replacement string
	scheme      string // always, first or never
	cut         bool
}

func parseMetaspace(text json.RawMessage) (*metaspace, error) {
	var raw struct {
		Type        string `json:"type"`
		Replacement string `json:"replacement"`
		StrRep      string `json:"str_rep"`
		PrefixSpace *bool  `json:"add_prefix_space"`
		Scheme      string `json:"prepend_scheme"`
		Split       *bool  `json:"split"`
	}
	if err := strict(text, &raw); err != nil {
		return nil, err
	}
	if raw.PrefixSpace != nil && !*raw.PrefixSpace && raw.Scheme != "never" {
		return nil, unsupported("add_prefix_space false with prepend_scheme %q", raw.Scheme)
	}
	if raw.Scheme == "" {
		raw.Scheme = "always"
	}
	if raw.Scheme != "always" && raw.Scheme != "first" && raw.Scheme != "never" {
		return nil, unsupported("prepend_scheme %q", raw.Scheme)
	}
	if utf8.RuneCountInString(raw.Replacement) != 1 {
		return nil, unsupported("replacement %q, which is not one character", raw.Replacement)
	}
	return &metaspace{raw.Replacement, raw.Scheme, raw.Split == nil || *raw.Split}, nil
}

func (m *metaspace) split(p piece) ([]piece, error) {
	p.text = strings.ReplaceAll(p.text, " ", m.replacement)
	if (m.scheme == "always" || m.scheme == "first" && p.first) && !strings.HasPrefix(p.text, m.replacement) {
		p.text = m.replacement + p.text
	}
	if !m.cut {
		return []piece{p}, nil
	}
	return mergedWithNext.by(literal(m.replacement))(p)
}

func newSplit(text json.RawMessage) (splitter, error) {
	var raw struct {
		Type     string     `json:"type"`
		Pattern  rawPattern `json:"pattern"`
		Behavior behavior   `json:"behavior"`
		Invert   bool       `json:"invert"`
	}
	if err := strict(text, &raw); err != nil {
		return nil, err
	}
	if err := raw.Behavior.check(); err != nil {
		return nil, err
	}
	find, err := raw.Pattern.matcher()
	if err != nil || !raw.Invert {
		return raw.Behavior.by(find), err
	}
	return raw.Behavior.by(func(s string) ([]span, error) {
		spans, err := find(s)
		for i := range spans {
			spans[i].match = !spans[i].match
		}
		return spans, err
	}), nil
}

// behavior is what becomes of the matches of a pattern (SplitDelimiterBehavior).
type behavior string

const (
	removed            behavior = "Removed"
	isolated           behavior = "Isolated"
	contiguous         behavior = "Contiguous"
	mergedWithPrevious behavior = "MergedWithPrevious"
	mergedWithNext     behavior = "MergedWithNext"
)

func (b behavior) check() error {
	switch b {
	case removed, isolated, contiguous, mergedWithPrevious, mergedWithNext:
		return nil
	}
	return unsupported("behavior %q", b)
}

// by returns the splitter for what find finds.
func (b behavior) by(find matcher) splitter {
	return func(p piece) ([]piece, error) {
		spans, err := find(p.text)
		if err != nil {
			return nil, err
		}
		var parts []piece
		for _, s := range b.join(spans) {
			if s.match && b == removed {
				continue
			}
			parts = append(parts, piece{p.text[s.start:s.end], p.first && s.start == 0})
		}
		return parts, nil
	}
}

// join merges spans (tokenizer/normalizer.rs, split).
func (b behavior) join(spans []span) []span {
	if b == removed || b == isolated {
		return spans
	}
	var list []span
	for i, s := range spans {
		with := false // the span before
		if i > 0 {
			before := spans[i-1].match
			switch b {
			case contiguous:
				with = s.match == before
			case mergedWithPrevious:
				with = s.match && !before
			case mergedWithNext:
				with = before && !s.match
			}
		}
		if with {
			list[len(list)-1].end = s.end
		} else {
			list = append(list, s)
		}
	}
	return list
}
