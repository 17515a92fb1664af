package tui

import (
	"fmt"
	"strings"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"mergescope/merge"
)

// Plain mode is for screen readers and braille lines: one thing at a time, top
// to bottom, without frames, maps or colours. Every row is a sentence that says
// in words what the screen otherwise shows by place and sign, and the terminal's
// cursor is on the row that the keys move, which is what readers speak.

// spoken is a pane that can say its rows.
type spoken interface {
	// say returns what the pane is about, how many rows it has, which one the
	// cursor is on, and the sentence of a row.
	say(a *app) (about string, rows, cur int, row func(i int) string)
}

// drawPlain returns the lines of the screen in plain mode.
func (a *app) drawPlain() ([]string, *tea.Cursor) {
	c := a.skin.canvas(false)
	lines := wrap(clean(fmt.Sprintf("mergescope, %s, %s, %s", a.model.Name, plural(len(a.model.Weights), "weight"), ansi.Strip(a.planText(c, ", ")))), a.w)
	lines = append(lines, wrap(a.sayStatus(), a.w)...)
	lines = append(lines, wrap(a.toast.text, a.w)...)
	var cursor *tea.Cursor
	if top := a.topOverlay(); top != nil {
		said, at := a.sayOverlay(c, top, a.h-len(lines)-1)
		if at != nil {
			cursor = tea.NewCursor(at.X, at.Y+len(lines))
		}
		lines = append(lines, said...)
	} else {
		said, at := a.sayPane(a.h - len(lines) - 1)
		cursor = tea.NewCursor(0, len(lines)+at)
		lines = append(lines, said...)
		if a.tree.typing {
			cursor = tea.NewCursor(min(a.w-1, 8+width(string(a.tree.input.text[:a.tree.input.at]))), len(lines)-1)
		}
	}
	lines = lines[:min(len(lines), a.h-1)]
	for len(lines) < a.h-1 {
		lines = append(lines, "")
	}
	lines = append(lines, strings.TrimSpace(a.footer(c, a.w)))
	for i, l := range lines {
		lines[i] = c.fit(c.plain(ansi.Strip(l)), a.w)
	}
	if cursor != nil {
		cursor.Blink = false
		cursor.Position.X, cursor.Position.Y = between(cursor.Position.X, 0, a.w-1), between(cursor.Position.Y, 0, a.h-1)
	}
	return lines, cursor
}

// sayStatus is the progress of a job, or what is known of the plan.
func (a *app) sayStatus() string {
	n := a.feed.counts()
	alerts := plural(n[merge.Error], "error") + ", " + plural(n[merge.Warning], "warning")
	switch v := a.verdict(); {
	case a.busy() && a.job.run != nil:
		s := fmt.Sprintf("%s at %s, %s", a.job.kind(), asciiGlyphs.percent(a.progress()), a.progressText())
		if a.job.snap.State == merge.Paused {
			s += ", paused"
		} else if a.job.snap.ETA > 0 {
			s += ", " + brief(a.job.snap.ETA) + " to go"
		}
		return s + ", " + alerts
	case len(a.eng.adapters()) == 0:
		return "No adapter is open, A opens one"
	case v == "":
		return "Nothing computed yet, D runs the merge without writing"
	default:
		return v + ", " + alerts
	}
}

// sayPane says the focused pane in at most h lines, and in which the cursor is.
func (a *app) sayPane(h int) (lines []string, at int) {
	p, ok := a.pane(a.focus).(spoken)
	if !ok || h < 2 {
		return nil, 0
	}
	about, n, cur, row := p.say(a)
	head := fmt.Sprintf("Pane %d of 4, %s.", a.focus, about)
	if n > 0 {
		head = fmt.Sprintf("Pane %d of 4, %s. Row %d of %d.", a.focus, about, cur+1, n)
	}
	lines = wrap(head, a.w)
	typing := a.focus == layersID && (a.tree.typing || a.tree.filter.text != "")
	room := h - len(lines)
	if typing {
		room--
	}
	top := between(cur-room/2, 0, max(0, n-room))
	for i := top; i < min(n, top+room); i++ {
		if i != cur {
			lines = append(lines, row(i))
			continue
		}
		at = len(lines)
		lines = append(lines, wrap(row(i), a.w)...) // nothing of it is cut off
	}
	lines = lines[:min(len(lines), h)]
	if typing {
		lines = append(lines, "Filter: "+a.tree.filter.text)
	}
	return lines, at
}

// sayOverlay says a dialog: its title, what is chosen, and its lines.
func (a *app) sayOverlay(c canvas, o overlay, h int) ([]string, *tea.Position) {
	title, inside, at := o.box(c, max(20, a.w-4), max(6, h-2))
	lines, chosen := []string{"Dialog, " + title + "."}, 0
	say := func(s string) {
		chosen = len(lines)
		lines = append(lines, wrap(s, a.w)...)
	}
	switch o := o.(type) {
	case *picker:
		if i := o.at(); i >= 0 {
			it := o.items[i]
			say(fmt.Sprintf("Chosen, %d of %d: %s. %s", o.cur+1, len(o.matches), it.text, strings.TrimSpace(it.reason+" "+it.note)))
		}
	case *confirm:
		say("Chosen: " + o.choices[o.cur].key + ", " + o.choices[o.cur].text)
	case *explainBox:
		inside = nil
		for l := range strings.SplitSeq(o.view.text(), "\n") {
			inside = append(inside, wrap(l, a.w)...)
		}
	}
	if at != nil {
		at = &tea.Position{X: at.X, Y: at.Y + len(lines)}
	} else {
		at = &tea.Position{X: 0, Y: chosen}
	}
	for _, l := range inside {
		lines = append(lines, strings.TrimRight(ansi.Strip(l), " "))
	}
	return lines, at
}

// sayFigure writes a share in words.
func sayFigure(name string, v float64) string {
	if v != v {
		return name + " not computed"
	}
	return name + " " + asciiGlyphs.percent(v)
}

func (p *layersPane) say(*app) (about string, rows, cur int, row func(i int) string) {
	about = "layers"
	if p.sorting() != nil {
		about += " sorted by " + p.sorting().name
	}
	if n := len(p.marks()); n > 0 {
		about += fmt.Sprintf(", %d marked", n)
	}
	marks := map[int]bool{}
	for _, l := range p.marks() {
		marks[l] = true
	}
	return about, len(p.rows), p.cur, func(i int) string { return p.sayRow(p.rows[i], marks) }
}

// sayRow is a layer or a group as a sentence.
func (p *layersPane) sayRow(i int, marks map[int]bool) string {
	n := &p.nodes[i]
	var parts []string
	if n.layer < 0 {
		count := 0
		for range p.inside(i) {
			count++
		}
		fold := "open"
		if p.folded[n.path] && !p.filter.active() {
			fold = "closed"
		}
		parts = append(parts, "Group "+n.label+" "+fold, plural(count, "layer"))
	} else {
		parts = append(parts, p.book.short(n.path))
		if marks[n.layer] {
			parts = append(parts, "marked")
		}
		l := &p.book.layers[n.layer]
		if len(l.Steps) == 0 {
			return strings.Join(append(parts, l.Weight.Format.String(), "no adapter"), ", ")
		}
		parts = append(parts, strings.ReplaceAll(stepsText(l.Steps), "*", " scale "))
		if l.Output != merge.Same && l.Output != "" {
			parts = append(parts, "written as "+string(l.Output))
		}
	}
	m := p.book.totals(p.inside(i))
	parts = append(parts, sayFigure("kept", float64(m.Kept)), sayFigure("error", float64(m.ErrorRelative)))
	best := rank(0)
	for l := range p.inside(i) {
		best = max(best, p.rankOf(l))
	}
	if word := [...]string{rankNone: "", rankDone: "done", rankQueued: "queued", rankWarn: "warning", rankBad: "error", rankActive: "at work"}[best]; word != "" {
		parts = append(parts, word)
	}
	return strings.Join(parts, ", ")
}

func (b *blocksPane) say(*app) (about string, rows, cur int, row func(i int) string) {
	if b.layer == nil {
		return "blocks, no layer", 0, 0, nil
	}
	about = fmt.Sprintf("blocks of %s, %s, %s", b.layer.Weight.Name, b.metric.Info().Name, aggregates[b.aggregate])
	if what, todo := b.empty(); what != "" {
		return about + ": " + what + ", " + strings.Join(todo, " "), 0, 0, nil
	}
	g, data, _ := b.shown()
	if data == nil {
		return about + ": computing", 0, 0, nil
	}
	at, col, _ := g.cell(b.row, b.col)
	return about, g.cellRows, at, func(i int) string {
		worst := -1
		for c := range g.cellCols {
			if k := i*g.cellCols + c; worst < 0 || worse(data[k], data[worst], b.worseIsLow()) < 0 {
				worst = k
			}
		}
		s := fmt.Sprintf("Rows %d to %d, worst %s at block %d", g.row(i), g.row(i+1)-1, b.sayCell(data[worst]), g.col(worst%g.cellCols))
		if i == at {
			s += fmt.Sprintf("; here block %d, %s", g.col(col), b.sayCell(data[i*g.cellCols+col]))
		}
		return s
	}
}

func (b *blocksPane) sayCell(s sample) string {
	switch s.state {
	case merge.CellNaN:
		return "not a number"
	case merge.CellInf:
		return "infinite"
	case merge.CellEmpty:
		return "nothing"
	}
	return asciiGlyphs.figure(b.metric, s.v)
}

func (b *blockPane) say(*app) (about string, rows, cur int, row func(i int) string) {
	x := b.trace
	if x == nil || len(x.W) == 0 {
		return "block: " + b.why, 0, 0, nil
	}
	about = fmt.Sprintf("block at row %d column %d, scale %s, was %s", x.Row, x.Col, four(x.NewAbsmax), four(x.OldAbsmax))
	return about, len(x.W), b.at, func(i int) string {
		s := fmt.Sprintf("Weight %d, before %s, delta %s, after %s", i, four(x.W[i]), four(x.D[i]), four(x.Out[i]))
		if i >= len(x.OldCode) || i >= len(x.NewCode) {
			return s
		}
		if x.OldCode[i] == x.NewCode[i] {
			return s + fmt.Sprintf(", code %s stays", codeText(x, x.OldCode[i]))
		}
		return s + fmt.Sprintf(", code %s becomes %s", codeText(x, x.OldCode[i]), codeText(x, x.NewCode[i]))
	}
}

func (p *alertsPane) say(*app) (about string, rows, cur int, row func(i int) string) {
	_, right := p.title(0)
	about = strings.TrimSpace("alerts, " + strings.ReplaceAll(right, " · ", ", "))
	if len(p.rows) == 0 {
		return "alerts, nothing to report", 0, 0, nil
	}
	return about, len(p.rows), p.cur, func(i int) string {
		r := p.rows[i]
		al := &p.alerts[r.alert]
		s := string(al.Code) + " " + al.Level.String()
		if p.acked[alertKey(al)] {
			s += ", acknowledged"
		}
		if r.n > 0 {
			fold := "closed"
			if p.open[al.Code] {
				fold = "open"
			}
			return fmt.Sprintf("Group %s, %s, %s", s, plural(r.n, "layer"), fold)
		}
		if al.Layer != "" {
			s += ", " + p.book.short(al.Layer)
		}
		return s + ": " + al.Message
	}
}
