package themes

import (
	"math"
	"slices"
	"strings"
	"testing"
)

func TestBuiltinThemes(t *testing.T) {
	for _, name := range Names() {
		th, ok := ByName(name)
		if !ok || th.Name != name {
			t.Errorf("ByName(%q) = %q, %v", name, th.Name, ok)
		}
		if th.Colors[Title] != (Color{}) {
			t.Errorf("%s: titles must keep the terminal's foreground", name)
		}
	}
	if d, l := Default(true), Default(false); !d.Dark || l.Dark {
		t.Errorf("Default(true).Dark = %v, Default(false).Dark = %v", d.Dark, l.Dark)
	}
	if _, ok := ByName("no such theme"); ok {
		t.Error("ByName found a theme that does not exist")
	}
}

// contrast is the ratio of WCAG 2.1, from 1 to 21.
func contrast(a, b Color) float64 {
	x, y := a.Luminance(), b.Luminance()
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}

// Text has to be read: 4.5 on common backgrounds, 3 for what is meant to recede.
func TestThemesAreReadable(t *testing.T) {
	backgrounds := map[bool][]Color{
		true:  {{0, 0, 0}, {30, 30, 30}, {0, 43, 54}},
		false: {{255, 255, 255}, {250, 250, 245}},
	}
	want := map[Role]float64{
		Dim: 4, Accent: 4.5, BorderFocus: 4.5, Key: 4.5, Good: 4.5, Warn: 4.5, Bad: 4.5, Note: 4.5, Mark: 4.5, Cursor: 4.5,
	}
	for _, name := range Names() {
		th, _ := ByName(name)
		for _, bg := range backgrounds[th.Dark] {
			for role, least := range want {
				if got := contrast(th.Colors[role], bg); got < least {
					t.Errorf("%s: %s %s on %s has contrast %.2f, want %.1f", name, role, th.Colors[role], bg, got, least)
				}
			}
		}
	}
}

// deficiencies are the full-severity matrices of Machado, Oliveira and
// Fernandes (2009), on linear sRGB.
var deficiencies = map[string][3][3]float64{
	"protanopia":   {{0.152286, 1.052583, -0.204868}, {0.114503, 0.786281, 0.099216}, {-0.003882, -0.048116, 1.051998}},
	"deuteranopia": {{0.367322, 0.860646, -0.227968}, {0.280085, 0.672501, 0.047413}, {-0.011820, 0.042940, 0.968881}},
	"tritanopia":   {{1.255528, -0.076749, -0.178779}, {-0.078411, 0.930809, 0.147602}, {0.004733, 0.691367, 0.303900}},
	"none":         {{1, 0, 0}, {0, 1, 0}, {0, 0, 1}},
}

// lab returns CIE L*a*b* of a colour as a person with deficiency m sees it.
func lab(c Color, m [3][3]float64) [3]float64 {
	in := [3]float64{linear(c.R), linear(c.G), linear(c.B)}
	var seen [3]float64
	for i := range seen {
		for j := range in {
			seen[i] += m[i][j] * in[j]
		}
		seen[i] = min(1, max(0, seen[i]))
	}
	xyz := [3]float64{
		(0.4124564*seen[0] + 0.3575761*seen[1] + 0.1804375*seen[2]) / 0.95047,
		0.2126729*seen[0] + 0.7151522*seen[1] + 0.0721750*seen[2],
		(0.0193339*seen[0] + 0.1191920*seen[1] + 0.9503041*seen[2]) / 1.08883,
	}
	for i, v := range xyz {
		if v > 216.0/24389 {
			xyz[i] = math.Cbrt(v)
		} else {
			xyz[i] = (v*24389/27 + 16) / 116
		}
	}
	return [3]float64{116*xyz[1] - 16, 500 * (xyz[0] - xyz[1]), 200 * (xyz[1] - xyz[2])}
}

func TestDefaultThemesAreColourBlindSafe(t *testing.T) {
	roles := []Role{Good, Warn, Bad}
	for _, dark := range []bool{true, false} {
		th := Default(dark)
		for kind, m := range deficiencies {
			for i, a := range roles {
				for _, b := range roles[i+1:] {
					x, y := lab(th.Colors[a], m), lab(th.Colors[b], m)
					d := math.Sqrt((x[0]-y[0])*(x[0]-y[0]) + (x[1]-y[1])*(x[1]-y[1]) + (x[2]-y[2])*(x[2]-y[2]))
					if d < 15 {
						t.Errorf("%s, %s: %s and %s differ by ΔE %.1f, want 15", th.Name, kind, a, b, d)
					}
				}
			}
		}
	}
}

func TestLoad(t *testing.T) {
	th, err := Load(strings.NewReader(`{"name": "x", "dark": false, "colors": {"good": "#0A0b0C", "dim": "default", "bad": "#000000"}}`))
	if err != nil {
		t.Fatal(err)
	}
	if th.Name != "x" || th.Dark || th.Map != "magma" {
		t.Errorf("loaded %+v", th)
	}
	if th.Colors[Good] != (Color{10, 11, 12}) || th.Colors[Dim] != (Color{}) || th.Colors[Bad] != (Color{0, 0, 1}) {
		t.Errorf("colours %v %v %v", th.Colors[Good], th.Colors[Dim], th.Colors[Bad])
	}
}

func TestLoadErrors(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		{``, "theme: EOF"},
		{`{"dark": true}`, "name: missing"},
		{`{"name": "x"}`, "dark: missing"},
		{`{"name": "x", "dark": true, "maps": "gray"}`, `unknown field "maps"`},
		{`{"name": "x", "dark": true, "map": "turbo"}`, `map: no colour map "turbo"; there are magma, viridis`},
		{`{"name": "x", "dark": true, "colors": {"goood": "#112233"}}`, "colors.goood: no such role; there are dim, accent"},
		{`{"name": "x", "dark": true, "colors": {"good": "green"}}`, `colors.good: "green" is neither a colour`},
		{`{"name": "x", "dark": true, "colors": {"good": "#12"}}`, `colors.good: "#12"`},
		{`{"name": "x", "dark": true, "colors": {"good": "#+12345"}}`, `colors.good: "#+12345"`},
		{"{\n\"name\": \"x\",\n\"dark\": 1}", "line 3: dark: want bool, have number"},
		{"{\n\"name\": \"x\",\n\"dark\": true,}", "line 3: invalid character"},
		{`{"name": "x", "dark": true} {}`, "text after the closing brace"},
		{strings.Repeat(" ", maxFile+1), "longer than 65536 bytes"},
	} {
		if _, err := Load(strings.NewReader(tc.in)); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("Load(%.60q) = %v, want %q", tc.in, err, tc.want)
		}
	}
}

func FuzzLoad(f *testing.F) {
	f.Add([]byte(`{"name": "x", "dark": true, "map": "gray", "colors": {"good": "#112233"}}`))
	f.Add([]byte("{\n\"name\": \"x\",\n\"dark\": 1}"))
	f.Add([]byte(`{"colors": {"": ""}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		th, err := Load(strings.NewReader(string(data)))
		if err == nil && (th.Name == "" || th.Map == "") {
			t.Errorf("Load accepted a theme without name or map: %+v", th)
		}
	})
}

// Against the xterm palette as published: 16 is black, 231 white, 232 and 255
// the ends of the greys, 208 an orange.
func TestIndexed(t *testing.T) {
	for i, want := range map[uint8]Color{
		16: {0, 0, 0}, 231: {255, 255, 255}, 232: {8, 8, 8}, 255: {238, 238, 238}, 208: {255, 135, 0}, 53: {95, 0, 95},
	} {
		if got := Indexed(i); got != want {
			t.Errorf("Indexed(%d) = %s, want %s", i, got, want)
		}
	}
	for i := 16; i < 256; i++ {
		c := Indexed(uint8(i))
		if got := Indexed(c.Index256()); got != c {
			t.Errorf("%s is in the palette but Index256 gives %s", c, got)
		}
	}
}

// Without exact colours roles keep their hues: good is never shown as bad.
func TestIndex16KeepsHues(t *testing.T) {
	hues := map[Role][]uint8{
		Good: {2, 6}, Warn: {3}, Bad: {1}, Note: {4}, Mark: {5}, Key: {3}, Cursor: {0, 7},
	}
	for _, name := range Names() {
		th, _ := ByName(name)
		for role, want := range hues {
			if got := th.Colors[role].Index16() % 8; !slices.Contains(want, got) {
				t.Errorf("%s: %s %s becomes basic colour %d, want %v", name, role, th.Colors[role], got, want)
			}
		}
	}
}
