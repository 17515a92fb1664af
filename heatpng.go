package main

import (
	"bytes"
	"encoding/base64"
	"html/template"
	"image"
	"image/color"
	"image/png"
	"math"

	"mergescope/merge"
	"mergescope/themes"
)

// heatSteps is how many colours of a ramp a picture uses. The ramp has 256;
// fewer compress better, and nobody reads a value off a colour closer than that.
const heatSteps = 64

// Palette entries behind those of the ramp.
const (
	paintNaN = heatSteps + iota
	paintInf
	paintNone
	paints
)

// picture is an image for a dark and for a light page, as data URIs.
type picture struct {
	Dark  template.Srcset
	Light template.URL
}

// heatPicture draws kept over the cells of a tile, the worst block of each, one
// pixel a cell: what the interface shows first.
func heatPicture(t *merge.Tile) (picture, error) {
	img := image.NewPaletted(image.Rect(0, 0, t.Cols, t.Rows), nil)
	for y := range t.Rows {
		for x := range t.Cols {
			img.SetColorIndex(x, y, heatPaint(t.At(merge.MetricKept, merge.Worst, y, x)))
		}
	}
	return encodePicture(img)
}

// heatPaint places a value of kept on the ramp, which is hot where kept is low.
func heatPaint(v float64, state int) uint8 {
	switch {
	case state == merge.CellNaN:
		return paintNaN
	case state == merge.CellInf:
		return paintInf
	case state != merge.CellValue:
		return paintNone
	}
	info := merge.MetricKept.Info()
	quiet := (min(max(v, info.Low), info.High) - info.Low) / (info.High - info.Low)
	return uint8(math.Round((1 - quiet) * (heatSteps - 1)))
}

// legendPicture is the ramp from kept 0 to kept 1.
func legendPicture() (picture, error) {
	img := image.NewPaletted(image.Rect(0, 0, heatSteps, 1), nil)
	for x := range heatSteps {
		img.SetColorIndex(x, 0, uint8(heatSteps-1-x))
	}
	return encodePicture(img)
}

// encodePicture encodes the same pixels with the palettes of both backgrounds.
func encodePicture(img *image.Paletted) (p picture, err error) {
	uri := func(dark bool) string {
		var b bytes.Buffer
		img.Palette = heatPalette(dark)
		enc := png.Encoder{CompressionLevel: png.BestCompression}
		if e := enc.Encode(&b, img); e != nil {
			err = e
		}
		return "data:image/png;base64," + base64.StdEncoding.EncodeToString(b.Bytes())
	}
	p.Dark, p.Light = template.Srcset(uri(true)), template.URL(uri(false))
	return p, err
}

// heatPalette is the ramp of the default map from quiet to hot, then the
// colours of cells without a value.
func heatPalette(dark bool) color.Palette {
	theme := themes.Default(dark)
	m, _ := themes.MapByName(theme.Map)
	ramp := m.Colors(dark)
	p := make(color.Palette, paints)
	for i := range heatSteps {
		p[i] = opaque(ramp[i*(len(ramp)-1)/(heatSteps-1)])
	}
	p[paintNaN], p[paintInf] = opaque(theme.Colors[themes.Bad]), opaque(theme.Colors[themes.Warn])
	p[paintNone] = color.RGBA{}
	return p
}

func opaque(c themes.Color) color.Color { return color.RGBA{c.R, c.G, c.B, 255} }
