package heat

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"mergescope/themes"
)

// glyph is a character of a drawn line with the SGR parameters in force.
type glyph struct {
	r      rune
	fg, bg string
}

// decode plays a line back the way a terminal does.
func decode(t testing.TB, line string) []glyph {
	t.Helper()
	fg, bg := "39", "49"
	var out []glyph
	for rest := line; rest != ""; {
		if after, ok := strings.CutPrefix(rest, "\x1b["); ok {
			params, tail, ok := strings.Cut(after, "m")
			if !ok {
				t.Fatalf("unfinished sequence in %q", line)
			}
			rest = tail
			for p := strings.Split(params, ";"); len(p) > 0; {
				n := 1
				if p[0] == "38" || p[0] == "48" {
					n = map[string]int{"2": 5, "5": 3}[p[1]]
				}
				code := strings.Join(p[:n], ";")
				switch {
				case code == "0":
					fg, bg = "39", "49"
				case code[0] == '4':
					bg = code
				default:
					fg = code
				}
				p = p[n:]
			}
			continue
		}
		r := []rune(rest[:min(4, len(rest))])[0]
		out = append(out, glyph{r, fg, bg})
		rest = rest[len(string(r)):]
	}
	if fg != "39" || bg != "49" {
		t.Errorf("line ends with %s;%s on: %q", fg, bg, line)
	}
	return out
}

func painter(m string, d themes.Depth, dark, ascii bool) *Painter {
	cm, _ := themes.MapByName(m)
	return New(themes.Default(dark), cm, d, ascii)
}

func trueColor(m string, dark bool, at Cell, ground int) string {
	cm, _ := themes.MapByName(m)
	c := cm.Colors(dark)[at]
	return fmt.Sprintf("%d;2;%d;%d;%d", ground, c.R, c.G, c.B)
}

func TestHalfBlocksHoldTwoExactColours(t *testing.T) {
	g := Grid{Rows: 3, Cols: 2, Cells: []Cell{0, 40, 255, 40, 7, Blank}, CursorRow: -1, CursorCol: -1}
	lines := painter("magma", themes.TrueColor, true, false).Lines(g, 1, 1)
	if len(lines) != 2 {
		t.Fatalf("%d lines, want 2", len(lines))
	}
	first, second := decode(t, lines[0]), decode(t, lines[1])
	if want := (glyph{'▀', trueColor("magma", true, 0, 38), trueColor("magma", true, 255, 48)}); first[0] != want {
		t.Errorf("0 above 255 is %v, want %v", first[0], want)
	}
	if first[1].r != ' ' || first[1].bg != trueColor("magma", true, 40, 48) {
		t.Errorf("40 above 40 is %v", first[1])
	}
	if want := (glyph{'▀', trueColor("magma", true, 7, 38), "49"}); second[0] != want {
		t.Errorf("7 above nothing is %v, want %v", second[0], want)
	}
	if second[1].r != ' ' || second[1].bg != "49" {
		t.Errorf("not computed is %v", second[1])
	}
}

func TestSpecialCells(t *testing.T) {
	for _, tc := range []struct {
		d     themes.Depth
		ascii bool
		want  string // NaN, Inf, no block, not computed, cursor
	}{
		{themes.TrueColor, false, "✕∞· ◉"},
		{themes.ANSI256, false, "✕∞· ◉"},
		{themes.ANSI16, false, "✕∞╌ ◉"},
		{themes.NoColor, false, "✕∞· ◉"},
		{themes.TrueColor, true, "X^_ O"},
		{themes.NoColor, true, "X^_ O"},
	} {
		g := Grid{Rows: 2, Cols: 5, Cells: []Cell{NaN, Inf, None, Blank, 9, NaN, Inf, None, Blank, 9}, CursorRow: 0, CursorCol: 4}
		cells := decode(t, painter("viridis", tc.d, true, tc.ascii).Lines(g, 1, 1)[0])
		var got strings.Builder
		colours := map[string]bool{}
		for _, c := range cells {
			got.WriteRune(c.r)
			colours[c.fg] = true
		}
		if got.String() != tc.want {
			t.Errorf("depth %d ascii %v: %q, want %q", tc.d, tc.ascii, got.String(), tc.want)
		}
		if tc.d >= themes.ANSI256 && len(colours) != 5 {
			t.Errorf("depth %d: NaN, Inf, no block, blank and cursor have %d colours, want 5", tc.d, len(colours))
		}
		if tc.d == themes.NoColor && len(colours) != 1 {
			t.Errorf("colours without colour: %v", colours)
		}
	}
}

// A NaN is never hidden by the value it shares a character with.
func TestSpecialWinsTheCharacter(t *testing.T) {
	p := painter("gray", themes.TrueColor, true, false)
	for _, cells := range [][]Cell{{NaN, 9}, {9, NaN}, {Blank, NaN}, {Inf, NaN}} {
		got := decode(t, p.Lines(Grid{Rows: 2, Cols: 1, Cells: cells, CursorRow: -1}, 1, 1)[0])
		if got[0].r != '✕' || got[0].bg != "49" {
			t.Errorf("%v is drawn as %q on %s", cells, got[0].r, got[0].bg)
		}
	}
}

func TestWideAndTallCells(t *testing.T) {
	p := painter("gray", themes.NoColor, true, false)
	g := Grid{Rows: 2, Cols: 2, Cells: []Cell{0, 255, 128, 0}, CursorRow: 1, CursorCol: 1}
	got := strings.Join(p.Lines(g, 5, 2), "\n")
	want := "▁▁▁▁▁█████\n▁▁▁▁▁█████\n▅▅▅▅▅▁▁◉▁▁\n▅▅▅▅▅▁▁◉▁▁"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestRampsByDepth(t *testing.T) {
	row := make([]Cell, 256)
	for i := range row {
		row[i] = Cell(i)
	}
	g := Grid{Rows: 1, Cols: 256, Cells: row, CursorRow: -1}
	for _, tc := range []struct {
		d     themes.Depth
		ascii bool
		want  string // distinct characters in order
		steps int    // distinct looks
	}{
		{themes.TrueColor, false, "▀", 256},
		{themes.ANSI256, false, "▀", 12},
		{themes.ANSI16, false, "·░▒▓█", 5},
		{themes.NoColor, false, "▁▂▃▄▅▆▇█", 8},
		{themes.TrueColor, true, " ", 256},
		{themes.ANSI16, true, ".:-=+*#%@", 9},
		{themes.NoColor, true, ".:-=+*#%@", 9},
	} {
		var order strings.Builder
		last, looks := rune(0), map[glyph]bool{}
		for _, c := range decode(t, painter("magma", tc.d, true, tc.ascii).Lines(g, 1, 1)[0]) {
			if c.r != last {
				order.WriteRune(c.r)
				last = c.r
			}
			looks[c] = true
		}
		if order.String() != tc.want || len(looks) != tc.steps {
			t.Errorf("depth %d ascii %v: %q in %d looks, want %q in %d", tc.d, tc.ascii, order.String(), len(looks), tc.want, tc.steps)
		}
	}
}

func TestUnchangedAttributesAreNotWritten(t *testing.T) {
	cells := make([]Cell, 2*50)
	for i := range cells {
		cells[i] = 77
	}
	line := painter("magma", themes.TrueColor, true, false).Lines(Grid{Rows: 2, Cols: 50, Cells: cells, CursorRow: -1}, 1, 1)[0]
	if n := strings.Count(line, "\x1b["); n != 2 { // the colour and the reset
		t.Errorf("%d sequences for one colour: %q", n, line)
	}
}

func FuzzLines(f *testing.F) {
	f.Add(uint8(3), uint8(4), uint8(2), uint8(1), uint8(3), []byte{1, 200, 255, 254, 253, 252})
	f.Add(uint8(0), uint8(9), uint8(1), uint8(3), uint8(0), []byte{})
	f.Fuzz(func(t *testing.T, rows, cols, wide, tall, look uint8, data []byte) {
		g := Grid{Rows: int(rows % 40), Cols: int(cols % 40), CursorRow: int(look) % 41, CursorCol: int(look) % 37}
		g.Cells = make([]Cell, g.Rows*g.Cols)
		for i := range g.Cells {
			if len(data) > 0 {
				g.Cells[i] = Cell(data[i%len(data)]) + Cell(i%6)
				g.Cells[i] = min(g.Cells[i], Inf)
			}
		}
		w, h := int(wide%6), int(tall%5)
		names := themes.MapNames()
		p := painter(names[int(look)%len(names)], themes.Depth(look%4), look&16 == 0, look&32 == 0)
		lines := p.Lines(g, w, h)
		want := 0
		if g.Rows > 0 && g.Cols > 0 && w > 0 && h > 0 {
			want = int(math.Ceil(float64(g.Rows*h) / float64(p.Stacked())))
		}
		if len(lines) != want {
			t.Fatalf("%d lines, want %d", len(lines), want)
		}
		for _, l := range lines {
			if n := len(decode(t, l)); n != g.Cols*w {
				t.Fatalf("line of %d characters, want %d: %q", n, g.Cols*w, l)
			}
		}
	})
}

func BenchmarkLines(b *testing.B) {
	// Noise changes both colours at every character; bands change them seldom.
	look := map[string]func(r, c int) Cell{
		"noise": func(r, c int) Cell { return Cell((r*120 + c) * 97 % 256) },
		"bands": func(r, c int) Cell { return Cell((r/6*40 + c/8*20) % 256) },
	}
	for _, d := range []themes.Depth{themes.TrueColor, themes.ANSI256, themes.NoColor} {
		for name, at := range look {
			p := painter("magma", d, true, false)
			g := Grid{Rows: 36 * p.Stacked(), Cols: 120, CursorRow: 7, CursorCol: 9}
			for i := range g.Rows * g.Cols {
				g.Cells = append(g.Cells, at(i/g.Cols, i%g.Cols))
			}
			b.Run(fmt.Sprintf("120x36/depth%d/%s", d, name), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					p.Lines(g, 1, 1)
				}
			})
		}
	}
}
