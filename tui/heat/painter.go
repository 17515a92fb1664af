package heat

import "mergescope/themes"

// Glyphs of special cells and of the cursor, one cell wide each.
const (
	glyphNaN    = '✕'
	glyphInf    = '∞'
	glyphNone   = '·'
	glyphCursor = '◉'
)

// mode is how values become characters.
type mode uint8

const (
	halves mode = iota // two values, colours of an upper half block
	spaces             // one value, background of a space
	inks               // one value, a character of more or less ink
)

// style is a prepared attribute: its SGR parameters and a number by which equal
// styles are told, 0 for the terminal's own.
type style struct {
	id  int16
	sgr string
}

var (
	plainFg = style{0, "39"}
	plainBg = style{0, "49"}
)

// Painter draws grids in one map, theme and depth. It keeps its buffer from one
// drawing to the next, so it is not safe for concurrent use.
type Painter struct {
	mode   mode
	fg, bg [256]style // by place on the ramp; of inks only fg
	ink    [256]rune
	cursor [256]style // foreground of the cursor on a place of the ramp

	nan, inf, none, mark          style // foregrounds of special cells and of a cursor there
	glyphNaN, glyphInf, glyphNone rune
	glyphCursor                   rune

	w    writer
	ends []int // of lines in the buffer
}

// New prepares a painter.
func New(t themes.Theme, m themes.Map, d themes.Depth, ascii bool) *Painter {
	p := &Painter{glyphNaN: glyphNaN, glyphInf: glyphInf, glyphNone: glyphNone, glyphCursor: glyphCursor}
	if ascii {
		p.glyphNaN, p.glyphInf, p.glyphNone, p.glyphCursor = 'X', '^', '_', 'O'
	} else if d == themes.ANSI16 {
		p.glyphNone = '╌' // the dot is the quietest shade there
	}
	role := func(id int16, r themes.Role) style {
		if code := sgr(t.Colors[r], d, false); code != plainFg.sgr {
			return style{id, code}
		}
		return plainFg
	}
	p.nan, p.inf = role(-1, themes.Bad), role(-2, themes.Warn)
	p.none, p.mark = role(-3, themes.Dim), role(-4, themes.Cursor)
	switch {
	case d < themes.ANSI256:
		p.mode = inks
		p.setInks(m, d, t.Dark, ascii)
	case ascii:
		p.mode = spaces
		p.setColors(m, d, t.Dark)
	default:
		p.mode = halves
		p.setColors(m, d, t.Dark)
	}
	return p
}

// setColors prepares a ramp of colours.
func (p *Painter) setColors(m themes.Map, d themes.Depth, dark bool) {
	full, few := m.Colors(dark), m.Indices(dark)
	black := style{-5, sgr(themes.Color{B: 1}, d, false)}
	white := style{-6, sgr(themes.Color{R: 255, G: 255, B: 255}, d, false)}
	for i := range p.fg {
		c, id := full[i], int16(i)+1
		fg, bg := sgr(c, d, false), sgr(c, d, true)
		if d == themes.ANSI256 {
			k := few[i*len(few)/256]
			c, id = themes.Indexed(k), int16(k)+1
			fg, bg = indexed(k, false), indexed(k, true)
		}
		p.fg[i], p.bg[i] = style{id, fg}, style{id, bg}
		p.cursor[i] = white
		if c.Luminance() > 0.18 { // where black and white contrast alike
			p.cursor[i] = black
		}
	}
}

// setInks prepares a ramp of characters.
func (p *Painter) setInks(m themes.Map, d themes.Depth, dark, ascii bool) {
	shades := m.Shades(dark, ascii)
	if d == themes.NoColor {
		shades = shades[:0]
		for _, g := range themes.Glyphs(ascii) {
			shades = append(shades, themes.Shade{Glyph: g})
		}
	}
	for i := range p.ink {
		s := shades[i*len(shades)/256]
		p.ink[i], p.fg[i] = s.Glyph, plainFg
		if s.Index != 0 {
			p.fg[i] = style{int16(s.Index) + 1, basic(s.Index)}
		}
		p.bg[i], p.cursor[i] = plainBg, p.mark
	}
}

// Stacked returns how many rows of a grid share a line of text: 2 or 1.
func (p *Painter) Stacked() int {
	if p.mode == halves {
		return 2
	}
	return 1
}

// Lines draws a grid. Every column is wide characters wide and every row is
// drawn tall times, one below the other; the result has
// ceil(Rows*tall/Stacked()) lines of Cols*wide characters. Each line ends with
// the terminal's attributes as they were.
func (p *Painter) Lines(g Grid, wide, tall int) []string {
	if g.Rows <= 0 || g.Cols <= 0 || wide <= 0 || tall <= 0 {
		return nil
	}
	stacked := p.Stacked()
	n := (g.Rows*tall + stacked - 1) / stacked
	w := &p.w
	w.buf, p.ends = w.buf[:0], p.ends[:0]
	for y := range n {
		p.line(w, g, y*stacked/tall, ((y+1)*stacked-1)/tall, wide)
		w.reset()
		p.ends = append(p.ends, len(w.buf))
	}
	all, from := string(w.buf), 0
	out := make([]string, n)
	for y, end := range p.ends {
		out[y], from = all[from:end], end
	}
	return out
}

// line draws the rows top and low of a grid as one line of text; both are the
// same where a line holds one row.
func (p *Painter) line(w *writer, g Grid, top, low, wide int) {
	upper := g.Cells[top*g.Cols : (top+1)*g.Cols]
	lower := upper
	if low != top {
		lower = nil
		if low < g.Rows {
			lower = g.Cells[low*g.Cols : (low+1)*g.Cols]
		}
	}
	marked := g.CursorRow == top || g.CursorRow == low && low < g.Rows
	for c, a := range upper {
		b := Blank
		if lower != nil {
			b = lower[c]
		}
		if !marked || c != g.CursorCol {
			p.put(w, a, b, wide)
			continue
		}
		at := a
		if g.CursorRow != top {
			at = b
		}
		left := (wide - 1) / 2
		p.put(w, a, b, left)
		p.putCursor(w, at)
		p.put(w, a, b, wide-1-left)
	}
}

// put draws n characters that show a above b.
func (p *Painter) put(w *writer, a, b Cell, n int) {
	if n <= 0 {
		return
	}
	special := max(a, b) // NaN and Inf take the whole character
	switch {
	case special == Inf || special == NaN:
		if a == NaN || b == NaN {
			w.put(p.nan, plainBg, p.glyphNaN, n)
		} else {
			w.put(p.inf, plainBg, p.glyphInf, n)
		}
	case !a.value() && !b.value():
		if special == None && a == b {
			w.put(p.none, plainBg, p.glyphNone, n)
		} else {
			w.put(plainFg, plainBg, ' ', n)
		}
	case p.mode == inks:
		w.put(p.fg[a], plainBg, p.ink[a], n)
	case p.mode == spaces:
		w.put(style{id: w.fg}, p.bg[a], ' ', n) // a space shows no foreground
	case !b.value():
		w.put(p.fg[a], plainBg, '▀', n)
	case !a.value():
		w.put(p.fg[b], plainBg, '▄', n)
	case p.fg[a].id == p.fg[b].id:
		w.put(style{id: w.fg}, p.bg[b], ' ', n)
	default:
		w.put(p.fg[a], p.bg[b], '▀', n)
	}
}

func (p *Painter) putCursor(w *writer, at Cell) {
	if at.value() {
		w.put(p.cursor[at], p.bg[at], p.glyphCursor, 1)
		return
	}
	fg := p.mark
	switch at { // the cursor covers their glyphs
	case NaN:
		fg = p.nan
	case Inf:
		fg = p.inf
	}
	w.put(fg, plainBg, p.glyphCursor, 1)
}
