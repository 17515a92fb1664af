package tui

import (
	"fmt"
	"strings"

	tea "charm.land/bubbletea/v2"

	"mergescope/model"
	"mergescope/themes"
)

func (x *textsBox) box(c canvas, w, h int) (title string, lines []string, cursor *tea.Position) {
	w -= 2
	switch {
	case x.err != nil && len(x.variants()) == 0:
		lines = c.message(w, h, "no text: "+x.err.Error(), "esc goes back, P asks for another prompt")
	case len(x.variants()) == 0:
		text := "the first token takes longest: it reads the prompt"
		if x.seen.Phase != "" {
			text = x.seen.Phase
		}
		lines = exactly(c, []string{text, "", c.bar(0, min(w, 60))}, w, min(h, 6))
	default:
		lines = x.result(c, w, h)
	}
	for i, l := range lines {
		lines[i] = " " + c.fit(l, w) + " "
	}
	return "side by side", lines, nil
}

// result is the prompt, the texts in columns, and where the one under the cursor
// parts.
func (x *textsBox) result(c canvas, w, h int) []string {
	head := fmt.Sprintf("%d/%d tokens", x.seen.Done, x.seen.Tokens)
	if x.ended {
		head = plural(x.seen.Done, "token")
	}
	lines := []string{c.ends(c.paint.text(themes.Key, "> ")+c.plain(written(x.opt.Prompt)), c.paint.text(themes.Dim, x.opt.Sampling.String()+"  "+head), w), ""}
	text := x.verdict(x.cur)
	role := themes.Note
	if x.variants()[x.cur].End == string(model.EndNonFinite) {
		text, role = "the logits are NaN or infinite: there is no next token", themes.Bad
	}
	if x.err != nil {
		text, role = x.err.Error(), themes.Bad
	}
	foot := wrap(c.plain(x.variants()[x.cur].Name+": "+text), w)
	foot = foot[:min(len(foot), between(h/4, 1, 4))]
	for i, l := range foot {
		foot[i] = c.paint.text(role, l)
	}
	lines = append(lines, x.columns(c, w, h-len(lines)-len(foot)-1)...)
	return append(append(lines, ""), foot...)
}

// textWidth is the narrowest column of a text.
const textWidth = 30

// shown are the variants there is room for: the reference before the one under
// the cursor, then others.
func (x *textsBox) shown(n int) (list []int) {
	all, ref := len(x.variants()), x.reference()
	for i := range all {
		list = append(list, i)
	}
	switch {
	case n >= all:
		return list
	case n == 1:
		return []int{x.cur}
	}
	list = []int{ref}
	for i := x.cur; len(list) < n; i = (i + 1) % all {
		if i != ref {
			list = append(list, i)
		}
	}
	return list
}

// columns are h lines of texts side by side.
func (x *textsBox) columns(c canvas, w, h int) []string {
	list := x.shown(between((w+2)/(textWidth+2), 1, len(x.variants())))
	each := (w+2)/len(list) - 2
	cells := make([][]string, len(list))
	longest := 0
	for i, v := range list {
		cells[i] = x.text(c, v, each)
		longest = max(longest, len(cells[i]))
	}
	x.top = between(x.top, 0, max(0, longest-(h-1)))
	lines := make([]string, 0, h)
	for row := range min(h, longest+1) {
		line := ""
		for i, v := range list {
			if i > 0 {
				line += "  "
			}
			cell := ""
			if row == 0 {
				cell = x.heading(c, v)
			} else if at := x.top + row - 1; at < len(cells[i]) {
				cell = cells[i][at]
			}
			line += c.fit(cell, each)
		}
		lines = append(lines, c.fit(line, w))
	}
	return lines
}

func (x *textsBox) heading(c canvas, i int) string {
	v, role, lead := x.variants()[i], themes.Title, "  "
	if i == x.cur {
		role, lead = themes.BorderFocus, c.glyphs().cursor+" "
	}
	note := ""
	switch v.End {
	case string(model.EndStop):
		note = "  ends"
	case string(model.EndNonFinite):
		note = "  not finite"
	}
	return c.paint.text(role, lead+c.plain(v.Name)) + c.paint.text(themes.Dim, note)
}

// text is a variant's text in lines of w cells. What both have said is plain, the
// token where they part marked, and what follows it faint.
func (x *textsBox) text(c canvas, i, w int) []string {
	v := x.variants()[i]
	d := v.Divergence
	if i == x.reference() {
		d = x.variants()[x.cur].Divergence
	}
	if d == nil || d.At >= len(v.Tokens) {
		return newTextLines(c, w).add(v.Text, nil).lines()
	}
	token := v.Tokens[d.At].Text
	mark, faint := themes.Bad, themes.Dim
	if i == x.reference() {
		mark = themes.Good
	}
	return newTextLines(c, w).add(d.Before, nil).add(token, &mark).add(v.Text[len(d.Before)+len(token):], &faint).lines()
}

// textLines breaks text of several colours into lines, behind spaces where there
// are some.
type textLines struct {
	c    canvas
	w    int
	done []string
	line []textCell
	used int
}

// textCell is a character of a line; without a role it has no colour.
type textCell struct {
	text string
	role *themes.Role
}

func newTextLines(c canvas, w int) *textLines { return &textLines{c: c, w: max(1, w)} }

// add appends text in a colour, nil for none. A line break in what is marked is
// shown.
func (l *textLines) add(text string, role *themes.Role) *textLines {
	for _, r := range strings.ReplaceAll(text, "\t", "    ") {
		if r == '\n' {
			if role != nil && *role != themes.Dim {
				l.put(textCell{l.c.plain("↵"), role})
			}
			l.feed(len(l.line))
			continue
		}
		l.put(textCell{l.c.plain(string(r)), role})
	}
	return l
}

func (l *textLines) put(x textCell) {
	n := width(x.text)
	if l.used+n > l.w {
		at := len(l.line)
		for i := at - 1; i > 0 && at-i < l.w/2; i-- {
			if l.line[i].text == " " {
				at = i + 1
				break
			}
		}
		l.feed(at)
	}
	l.line = append(l.line, x)
	l.used += n
}

// feed ends a line behind its first n characters.
func (l *textLines) feed(n int) {
	l.done = append(l.done, l.paint(l.line[:n]))
	l.line = append([]textCell(nil), l.line[n:]...)
	l.used = 0
	for _, x := range l.line {
		l.used += width(x.text)
	}
}

func (l *textLines) lines() []string { return append(l.done, l.paint(l.line)) }

// paint joins characters of one colour.
func (l *textLines) paint(line []textCell) string {
	text := ""
	for from := 0; from < len(line); {
		to, run := from, ""
		for ; to < len(line) && line[to].role == line[from].role; to++ {
			run += line[to].text
		}
		switch role := line[from].role; {
		case role == nil:
		case *role == themes.Dim:
			run = l.c.paint.text(*role, run)
		default:
			run = l.c.paint.selected(l.c.paint.text(*role, run)) // seen without colour too
		}
		text += run
		from = to
	}
	return text
}
