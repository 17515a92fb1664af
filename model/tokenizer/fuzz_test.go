package tokenizer

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"
)

// Whatever a file says, reading it ends in an error or in a tokenizer that turns
// text into ids it can name.
func FuzzRead(f *testing.F) {
	for _, s := range small {
		f.Add([]byte(s.json), s.text)
	}
	f.Fuzz(func(t *testing.T, file []byte, text string) {
		tok, err := Read(bytes.NewReader(file))
		if err != nil || len(text) > 200 || bytes.Contains(file, []byte("Regex")) { // a hostile pattern may take its time
			return
		}
		ids, err := tok.Encode(text, true)
		if err != nil {
			return
		}
		if !utf8.ValidString(text) {
			t.Fatalf("%q has ids %v", text, ids)
		}
		tok.Decode(ids)
		again, err := tok.Encode(text, true)
		if err != nil || len(again) != len(ids) {
			t.Fatalf("%v, then %v (%v)", ids, again, err)
		}
	})
}

// A pattern that is accepted compiles, and its matches cover the text.
func FuzzPattern(f *testing.F) {
	for _, p := range []string{gpt2, `(?i:'s|'ll)|[^\r\n\p{L}]?\p{L}+|\p{N}{1,3}`, `[一-龥]+|\s+$`, `(?<!a)b*?`, `a{2,}`, `\x41\u0042`, `[[:alpha:]]`, `a++`, `(?m)x`} {
		f.Add(p, "It's 1234 ſ 中文\r\n  x")
	}
	f.Fuzz(func(t *testing.T, pattern, text string) {
		if len(pattern) > 40 || len(text) > 40 || strings.Count(pattern, "*")+strings.Count(pattern, "+")+strings.Count(pattern, "{") > 3 || !utf8.ValidString(text) {
			return
		}
		find, err := compile(pattern)
		if err != nil {
			return
		}
		spans, err := find(text)
		if err != nil {
			return
		}
		at := 0
		for _, s := range spans {
			if s.start != at || s.end < s.start {
				t.Fatalf("%v of %q", spans, text)
			}
			at = s.end
		}
		if at != len(text) {
			t.Fatalf("%v of %q", spans, text)
		}
	})
}

func FuzzReadSequences(f *testing.F) {
	for _, s := range []string{"1 2 3\n\n4\n", "[1, 2]\n[3]", "[[1,2],\n [3]]", "[]", "x", "-1", "[[1],[]]", "99999999999"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		list, err := ReadSequences(bytes.NewReader(text))
		if (err == nil) != (len(list) > 0) {
			t.Fatalf("%v, %v", list, err)
		}
		for _, ids := range list {
			if err := checkIDs(ids); err != nil {
				t.Fatal(err)
			}
		}
	})
}
