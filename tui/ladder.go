package tui

import (
	"fmt"
	"strings"

	tea "charm.land/bubbletea/v2"

	"mergescope/merge"
	"mergescope/themes"
)

// ladderWord behind a text asks for the ways to ship the adapter.
const ladderWord = "ladder"

// laddered is a run of the ways to ship the adapter.
type laddered interface{ Ladder() *merge.Ladder }

// openLadder asks for a text to hold the ways to ship the adapter against each
// other on, or shows what was measured.
func (a *app) openLadder() tea.Cmd {
	if a.eval != nil && a.eval.steps != nil && a.eval.plan.Equal(a.history.Now()) {
		a.eval.view = evalLadder
		a.push(a.eval)
		return nil
	}
	return a.askEval(merge.Builtin + " 60s " + ladderWord)
}

// look takes up where a run is.
func (x *evalBox) look() {
	x.seen = x.eval.Snapshot()
	if l, ok := x.eval.(laddered); ok && x.seen.Report != x.stepsOf {
		x.steps, x.stepsOf = l.Ladder(), x.seen.Report
	}
}

// enter makes the plan under the cursor the current one, as an edit that can
// be undone.
func (x *evalBox) enter(a *app) tea.Cmd {
	l := x.steps
	if x.view != evalLadder || l == nil || x.rung >= len(l.Rungs) {
		return nil
	}
	r := l.Rungs[x.rung]
	if !a.history.Do(r.Plan) {
		return a.say(themes.Note, "that is the plan already")
	}
	a.pop(x)
	return tea.Batch(a.say(themes.Good, "the plan is now "+r.Name+"; z takes it back"), a.replan())
}

// ladderColumns are the figures of a rung, the first ones where there is little
// room.
var ladderColumns = []struct {
	name string
	w    int
	cell func(r *merge.Rung) string
}{
	{"SIZE", 10, func(r *merge.Rung) string { return fileSize(r.Bytes) }},
	{"LOST", 7, func(r *merge.Rung) string { return unicodeGlyphs.percent(float64(r.Lost)) }},
	{"KL", 17, func(r *merge.Rung) string { return withError(r.KL.Value, r.KL.Error) }},
	{"KEPT", 7, func(r *merge.Rung) string { return unicodeGlyphs.percent(float64(r.Kept)) }},
	{"NLL", 8, func(r *merge.Rung) string { return fixed(r.NLL.Value, 3) }},
	{"ON INPUTS", 11, func(r *merge.Rung) string { return unicodeGlyphs.percent(float64(r.OnInputs)) }},
	{"TIME", 8, func(r *merge.Rung) string { return fmt.Sprintf("%.1fs", r.Seconds) }},
}

// rungs draws the ladder.
func (x *evalBox) rungs(c canvas, w, h int) []string {
	l := x.steps
	if l == nil {
		return c.message(w, h, "the ways to ship the adapter were not run", "F, and the word "+ladderWord+" behind the text, does that")
	}
	const names = 16
	n, used := 0, names
	for n < len(ladderColumns) && used+ladderColumns[n].w <= w {
		used += ladderColumns[n].w
		n++
	}
	head := padded("   WAY", names)
	for _, col := range ladderColumns[:n] {
		head += right(col.name, col.w)
	}
	lines := []string{c.paint.text(themes.Dim, c.fit(head, w))}
	for i := range l.Rungs {
		r := &l.Rungs[i]
		name, role := r.Name, themes.Note
		if r.Name == l.Advised {
			name, role = r.Name+" "+c.glyphs().done, themes.Good
		}
		lead := "  "
		if i == x.rung {
			lead = c.paint.text(themes.Accent, c.glyphs().cursor) + " "
		}
		line := lead + " " + c.paint.text(role, c.fit(name, names-3))
		for _, col := range ladderColumns[:n] {
			line += right(c.plain(col.cell(r)), col.w)
		}
		if line = c.fit(line, w); i == x.rung {
			line = c.paint.selected(line)
		}
		lines = append(lines, line)
	}
	lines = append(lines, "")
	said := []string{}
	if x.rung < len(l.Rungs) {
		said = append(said, l.Rungs[x.rung].Name+": "+l.Rungs[x.rung].What)
	}
	said = append(said, "advised: "+l.Reason)
	for _, s := range said {
		for _, t := range wrap(c.plain(s), w-2) {
			lines = append(lines, " "+strings.TrimRight(t, " "))
		}
	}
	return lines
}
