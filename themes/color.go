package themes

import (
	"fmt"
	"math"
	"strconv"
)

// ParseColor reads "#rrggbb", or "default" for the zero Color, the terminal's
// own. Black is read as #000001, since zero already has a meaning.
func ParseColor(s string) (Color, error) {
	if s == "default" {
		return Color{}, nil
	}
	if len(s) == 7 && s[0] == '#' {
		if v, err := strconv.ParseUint(s[1:], 16, 24); err == nil {
			c := rgb(uint32(v))
			if c == (Color{}) {
				c.B = 1
			}
			return c, nil
		}
	}
	return Color{}, fmt.Errorf(`%q is neither a colour like "#56b4e9" nor "default"`, s)
}

// String returns c as "#rrggbb", or "default" for the zero Color.
func (c Color) String() string {
	if c == (Color{}) {
		return "default"
	}
	return fmt.Sprintf("#%02x%02x%02x", c.R, c.G, c.B)
}

func rgb(v uint32) Color { return Color{uint8(v >> 16), uint8(v >> 8), uint8(v)} }

// Luminance returns the relative luminance Y of c, 0 for black to 1 for white
// (IEC 61966-2-1 with the BT.709 primaries).
func (c Color) Luminance() float64 {
	return 0.2126729*linear(c.R) + 0.7151522*linear(c.G) + 0.0721750*linear(c.B)
}

func linear(v uint8) float64 {
	x := float64(v) / 255
	if x <= 0.04045 {
		return x / 12.92
	}
	return math.Pow((x+0.055)/1.055, 2.4)
}

// cube holds the six channel values of xterm's 6x6x6 colour cube.
var cube = [6]uint8{0, 95, 135, 175, 215, 255}

// Indexed returns colour i of xterm's 256. The first sixteen are xterm's
// defaults; terminals let users change those.
func Indexed(i uint8) Color {
	switch {
	case i < 16:
		return basic[i]
	case i < 232:
		i -= 16
		return Color{cube[i/36], cube[i/6%6], cube[i%6]}
	default:
		v := 8 + 10*(i-232)
		return Color{v, v, v}
	}
}

var basic = [16]Color{
	{0, 0, 0},
	{205, 0, 0},
	{0, 205, 0},
	{205, 205, 0},
	{0, 0, 238},
	{205, 0, 205},
	{0, 205, 205},
	{229, 229, 229},
	{127, 127, 127},
	{255, 0, 0},
	{0, 255, 0},
	{255, 255, 0},
	{92, 92, 255},
	{255, 0, 255},
	{0, 255, 255},
	{255, 255, 255},
}

// Index256 returns the nearest of the 240 fixed colours of xterm's 256; it
// avoids the first sixteen, which users change.
func (c Color) Index256() uint8 {
	best, at := math.MaxInt, uint8(16)
	for i := 16; i < 256; i++ {
		if d := distance(c, Indexed(uint8(i))); d < best {
			best, at = d, uint8(i)
		}
	}
	return at
}

// Index16 returns the basic colour of the same hue: the terminal's palette is
// unknown, but its red is red. Greys go by lightness.
func (c Color) Index16() uint8 {
	high, low := max(c.R, c.G, c.B), min(c.R, c.G, c.B)
	if int(high)-int(low) < int(high)/5 {
		switch {
		case high < 64:
			return 0
		case high < 160:
			return 8
		case high < 224:
			return 7
		default:
			return 15
		}
	}
	index := uint8(1) // red from 330 to 30 degrees
	hue := c.hue()
	for _, s := range []struct {
		from  float64
		index uint8
	}{{30, 3}, {90, 2}, {170, 6}, {200, 4}, {260, 5}, {330, 1}} {
		if hue >= s.from {
			index = s.index
		}
	}
	if high >= 192 {
		index += 8
	}
	return index
}

// hue returns the hue of a colour that is no grey, in degrees from 0 to 360.
func (c Color) hue() float64 {
	r, g, b := float64(c.R), float64(c.G), float64(c.B)
	span := max(r, g, b) - min(r, g, b)
	var h float64
	switch max(r, g, b) {
	case r:
		h = (g - b) / span
	case g:
		h = 2 + (b-r)/span
	default:
		h = 4 + (r-g)/span
	}
	return math.Mod(60*h+360, 360)
}

// distance is the weighted Euclidean distance in sRGB known as redmean, a cheap
// stand-in for CIE ΔE.
func distance(a, b Color) int {
	mean := (int(a.R) + int(b.R)) / 2
	r, g, bl := int(a.R)-int(b.R), int(a.G)-int(b.G), int(a.B)-int(b.B)
	return (512+mean)*r*r/256 + 4*g*g + (767-mean)*bl*bl/256
}
