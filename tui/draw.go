package tui

import (
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/charmbracelet/x/ansi"

	"mergescope/themes"
)

// width returns the cells a string occupies, escape sequences not counted.
func width(s string) int { return ansi.StringWidth(s) }

// fit returns s as exactly w cells: cut with a mark, or padded.
func (c canvas) fit(s string, w int) string {
	n := width(s)
	switch {
	case w <= 0:
		return ""
	case n > w:
		s = ansi.Truncate(s, w, c.glyphs().more)
		n = width(s)
	}
	return s + strings.Repeat(" ", max(0, w-n))
}

// ends returns left and right at the two ends of w cells. Right goes first if
// there is too little room.
func (c canvas) ends(left, right string, w int) string {
	r := width(right)
	if right == "" || width(left)+1+r > w && r > w/2 {
		return c.fit(left, w)
	}
	return c.fit(left, w-r-1) + " " + right
}

// frame draws lines in a frame of w by h cells with a title in its upper edge.
func (c canvas) frame(left, right string, lines []string, w, h int) []string {
	if w < 2 || h < 2 {
		return blank(w, h)
	}
	b, role := c.glyphs().thin, themes.Border
	if c.focused {
		b, role = c.glyphs().heavy, themes.BorderFocus
	}
	edge := func(s string) string { return c.paint.text(role, s) }
	out := make([]string, 0, h)
	out = append(out, c.edge(b, role, left, right, w))
	side := edge(b.v)
	for i := range h - 2 {
		s := ""
		if i < len(lines) {
			s = lines[i]
		}
		out = append(out, side+c.fit(s, w-2)+side)
	}
	return append(out, edge(b.bl+strings.Repeat(b.h, w-2)+b.br))
}

// edge is the upper edge of a frame: the left title, and the right one if both
// have room.
func (c canvas) edge(b border, role themes.Role, left, right string, w int) string {
	edge := func(s string) string { return c.paint.text(role, s) }
	room := w - 6 // two corners, a line and a space at each end
	if room < 1 {
		return edge(b.tl + strings.Repeat(b.h, w-2) + b.tr)
	}
	left = ansi.Truncate(left, room, c.glyphs().more)
	fill := room - width(left)
	tail := edge(b.h + b.tr)
	if r := width(right); right != "" && r+3 <= fill {
		fill -= r + 2
		tail = " " + right + " " + tail
	}
	return edge(b.tl+b.h) + " " + left + " " + edge(strings.Repeat(b.h, fill)) + tail
}

// blank returns h lines of w spaces.
func blank(w, h int) []string {
	out := make([]string, max(0, h))
	for i := range out {
		out[i] = strings.Repeat(" ", max(0, w))
	}
	return out
}

// stamp lays box over base with its upper left corner at (x, y).
func stamp(base, box []string, x, y int) {
	for i, line := range box {
		if y+i < 0 || y+i >= len(base) {
			continue
		}
		under := base[y+i]
		n := width(line)
		base[y+i] = ansi.Truncate(under, x, "") + sgrReset + line + sgrReset + ansi.TruncateLeft(under, x+n, "")
	}
}

// wrap breaks plain text into lines of at most w cells.
func wrap(s string, w int) []string {
	if w < 1 {
		return nil
	}
	return strings.Split(ansi.Wrap(s, w, ""), "\n")
}

// clean makes text out of a file safe to show: control characters and whatever
// is not printable become "?".
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}

// bar draws a progress bar of w cells, ends included.
func (c canvas) bar(fraction float64, w int) string {
	g := c.glyphs()
	room := w - 2
	if room < 1 {
		return strings.Repeat(" ", max(0, w))
	}
	eighths := int(math.Round(min(max(fraction, 0), 1) * float64(room) * 8))
	s := strings.Repeat(g.full, eighths/8)
	if part := eighths % 8; part > 0 {
		s += g.eighths[part-1]
	}
	return c.paint.text(themes.Track, g.barL) + s + strings.Repeat(g.empty, room-width(s)) + c.paint.text(themes.Track, g.barR)
}

// percent writes a share as on screen: "7.3%" below ten, "48%" above, a dash
// for what could not be computed.
func (g *glyphs) percent(v float64) string {
	p := v * 100
	switch {
	case math.IsNaN(p):
		return g.dash
	case math.IsInf(p, 0):
		return "inf"
	case math.Abs(p) < 9.95:
		return strconv.FormatFloat(p+0, 'f', 1, 64) + "%"
	case math.Abs(p) < 9999.5:
		return strconv.FormatFloat(p, 'f', 0, 64) + "%"
	default:
		return strconv.FormatFloat(p, 'e', 0, 64) + "%"
	}
}

// quantity writes a count with a unit prefix: 1.2 M.
func quantity(v float64) string {
	for _, u := range []struct {
		size float64
		name string
	}{{1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e3, "k"}} {
		if v >= u.size {
			return strconv.FormatFloat(v/u.size, 'f', decimals(v/u.size), 64) + " " + u.name
		}
	}
	return strconv.FormatFloat(v, 'f', 0, 64) + " "
}

func decimals(v float64) int {
	switch {
	case v < 10:
		return 2
	case v < 100:
		return 1
	default:
		return 0
	}
}

// fileSize writes bytes in binary units: 3.52 GiB.
func fileSize(n int64) string {
	v := float64(n)
	for _, u := range []string{"B", "KiB", "MiB", "GiB"} {
		if v < 1024 {
			if u == "B" {
				return strconv.FormatInt(n, 10) + " B"
			}
			return strconv.FormatFloat(v, 'f', decimals(v), 64) + " " + u
		}
		v /= 1024
	}
	return strconv.FormatFloat(v, 'f', decimals(v), 64) + " TiB"
}

// brief writes a duration to the second: 1m12s.
func brief(d time.Duration) string { return d.Round(time.Second).String() }

// message is what an empty pane says: what is missing, and what to do.
func (c canvas) message(w, h int, what string, todo ...string) []string {
	var lines []string
	for _, l := range wrap(c.plain(what), w-4) {
		lines = append(lines, "  "+l)
	}
	for _, t := range todo {
		for _, l := range wrap(c.plain(t), w-4) {
			lines = append(lines, c.paint.text(themes.Dim, "  "+l))
		}
	}
	out := make([]string, 0, h)
	for range min(1, max(0, h-len(lines))) {
		out = append(out, c.fit("", w))
	}
	for _, l := range lines {
		if len(out) < h {
			out = append(out, c.fit(l, w))
		}
	}
	return append(out, blank(w, h-len(out))...)
}

// asciiText spells the symbols of messages with ASCII characters.
var asciiText = strings.NewReplacer(
	"×", "x", "·", "-", "–", "-", "—", "-", "…", "...", "→", "->", "∞", "inf",
	"≥", ">=", "≤", "<=", "↑", "up", "↓", "down", "“", `"`, "”", `"`, "’", "'",
)

// plain makes text that others wrote safe to show here: printable, and ASCII
// where nothing else can be shown.
func (c canvas) plain(s string) string {
	s = clean(s)
	if !c.ascii {
		return s
	}
	return strings.Map(func(r rune) rune {
		if r > unicode.MaxASCII {
			return '?'
		}
		return r
	}, asciiText.Replace(s))
}
