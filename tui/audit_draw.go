package tui

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"mergescope/merge"
	"mergescope/themes"
)

func (x *auditBox) box(c canvas, w, h int) (title string, lines []string, cursor *tea.Position) {
	w -= 2
	title = "audit  " + c.plain(tailOf(filepath.Base(x.merged), max(8, w-20)))
	switch {
	case x.err != nil:
		lines = c.message(w, h, "the audit stopped: "+x.err.Error(), "esc goes back, K tries again")
	case x.report == nil:
		lines = x.running(c, w, min(h, 8))
	default:
		lines = x.result(c, w, h)
	}
	for i, l := range lines {
		lines[i] = " " + c.fit(l, w) + " "
	}
	return title, lines, nil
}

// running is how far the audit is.
func (x *auditBox) running(c canvas, w, h int) []string {
	p, share := x.seen.progress, 0.0
	if p.WeightsTotal > 0 {
		share = float64(p.WeightsDone) / float64(p.WeightsTotal)
	}
	text := fmt.Sprintf("%d of %s", p.LayersDone, plural(p.LayersTotal, "layer"))
	if s := x.took.Seconds(); s > 0 && share > 0 {
		text += fmt.Sprintf("  %sw/s  %s to go", quantity(float64(p.WeightsDone)/s), brief(time.Duration(float64(x.took)*(1-share)/share)))
	}
	var counts []string
	for _, v := range append(merge.Verdicts(), merge.VerdictRight, merge.VerdictSame) {
		if n := x.seen.count[v]; n > 0 {
			counts = append(counts, fmt.Sprintf("%s %d", c.paint.text(verdictRole(v), string(v)), n))
		}
	}
	return exactly(c, []string{
		"every weight is compared with the merge the plan asks for",
		"",
		c.bar(share, min(w, 60)),
		text,
		strings.Join(counts, "  "),
	}, w, h)
}

// result is the verdict, the tables, and what there is to say of the line under
// the cursor.
func (x *auditBox) result(c canvas, w, h int) []string {
	role := verdictRole(x.report.Verdict)
	head := wrap(c.plain(string(x.report.Verdict)+": "+x.report.Summary), w)
	head = head[:min(len(head), max(1, h/10))]
	lines := make([]string, 0, h)
	for _, l := range head {
		lines = append(lines, c.paint.text(role, l))
	}
	lines = append(lines, c.tabs(auditViewNames[:], int(x.view), w))
	detail := x.detail(c, w, between(h/4, 1, 6))
	room := max(0, h-len(lines)-1-len(detail))
	if n := x.rows(); n == 0 {
		lines = append(lines, exactly(c, c.message(w, room+1, "nothing is wrong", "left and right show the figures"), w, room+1)...)
	} else {
		lines = append(lines, c.paint.text(themes.Dim, c.fit(x.heads(w), w)))
		top := between(x.cur[x.view]-room/2, 0, max(0, n-room))
		for i := top; i < top+room; i++ {
			if i < n {
				lines = append(lines, x.row(c, i, w))
			} else {
				lines = append(lines, c.fit("", w))
			}
		}
	}
	return append(lines, detail...)
}

// auditColumns are the figures of a line: "applied", its error, "expected" and
// "equal", the last ones only where there is room.
func auditColumns(w int) []string {
	all := []string{"APPLIED", "EXPECTED", "EQUAL", "±"}
	return all[:between((w-30)/9, 1, len(all))]
}

func (x *auditBox) heads(w int) string {
	if x.view == findingsView {
		return "   VERDICT        LAYERS  WHAT"
	}
	tail := ""
	for _, n := range auditColumns(w) {
		tail += right(n, 9)
	}
	if x.view == auditModules {
		return padded("   MODULE", w-width(tail)-9) + right("RIGHT", 9) + tail
	}
	return padded("   LAYER", w-width(tail)-15) + tail + "  VERDICT"
}

func padded(s string, w int) string { return s + strings.Repeat(" ", max(0, w-width(s))) }

// row is a line of the view.
func (x *auditBox) row(c canvas, i, w int) string {
	line := ""
	switch x.view {
	case findingsView:
		f := x.report.Findings[i]
		role, sign := levelSign(f.Level, c.glyphs())
		line = c.paint.text(role, sign+" "+c.fit(string(f.Verdict), 13)) + right(fmt.Sprint(len(f.Layers)), 8) + "  " + c.plain(f.Message)
	case auditLayers:
		l := x.layers[i]
		role, sign := levelSign(l.Verdict.Level(), c.glyphs())
		if l.Verdict.Level() == merge.Info {
			role, sign = themes.Good, c.glyphs().done
		}
		tail := auditFigures(c, l.AuditFigures, w)
		room := w - width(tail) - 15 - 4
		line = c.paint.text(role, sign) + " " + c.fit(layerTitle(l.Name, room), room+1) + tail + "  " + c.paint.text(role, c.fit(string(l.Verdict), 13))
	case auditModules:
		m := x.report.Modules[i]
		tail := auditFigures(c, m.AuditFigures, w)
		line = "  " + c.fit(c.plain(m.Name), w-width(tail)-9-3) + right(fmt.Sprintf("%d/%d", m.Right, m.Layers), 9) + tail
	}
	lead := " "
	if i == x.cur[x.view] {
		lead = c.paint.text(themes.Accent, c.glyphs().cursor)
		return c.paint.selected(c.fit(lead+line, w))
	}
	return c.fit(lead+line, w)
}

// auditFigures are the cells of auditColumns.
func auditFigures(c canvas, f merge.AuditFigures, w int) string {
	g, s := c.glyphs(), ""
	for _, v := range []merge.Figure{f.Applied, f.Expected, f.Equal, f.AppliedError}[:len(auditColumns(w))] {
		s += right(g.percent(float64(v)), 9)
	}
	return s
}

// detail is what there is to say of the line under the cursor, in at most h
// lines.
func (x *auditBox) detail(c canvas, w, h int) []string {
	text, i := "", x.cur[x.view]
	switch {
	case i >= x.rows():
	case x.view == findingsView:
		f := x.report.Findings[i]
		text = f.Message
		if f.Hint != "" {
			text += ". What to do: " + f.Hint
		}
	case x.view == auditLayers:
		l := x.layers[i]
		text = l.Format + " into " + l.MergedFormat + ": " + l.Explanation
	default:
		text = "applied is the share of the adapter that is there, expected what the merge of the plan leaves of it"
	}
	lines := wrap(c.plain(text), w)
	if len(lines) > h {
		lines = lines[:h]
		lines[h-1] = c.fit(lines[h-1]+c.glyphs().more, w)
	}
	for i, l := range lines {
		lines[i] = c.paint.text(themes.Note, l)
	}
	return exactly(c, lines, w, min(h, max(1, len(lines))))
}

// verdictRole colours a verdict by its level.
func verdictRole(v merge.Verdict) themes.Role {
	switch v.Level() {
	case merge.Error:
		return themes.Bad
	case merge.Warning:
		return themes.Warn
	}
	return themes.Good
}

// tabs names views; the arrows follow the one in brackets.
func (c canvas) tabs(names []string, at, w int) string {
	names = slices.Clone(names)
	for i, n := range names {
		if i == at {
			names[i] = c.paint.text(themes.BorderFocus, "["+n+"]")
		} else {
			names[i] = c.paint.text(themes.Dim, " "+n+" ")
		}
	}
	return c.fit(strings.Join(names, ""), w)
}
