package tui

import (
	"math"
	"strconv"
	"strings"

	"mergescope/merge"
	"mergescope/themes"
)

// planWidth is the width of the PLAN column, the space before it included.
func planWidth(w int) int { return between(w/4-1, 7, 16) }

// chrome is how many lines of the pane are not rows.
func (p *layersPane) chrome(h int) int {
	switch {
	case h < 8:
		return 1 // footnote
	case h < 14:
		return 2 // and column heads
	default:
		return 3 // and details of the layer
	}
}

func (p *layersPane) draw(c canvas, w, h int) []string {
	if p.book == nil || len(p.book.layers) == 0 {
		return c.message(w, h, "no weights in this checkpoint", "mergescope inspect MODEL lists what is in the files")
	}
	out := make([]string, 0, h)
	chrome := p.chrome(h)
	if chrome > 1 {
		out = append(out, p.heads(c, w))
	}
	marks := map[int]bool{}
	for _, l := range p.marks() {
		marks[l] = true
	}
	room := h - chrome
	for row := p.top; row < min(p.top+room, len(p.rows)); row++ {
		out = append(out, p.row(c, row, w, marks))
	}
	if len(p.rows) == 0 && room > 0 {
		out = append(out, c.paint.text(themes.Dim, c.fit("   nothing matches; esc clears the filter", w)))
	}
	for len(out) < h-1-max(0, chrome-2) {
		out = append(out, c.fit("", w))
	}
	if chrome > 2 {
		out = append(out, c.paint.text(themes.Dim, c.fit("   "+p.details(c), w)))
	}
	return append(out, p.lastLine(c, w))
}

func (p *layersPane) lastLine(c canvas, w int) string {
	if p.typing || p.filter.text != "" {
		return c.ends(c.paint.text(themes.Key, " /")+clean(p.filter.text), c.paint.text(themes.Dim, c.plain(p.footnote()))+" ", w)
	}
	return c.paint.text(themes.Dim, c.fit(" "+c.plain(p.footnote()), w))
}

func (p *layersPane) heads(c canvas, w int) string {
	s := c.fit(" PLAN", planWidth(w))
	for _, col := range p.columns() {
		if w >= col.from {
			s += right(col.name, col.width)
		}
	}
	return c.paint.text(themes.Dim, c.fit("   LAYER", w-width(s)-2)+s+"  ")
}

// right aligns s at the right end of n cells.
func right(s string, n int) string {
	return strings.Repeat(" ", max(0, n-width(s))) + s
}

func (p *layersPane) row(c canvas, row, w int, marks map[int]bool) string {
	g := c.glyphs()
	i := p.rows[row]
	n := &p.nodes[i]
	head := " "
	if row == p.cur {
		head = c.paint.text(themes.Accent, g.cursor)
	}
	head += p.sign(c, i, marks) + " "
	tail := c.fit(" "+p.plan(c, i, planWidth(w)-1), planWidth(w))
	if n.layer < 0 || !p.book.planned(n.layer) {
		tail = c.paint.text(themes.Dim, tail)
	}
	tail += p.figures(c, i, w) + " " + p.state(c, i)
	name := c.fit(p.name(c, n, w-3-width(tail)), w-3-width(tail))
	if n.layer < 0 {
		name = "\x1b[1m" + name + sgrReset
	}
	line := head + name + tail
	if row == p.cur && c.focused {
		line = c.paint.selected(line)
	}
	return line
}

// name is the label of a row, or in a sorted list the path of its layer,
// shortened where it does not fit; the end tells layers apart.
func (p *layersPane) name(c canvas, n *node, w int) string {
	if p.sorting() != nil {
		return layerTitle(n.path, w)
	}
	indent, text := strings.Repeat(" ", n.depth), clean(n.label)
	if width(indent+text) > w {
		text = shorterParts.Replace(text)
	}
	if n.layer >= 0 && width(indent+text) > w {
		room := w - width(indent)
		return indent + c.glyphs().more + tailOf(text, room-1)
	}
	return indent + text
}

// shorterParts are usual parts of module paths in fewer letters.
var shorterParts = strings.NewReplacer("self_attn.", "attn.", "self_attention.", "attn.", "attention.", "attn.", "block_sparse_moe.", "moe.")

// tailOf returns the last n cells of a printable name.
func tailOf(s string, n int) string {
	r := []rune(s)
	return string(r[max(0, len(r)-max(0, n)):])
}

// sign is the fold of a group or the mark of a layer.
func (p *layersPane) sign(c canvas, i int, marks map[int]bool) string {
	g := c.glyphs()
	n := &p.nodes[i]
	if n.layer >= 0 {
		if marks[n.layer] {
			return c.paint.text(themes.Mark, g.mark)
		}
		return " "
	}
	all := true
	for l := range p.inside(i) {
		all = all && marks[l]
	}
	switch {
	case all:
		return c.paint.text(themes.Mark, g.mark)
	case p.folded[n.path] && !p.filter.active():
		return g.closed
	default:
		return g.open
	}
}

// plan says in at most w cells what happens to a layer, or to all of a group.
func (p *layersPane) plan(c canvas, i, w int) string {
	text, first := "", true
	for l := range p.inside(i) {
		if p.nodes[i].layer < 0 && !p.book.planned(l) {
			continue
		}
		s := p.planOf(c, l, w)
		if !first && s != text {
			return "mixed"
		}
		text, first = s, false
	}
	if first {
		return c.glyphs().none
	}
	return text
}

func (p *layersPane) planOf(c canvas, l, w int) string {
	g := c.glyphs()
	layer := &p.book.layers[l]
	if len(layer.Steps) == 0 {
		return g.none
	}
	suffix := ""
	if len(layer.Steps) > 1 {
		suffix = "+" + strconv.Itoa(len(layer.Steps)-1)
	}
	if f := layer.Steps[0].Factor; f != 1 {
		suffix += g.times + scaleText(f)
	}
	if layer.Output != merge.Same && layer.Output != "" {
		suffix += ">" + outputShort(layer.Output)
	}
	name := p.names[adapterName(layer.Steps[0].Adapter)]
	if room := w - width(suffix); width(name) > room {
		name = strings.TrimRight(c.fit(name, max(1, room)), " ")
	}
	return name + suffix
}

func outputShort(o merge.Output) string {
	if o == merge.Separate {
		return "sep"
	}
	return string(o)
}

// scaleText writes 0.5 as .5 and 1 as 1.
func scaleText(f float64) string {
	s := strconv.FormatFloat(f, 'g', 4, 64)
	return strings.Replace(s, "0.", ".", 1)
}

// figures are the columns of a row, or the progress of a layer at work.
func (p *layersPane) figures(c canvas, i, w int) string {
	n := &p.nodes[i]
	room := 0
	for _, col := range p.columns() {
		if w >= col.from {
			room += col.width
		}
	}
	if n.layer >= 0 && n.layer < len(p.book.states) && p.book.states[n.layer].State == merge.Active {
		f := p.book.states[n.layer].Fraction
		if room < 10 {
			return right(c.glyphs().percent(f), room)
		}
		return " " + c.bar(f, room-6) + right(c.glyphs().percent(f), 5)
	}
	m := p.book.totals(p.inside(i))
	s := ""
	for _, col := range p.columns() {
		if w < col.from {
			continue
		}
		v := float64(col.figure(&m))
		t := right(col.text(c.glyphs(), v), col.width)
		switch {
		case math.IsNaN(v):
			t = c.paint.text(themes.Dim, t)
		case col.name == "KEPT" || col.name == "INPUTS":
			t = c.paint.text(keptRole(v), t)
		}
		s += t
	}
	return s
}

// keptRole colours a share that was kept, with the limits of the alerts erased
// and weak.
func keptRole(v float64) themes.Role {
	switch {
	case v < 0.1:
		return themes.Bad
	case v < 0.5:
		return themes.Warn
	default:
		return themes.Good
	}
}

// state is the last column: how far a layer is and how it went.
func (p *layersPane) state(c canvas, i int) string {
	best := rank(0)
	for l := range p.inside(i) {
		best = max(best, p.rankOf(l))
	}
	g := c.glyphs()
	switch best {
	case rankActive:
		return c.paint.text(themes.Accent, g.active)
	case rankBad:
		return c.paint.text(themes.Bad, g.bad)
	case rankWarn:
		return c.paint.text(themes.Warn, g.warn)
	case rankQueued:
		return c.paint.text(themes.Dim, g.queued)
	case rankDone:
		return c.paint.text(themes.Good, g.done)
	default:
		return " "
	}
}

// rank orders the states of layers: a group shows the highest of its layers.
type rank uint8

const (
	rankNone rank = iota
	rankDone
	rankQueued
	rankWarn
	rankBad
	rankActive
)

func (p *layersPane) rankOf(l int) rank {
	b := p.book
	if l < len(b.states) {
		switch b.states[l].State {
		case merge.Active:
			return rankActive
		case merge.Queued:
			return rankQueued
		case merge.Stopped:
			return rankBad
		default: // what its figures say
		}
	}
	if l < len(b.flagged) && b.flagged[l] {
		switch b.levels[l] {
		case merge.Error:
			return rankBad
		case merge.Warning:
			return rankWarn
		default:
		}
	}
	switch {
	case b.report(l) != nil:
		return rankDone
	case b.planned(l):
		return rankQueued
	default:
		return rankNone
	}
}

// details is one line on the layer under the cursor.
func (p *layersPane) details(c canvas) string {
	n := p.node()
	if n == nil {
		return ""
	}
	if n.layer < 0 {
		all, planned := 0, 0
		for l := range p.inside(p.rows[p.cur]) {
			all++
			if p.book.planned(l) {
				planned++
			}
		}
		return strconv.Itoa(all) + " weights, " + strconv.Itoa(planned) + " with an adapter"
	}
	l := p.book.layer(n.layer)
	s := weightText(l, c.glyphs())
	if len(l.Steps) == 0 {
		if l.Reason != "" {
			s += ", " + l.Reason
		}
		return c.plain(s)
	}
	for _, st := range l.Steps {
		if st.Module != nil {
			s += "  r" + strconv.Itoa(st.Module.Rank) + " scale " + strconv.FormatFloat(st.Scale, 'g', 4, 64)
		}
	}
	if r := p.book.report(n.layer); r != nil && r.Peft != nil {
		return c.plain(asPeft(r, c.glyphs()) + "  " + s)
	}
	if m := l.Method; m != (merge.Method{Kind: merge.MethodPeft}) && m.Kind != "" {
		s += "  " + m.String()
	}
	return c.plain(s)
}

// asPeft says what a calibrated layer would keep with PEFT's codes: of the matrix,
// and on its inputs.
func asPeft(r *merge.LayerReport, g *glyphs) string {
	return "as PEFT " + g.percent(float64(r.Peft.Kept)) + ", " + g.percent(float64(r.Peft.OnInputs)) + " on inputs"
}

// weightText names format and shape: "nf4 64+dq 192×448".
func weightText(l *merge.Layer, g *glyphs) string {
	s := l.Weight.Format.String()
	if q := l.Weight.State; q != nil {
		s += " " + strconv.Itoa(q.Blocksize)
		if q.Nested {
			s += "+dq"
		}
	}
	dims := make([]string, len(l.Weight.Shape))
	for i, d := range l.Weight.Shape {
		dims[i] = strconv.FormatInt(d, 10)
	}
	return s + " " + strings.Join(dims, g.times)
}
