package tui

import (
	"fmt"
	"math"
	"strings"

	"mergescope/merge"
	"mergescope/quant"
	"mergescope/themes"
)

// explainSteps is how many steps the lesson has: unpack, dequantize, add, new
// absmax, requantize, result.
const explainSteps = 6

// explainView is the step-by-step lesson over one weight of a trace, drawn
// over the other panes.
type explainView struct {
	trace *quant.Trace
	layer string
	of    *merge.LayerReport // of the layer, nil if there is none
	at    int                // weight, index in the block
	shown int                // steps shown, 1 to explainSteps
}

// set shows the weight at index i of t; layer names it. A lesson that is under
// way goes on at its step.
func (e *explainView) set(t *quant.Trace, layer string, i int) {
	e.trace, e.layer = t, layer
	e.shown = between(e.shown, 1, explainSteps)
	e.at = 0
	if t != nil {
		e.at = between(i, 0, max(0, len(t.W)-1))
	}
}

// step goes on or back by d steps, weight moves to another weight.
func (e *explainView) step(d int) { e.shown = between(e.shown+d, 1, explainSteps) }

func (e *explainView) weight(d int) {
	if e.trace != nil {
		e.at = between(e.at+d, 0, max(0, len(e.trace.W)-1))
	}
}

// worst puts the cursor on the weight with the largest error.
func (e *explainView) worst() {
	if e.trace == nil {
		return
	}
	worst := -1.0
	for i, out := range e.trace.Out {
		err := math.Abs(float64(out) - float64(e.trace.T[i]))
		if math.IsNaN(err) {
			e.at = i
			return
		}
		if err > worst {
			worst, e.at = err, i
		}
	}
}

// text is what "copy" puts on the clipboard.
func (e *explainView) text() string {
	if e.trace == nil {
		return ""
	}
	return e.words().Text(e.at)
}

func (e *explainView) words() merge.Explain {
	return merge.Explain{Trace: e.trace, Layer: e.layer, Report: e.of}
}

func (e *explainView) title(w int) (l, r string) {
	if e.trace == nil {
		return "explain", ""
	}
	t := e.trace
	r = fmt.Sprintf("step %d/%d", e.shown, explainSteps)
	at := fmt.Sprintf("r%d c%d  weight %d of 0–%d", t.Row, blockColumn(t), e.at, len(t.W)-1)
	for _, l := range []string{"explain  " + layerTitle(e.layer, w) + "  " + at, "explain  " + at} {
		if width(l)+width(r)+4 <= w {
			return l, r
		}
	}
	return fmt.Sprintf("weight %d of 0–%d", e.at, len(t.W)-1), r
}

// Least sizes of the drawings; below them the lesson is its text.
const (
	axisWidth  = 72 // characters that sixteen codes and their boundaries take
	axisHeight = 5
)

func (e *explainView) draw(c canvas, w, h int) []string {
	if w <= 0 || h <= 0 {
		return blank(w, h)
	}
	if e.trace == nil || len(e.trace.W) == 0 {
		return c.message(w, h, "no weight to explain", "choose a block in the blocks pane first")
	}
	steps, last := e.steps(c, w)
	closing := e.closing(c, w)
	var figures []string
	room := h - len(steps) - len(closing)
	if w >= axisWidth && room > axisHeight {
		figures = e.figures(c, w, room)
	} else if e.shown < explainSteps {
		closing = nil
	}
	lines := append(steps, figures...)
	if len(figures) == 0 && len(steps)+len(closing) > h {
		// Too small for all: the text up to the step at hand, its end in view.
		lines = append(steps[:last:last], closing...)
		lines = lines[max(0, len(lines)-h):]
		closing = nil
	}
	lines = append(lines, blank(w, h-len(lines)-len(closing))...)
	lines = append(lines, closing...)[:h]
	for i := range lines {
		lines[i] = c.fit(lines[i], w)
	}
	return lines
}

// steps returns the text of all steps, those not shown yet as blank lines, and
// how many lines the shown ones take.
func (e *explainView) steps(c canvas, w int) (lines []string, last int) {
	for n, text := range e.words().Steps(e.at) {
		role := themes.Dim
		if n+1 == e.shown {
			role = themes.NumRoles
		}
		for _, l := range hang(c, text, w) {
			if n >= e.shown {
				l = ""
			} else if role < themes.NumRoles {
				l = c.paint.text(role, l)
			}
			lines = append(lines, l)
		}
		if n+1 == e.shown {
			last = len(lines)
		}
	}
	return lines, last
}

// stepIndent is the room of the number and name of a step.
const stepIndent = 14

// hang wraps a step so that further lines start below its text. A hyphen is
// never a place to wrap: it may be a sign.
func hang(c canvas, text string, w int) []string {
	var out []string
	for part := range strings.SplitSeq(text, "\n") {
		runes := []rune(c.plain(part))
		n := min(stepIndent, len(runes))
		name, rest := string(runes[:n]), string(runes[n:])
		indent := strings.Repeat(" ", stepIndent)
		if w < 3*stepIndent { // no room to indent
			name, rest, indent = "", strings.Join(strings.Fields(string(runes)), " "), ""
		}
		for i, l := range wrapWords(rest, w-len(indent)) {
			if i > 0 {
				name = indent
			}
			out = append(out, name+l)
		}
	}
	return out
}

// wrapWords breaks text at spaces into lines of at most w cells; a longer word
// has a line of its own.
func wrapWords(s string, w int) []string {
	var out []string
	line := ""
	for word := range strings.SplitSeq(s, " ") {
		if line != "" && width(line)+1+width(word) > w {
			out = append(out, strings.TrimRight(line, " "))
			line = word
			continue
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(out, line)
}

// closing is what became of the delta: of the weight, its neighbour in the byte
// and the block. Room for it is kept while the steps before the last are shown.
func (e *explainView) closing(c canvas, w int) []string {
	x := e.words()
	var out []string
	for _, s := range []string{x.Verdict(e.at), e.neighbour(), x.Block(), x.Inputs()} {
		if s != "" {
			out = append(out, wrapWords(c.plain(s), w)...)
		}
	}
	if e.shown < explainSteps {
		return blank(w, len(out))
	}
	return out
}

// neighbour says what became of the other weight in the byte.
func (e *explainView) neighbour() string {
	t, i, j := e.trace, e.at, e.at^1
	if !coded(t) || !t.Spec.Format.Is4Bit() || j >= len(t.W) {
		return ""
	}
	which := "low"
	if i&1 == 1 {
		which = "high"
	}
	change := fmt.Sprintf("%X stays", t.OldCode[j])
	if moved(t, j) {
		change = fmt.Sprintf("%X → %X", t.OldCode[j], t.NewCode[j])
	}
	return fmt.Sprintf("neighbour (%s nibble): %s   byte 0x%X%X → 0x%X%X", which, change,
		t.OldCode[i&^1], t.OldCode[i|1], t.NewCode[i&^1], t.NewCode[i|1])
}
