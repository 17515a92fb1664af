package tui

import (
	"slices"
	"strings"
	"unicode"

	tea "charm.land/bubbletea/v2"

	"mergescope/themes"
)

// field is a line of text being typed. It is drawn with the terminal's own
// cursor, so nothing blinks through the renderer.
type field struct {
	text []rune
	at   int    // cursor, 0..len(text)
	hint string // shown while there is no text
}

// maxField bounds what can be typed or pasted, in characters.
const maxField = 4096

func newField(value, hint string) *field {
	f := &field{hint: hint}
	f.set(value)
	return f
}

func (f *field) value() string { return string(f.text) }

func (f *field) set(s string) {
	f.text = []rune(s)
	f.at = len(f.text)
}

// press edits the text and reports whether the key was one of an editor.
func (f *field) press(k tea.KeyPressMsg) bool {
	switch k.String() {
	case "left", "ctrl+b":
		f.at = max(0, f.at-1)
	case "right", "ctrl+f":
		f.at = min(len(f.text), f.at+1)
	case "home", "ctrl+a":
		f.at = 0
	case "end", "ctrl+e":
		f.at = len(f.text)
	case "backspace":
		f.remove(max(0, f.at-1), f.at)
	case "delete":
		f.remove(f.at, min(len(f.text), f.at+1))
	case "ctrl+w", "alt+backspace":
		f.remove(f.word(), f.at)
	case "ctrl+u":
		f.remove(0, f.at)
	case "ctrl+k":
		f.remove(f.at, len(f.text))
	default:
		if k.Text == "" {
			return false
		}
		f.insert(k.Text)
	}
	return true
}

// word is where the word before the cursor begins.
func (f *field) word() int {
	i := f.at
	for i > 0 && unicode.IsSpace(f.text[i-1]) {
		i--
	}
	for i > 0 && !unicode.IsSpace(f.text[i-1]) {
		i--
	}
	return i
}

func (f *field) remove(from, to int) {
	f.text = slices.Delete(f.text, from, to)
	f.at = from
}

// insert puts text at the cursor, line breaks and control characters left out.
func (f *field) insert(s string) {
	for _, r := range s {
		if unicode.IsPrint(r) && len(f.text) < maxField {
			f.text = slices.Insert(f.text, f.at, r)
			f.at++
		}
	}
}

// view returns the part of the text around the cursor in exactly w cells, and
// the cell the cursor is in.
func (f *field) view(c canvas, w int) (text string, column int) {
	if len(f.text) == 0 {
		return c.paint.text(themes.Dim, c.fit(f.hint, w)), 0
	}
	from := 0
	for from < f.at && width(string(f.text[from:f.at])) >= w {
		from++
	}
	to := len(f.text)
	for to > from && width(string(f.text[from:to])) > w {
		to--
	}
	text = string(f.text[from:to])
	return text + strings.Repeat(" ", max(0, w-width(text))), width(string(f.text[from:f.at]))
}
