package loader

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// maxDepth is how deep JSON may nest. Configurations of real models stay
// below ten.
const maxDepth = 64

// scanner reads a JSON text front to back. Unlike encoding/json it refuses
// duplicate keys and invalid UTF-8, limits the depth, keeps the order of keys
// and knows the byte offset of everything. Strings without escapes share the
// memory of the text.
type scanner struct {
	s     string
	pos   int
	depth int
	words bool // accept NaN, Infinity and -Infinity, as Python's json does
}

// syntaxError is a fault at a byte of a scanner's text.
type syntaxError struct {
	at  int
	msg string
}

func (e *syntaxError) Error() string { return e.msg }

func (s *scanner) failAt(at int, format string, args ...any) error {
	return &syntaxError{at, fmt.Sprintf(format, args...)}
}

func (s *scanner) fail(format string, args ...any) error {
	return s.failAt(s.pos, format, args...)
}

// peek skips white space and returns the next byte, 0 at the end.
func (s *scanner) peek() byte {
	for s.pos < len(s.s) {
		switch c := s.s[s.pos]; c {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return c
		}
	}
	return 0
}

// kind names the JSON type of the next value for messages.
func (s *scanner) kind() string {
	switch c := s.peek(); c {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		return "a string"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	case 0:
		if s.pos >= len(s.s) {
			return "the end of the text"
		}
		return `'\x00'`
	default:
		if c == '-' || '0' <= c && c <= '9' || c == 'N' || c == 'I' {
			return "a number"
		}
		return strconv.QuoteRune(rune(c))
	}
}

func (s *scanner) want(what string) error { return s.fail("want %s, got %s", what, s.kind()) }

// end checks that nothing but white space follows.
func (s *scanner) end() error {
	if s.peek(); s.pos < len(s.s) {
		return s.fail("text goes on after the value with %s", s.kind())
	}
	return nil
}

func (s *scanner) enter() error {
	if s.depth++; s.depth > maxDepth {
		return s.fail("nested more than %d deep", maxDepth)
	}
	s.pos++
	return nil
}

// object reads an object and calls member after each key; member must read
// the value. at is the offset of the key.
func (s *scanner) object(member func(key string, at int) error) error {
	if s.peek() != '{' {
		return s.want("an object")
	}
	if err := s.enter(); err != nil {
		return err
	}
	var keys keySet
	for first := true; ; first = false {
		done, err := s.next('}', first)
		if err != nil {
			return err
		}
		if done {
			return nil
		}
		s.peek()
		at := s.pos
		key, err := s.text()
		if err != nil {
			return err
		}
		if !keys.add(key) {
			return s.failAt(at, "duplicate key %q", key)
		}
		if s.peek() != ':' {
			return s.want("':'")
		}
		s.pos++
		if err := member(key, at); err != nil {
			return err
		}
	}
}

// array reads an array and calls elem at each element; elem must read it.
func (s *scanner) array(elem func() error) error {
	if s.peek() != '[' {
		return s.want("an array")
	}
	if err := s.enter(); err != nil {
		return err
	}
	for first := true; ; first = false {
		done, err := s.next(']', first)
		if err != nil {
			return err
		}
		if done {
			return nil
		}
		if err := elem(); err != nil {
			return err
		}
	}
}

// next steps over the comma before an element or the closing bracket.
func (s *scanner) next(closing byte, first bool) (done bool, err error) {
	switch c := s.peek(); {
	case c == closing:
		s.pos++
		s.depth--
		return true, nil
	case first:
		return false, nil
	case c != ',':
		return false, s.want(fmt.Sprintf("',' or '%c'", closing))
	}
	s.pos++
	return false, nil
}

// boolean reads true or false.
func (s *scanner) boolean() (bool, error) {
	s.peek()
	switch {
	case s.word("true"):
		return true, nil
	case s.word("false"):
		return false, nil
	}
	return false, s.want("true or false")
}

// null steps over null if it is next.
func (s *scanner) null() bool {
	s.peek()
	return s.word("null")
}

func (s *scanner) word(w string) bool {
	if strings.HasPrefix(s.s[s.pos:], w) {
		s.pos += len(w)
		return true
	}
	return false
}

// value reads any value: map[string]any, []any, string, float64, bool or nil.
func (s *scanner) value() (any, error) {
	switch s.peek() {
	case '{':
		m := map[string]any{}
		err := s.object(func(key string, _ int) (err error) {
			m[key], err = s.value()
			return err
		})
		return m, err
	case '[':
		a := []any{}
		err := s.array(func() error {
			v, err := s.value()
			a = append(a, v)
			return err
		})
		return a, err
	case '"':
		return s.text()
	case 't', 'f':
		return s.boolean()
	case 'n':
		if s.null() {
			return nil, nil
		}
		return nil, s.fail("invalid word")
	}
	return s.float()
}

// keySet notices repeated keys. Most objects are small, so it begins as a
// list.
type keySet struct {
	few  []string
	many map[string]struct{}
}

func (k *keySet) add(key string) bool {
	if k.many == nil {
		if slices.Contains(k.few, key) {
			return false
		}
		if len(k.few) < 16 {
			k.few = append(k.few, key)
			return true
		}
		k.many = make(map[string]struct{}, 64)
		for _, f := range k.few {
			k.many[f] = struct{}{}
		}
	}
	if _, ok := k.many[key]; ok {
		return false
	}
	k.many[key] = struct{}{}
	return true
}
