package tokenizer

import (
	"fmt"
	"strings"
	"time"
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
