package loader

import (
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// text reads a string.
func (s *scanner) text() (string, error) {
	if s.peek() != '"' {
		return "", s.want("a string")
	}
	start := s.pos + 1
	for i := start; i < len(s.s); i++ {
		switch c := s.s[i]; {
		case c == '"':
			s.pos = i + 1
			if t := s.s[start:i]; utf8.ValidString(t) {
				return t, nil
			}
			return "", s.failAt(start, "string is not valid UTF-8")
		case c == '\\':
			return s.escaped(start, i)
		case c < ' ':
			return "", s.failAt(i, "control character %#02x in a string", c)
		}
	}
	return "", s.failAt(start-1, "string does not end")
}

// escaped reads the rest of a string whose first backslash is at i.
func (s *scanner) escaped(start, i int) (string, error) {
	b := []byte(s.s[start:i])
	for i < len(s.s) {
		c := s.s[i]
		switch {
		case c == '"':
			s.pos = i + 1
			if !utf8.Valid(b) {
				return "", s.failAt(start, "string is not valid UTF-8")
			}
			return string(b), nil
		case c < ' ':
			return "", s.failAt(i, "control character %#02x in a string", c)
		case c != '\\':
			b = append(b, c)
			i++
		default:
			r, n := unescape(s.s[i:])
			if n == 0 {
				return "", s.failAt(i, "invalid escape in a string")
			}
			b = utf8.AppendRune(b, r)
			i += n
		}
	}
	return "", s.failAt(start-1, "string does not end")
}

// unescape decodes the escape t begins with and returns its length, 0 if it
// is invalid or half of a surrogate pair.
func unescape(t string) (r rune, n int) {
	if len(t) < 2 {
		return 0, 0
	}
	switch t[1] {
	case '"', '\\', '/':
		return rune(t[1]), 2
	case 'b':
		return '\b', 2
	case 'f':
		return '\f', 2
	case 'n':
		return '\n', 2
	case 'r':
		return '\r', 2
	case 't':
		return '\t', 2
	}
	r, ok := hex4(t)
	if !ok {
		return 0, 0
	}
	if !utf16.IsSurrogate(r) {
		return r, 6
	}
	low, ok := hex4(t[6:])
	if r = utf16.DecodeRune(r, low); !ok || r == utf8.RuneError {
		return 0, 0
	}
	return r, 12
}

// hex4 decodes a leading \uXXXX.
func hex4(t string) (rune, bool) {
	if len(t) < 6 || t[:2] != `\u` || strings.ContainsAny(t[2:6], "+-_") {
		return 0, false
	}
	v, err := strconv.ParseUint(t[2:6], 16, 32)
	return rune(v), err == nil
}
