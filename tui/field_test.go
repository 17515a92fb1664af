package tui

import (
	"strings"
	"testing"
)

func TestField(t *testing.T) {
	f := newField("one two", "")
	for _, c := range []struct{ key, text string }{
		{"ctrl+w", "one "},
		{"X", "one X"},
		{"left", "one X"},
		{"backspace", "oneX"},
		{"delete", "one"},
		{"home", "one"},
		{"é", "éone"},
		{"end", "éone"},
		{"space", "éone "},
		{"ctrl+a", "éone "},
		{"ctrl+k", ""},
	} {
		f.press(keyPress(c.key))
		if f.value() != c.text {
			t.Errorf("after %s: %q, want %q", c.key, f.value(), c.text)
		}
	}
	f.insert("a\nb\x1b[31mc")
	if f.value() != "ab[31mc" {
		t.Errorf("pasted %q", f.value())
	}
	f.insert(strings.Repeat("x", 2*maxField))
	if len(f.text) != maxField {
		t.Errorf("%d characters, limit %d", len(f.text), maxField)
	}
}

func TestFieldShowsTheCursor(t *testing.T) {
	f := newField(strings.Repeat("0123456789", 10), "")
	for at := range len(f.text) + 1 {
		f.at = at
		text, column := f.view(plainCanvas(), 12)
		if width(text) != 12 || column < 0 || column >= 12 {
			t.Fatalf("cursor %d: column %d of %q", at, column, text)
		}
		if at < len(f.text) && rune(text[column]) != f.text[at] {
			t.Fatalf("cursor %d is on %q, want %q", at, text[column], f.text[at])
		}
	}
}
