package themes

import "strings"

// Map is a colour map for heatmaps. It has one ramp per colour depth, drawn up
// by hand for the smaller palettes: rounding a smooth map to them turns its
// luminance around in places. On a light background sequential maps run the
// other way, so that quiet values sink into the background on either.
type Map struct {
	Name      string
	Diverging bool // for signed values; quiet is the middle, not the start

	points  string // hex colours from dark to light; of a diverging map, see arms
	arms    [2]arms
	indices [2][]uint8 // ANSI256, from dark to light; of a diverging map by background
	hue     uint8      // ANSI16: basic colour of the shades, 0 the terminal's foreground
}

// arms are the control points of a diverging map on one background, from the
// middle outwards.
type arms struct{ low, high string }

// Backgrounds index the variants of a diverging map.
const (
	onDark = iota
	onLight
)

// maps lists the maps in the order of cycling. Magma and viridis are by van der
// Walt and Smith, cividis by Nuñez, Anderton and Renslow (PLoS ONE 2018), all
// CC0 and sampled at 32 points; magma begins at 7 % so that its quietest colour
// differs from a black background. The diverging map follows the idea of
// ColorBrewer's PuOr.
var maps = [...]Map{
	{
		Name: "magma",
		points: "0b0924 140e36 1e1149 29115a 36106b 440f76 51127c 5c167f " +
			"681c81 752181 802582 8c2981 992d80 a5317e b2357b bf3a77 " +
			"ca3e72 d6456c e24d66 ea5661 f2625d f7705c fa7d5e fc8c63 " +
			"fd9b6b fea973 feb77e fec68a fed395 fde2a3 fcf0b2 fcfdbf",
		indices: [2][]uint8{{17, 53, 54, 90, 126, 162, 167, 203, 209, 216, 222, 229}},
		hue:     5,
	},
	{
		Name: "viridis",
		points: "440154 470d60 48186a 482374 472e7c 453882 424186 3e4a89 " +
			"3a548c 365d8d 32658e 2e6d8e 2b758e 287d8e 25848e 228c8d " +
			"1f948c 1e9c89 20a386 25ab82 2eb37c 3aba76 48c16e 58c765 " +
			"6ccd5a 7fd34e 93d741 a8db34 c0df25 d5e21a eae51a fde725",
		indices: [2][]uint8{{53, 54, 55, 24, 25, 31, 36, 72, 42, 113, 149, 185, 227}},
		hue:     2,
	},
	{
		Name: "cividis",
		points: "00224e 00285b 002e6a 053371 1c396f 293f6e 33446d 3c4a6c " +
			"45506c 4d556c 555b6d 5c616e 646770 6b6d72 727274 787877 " +
			"807f78 888578 908b78 979177 a09875 a89e73 b0a571 b9ab6d " +
			"c2b369 cbb965 d3c05f dcc859 e6d051 efd748 f8df3c fee838",
		indices: [2][]uint8{{17, 18, 24, 60, 242, 244, 101, 137, 144, 179, 185, 221, 227}},
		hue:     3,
	},
	{
		Name:    "gray",
		points:  "1c1c1c e8e8e8",
		indices: [2][]uint8{{234, 235, 236, 238, 239, 240, 241, 243, 244, 245, 247, 248, 249, 251, 252, 253}},
	},
	{
		Name:      "diverging",
		Diverging: true,
		arms: [2]arms{
			onDark: {
				low:  "17161c 2b2760 4b45a0 726ed0 9a98ea c4c3f8 e4e4ff",
				high: "1a1714 4d2f10 86500f bd741c e79b46 f9c488 ffe6cb",
			},
			onLight: {
				low:  "f1f1f7 d5d5ee afaee0 8582cc 5e56ad 3f2f86 26125a",
				high: "f7f2ea f6d9ae ecb366 d08929 a5630f 784309 4f2a05",
			},
		},
		indices: [2][]uint8{
			onDark:  {189, 147, 105, 63, 61, 55, 235, 58, 94, 130, 172, 214, 222},
			onLight: {55, 61, 63, 105, 147, 189, 255, 223, 215, 172, 130, 94, 58},
		},
		hue: 3,
	},
}

// MapNames lists the colour maps in the order in which the interface cycles
// through them.
func MapNames() []string {
	names := make([]string, len(maps))
	for i := range maps {
		names[i] = maps[i].Name
	}
	return names
}

// MapByName returns a colour map.
func MapByName(name string) (Map, bool) {
	for i := range maps {
		if maps[i].Name == name {
			return maps[i], true
		}
	}
	return Map{}, false
}

// Colors returns the TrueColor ramp from quiet (or lowest, if diverging) to hot
// (or highest). Luminance is strictly monotone along it, along each arm from
// the middle of a diverging map.
func (m Map) Colors(dark bool) [256]Color {
	var out [256]Color
	if m.Diverging {
		a := m.arms[background(dark)]
		copy(out[128:], interpolate(a.high, 128, dark))
		low := interpolate(a.low, 128, dark)
		for i, c := range low {
			out[127-i] = c
		}
		return out
	}
	ramp := interpolate(m.points, 256, true)
	for i, c := range ramp {
		if dark {
			out[i] = c
		} else {
			out[255-i] = c
		}
	}
	return out
}

func background(dark bool) int {
	if dark {
		return onDark
	}
	return onLight
}

// interpolate samples n colours along control points, linearly in sRGB. Rounding
// to 8 bits may stop or turn the luminance between neighbours; green, to which
// the eye is most sensitive, is then nudged until it rises (or falls) again.
func interpolate(points string, n int, rising bool) []Color {
	var pts []Color
	for _, p := range strings.Fields(points) {
		c, err := ParseColor("#" + p)
		if err != nil {
			panic("themes: internal error: control point " + err.Error())
		}
		pts = append(pts, c)
	}
	out := make([]Color, n)
	for i := range out {
		num, den := i*(len(pts)-1), n-1
		k := min(num/den, len(pts)-2)
		f := num - k*den
		mix := func(a, b uint8) uint8 {
			return uint8((int(a)*(den-f) + int(b)*f + den/2) / den)
		}
		a, b := pts[k], pts[k+1]
		c := Color{mix(a.R, b.R), mix(a.G, b.G), mix(a.B, b.B)}
		if i > 0 {
			c = nudge(c, out[i-1].Luminance(), rising)
		}
		out[i] = c
	}
	return out
}

func nudge(c Color, y float64, rising bool) Color {
	for rising && c.Luminance() <= y && c.G < 255 {
		c.G++
	}
	for !rising && c.Luminance() >= y && c.G > 0 {
		c.G--
	}
	return c
}
