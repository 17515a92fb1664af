package picture

import (
	"fmt"
	"image/color"
	"strings"

	uv "github.com/charmbracelet/ultraviolet"
)

// Size of a cell in a picture, in user units, and where letters stand in it.
const (
	cellW, cellH = 8.4, 17
	baseline     = 13
	margin       = 12
)

// SVG draws the screen as a picture. fg and bg stand for the terminal's own
// colours. Block characters become rectangles, so that heatmaps have no seams
// whatever font a viewer has.
func (s *Screen) SVG(fg, bg color.Color) string {
	var b strings.Builder
	w, h := cellW*float64(s.w)+2*margin, cellH*float64(s.h)+2*margin
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.1f %.1f" width="%.0f" height="%.0f" `, w, h, w, h)
	b.WriteString(`font-family="ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace" font-size="14">` + "\n")
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" rx="8" fill="%s"/>`+"\n", hex(bg))
	for y := range s.h {
		for x := 0; x < s.w; {
			x += s.run(&b, x, y, fg, bg)
		}
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// run draws the cells from x on that look alike and returns how many they are.
func (s *Screen) run(b *strings.Builder, x, y int, fg, bg color.Color) int {
	first, style := s.Cell(x, y)
	text := first
	n := 1
	for x+n < s.w {
		content, next := s.Cell(x+n, y)
		if !next.Equal(&style) || (isBlock(content) || isBlock(first)) && (content != first || narrow(first)) {
			break
		}
		text += content
		n++
	}
	ink, paper := fg, bg
	if style.Fg != nil {
		ink = style.Fg
	}
	if style.Bg != nil {
		paper = style.Bg
	}
	if style.Attrs&uv.AttrReverse != 0 {
		ink, paper = paper, ink
	}
	left, top, width := margin+cellW*float64(x), margin+cellH*float64(y), cellW*float64(n)
	if hex(paper) != hex(bg) {
		rect(b, left, top, width, cellH, paper)
	}
	if isBlock(first) {
		a := blockAreas[first]
		rect(b, left+cellW*a.x0, top+cellH*a.y0, width-cellW*(1-a.x1+a.x0), cellH*(a.y1-a.y0), ink)
		return n
	}
	if strings.TrimSpace(text) == "" {
		return n
	}
	weight := ""
	if style.Attrs&uv.AttrBold != 0 {
		weight = ` font-weight="bold"`
	}
	if style.Attrs&uv.AttrFaint != 0 {
		weight += ` opacity="0.6"`
	}
	fmt.Fprintf(b, `<text x="%.1f" y="%.1f" textLength="%.1f" lengthAdjust="spacingAndGlyphs" xml:space="preserve" fill="%s"%s>%s</text>`+"\n",
		left, top+baseline, width, hex(ink), weight, escape(text))
	return n
}

// blockAreas says which part of a cell a block element fills. Those narrower
// than a cell are drawn one by one.
var blockAreas = map[string]struct{ x0, y0, x1, y1 float64 }{
	"▀": {0, 0, 1, 0.5},
	"▄": {0, 0.5, 1, 1},
	"█": {0, 0, 1, 1},
	"▌": {0, 0, 0.5, 1},
	"▐": {0.5, 0, 1, 1},
}

func isBlock(content string) bool {
	_, ok := blockAreas[content]
	return ok
}

func narrow(content string) bool {
	a, ok := blockAreas[content]
	return ok && a.x1-a.x0 < 1
}

func rect(b *strings.Builder, x, y, w, h float64, c color.Color) {
	fmt.Fprintf(b, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s" shape-rendering="crispEdges"/>`+"\n", x, y, w, h, hex(c))
}

// hex returns "#rrggbb".
func hex(c color.Color) string {
	r, g, b, _ := c.RGBA()
	return fmt.Sprintf("#%02x%02x%02x", r>>8, g>>8, b>>8)
}

func escape(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(s)
}
