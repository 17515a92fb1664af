package tui

import (
	"fmt"
	"math"
	"slices"
	"strings"

	tea "charm.land/bubbletea/v2"

	"mergescope/quant"
	"mergescope/themes"
)

// How large a tour gets where there is room.
const (
	tourWidth  = 108
	tourHeight = 28
)

// size returns the room of a page in a box of at most w by h.
func (x *tourBox) size(w, h int) (int, int) { return min(w-2, tourWidth), min(h, tourHeight) }

func (x *tourBox) box(c canvas, w, h int) (title string, lines []string, cursor *tea.Position) {
	w, h = x.size(w, h)
	p := x.page()
	title = fmt.Sprintf("%s  %d/%d  %s", x.tour.name, x.at+1, len(x.tour.pages), p.title)
	switch {
	case x.why != "":
		lines = c.message(w, h, "the demo cannot be shown", x.why)
	case x.stage == nil:
		lines = c.message(w, h, "merging the demo in all ways…")
	default:
		lines = x.content(c, p, w, h)
	}
	lines = exactly(c, lines, w, h)
	for i, l := range lines {
		lines[i] = " " + l + " "
	}
	return title, lines, nil
}

// leastPicture is how many lines of a picture there must be room for; with less
// the page can be scrolled.
const leastPicture = 5

// content is text, picture and sliders of a page.
func (x *tourBox) content(c canvas, p *page, w, h int) []string {
	var foot []string
	if len(p.sliders) > 0 {
		foot = append(foot, x.figures(c, w), x.sliders(c, p, w))
	}
	lines := x.body(c, w, h-len(foot))
	if over := len(lines) - (h - len(foot)); over > 0 {
		top := between(x.top, 0, over+1)
		g := c.glyphs()
		foot = append([]string{c.paint.text(themes.Dim, g.keyUp+" "+g.keyDown+" scroll")}, foot...)
		lines = lines[top:min(len(lines), top+max(0, h-len(foot)))]
	}
	return append(exactly(c, lines, w, h-len(foot)), foot...)
}

// body is text and picture of a page, which may be longer than h lines.
func (x *tourBox) body(c canvas, w, h int) []string {
	p := x.page()
	var lines []string
	for para := range strings.SplitSeq(p.text(x.stage), "\n") {
		lines = append(lines, wrapWords(c.plain(para), w)...)
	}
	if p.picture == nil {
		return lines
	}
	room := h - len(lines)
	if room >= leastPicture+3 {
		lines = append(lines, "")
		room--
	}
	if room >= leastPicture || len(p.sliders) > 0 { // there the arrows pick a slider
		return append(lines, exactly(c, p.picture(x.stage, c, w, max(0, room)), w, max(0, room))...)
	}
	return append(lines, p.picture(x.stage, c, w, 2*leastPicture)...)
}

// figures are what the settings lead to: of the delta if there is one, else of
// rounding.
func (x *tourBox) figures(c canvas, w int) string {
	g, t := c.glyphs(), x.stage.trial
	var line string
	var parts []string
	if kept := float64(t.Kept); math.IsNaN(kept) {
		line = "rounding to " + x.stage.set.Format.String() + " " + c.paint.text(themes.Accent, g.percent(t.Off))
	} else {
		line = "kept " + c.paint.text(themes.Track, g.barL) + c.meter(kept, min(24, w/4), keptRole(kept)) + c.paint.text(themes.Track, g.barR) +
			" " + c.paint.text(keptRole(kept), right(g.percent(kept), 5))
		parts = []string{
			"codes changed " + g.percent(float64(t.CodesChanged)), "delta ratio " + g.percent(float64(t.DeltaRatio)),
			"error " + g.percent(float64(t.ErrorRelative)),
		}
	}
	for _, part := range parts {
		if width(line)+2+width(part) <= w {
			line += "  " + part
		}
	}
	return c.fit(line, w)
}

// sliders are the settings of the page, the one that + and - change marked. Of
// more than fit, those around it are shown.
func (x *tourBox) sliders(c canvas, p *page, w int) string {
	g := c.glyphs()
	parts := make([]string, len(p.sliders))
	for i, s := range p.sliders {
		text := s.name + " " + c.plain(s.value(x.stage))
		if i == x.slider {
			parts[i] = c.paint.text(themes.Key, "- ") + c.paint.text(themes.BorderFocus, text) + c.paint.text(themes.Key, " +")
		} else {
			parts[i] = c.paint.text(themes.Dim, "  "+text+"  ")
		}
	}
	from := 0
	for from < x.slider && width(strings.Join(parts[from:x.slider+1], g.thin.v)) > w {
		from++
	}
	return c.fit(strings.Join(parts[from:], c.paint.text(themes.Dim, g.thin.v)), w)
}

// drawTrial is the staircase beside what the deltas reach.
func drawTrial(s *stage, c canvas, w, h int) []string {
	if w < 70 {
		return drawReach(s, c, w, h)
	}
	lw := (w - 3) / 2
	return c.beside(drawStairs(s, c, lw, h), lw, "   ", drawReach(s, c, w-3-lw, h), w-3-lw)
}

// stairsAt and stairsHalf are the part of the staircase that is drawn in units
// of the scale: a few steps of NF4, so that all formats compare.
const (
	stairsAt   = 0.2
	stairsHalf = 0.24
)

// drawStairs draws which value becomes which stored value, with a weight on its
// code and where the rms of the deltas takes it.
func drawStairs(s *stage, c canvas, w, h int) []string {
	f, t := s.set.Format, s.trial
	if w < 20 || h < 5 {
		return blank(w, h)
	}
	p := newPlot(c, w, h-2)
	xs := dots{lo: stairsAt - stairsHalf, hi: stairsAt + stairsHalf, n: p.w * p.dw}
	ys := dots{lo: xs.lo, hi: xs.hi, n: p.h * p.dh}
	stored := stairs(f, t.Panel.Profile)
	row := func(v float64) int { return ys.n - 1 - ys.at(v) }
	for i := range xs.n - 1 {
		from, to := row(stored(xs.value(i))), row(stored(xs.value(i+1)))
		p.dot(i, from, themes.Note)
		p.line(i+1, from, i+1, to, themes.Note)
	}
	from := stored(stairsAt)
	to := from + float64(t.DeltaRMS)/meanScale(t.Panel)
	a := c.axisGlyphs()
	legend := c.paint.text(themes.Accent, a.stored) + " weight"
	if t.DeltaRMS > 0 {
		p.mark(xs.at(to)/p.dw, row(stored(to))/p.dh, a.snapped, themes.Good)
		p.mark(xs.at(to)/p.dw, p.h-1, a.exact, themes.Warn)
		legend += "  " + c.paint.text(themes.Warn, a.exact) + " + delta rms  " + c.paint.text(themes.Good, a.snapped) + " stored"
	}
	p.mark(xs.at(from)/p.dw, row(from)/p.dh, a.stored, themes.Accent)
	p.mark(xs.at(from)/p.dw, p.h-1, a.stored, themes.Accent)
	out := append(p.draw(c), c.paint.text(themes.Dim, strings.Repeat(c.glyphs().thin.h, w)))
	return append(out, legend)
}

// stairs returns the rounding of a format in units of the scale.
func stairs(f quant.Format, p quant.Profile) func(float64) float64 {
	bounds := quant.Boundaries(f, p)
	if !f.Is4Bit() {
		return func(v float64) float64 { return math.RoundToEven(min(max(v, -1), 1)*127) / 127 }
	}
	codes := codesByValue(f)
	return func(v float64) float64 {
		n, _ := slices.BinarySearch(bounds, float32(v))
		return float64(quant.CodeValue(f, codes[min(n, len(codes)-1)]))
	}
}

// meanScale is the mean size of the scale of a layer.
func meanScale(p *quant.Panel) float64 {
	sum := 0.0
	for _, v := range p.Absmax {
		sum += float64(v)
	}
	return sum / float64(max(1, len(p.Absmax)))
}

// reachNames are the bins of drawReach, each twice as far as the one before.
var reachNames = []string{"below 1/32", "1/32", "1/16", "1/8", "1/4", "1/2", "1", "2", "4 and more"}

// drawReach draws how many deltas reach how much of what it takes to get to the
// next code. Where there is little room the least are one bin.
func drawReach(s *stage, c canvas, w, h int) []string {
	names, least := reachNames, 0
	if h < len(names)+1 {
		least = 2
		names = append([]string{"below 1/8"}, names[least+1:]...)
	}
	count := make([]int, len(names))
	for _, r := range s.trial.Reach {
		count[between(int(math.Floor(math.Log2(r)))+6-least, 0, len(count)-1)]++
	}
	top := max(1, slices.Max(count))
	lines := []string{c.paint.text(themes.Dim, "delta in half steps (1: code moves)")}
	for i, n := range count {
		role := themes.Bad
		if i+least >= 6 {
			role = themes.Good
		}
		share := c.glyphs().percent(float64(n) / float64(max(1, len(s.trial.Reach))))
		lines = append(lines, c.paint.text(themes.Dim, right(names[i], 10))+" "+c.meter(float64(n)/float64(top), max(1, w-18), role)+right(share, 6))
	}
	return lines[:min(len(lines), max(0, h))]
}

// drawCodes draws how many weights have which code, before and after.
func drawCodes(s *stage, c canvas, w, h int) []string {
	f := s.set.Format
	before, after := codeCounts(s.trial.Panel.Codes, f), codeCounts(s.trial.Panel.NewCodes, f)
	wide := w / 16
	if wide < 2 || h < 4 {
		return blank(w, h)
	}
	top := max(1, slices.Max(before[:]), slices.Max(after[:]))
	bars := between(h-3, 1, 14)
	out := make([]string, 0, h)
	part := max(1, (wide-1)/2)
	for y := bars - 1; y >= 0; y-- {
		line := ""
		for i := range before {
			line += c.fit(c.paint.text(themes.Dim, strings.Repeat(c.barCell(before[i], top, y, bars), part))+
				c.paint.text(themes.Accent, strings.Repeat(c.barCell(after[i], top, y, bars), part)), wide)
		}
		out = append(out, line)
	}
	labels, values := "", ""
	for i := range before {
		v := (float64(i)*16 - 120) / 127
		name := ""
		if f.Is4Bit() {
			code := codesByValue(f)[i]
			v, name = float64(quant.CodeValue(f, code)), fmt.Sprintf("%X", code)
		}
		labels += c.fit(name, wide)
		if wide >= 6 {
			values += c.fit(fmt.Sprintf("%.2f", v+0), wide)
		} else if i%4 == 0 {
			values += c.fit(fmt.Sprintf("%.2f", v+0), 4*wide)
		}
	}
	out = append(out, c.paint.text(themes.Dim, labels), c.paint.text(themes.Dim, values))
	return append(out, c.paint.text(themes.Dim, "codes in rising order: ")+c.paint.text(themes.Dim, "before")+" "+c.paint.text(themes.Accent, "after"))
}

// codeCounts counts codes in sixteen groups in rising order: the codes of a 4-bit
// format, or sixteen neighbouring ones of int8.
func codeCounts(codes []byte, f quant.Format) (count [16]int) {
	if !f.Is4Bit() {
		for _, c := range codes {
			count[(int(int8(c))+128)/16]++
		}
		return count
	}
	var place [16]int
	for i, code := range codesByValue(f) {
		place[code] = i
	}
	for _, c := range codes {
		count[place[c>>4]]++
		count[place[c&15]]++
	}
	return count
}

// table lays out rows of texts in columns, the first line as headings, all but
// the first column to the right.
func (c canvas) table(rows [][]string, w, h int) []string {
	var wide []int
	for _, r := range rows {
		for i, s := range r {
			if i == len(wide) {
				wide = append(wide, 0)
			}
			wide[i] = max(wide[i], width(c.plain(s)))
		}
	}
	var out []string
	for i, r := range rows {
		line := ""
		for k, s := range r {
			s = c.plain(s)
			if k == 0 {
				line += c.fit(s, wide[k])
			} else {
				line += "   " + right(s, wide[k])
			}
		}
		if i == 0 {
			line = c.paint.text(themes.Dim, line)
		}
		out = append(out, c.fit(line, w))
	}
	return out[:min(len(out), max(0, h))]
}

// bars draws named shares.
func (c canvas) bars(names []string, shares []float64, w, h int) []string {
	label := 0
	for _, n := range names {
		label = max(label, width(c.plain(n)))
	}
	var out []string
	for i, n := range names {
		v := shares[i]
		out = append(out, c.fit(c.fit(c.plain(n), label)+"  "+c.meter(v, max(1, w-label-9), keptRole(v))+right(c.glyphs().percent(v), 6), w))
	}
	return out[:min(len(out), max(0, h))]
}
