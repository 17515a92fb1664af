package tokenizer

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

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
