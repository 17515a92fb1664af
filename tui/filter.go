package tui

import (
	"fmt"
	"slices"
	"strings"

	"mergescope/merge"
)

// query is a compiled filter.
type query struct {
	text string
	pass test // nil passes every layer
	live bool // depends on figures, so it must be asked again as they come in
	hint string
}

// test reports whether a layer passes. A nil test is one that is not finished
// being typed: it takes no part in what is around it.
type test func(b *ledger, i int) bool

// facts is what a filter can ask about besides the plan and the figures.
type facts struct {
	alerts func() map[string][]merge.Alert // by layer, looked for when somebody asks
	marked map[int]bool
}

// of returns the alerts of a layer.
func (f facts) of(layer string) []merge.Alert {
	if f.alerts == nil {
		return nil
	}
	return f.alerts()[layer]
}

// parseQuery compiles the filter line:
//
//	query = both { ("or" | "|") both }
//	both  = one { ["and" | "&"] one }
//	one   = ("not" | "!") one | "(" query ")" | word
//
// A word with a known key asks for a fact ("kept<0.1", "type:q_proj,k_proj",
// "layer:10-20"), see terms; every other word is looked for in the module path,
// its letters in order but not necessarily together. Quotes take the meaning
// off a word or a space. What is not finished ("kept<", "(", "or") holds for
// every layer, so that the list stays while one types.
//
// It never fails; hint says what could not be understood, for the reader.
func parseQuery(text string, f facts) query {
	p := queryParser{words: splitQuery(text), facts: f}
	q := query{text: text, pass: p.either()}
	for len(p.words) > 0 { // a ")" too many closes nothing
		p.words = p.words[1:]
		q.pass = allOf(q.pass, p.either())
	}
	q.live, q.hint = p.live, p.hint
	return q
}

// active reports whether the filter can hide anything.
func (q query) active() bool { return q.pass != nil }

func (q query) match(b *ledger, i int) bool { return q.pass == nil || q.pass(b, i) }

// queryParser goes through the words from left to right.
type queryParser struct {
	words []queryWord
	facts facts
	live  bool
	hint  string
}

// queryWord is a word of the filter line; quoted words mean only themselves.
type queryWord struct {
	text   string
	quoted bool
}

// splitQuery cuts the line into words. Parentheses, "|", "&" and "!" before a
// word are words of their own.
func splitQuery(text string) []queryWord {
	var words []queryWord
	var word strings.Builder
	quoted := false
	flush := func() {
		if word.Len() > 0 || quoted {
			words = append(words, queryWord{word.String(), quoted})
		}
		word.Reset()
		quoted = false
	}
	inside := false
	for _, r := range text {
		switch {
		case r == '"':
			inside = !inside
			quoted = quoted || word.Len() == 0 // of key:"a b" only the value is
		case inside:
			word.WriteRune(r)
		case r == ' ' || r == '\t':
			flush()
		case strings.ContainsRune("()|&", r) || r == '!' && word.Len() == 0:
			flush()
			words = append(words, queryWord{string(r), false})
		default:
			word.WriteRune(r)
		}
	}
	flush()
	return words
}

// take removes the next word if it is one of these.
func (p *queryParser) take(words ...string) bool {
	if len(p.words) == 0 || p.words[0].quoted || !slices.Contains(words, strings.ToLower(p.words[0].text)) {
		return false
	}
	p.words = p.words[1:]
	return true
}

func (p *queryParser) either() test {
	t := p.both()
	for p.take("or", "|") {
		t = anyOf(t, p.both())
	}
	return t
}

func (p *queryParser) both() test {
	t := p.one()
	for len(p.words) > 0 && !p.ends() {
		p.take("and", "&")
		t = allOf(t, p.one())
	}
	return t
}

// ends reports whether what comes next belongs to what is around.
func (p *queryParser) ends() bool {
	w := p.words[0]
	return !w.quoted && (w.text == ")" || w.text == "|" || strings.EqualFold(w.text, "or"))
}

func (p *queryParser) one() test {
	switch {
	case len(p.words) == 0 || p.ends():
		return nil
	case p.take("not", "!"):
		return noneOf(p.one())
	case p.take("("):
		t := p.either()
		p.take(")")
		return t
	case p.take("and", "&"): // without anything before it
		return p.one()
	}
	w := p.words[0]
	p.words = p.words[1:]
	if w.quoted {
		return contains(w.text)
	}
	return p.term(w.text)
}

func allOf(a, b test) test {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	return func(l *ledger, i int) bool { return a(l, i) && b(l, i) }
}

func anyOf(a, b test) test {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	return func(l *ledger, i int) bool { return a(l, i) || b(l, i) }
}

func noneOf(a test) test {
	if a == nil {
		return nil
	}
	return func(l *ledger, i int) bool { return !a(l, i) }
}

// term compiles a word.
func (p *queryParser) term(word string) test {
	if at := strings.IndexAny(word, "<>=!"); at > 0 {
		if f, ok := figureNamed(word[:at]); ok {
			p.live = true
			return p.compare(f, word[at:])
		}
	}
	key, value, ok := strings.Cut(word, ":")
	if !ok || key == "" {
		return fuzzyName(word)
	}
	make, known := terms[strings.ToLower(key)]
	if !known {
		p.hint = fmt.Sprintf("no key %q; there are %s", key, strings.Join(termNames(), ", "))
		return fuzzyName(word)
	}
	return p.values(make, key, value)
}

// values compiles the value of a key, or several with commas between.
func (p *queryParser) values(make termMaker, key, value string) test {
	var t test
	for v := range strings.SplitSeq(strings.ToLower(value), ",") {
		if v == "" {
			continue
		}
		one, live, hint := make(v, p.facts)
		if hint != "" {
			p.hint = key + ":" + v + ": " + hint
		}
		p.live = p.live || live
		t = anyOf(t, one)
	}
	return t
}
