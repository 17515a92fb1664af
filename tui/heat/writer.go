package heat

import "unicode/utf8"

// writer writes characters and the attributes that change between them.
type writer struct {
	buf    []byte
	n      int   // characters written
	fg, bg int16 // ids of the styles in force
}

// put writes a glyph n times.
func (w *writer) put(fg, bg style, glyph rune, n int) {
	w.attributes(fg, bg)
	for range n {
		w.buf = utf8.AppendRune(w.buf, glyph)
	}
	w.n += n
}

// text writes s on the terminal's background, cut so that no more than limit
// characters are written in all.
func (w *writer) text(fg style, s string, limit int) {
	if w.n >= limit || s == "" {
		return
	}
	w.attributes(fg, plainBg)
	for _, r := range s {
		if w.n == limit {
			return
		}
		w.buf = utf8.AppendRune(w.buf, r)
		w.n++
	}
}

func (w *writer) attributes(fg, bg style) {
	front, back := fg.id != w.fg, bg.id != w.bg
	if !front && !back {
		return
	}
	w.buf = append(w.buf, "\x1b["...)
	if front {
		w.buf = append(w.buf, fg.sgr...)
		w.fg = fg.id
	}
	if front && back {
		w.buf = append(w.buf, ';')
	}
	if back {
		w.buf = append(w.buf, bg.sgr...)
		w.bg = bg.id
	}
	w.buf = append(w.buf, 'm')
}

// reset returns to the terminal's attributes.
func (w *writer) reset() {
	if w.fg != 0 || w.bg != 0 {
		w.buf = append(w.buf, "\x1b[0m"...)
	}
	w.fg, w.bg = 0, 0
}
