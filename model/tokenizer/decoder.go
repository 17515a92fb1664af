package tokenizer

import (
	"encoding/json"
	"strings"
	"unicode/utf8"
)

// decoder turns tokens into parts of the text.
type decoder func(tokens []string) []string

func (t *Tokenizer) parseDecoder(text json.RawMessage) error {
	if !absent(text) {
		t.decoders = []decoder{} // none within a Sequence is not the same as no decoder
	}
	return eachComponent(text, "decoders", 0, func(kind string, text json.RawMessage) error {
		d, err := newDecoder(kind, text)
		t.decoders = append(t.decoders, d)
		return err
	})
}

func newDecoder(kind string, text json.RawMessage) (decoder, error) {
	switch kind {
	case "ByteLevel":
		return decodeBytes, nil
	case "ByteFallback":
		return decodeFallback, nil
	case "Fuse":
		return func(tokens []string) []string { return []string{strings.Join(tokens, "")} }, nil
	case "Metaspace":
		m, err := parseMetaspace(text)
		return m.decode, err
	case "Replace":
		replace, err := newReplace(text)
		return func(tokens []string) []string {
			for i, s := range tokens {
				if r, err := replace(s); err == nil {
					tokens[i] = r
				}
			}
			return tokens
		}, err
	case "Strip":
		return newStrip(text)
	}
	return nil, unsupported("type %q", kind)
}

func decodeBytes(tokens []string) []string {
	var b strings.Builder
	for _, s := range tokens {
		b.WriteString(toBytes(s))
	}
	return []string{lossy(b.String())}
}

// lossy replaces what is not UTF-8 as Rust's from_utf8_lossy does: one U+FFFD
// for each maximal part of a character (Unicode 3.9, table 3-8).
func lossy(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		if r == utf8.RuneError && n == 1 {
			n = badLen(s)
			b.WriteRune(utf8.RuneError)
		} else {
			b.WriteString(s[:n])
		}
		s = s[n:]
	}
	return b.String()
}

// badLen returns how many bytes of s could begin a character that is not there.
func badLen(s string) int {
	for n := min(3, len(s)); n > 1; n-- {
		if !utf8.FullRuneInString(s[:n]) {
			return n
		}
	}
	return 1
}

// decodeFallback joins tokens such as <0xE2> to characters; bytes that are no
// text give one U+FFFD each.
func decodeFallback(tokens []string) []string {
	var list []string
	var run []byte
	flush := func() {
		if utf8.Valid(run) {
			if len(run) > 0 {
				list = append(list, string(run))
			}
		} else {
			for range run {
				list = append(list, "\uFFFD")
			}
		}
		run = run[:0]
	}
	for _, s := range tokens {
		if b, ok := byteNamed(s); ok {
			run = append(run, b)
			continue
		}
		flush()
		list = append(list, s)
	}
	flush()
	return list
}

// byteNamed reads <0xE2>.
func byteNamed(s string) (byte, bool) {
	if len(s) != 6 || s[:3] != "<0x" || s[5] != '>' {
		return 0, false
	}
	v := 0
	for _, c := range []byte(strings.ToUpper(s[3:5])) {
		at := strings.IndexByte("0123456789ABCDEF", c)
		if at < 0 {
			return 0, false
		}
		v = 16*v + at
	}
	return byte(v), true
}

func (m *metaspace) decode(tokens []string) []string {
	for i, s := range tokens {
		space := " "
		if i == 0 && m.scheme != "never" {
			space = ""
		}
		tokens[i] = strings.ReplaceAll(s, m.replacement, space)
	}
	return tokens
}

// newStrip reads Strip, which takes up to so many characters off each token.
func newStrip(text json.RawMessage) (decoder, error) {
	var raw struct {
		Type    string `json:"type"`
		Content string `json:"content"`
		Start   int    `json:"start"`
		Stop    int    `json:"stop"`
	}
	if err := strict(text, &raw); err != nil {
		return nil, err
	}
	if utf8.RuneCountInString(raw.Content) != 1 {
		return nil, unsupported("content %q, which is not one character", raw.Content)
	}
	return func(tokens []string) []string {
		for i, s := range tokens {
			for n := 0; n < raw.Start && strings.HasPrefix(s, raw.Content); n++ {
				s = s[len(raw.Content):]
			}
			for n := 0; n < raw.Stop && strings.HasSuffix(s, raw.Content); n++ {
				s = s[:len(s)-len(raw.Content)]
			}
			tokens[i] = s
		}
		return tokens
	}, nil
}
