package themes

import "slices"

// Shade is one step of a ramp made of characters: how much ink, in which basic
// colour.
type Shade struct {
	Glyph rune
	Index uint8 // of the sixteen basic colours; 0 means the terminal's foreground
}

// Indices returns the ANSI256 ramp in the order of Colors: 12 to 16 colours of
// xterm's fixed 240, strictly monotone in luminance.
func (m Map) Indices(dark bool) []uint8 {
	if m.Diverging {
		return slices.Clone(m.indices[background(dark)])
	}
	out := slices.Clone(m.indices[0])
	if !dark {
		slices.Reverse(out)
	}
	return out
}

// shades grow in ink, asciiShades likewise. Neither holds the blank, which
// stands for "not computed".
const (
	shades      = "·░▒▓█"
	asciiShades = ".:-=+*#%@"
	eighths     = "▁▂▃▄▅▆▇█"
)

// Shades returns the ANSI16 ramp in the order of Colors: characters of growing
// ink in one hue, in two hues from the middle outwards for a diverging map.
func (m Map) Shades(dark, ascii bool) []Shade {
	glyphs := []rune(shades)
	if ascii {
		glyphs = []rune(asciiShades)
	}
	var out []Shade
	if m.Diverging {
		for i := len(glyphs) - 1; i > 0; i-- {
			out = append(out, Shade{glyphs[i], bright(4, dark)})
		}
	}
	for _, g := range glyphs {
		out = append(out, Shade{g, bright(m.hue, dark)})
	}
	return out
}

// bright moves a basic colour to its bright twin on a dark background.
func bright(hue uint8, dark bool) uint8 {
	if dark && hue > 0 {
		return hue + 8
	}
	return hue
}

// Glyphs returns the ramp without colour: eighth blocks, or characters of
// growing ink in ASCII. It serves every map.
func Glyphs(ascii bool) []rune {
	if ascii {
		return []rune(asciiShades)
	}
	return []rune(eighths)
}
