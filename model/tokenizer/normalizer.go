package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// normalizer rewrites text before it is cut into words.
type normalizer func(text string) (string, error)

func (t *Tokenizer) parseNormalizer(text json.RawMessage) error {
	return eachComponent(text, "normalizers", 0, func(kind string, text json.RawMessage) error {
		n, err := newNormalizer(kind, text)
		t.normalize = append(t.normalize, n)
		return err
	})
}

func newNormalizer(kind string, text json.RawMessage) (normalizer, error) {
	switch kind {
	case "NFC":
		return form(norm.NFC), nil
	case "NFD":
		return form(norm.NFD), nil
	case "NFKC":
		return form(norm.NFKC), nil
	case "NFKD":
		return form(norm.NFKD), nil
	case "Nmt":
		return nmt, nil
	case "ByteLevel":
		return func(s string) (string, error) { return toRunes(s), nil }, nil
	case "Prepend":
		var raw struct {
			Type    string `json:"type"`
			Prepend string `json:"prepend"`
		}
		err := strict(text, &raw)
		return func(s string) (string, error) {
			if s == "" {
				return s, nil
			}
			return raw.Prepend + s, nil
		}, err
	case "Strip":
		var raw struct {
			Type  string `json:"type"`
			Left  bool   `json:"strip_left"`
			Right bool   `json:"strip_right"`
		}
		err := strict(text, &raw)
		return func(s string) (string, error) {
			if raw.Left {
				s = strings.TrimLeftFunc(s, unicode.IsSpace)
			}
			if raw.Right {
				s = strings.TrimRightFunc(s, unicode.IsSpace)
			}
			return s, nil
		}, err
	case "Replace":
		return newReplace(text)
	}
	return nil, unsupported("type %q", kind)
}

// newReplace reads the component Replace, a normalizer and a decoder.
func newReplace(text json.RawMessage) (normalizer, error) {
	var raw struct {
		Type    string     `json:"type"`
		Pattern rawPattern `json:"pattern"`
		Content string     `json:"content"`
	}
	if err := strict(text, &raw); err != nil {
		return nil, err
	}
	find, err := raw.Pattern.matcher()
	if err != nil {
		return nil, err
	}
	return func(s string) (string, error) {
		spans, err := find(s)
		if err != nil {
			return "", err
		}
		var b strings.Builder
		for _, x := range spans {
			if x.match {
				b.WriteString(raw.Content)
			} else {
				b.WriteString(s[x.start:x.end])
			}
		}
		return b.String(), nil
	}, nil
}

// errMarks tells a text that norm would change: it puts U+034F among more than
// 30 marks in a row (UAX 15, stream-safe text).
var errMarks = errors.New("more than 30 combining marks in a row")

func form(f norm.Form) normalizer {
	return func(s string) (string, error) {
		if f.IsNormalString(s) {
			return s, nil
		}
		var b strings.Builder
		done := 0
		for at, r := range s {
			if in(inert, r) {
				b.WriteString(f.String(s[done:at]))
				b.WriteRune(r)
				done = at + utf8.RuneLen(r)
			}
		}
		b.WriteString(f.String(s[done:]))
		if strings.Count(b.String(), "\u034f") != strings.Count(s, "\u034f") {
			return "", fmt.Errorf("%w: %w", ErrText, errMarks)
		}
		return b.String(), nil
	}
}

// nmt drops control characters and turns odd spaces into spaces
// (normalizers/unicode.rs).
func nmt(s string) (string, error) {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 1 && r <= 8, r == 0xB, r >= 0xE && r <= 0x1F, r == 0x7F, r == 0x8F, r == 0x9F:
			return -1
		case r == '\t', r == '\n', r == '\f', r == '\r', r == 0x1680, r >= 0x200B && r <= 0x200F,
			r == 0x2028, r == 0x2029, r == 0x2581, r == 0xFEFF, r == 0xFFFD:
			return ' '
		}
		return r
	}, s), nil
}
