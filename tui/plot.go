package tui

import (
	"math"
	"strings"

	"mergescope/themes"
)

// plot is a drawing area of w by h cells for points and lines. With Unicode a
// cell has 2 by 4 braille dots of one colour, in ASCII it is one dot. Marks and
// text cover dots.
type plot struct {
	w, h   int
	dw, dh int // dots of a cell
	bits   []uint8
	roles  []themes.Role // of the dots of a cell
	over   []*strip      // marks and text by line
}

func newPlot(c canvas, w, h int) *plot {
	w, h = max(0, w), max(0, h)
	p := &plot{w: w, h: h, dw: 2, dh: 4, bits: make([]uint8, w*h), roles: make([]themes.Role, w*h)}
	if c.ascii {
		p.dw, p.dh = 1, 1
	}
	for range h {
		p.over = append(p.over, newStrip(w))
	}
	return p
}

// brailleBits are the bits of the dots of a braille character by line and
// column.
var brailleBits = [4][2]uint8{{0x01, 0x08}, {0x02, 0x10}, {0x04, 0x20}, {0x40, 0x80}}

// dot sets the dot in column x of line y, counted from the upper left.
func (p *plot) dot(x, y int, role themes.Role) {
	if x < 0 || y < 0 || x >= p.w*p.dw || y >= p.h*p.dh {
		return
	}
	i := y/p.dh*p.w + x/p.dw
	p.bits[i] |= brailleBits[y%p.dh][x%p.dw]
	p.roles[i] = role
}

// line sets the dots between two.
func (p *plot) line(x0, y0, x1, y1 int, role themes.Role) {
	n := max(abs(x1-x0), abs(y1-y0), 1)
	for i := range n + 1 {
		f := float64(i) / float64(n)
		p.dot(x0+int(math.Round(f*float64(x1-x0))), y0+int(math.Round(f*float64(y1-y0))), role)
	}
}

func abs(v int) int { return max(v, -v) }

// mark puts text at a cell, over the dots.
func (p *plot) mark(x, y int, text string, role themes.Role) {
	if y >= 0 && y < p.h {
		p.over[y].put(x, text, role)
	}
}

func (p *plot) draw(c canvas) []string {
	out := make([]string, p.h)
	for y := range out {
		line := p.over[y]
		for x := range p.w {
			if bits := p.bits[y*p.w+x]; bits != 0 && line.text[x] == ' ' {
				glyph := string(rune(0x2800 + int(bits)))
				if c.ascii {
					glyph = "."
				}
				line.put(x, glyph, p.roles[y*p.w+x])
			}
		}
		out[y] = line.draw(c)
	}
	return out
}

// dots maps values to dots along one direction, from lo at dot 0 to hi at the
// last of n.
type dots struct {
	lo, hi float64
	log    bool
	n      int
}

// at returns the dot of a value, the nearest end if it is outside.
func (d dots) at(v float64) int {
	lo, hi := d.lo, d.hi
	if d.log {
		v, lo, hi = math.Log(max(v, d.lo)), math.Log(lo), math.Log(hi)
	}
	if !(hi > lo) || math.IsNaN(v) {
		return 0
	}
	return int(math.Round(min(max((v-lo)/(hi-lo), 0), 1) * float64(d.n-1)))
}

// value is the inverse of at.
func (d dots) value(i int) float64 {
	f := float64(i) / float64(max(1, d.n-1))
	if d.log {
		return d.lo * math.Pow(d.hi/d.lo, f)
	}
	return d.lo + f*(d.hi-d.lo)
}

// meter draws a horizontal bar of w cells that is full at 1, its end cut to
// eighths of a cell.
func (c canvas) meter(fraction float64, w int, role themes.Role) string {
	eighths := 0
	if fraction > 0 {
		eighths = max(1, int(math.Round(min(fraction, 1)*float64(w)*8)))
	}
	g := c.glyphs()
	s := strings.Repeat(g.full, eighths/8)
	if part := eighths % 8; part > 0 && width(s) < w {
		if c.ascii {
			if part >= 4 || s == "" {
				s += g.full
			}
		} else {
			s += g.eighths[part-1]
		}
	}
	return c.paint.text(role, s) + strings.Repeat(" ", max(0, w-width(s)))
}

// beside joins two columns of lines with a gap, each padded to its width.
func (c canvas) beside(left []string, lw int, gap string, right []string, rw int) []string {
	out := make([]string, max(len(left), len(right)))
	for i := range out {
		var l, r string
		if i < len(left) {
			l = left[i]
		}
		if i < len(right) {
			r = right[i]
		}
		out[i] = c.fit(l, lw) + gap + c.fit(r, rw)
	}
	return out
}
