package heat

import (
	"fmt"
	"image"
	"image/color"
	"strings"

	"mergescope/themes"
)

// Picture is a grid with what is needed to draw it as an image.
type Picture struct {
	Grid
	Map    themes.Map
	Theme  themes.Theme
	Legend Legend
	Title  string
}

// minSide is how wide or high an image is at least, in pixels, so that viewers
// do not blur single cells.
const minSide = 512

// color returns the colour of a cell; what is no value has that of its role.
func (p *Picture) color(ramp *[256]themes.Color, c Cell) color.RGBA {
	at := themes.Color{R: 0x80, G: 0x80, B: 0x80}
	switch {
	case c.value():
		at = ramp[c]
	case c == NaN:
		at = p.Theme.Colors[themes.Bad]
	case c == Inf:
		at = p.Theme.Colors[themes.Warn]
	default: // not computed, or no block
		return color.RGBA{}
	}
	return color.RGBA{at.R, at.G, at.B, 0xff}
}

// Image draws the grid, each cell a square of as many pixels as make it large
// enough to look at. Cells without a value are transparent.
func (p *Picture) Image() *image.RGBA {
	side := max(1, (minSide+max(p.Rows, p.Cols, 1)-1)/max(p.Rows, p.Cols, 1))
	img := image.NewRGBA(image.Rect(0, 0, p.Cols*side, p.Rows*side))
	ramp := p.Map.Colors(p.Theme.Dark)
	for y := range p.Rows * side {
		for x := range p.Cols * side {
			img.SetRGBA(x, y, p.color(&ramp, p.Cells[y/side*p.Cols+x/side]))
		}
	}
	return img
}

// Measures of the vector image, in user units.
const (
	svgCell   = 10
	svgMargin = 16
	svgLine   = 20
)

// SVG draws the grid with its title and legend.
func (p *Picture) SVG() string {
	var b strings.Builder
	ramp := p.Map.Colors(p.Theme.Dark)
	fg, bg := "#e6e6e6", "#14171d"
	if !p.Theme.Dark {
		fg, bg = "#1c1c1c", "#ffffff"
	}
	w, h := p.Cols*svgCell, p.Rows*svgCell
	total := max(w, 480) + 2*svgMargin
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="ui-monospace,Menlo,Consolas,monospace" font-size="13" fill="%s">`+"\n",
		total, h+3*svgMargin+2*svgLine, fg)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="%s"/>`+"\n", bg)
	fmt.Fprintf(&b, `<text x="%d" y="%d">%s</text>`+"\n", svgMargin, svgMargin+13, escapeXML(p.Title))
	top := svgMargin + svgLine
	for r := range p.Rows {
		for c := 0; c < p.Cols; {
			cell, n := p.Cells[r*p.Cols+c], 1
			for c+n < p.Cols && p.Cells[r*p.Cols+c+n] == cell {
				n++
			}
			if ink := p.color(&ramp, cell); ink.A > 0 {
				fmt.Fprintf(&b, `<rect x="%d" y="%d" width="%d" height="%d" fill="#%02x%02x%02x" shape-rendering="crispEdges"/>`+"\n",
					svgMargin+c*svgCell, top+r*svgCell, n*svgCell, svgCell, ink.R, ink.G, ink.B)
			}
			c += n
		}
	}
	p.svgLegend(&b, &ramp, top+h+svgMargin)
	b.WriteString("</svg>\n")
	return b.String()
}

// svgLegend draws the ramp between its ends.
func (p *Picture) svgLegend(b *strings.Builder, ramp *[256]themes.Color, y int) {
	const steps, step = 64, 3
	head := p.Legend.Metric + " " + p.Legend.Low
	x := svgMargin + 8*len(head) + 12
	fmt.Fprintf(b, `<text x="%d" y="%d">%s</text>`+"\n", svgMargin, y+13, escapeXML(head))
	for i := range steps {
		at := i * 255 / (steps - 1)
		if p.Legend.Flip {
			at = 255 - at
		}
		fmt.Fprintf(b, `<rect x="%d" y="%d" width="%d" height="14" fill="%s" shape-rendering="crispEdges"/>`+"\n", x+i*step, y+2, step, ramp[at])
	}
	fmt.Fprintf(b, `<text x="%d" y="%d">%s</text>`+"\n", x+steps*step+8, y+13, escapeXML(p.Legend.High+"  "+p.Legend.Scale+"  "+p.Legend.Map))
}

func escapeXML(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(s)
}
