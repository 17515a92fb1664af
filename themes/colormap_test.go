package themes

import (
	"fmt"
	"math"
	"testing"
)

// lightness is CIE L* under D65, worked out here from the sRGB standard and not
// from Color.Luminance.
func lightness(c Color) float64 {
	channel := func(v uint8) float64 {
		x := float64(v) / 255
		if x > 0.04045 {
			return math.Pow((x+0.055)/1.055, 2.4)
		}
		return x / 12.92
	}
	y := 0.2126729*channel(c.R) + 0.7151522*channel(c.G) + 0.0721750*channel(c.B)
	if y > 216.0/24389 {
		return 116*math.Cbrt(y) - 16
	}
	return y * 24389 / 27
}

// ink is the share of a character cell that a glyph of a ramp covers, or its
// rank where fonts differ.
var ink = map[rune]float64{
	'·': 0.03, '░': 0.25, '▒': 0.5, '▓': 0.75, '█': 1,
	'▁': 1. / 8, '▂': 2. / 8, '▃': 3. / 8, '▄': 4. / 8, '▅': 5. / 8, '▆': 6. / 8, '▇': 7. / 8,
	'.': 0.01, ':': 0.02, '-': 0.03, '=': 0.06, '+': 0.08, '*': 0.1, '#': 0.15, '%': 0.18, '@': 0.2,
}

// monotone fails unless the values rise strictly by sign, pairwise distinct
// follows.
func monotone(t *testing.T, what string, values []float64, sign float64) {
	t.Helper()
	for i := 1; i < len(values); i++ {
		if (values[i]-values[i-1])*sign <= 0 {
			t.Errorf("%s: step %d to %d goes from %.3f to %.3f", what, i-1, i, values[i-1], values[i])
		}
	}
}

// arm splits a ramp into the runs that must be monotone, each from quiet to hot.
func runs(values []float64, diverging bool) [][]float64 {
	if !diverging {
		return [][]float64{values}
	}
	half := len(values) / 2
	low := make([]float64, 0, half)
	for i := half - 1; i >= 0; i-- {
		low = append(low, values[i])
	}
	return [][]float64{low, values[len(values)-half:]}
}

func TestLuminanceIsMonotoneInEveryDepth(t *testing.T) {
	for _, m := range maps {
		for _, dark := range []bool{true, false} {
			away := 1.0 // hot colours leave the background
			if !dark {
				away = -1
			}
			var full, indexed []float64
			for _, c := range m.Colors(dark) {
				full = append(full, lightness(c))
			}
			for _, i := range m.Indices(dark) {
				indexed = append(indexed, lightness(Indexed(i)))
			}
			name := fmt.Sprintf("%s dark=%v", m.Name, dark)
			for _, r := range runs(full, m.Diverging) {
				monotone(t, name+" truecolor", r, away)
			}
			for _, r := range runs(indexed, m.Diverging) {
				monotone(t, name+" 256", r, away)
			}
			for _, ascii := range []bool{false, true} {
				var inks []float64
				for _, s := range m.Shades(dark, ascii) {
					inks = append(inks, ink[s.Glyph])
				}
				for _, r := range runs(inks, m.Diverging) {
					monotone(t, fmt.Sprintf("%s 16 ascii=%v", name, ascii), r, 1)
				}
			}
		}
	}
	for _, ascii := range []bool{false, true} {
		var inks []float64
		for _, g := range Glyphs(ascii) {
			inks = append(inks, ink[g])
		}
		monotone(t, fmt.Sprintf("no colour ascii=%v", ascii), inks, 1)
	}
}

func TestRampsHaveNoDuplicates(t *testing.T) {
	for _, m := range maps {
		for _, dark := range []bool{true, false} {
			seen := map[Color]int{}
			for i, c := range m.Colors(dark) {
				if j, ok := seen[c]; ok {
					t.Errorf("%s dark=%v: %d and %d are both %s", m.Name, dark, j, i, c)
				}
				seen[c] = i
			}
			indices := m.Indices(dark)
			if n := len(indices); n < 12 || n > 16 {
				t.Errorf("%s: %d indices, want 12 to 16", m.Name, n)
			}
			used := map[uint8]bool{}
			for _, i := range indices {
				if used[i] || i < 16 {
					t.Errorf("%s: index %d twice, or one users change", m.Name, i)
				}
				used[i] = true
			}
		}
	}
}

// The quiet end sinks into the background but differs from it, so that a quiet
// value is never taken for one that is not computed.
func TestQuietSinksIntoTheBackground(t *testing.T) {
	for _, m := range maps {
		for _, dark := range []bool{true, false} {
			ramp := m.Colors(dark)
			quiet, hot := ramp[0], ramp[255]
			if m.Diverging {
				quiet = ramp[127]
			}
			q, h := lightness(quiet), lightness(hot)
			if dark && (q < 2 || q > 16 || h < 85) || !dark && (q > 98.5 || q < 85 || h > 30) {
				t.Errorf("%s dark=%v: quiet L* %.1f, hot L* %.1f", m.Name, dark, q, h)
			}
		}
	}
}

// Control points against figures of matplotlib 3.11 at places between points.
func TestMapsFollowTheirSource(t *testing.T) {
	for _, tc := range []struct {
		name string
		at   int // of 256
		want Color
	}{
		{"viridis", 0, Color{68, 1, 84}},
		{"viridis", 100, Color{42, 119, 142}},
		{"viridis", 200, Color{115, 208, 86}},
		{"viridis", 255, Color{253, 231, 37}},
		{"cividis", 100, Color{104, 107, 113}},
		{"cividis", 200, Color{197, 181, 103}},
		{"magma", 255, Color{252, 253, 191}},
	} {
		m, ok := MapByName(tc.name)
		if !ok {
			t.Fatalf("no map %s", tc.name)
		}
		got := m.Colors(true)[tc.at]
		for _, d := range []int{int(got.R) - int(tc.want.R), int(got.G) - int(tc.want.G), int(got.B) - int(tc.want.B)} {
			if d < -3 || d > 3 {
				t.Errorf("%s[%d] = %s, want about %s", tc.name, tc.at, got, tc.want)
				break
			}
		}
	}
}
