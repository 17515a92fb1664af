package tui

import (
	"fmt"
	"strconv"
	"strings"

	"mergescope/merge"
	"mergescope/themes"
)

func (p *alertsPane) title(int) (left, right string) {
	n := p.counts()
	var parts []string
	for _, l := range []struct {
		level merge.Level
		name  string
	}{{merge.Error, "error"}, {merge.Warning, "warning"}, {merge.Info, "note"}} {
		if k := n[l.level]; k > 0 {
			parts = append(parts, plural(k, l.name))
		}
	}
	switch p.least {
	case merge.Warning:
		parts = append(parts, "notes hidden")
	case merge.Error:
		parts = append(parts, "errors only")
	}
	return "alerts", strings.Join(parts, " · ")
}

func (p *alertsPane) draw(c canvas, w, h int) []string {
	if len(p.rows) == 0 {
		if len(p.alerts) > 0 {
			return c.message(w, h, fmt.Sprintf("%s hidden by the level", plural(len(p.alerts), "alert")), "f shows other levels")
		}
		return c.message(w, h, "nothing to report", p.todo)
	}
	hints := p.hintLines(h)
	out := make([]string, 0, h)
	for row := p.top; row < len(p.rows) && len(out) < h-hints; row++ {
		out = append(out, p.row(c, row, w))
	}
	out = append(out, blank(w, h-hints-len(out))...)
	if hints > 0 {
		out = append(out, p.hint(c, w, hints)...)
	}
	return out
}

func (p *alertsPane) row(c canvas, row, w int) string {
	r := p.rows[row]
	al := &p.alerts[r.alert]
	role, sign := levelSign(al.Level, c.glyphs())
	head := " "
	if row == p.cur {
		head = c.paint.text(themes.Accent, c.glyphs().cursor)
	}
	head += c.paint.text(role, sign) + " "
	if r.under {
		head += "  "
	}
	body := p.body(c, r, al, w-width(head))
	line := head + body
	if p.acked[alertKey(al)] {
		line = c.paint.text(themes.Dim, c.fit(" "+sign+" "+body, w))
	}
	line = c.fit(line, w)
	if row == p.cur && c.focused {
		line = c.paint.selected(line)
	}
	return line
}

// body is a row without its sign.
func (p *alertsPane) body(c canvas, r alertRow, al *merge.Alert, w int) string {
	if r.n > 0 {
		fold := c.glyphs().closed
		if p.open[al.Code] {
			fold = c.glyphs().open
		}
		head := fmt.Sprintf("%s %s  %s", fold, al.Code, plural(r.n, "layer"))
		return head + "  " + c.paint.text(themes.Dim, c.plain(p.book.short(al.Layer)+": "+al.Message))
	}
	s := ""
	if w > 90 && !al.First.IsZero() {
		s = c.paint.text(themes.Dim, al.First.Format("15:04:05")+" ")
	}
	if al.Layer != "" {
		s += c.paint.text(themes.Title, c.fit(c.plain(p.book.short(al.Layer)), min(26, w/3))) + " "
	}
	msg := al.Message
	if al.Count > 1 {
		msg = fmt.Sprintf("%s (%d times)", msg, al.Count)
	}
	return s + c.plain(msg)
}

// hint is the remedy for the alert under the cursor.
func (p *alertsPane) hint(c canvas, w, lines int) []string {
	al := p.current()
	if al == nil || al.Hint == "" {
		return blank(w, lines)
	}
	text := wrap(alternatives(c.plain("what to do: "+al.Hint), lines*(w-4)-12*(lines-1)), w-4)
	out := make([]string, 0, lines)
	for i, l := range text {
		if i == lines-1 && len(text) > lines {
			l = c.fit(l+c.glyphs().more, w-4)
		}
		if i < lines {
			out = append(out, c.fit("   "+c.paint.text(themes.Note, l), w))
		}
	}
	return append(blank(w, lines-len(out)), out...)
}

// levelSign is how a level looks.
func levelSign(l merge.Level, g *glyphs) (themes.Role, string) {
	switch l {
	case merge.Error:
		return themes.Bad, g.bad
	case merge.Warning:
		return themes.Warn, g.warn
	default:
		return themes.Note, g.note
	}
}

// plural writes "1 error", "2 errors".
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}
