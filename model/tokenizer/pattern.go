package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/dlclark/regexp2"
)

// span is a part of a text, a match of a pattern or what lies between two.
type span struct {
	start, end int
	match      bool
}

// matcher cuts a text into spans that cover it.
type matcher func(text string) ([]span, error)

// rawPattern is {"String": "..."} or {"Regex": "..."}.
type rawPattern struct{ String, Regex *string }

func (p rawPattern) matcher() (matcher, error) {
	switch {
	case p.String != nil && p.Regex == nil && *p.String != "":
		return literal(*p.String), nil
	case p.Regex != nil && p.String == nil:
		return compile(*p.Regex)
	}
	return nil, unsupported("a pattern that is neither a string nor a regular expression")
}

// UnmarshalJSON is strict about names.
func (p *rawPattern) UnmarshalJSON(text []byte) error {
	type plain rawPattern
	return strict(text, (*plain)(p))
}

var _ json.Unmarshaler = (*rawPattern)(nil)

// literal finds a string.
func literal(pattern string) matcher {
	return func(text string) (spans []span, _ error) {
		for at := 0; at < len(text); {
			n := strings.Index(text[at:], pattern)
			if n < 0 {
				return append(spans, span{at, len(text), false}), nil
			}
			if n > 0 {
				spans = append(spans, span{at, at + n, false})
			}
			at += n + len(pattern)
			spans = append(spans, span{at - len(pattern), at, true})
		}
		return spans, nil
	}
}

// runes finds characters, each a match of its own.
func runes(is func(rune) bool) matcher {
	return func(text string) (spans []span, _ error) {
		done := 0
		for at, r := range text {
			if !is(r) {
				continue
			}
			if done < at {
				spans = append(spans, span{done, at, false})
			}
			done = at + utf8.RuneLen(r)
			spans = append(spans, span{at, done, true})
		}
		if done < len(text) {
			spans = append(spans, span{done, len(text), false})
		}
		return spans, nil
	}
}

// matchTime bounds one search, which a hostile pattern could draw out.
const matchTime = 10 * time.Second

// compile translates a regular expression of Oniguruma.
func compile(pattern string) (matcher, error) {
	var res [2]*regexp2.Regexp // the second one for texts with newer characters
	for i := range res {
		translated, err := translate(pattern, i == 1)
		if err != nil {
			return nil, fmt.Errorf("regular expression %q: %w", pattern, err)
		}
		re, err := regexp2.Compile(translated, regexp2.Multiline) // as ^ and $ always are in Ruby's syntax
		if err != nil {
			return nil, fmt.Errorf("%w: regular expression %q: %w", ErrUnsupported, pattern, err)
		}
		re.MatchTimeout = matchTime
		res[i] = re
	}
	return func(text string) ([]span, error) {
		re, runes := res[0], make([]rune, 0, len(text))
		for _, r := range text {
			if runes = append(runes, r); in(newer, r) {
				re = res[1]
			}
		}
		return search(re, text, runes)
	}, nil
}

// search finds all matches in a text, whose characters are runes.
func search(re *regexp2.Regexp, text string, runes []rune) (spans []span, err error) {
	at, seen := 0, 0 // bytes, and characters before them: regexp2 counts characters
	forward := func(index int) int {
		for ; seen < index; seen++ {
			at += utf8.RuneLen(runes[seen])
		}
		return at
	}
	done := 0
	m, err := re.FindRunesMatch(runes)
	for ; err == nil && m != nil; m, err = re.FindNextMatch(m) {
		start := forward(m.Index)
		end := forward(m.Index + m.Length)
		if done < start {
			spans = append(spans, span{done, start, false})
		}
		spans = append(spans, span{start, end, true})
		done = end
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrText, err)
	}
	if done < len(text) {
		spans = append(spans, span{done, len(text), false})
	}
	return spans, nil
}

var errConstruct = errors.New("it may mean something else here")

// translate checks that a pattern has only constructs that mean the same to
// Oniguruma and to regexp2, and writes out the groups that ignore case. With
// newer, properties are those of Unicode 16.
func translate(pattern string, newer bool) (string, error) {
	p := &translator{rest: pattern, newer: newer}
	for p.rest != "" {
		if err := p.next(); err != nil {
			return "", fmt.Errorf("%w: %q: %w", ErrUnsupported, pattern[len(pattern)-len(p.rest):], err)
		}
	}
	return p.out.String(), nil
}

type translator struct {
	rest    string
	newer   bool
	out     strings.Builder
	atom    bool // what came last can be repeated
	counted bool // it is a count: a + behind it would be possessive or a second one
}

func (p *translator) take(n int) {
	p.out.WriteString(p.rest[:n])
	p.rest = p.rest[n:]
}

func (p *translator) next() error {
	atom, counted := p.atom, p.counted
	p.atom, p.counted = true, false
	switch c := p.rest[0]; c {
	case '\\':
		return p.escape(false)
	case '[':
		return p.class()
	case '(':
		p.atom = false
		return p.group()
	case '*', '+', '?':
		if counted && c == '?' {
			p.atom = false // lazy
		} else if !atom || counted {
			return errConstruct
		}
		p.counted = !counted
		p.take(1)
	case '{':
		n := strings.IndexByte(p.rest, '}')
		if n < 2 || !atom || counted || strings.Trim(p.rest[1:n], "0123456789,") != "" || p.rest[1] == ',' ||
			strings.Count(p.rest[:n], ",") > 1 || n > 10 || strings.HasPrefix(p.rest[n+1:], "?") {
			return errConstruct
		}
		p.counted = true
		p.take(n + 1)
	case '|', '^', '$':
		p.atom = false
		p.take(1)
	case '}', ']':
		return errConstruct
	default:
		_, n := utf8.DecodeRuneInString(p.rest)
		p.take(n)
	}
	return nil
}

// group opens a group. Those that ignore case are written out.
func (p *translator) group() error {
	for _, open := range []string{"(?:", "(?=", "(?!", "(?<=", "(?<!", "(?>"} {
		if strings.HasPrefix(p.rest, open) {
			p.take(len(open))
			return nil
		}
	}
	if strings.HasPrefix(p.rest, "(?i:") {
		return p.anyCase()
	}
	if strings.HasPrefix(p.rest, "(?") || strings.HasPrefix(p.rest, "(*") {
		return errConstruct
	}
	p.take(1)
	return nil
}

// anyCase writes (?i:'s|'ll) as (?:'[sSſ]|'[lL][lL]). Other than plain letters
// have foldings of several characters.
func (p *translator) anyCase() error {
	end := strings.IndexByte(p.rest, ')')
	if end < 0 {
		return errConstruct
	}
	p.out.WriteString("(?:")
	for _, c := range p.rest[len("(?i:"):end] {
		switch {
		case c == 's':
			p.out.WriteString("[sS\u017f]")
		case c == 'k':
			p.out.WriteString("[kK\u212a]")
		case c >= 'a' && c <= 'z':
			fmt.Fprintf(&p.out, "[%c%c]", c, c-'a'+'A')
		case c == '\'' || c == '|' || c == '\u2019':
			p.out.WriteRune(c)
		default:
			return errConstruct
		}
	}
	p.out.WriteByte(')')
	p.rest = p.rest[end+1:]
	p.atom = true
	return nil
}

// properties are those that extra makes equal. Of Mn and Mc it does not: a
// character went from one to the other.
var properties = []string{
	"L", "Lu", "Ll", "Lt", "Lm", "Lo", "M", "N", "Nd", "Nl", "No", "P", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po",
	"S", "Sm", "Sc", "Sk", "So", "Z", "Zs", "Cc", "Han", "Hiragana", "Katakana", "Hangul",
}

// property takes \p{L}, or outside of classes \P{L}.
func (p *translator) property(class bool) error {
	n := strings.IndexByte(p.rest, '}')
	if n < 4 || p.rest[2] != '{' || !slices.Contains(properties, p.rest[3:n]) {
		return errConstruct
	}
	name, not := p.rest[3:n], ""
	if p.rest[1] == 'P' {
		not = "^"
	}
	p.rest = p.rest[n+1:]
	text := "\\p{" + name + "}"
	if p.newer {
		text += extra(name)
	}
	if !class {
		text = "[" + not + text + "]"
	}
	p.out.WriteString(text)
	return nil
}

// escape takes an escape, within a class or outside.
func (p *translator) escape(class bool) error {
	if len(p.rest) < 2 {
		return errConstruct
	}
	switch c := p.rest[1]; {
	case strings.IndexByte("sSdDrntfv", c) >= 0:
		p.take(2)
	case c == 'p' || c == 'P' && !class:
		return p.property(class)
	case c == 'x' && len(p.rest) >= 4 && isHex(p.rest[2:4]):
		if v := p.rest[2]; v > '7' {
			return errConstruct // a byte, not a character
		}
		p.take(4)
	case c == 'u' && len(p.rest) >= 6 && isHex(p.rest[2:6]):
		p.take(6)
	case c == 'z' && !class:
		p.take(2)
	case c < utf8.RuneSelf && !unicode.IsLetter(rune(c)) && !unicode.IsDigit(rune(c)):
		p.take(2)
	default:
		return errConstruct
	}
	return nil
}

func isHex(s string) bool { return strings.Trim(s, "0123456789abcdefABCDEF") == "" }

// class takes a class without classes in it.
func (p *translator) class() error {
	p.take(1)
	if strings.HasPrefix(p.rest, "^") {
		p.take(1)
	}
	for first := true; p.rest != ""; first = false {
		switch c := p.rest[0]; {
		case c == ']' && !first:
			p.take(1)
			return nil
		case c == '[' || c == ']' || strings.HasPrefix(p.rest, "&&"):
			return errConstruct
		case c == '\\':
			if err := p.escape(true); err != nil {
				return err
			}
		default:
			_, n := utf8.DecodeRuneInString(p.rest)
			p.take(n)
		}
	}
	return errConstruct
}
