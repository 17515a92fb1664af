package tokenizer

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// addedToken is an element of added_tokens (tokenizer/added_vocabulary.rs).
type addedToken struct {
	ID         int    `json:"id"`
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"`
	LStrip     bool   `json:"lstrip"`
	RStrip     bool   `json:"rstrip"`
	Normalized bool   `json:"normalized"`
	Special    bool   `json:"special"` // for skipping in decoded text, which nobody does here
}

// add puts added tokens into the tables. size is how many tokens the model has.
// tokenizers gives a token that the model lacks the next free id, whatever the
// file says; a file that says otherwise is an error here.
func (t *Tokenizer) add(list []addedToken, size int) error {
	t.raw, t.normalized, t.added = newTrie(), newTrie(), map[int]*addedToken{}
	next := size
	for i := range list {
		a := &list[i]
		if a.Content == "" {
			continue
		}
		id, known := t.ids[a.Content]
		if !known {
			id = next
			next++
		}
		if id != a.ID {
			return fmt.Errorf("added token %q has id %d, tokenizers gives it %d", a.Content, a.ID, id)
		}
		if other, taken := t.tokens[id]; taken && other != a.Content && t.added[id] == nil {
			return fmt.Errorf("added token %q has the id %d of %q", a.Content, id, other)
		}
		t.ids[a.Content], t.added[id] = id, a
		if !a.Normalized {
			t.tokens[id] = a.Content
			t.raw.add(a.Content, id)
			continue
		}
		normal := a.Content
		for _, n := range t.normalize {
			var err error
			if normal, err = n(normal); err != nil {
				return fmt.Errorf("added token %q: %w", a.Content, err)
			}
		}
		t.tokens[id] = normal
		if normal != "" {
			t.normalized.add(normal, id)
		}
	}
	return nil
}

// cut looks for added tokens in a piece from left to right, at each place for
// the longest; their ids are appended, what lies between goes to rest.
func (t *Tokenizer) cut(tokens *trie, p piece, ids *[]int, rest func(piece) error) error {
	done := 0
	between := func(end int) error {
		if end <= done {
			return nil
		}
		return rest(piece{p.text[done:end], p.first && done == 0})
	}
	for at := 0; at < len(p.text); {
		n, id := tokens.longest(p.text[at:])
		if n == 0 {
			at++
			continue
		}
		start, end := at, at+n
		at = end
		a := t.added[id]
		if a.SingleWord && !alone(p.text, start, end) {
			continue
		}
		if a.LStrip {
			start = max(len(strings.TrimRightFunc(p.text[:start], unicode.IsSpace)), done)
		}
		if a.RStrip {
			end = len(p.text) - len(strings.TrimLeftFunc(p.text[end:], unicode.IsSpace))
		}
		if err := between(start); err != nil {
			return err
		}
		*ids = append(*ids, id)
		done = end
	}
	return between(len(p.text))
}

// alone reports whether no word character touches text[start:end].
func alone(text string, start, end int) bool {
	before, n := utf8.DecodeLastRuneInString(text[:start])
	after, m := utf8.DecodeRuneInString(text[end:])
	return (n == 0 || !wordRune(before)) && (m == 0 || !wordRune(after))
}

// wordRune is \w of Rust's regex crate: alphabetic, marks, decimal numbers,
// connectors and joiners (UTS 18, annex C).
func wordRune(r rune) bool {
	if x, ok := lookup(newer, r); ok {
		return strings.ContainsAny(x.category, "LM") || x.category == "Nd"
	}
	return unicode.In(r, unicode.L, unicode.M, unicode.Nd, unicode.Nl, unicode.Pc, unicode.Other_Alphabetic, unicode.Join_Control)
}
