package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"html"
	"image/color"
	"image/png"
	"io"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"

	"mergescope/loader"
	"mergescope/merge"
	"mergescope/themes"
)

// demoDossier is a dry run over the demo, with tiles.
func demoDossier(t *testing.T, adapter string, failOn ...string) *dossier {
	t.Helper()
	a := &app{source: loader.Source{Demo: demoFS()}, out: io.Discard, err: io.Discard}
	s, err := a.open("demo", selection{adapters: []string{adapter}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r, tiles, err := a.runTiled(t.Context(), s, merge.Options{Tiles: true}, "none")
	if err != nil {
		t.Fatal(err)
	}
	d := testDossier(r, failOn...)
	d.plan, d.tiles = s.plan, tiles
	return d
}

// tagPattern is a tag as the template writes it: quoted attributes without "<"
// and ">".
var tagPattern = regexp.MustCompile(`<(/?)([a-zA-Z][a-zA-Z0-9]*)((?:\s+[a-zA-Z-]+(?:="[^"<>]*")?)*)\s*>`)

// checkHTML demands that every "<" begins a known tag and that tags nest, and
// returns how often each occurs. Style and script are left out.
func checkHTML(t *testing.T, text string) map[string]int {
	t.Helper()
	for _, name := range []string{"style", "script"} {
		text = regexp.MustCompile(`(?s)<`+name+`>.*?</`+name+`>`).ReplaceAllString(text, "")
	}
	text = strings.TrimPrefix(text, "<!doctype html>")
	count := map[string]int{}
	void := []string{"meta", "img", "source", "wbr", "br"}
	var open []string
	for _, m := range tagPattern.FindAllStringSubmatch(text, -1) {
		name := m[2]
		switch {
		case m[1] == "":
			count[name]++
			if !slices.Contains(void, name) {
				open = append(open, name)
			}
		case len(open) == 0 || open[len(open)-1] != name:
			t.Fatalf("</%s> closes %v", name, open)
		default:
			open = open[:len(open)-1]
		}
	}
	if len(open) > 0 {
		t.Errorf("not closed: %v", open)
	}
	rest := tagPattern.ReplaceAllString(text, "")
	if i := strings.IndexByte(rest, '<'); i >= 0 {
		t.Errorf("a < that begins no tag: %.80q", rest[i:])
	}
	return count
}

// selfContained demands that the page names nothing outside itself and allows
// its own style and script only.
func selfContained(t *testing.T, text string) {
	t.Helper()
	for _, m := range regexp.MustCompile(`(?:src|srcset|href|action)="([^"]*)"`).FindAllStringSubmatch(text, -1) {
		if !strings.HasPrefix(m[1], "data:image/png;base64,") && !strings.HasPrefix(m[1], "#") {
			t.Errorf("the page refers to %.60q", m[1])
		}
	}
	if strings.Contains(text, "@import") || strings.Contains(text, "url(") {
		t.Error("the style refers to something")
	}
	policy := html.UnescapeString(regexp.MustCompile(`Content-Security-Policy" content="([^"]*)"`).FindStringSubmatch(text)[1])
	for _, name := range []string{"style", "script"} {
		all := regexp.MustCompile(`(?s)<`+name+`>(.*?)</`+name+`>`).FindAllStringSubmatch(text, -1)
		if len(all) != 1 || strings.Count(strings.ToLower(text), "<"+name) != 1 {
			t.Fatalf("%d elements %s, want 1", len(all), name)
		}
		sum := sha256.Sum256([]byte(all[0][1]))
		want := name + "-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
		if !strings.Contains(policy, want) {
			t.Errorf("the policy %q does not allow %s", policy, want)
		}
	}
	if !strings.HasPrefix(policy, "default-src 'none';") {
		t.Errorf("the policy is %q", policy)
	}
}

func TestHTML(t *testing.T) {
	d := demoDossier(t, "demo:gocode-light", "erased")
	data, err := htmlPage(d)
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	selfContained(t, text)
	count := checkHTML(t, text)
	const layers = 28 // of the demo
	if got := count["img"]; got != layers+1 {
		t.Errorf("%d pictures, want one a layer and the legend", got)
	}
	if got := strings.Count(text, `<th scope="row" data-sort="`); got != layers {
		t.Errorf("%d rows in the table of layers, want %d", got, layers)
	}
	if got := strings.Count(text, "--at "); got != pageWorst {
		t.Errorf("%d worst blocks, want %d", got, pageWorst)
	}
	if got := count["rect"]; got != 2*histogramBins {
		t.Errorf("%d bars, want %d", got, 2*histogramBins)
	}
	for _, want := range []string{
		"failed with --fail-on erased", `name="viewport"`, "prefers-color-scheme: dark",
		"Merge lora module to 4-bit linear may get different generations", html.EscapeString(merge.HintFor(merge.CodeErased)),
		d.report.Plan, html.EscapeString(`"gocode-light"`), merge.Guidance()[0].Text,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not have %q", want)
		}
	}
}

func TestHTMLEscapes(t *testing.T) {
	data, err := htmlPage(hostileDossier())
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	selfContained(t, text)
	count := checkHTML(t, text)
	if count["img"] != 0 {
		t.Errorf("%d pictures in a page without tiles", count["img"])
	}
	if strings.ContainsAny(text, "\x00\x1b\u202e") {
		t.Error("characters that are not printable came through")
	}
	if !strings.Contains(text, "&lt;script&gt;alert(1)&lt;/script&gt;") {
		t.Error("the hostile name is not on the page at all")
	}
}

// The pixels of a heatmap are the colours of the theme's map for kept between 0
// and 1, hot where little is kept.
func TestHeatPicture(t *testing.T) {
	d := demoDossier(t, "demo:broken")
	seen := map[int]int{}
	for name, tile := range d.tiles {
		p, err := heatPicture(tile)
		if err != nil {
			t.Fatal(err)
		}
		for _, dark := range []bool{true, false} {
			uri := string(p.Light)
			if dark {
				uri = string(p.Dark)
			}
			raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(uri, "data:image/png;base64,"))
			if err != nil {
				t.Fatal(err)
			}
			img, err := png.Decode(bytes.NewReader(raw))
			if err != nil {
				t.Fatal(err)
			}
			if b := img.Bounds(); b.Dx() != tile.Cols || b.Dy() != tile.Rows {
				t.Fatalf("%s: %v pixels, want %d by %d", name, b, tile.Cols, tile.Rows)
			}
			for i := range tile.Rows * tile.Cols {
				x, y := i%tile.Cols, i/tile.Cols
				v, state := tile.At(merge.MetricKept, merge.Worst, y, x)
				seen[state]++
				checkPixel(t, img.At(x, y), v, state, dark)
			}
		}
	}
	for _, state := range []int{merge.CellValue, merge.CellNaN} {
		if seen[state] == 0 {
			t.Errorf("no cell in state %d", state)
		}
	}
	// The demo has no cell that is infinite and none that is empty.
	for _, dark := range []bool{true, false} {
		palette := heatPalette(dark)
		for _, state := range []int{merge.CellInf, merge.CellEmpty} {
			checkPixel(t, palette[heatPaint(0, state)], 0, state, dark)
		}
	}
}

func checkPixel(t *testing.T, got color.Color, v float64, state int, dark bool) {
	t.Helper()
	theme := themes.Default(dark)
	magma, _ := themes.MapByName("magma")
	ramp := magma.Colors(dark)
	var want []themes.Color
	switch state {
	case merge.CellNaN:
		want = []themes.Color{theme.Colors[themes.Bad]}
	case merge.CellInf:
		want = []themes.Color{theme.Colors[themes.Warn]}
	case merge.CellValue:
		// One of 64 steps: within half a step of the exact place.
		at := 255 * (1 - math.Max(0, math.Min(1, v)))
		for i, c := range ramp {
			if math.Abs(float64(i)-at) <= 255.0/63/2+1 {
				want = append(want, c)
			}
		}
	default:
		if _, _, _, a := got.RGBA(); a != 0 {
			t.Fatalf("a cell without a value is %v", got)
		}
		return
	}
	r, g, b, _ := got.RGBA()
	if c := (themes.Color{R: uint8(r >> 8), G: uint8(g >> 8), B: uint8(b >> 8)}); !slices.Contains(want, c) {
		t.Fatalf("kept %v in state %d is %v, want one of %v", v, state, c, want)
	}
}

func TestHistogram(t *testing.T) {
	h := newHistogram("x", []float64{-3, 0, 0.049, 0.05, 0.5, 1, 7, math.NaN()})
	got := map[int]float64{}
	for i, b := range h.Bars {
		if b.Height > 0 {
			got[i] = b.Height
		}
	}
	want := map[int]float64{0: 40, 1: 40.0 / 3, 10: 40.0 / 3, 19: 80.0 / 3}
	if h.Max != "3" || len(got) != len(want) {
		t.Errorf("highest bar %s, heights %v, want 3 and %v", h.Max, got, want)
	}
	for i, w := range want {
		if math.Abs(got[i]-w) > 1e-9 {
			t.Errorf("bar %d is %v high, want %v", i, got[i], w)
		}
	}
	if h := newHistogram("x", []float64{math.NaN()}); len(h.Bars) != 0 {
		t.Error("a histogram of nothing has bars")
	}
}

// Pages stay bounded: the layers that keep least get a heatmap.
func TestPageMapsBounded(t *testing.T) {
	d := demoDossier(t, "demo:gocode-light")
	one := d.tiles[d.report.Layers[0].Name]
	r := testReport()
	tiles := map[string]*merge.Tile{}
	for i := range pageMaps + 5 {
		name := "layer" + strings.Repeat("x", i)
		r.Layers = append(r.Layers, testLayer(name, float64(i)))
		tiles[name] = one
	}
	big := testDossier(r)
	big.tiles = tiles
	p, err := newPage(big)
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Maps) != pageMaps || p.MapsLeft != 5 || p.Layers[0].Map != "#map-0" || p.Layers[pageMaps].Map != "" {
		t.Errorf("%d maps, %d left out, anchors %q and %q", len(p.Maps), p.MapsLeft, p.Layers[0].Map, p.Layers[pageMaps].Map)
	}
}

// The page of a run is well formed, scrubs names, and places points of one curve
// from left to right within the chart.
func TestHTMLRun(t *testing.T) {
	d := demoDossier(t, "demo:gocode")
	d.run = &merge.EvalReport{
		Reference: "separate", Window: 32, Windows: 3, Tokens: 96, Texts: []merge.EvalTextInfo{{Name: "<a>", Tokens: 48}, {Name: "b", Tokens: 48}},
		Sensitivity: &merge.Sensitivity{Tokens: 64, Layers: []merge.SensitiveLayer{{Name: "<layer>", KL: merge.Uncertain{Value: 0.25}}}},
	}
	nan := merge.Figure(math.NaN())
	for i, name := range []string{"base", "separate", "<plan>"} {
		f := merge.EvalFigures{Tokens: 96, KL: merge.Uncertain{Value: merge.Figure(i) / 8, Error: 0.01}, KLSequences: merge.Uncertain{Error: nan}}
		d.run.Variants = append(d.run.Variants, &merge.VariantReport{
			Name: name, Figures: f, Texts: []merge.TextReport{{Name: "<a>", Figures: f}, {Name: "b", Figures: f}},
			Positions: []merge.PositionReport{{From: 1, To: 16, Figures: f}, {From: 17, To: 32, Figures: f}},
			Depth:     []merge.Figure{0.5, nan, 2},
		})
	}
	page, err := htmlPage(d)
	if err != nil {
		t.Fatal(err)
	}
	count := checkHTML(t, string(page))
	if count["path"] < 4 || count["circle"] != 2+2*2 { // KL of base is 0 and has no place on a logarithmic axis
		t.Errorf("%d paths, %d circles", count["path"], count["circle"])
	}
	for _, want := range []string{"&lt;plan&gt;", "&lt;layer&gt;", "&lt;a&gt;, 0 of 48 tokens", "0.25"} {
		if !strings.Contains(string(page), want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	c := depthChart(d.run)
	for _, l := range c.Lines {
		last := chartLeft
		for _, p := range l.Points {
			if p.X <= last || p.X >= chartRight || p.Y < chartTop || p.Y > chartBottom {
				t.Errorf("%s: point at %v, %v", l.Name, p.X, p.Y)
			}
			last = p.X
		}
	}
	if n := len(newChart("", []string{"a"}, []series{{name: "x", values: []float64{0}}}).Lines); n != 0 {
		t.Errorf("a chart of nothing has %d lines", n)
	}
}
