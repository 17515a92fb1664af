package merge

import (
	"bytes"
	"slices"
	"sort"
	"strings"
)

// Note is a comment of a plan file above a field of the plan. Rules keep theirs
// themselves.
type Note struct {
	Field string // name of the field, or adapters.NAME; "" is the head of the file, noteEnd its end
	Text  string // whole comments, // or /* */, one or more lines
}

const noteEnd = "}"

// comment is one comment of a text.
type comment struct{ from, to int }

// blankComments returns the text with its comments replaced by spaces, so that
// every offset stays, and where they are. Comments begin with // or /*, outside
// of strings; one that does not end takes the rest.
func blankComments(data []byte) (text []byte, list []comment) {
	quoted := false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted || c != '/' || i+1 == len(data):
		case data[i+1] == '/' || data[i+1] == '*':
			at := comment{i, commentEnd(data, i)}
			list = append(list, at)
			i = at.to - 1
		}
	}
	if len(list) == 0 {
		return data, nil
	}
	text = bytes.Clone(data)
	for _, c := range list {
		for i := c.from; i < c.to; i++ {
			if text[i] != '\n' {
				text[i] = ' '
			}
		}
	}
	return text, list
}

// commentEnd returns where the comment that begins at from ends.
func commentEnd(data []byte, from int) int {
	mark, width := "\n", 0
	if data[from+1] == '*' {
		mark, width = "*/", 2
	}
	if n := bytes.Index(data[from+2:], []byte(mark)); n >= 0 {
		return from + 2 + n + width
	}
	return len(data)
}

// element is a part of a plan's text that comments can belong to.
type element struct {
	from, to int
	field    string // "" if it is a rule
	rule     int
	lineEnd  int // of the line it ends on, 0 while it is not known
	comments []string
}

// next is the offset of the next token.
func (d *planDecoder) next() int {
	at := int(d.dec.InputOffset())
	return at + len(d.data[at:]) - len(bytes.TrimLeft(d.data[at:], " \t\r\n,:"))
}

// begin says that comments around what begins at an offset belong to a field of
// the plan.
func (d *planDecoder) begin(at int, field string) *element {
	e := &element{from: at, to: at, field: field, rule: -1}
	if len(d.comments) > 0 {
		d.elements = append(d.elements, e)
	}
	return e
}

// end says that the element ends with the last token. Comments inside of it are
// then its own.
func (d *planDecoder) end(e *element) { e.to = int(d.dec.InputOffset()) }

// annotate gives every comment of the text to an element: that it is in, or
// behind on the same line, else the next one.
func (d *planDecoder) annotate(p *Plan) {
	d.begin(len(d.data)+1, noteEnd)
	for _, c := range d.comments {
		i := sort.Search(len(d.elements), func(i int) bool { return d.elements[i].from > c.from })
		if i > 0 && d.elements[i-1].reaches(c.from, d.raw) {
			i--
		}
		e := d.elements[i]
		e.comments = append(e.comments, tidyComment(string(d.raw[c.from:c.to])))
	}
	for _, e := range d.elements {
		switch text := strings.Join(e.comments, "\n"); {
		case text == "":
		case e.rule >= 0:
			p.Rules[e.rule].Note = text
		default:
			p.Notes = append(p.Notes, Note{e.field, text})
		}
	}
}

// reaches reports whether a comment that begins at an offset is in the element
// or on the line it ends on.
func (e *element) reaches(at int, text []byte) bool {
	if e.lineEnd == 0 {
		e.lineEnd = len(text) + 1
		if n := bytes.IndexByte(text[min(e.to, len(text)):], '\n'); n >= 0 {
			e.lineEnd = e.to + n
		}
	}
	return at < max(e.to, e.lineEnd)
}

// tidyComment strips the indentation of a comment's lines.
func tidyComment(text string) string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = strings.Trim(lines[i], " \t\r")
	}
	return strings.Join(lines, "\n")
}

// annotate puts the plan's comments into its indented JSON.
func (p Plan) annotate(text []byte) []byte {
	if !p.annotated() {
		return text
	}
	var out strings.Builder
	write := func(indent, note string) {
		for line := range strings.Lines(note) {
			out.WriteString(strings.TrimRight(indent+strings.TrimSuffix(line, "\n"), " ") + "\n")
		}
	}
	notes := make(map[string]string, len(p.Notes))
	for _, n := range p.Notes {
		notes[n.Field] = n.Text
	}
	write("", notes[""])
	rules, adapters := p.Rules, p.Adapters
	for line := range strings.Lines(string(text)) {
		rest, top := strings.CutPrefix(line, `  "`)
		switch {
		case top:
			name, _, _ := strings.Cut(rest, `"`)
			write("  ", notes[name])
		case strings.HasPrefix(line, "    {"):
			write("    ", rules[0].Note)
			rules = rules[1:]
		case strings.HasPrefix(line, `    "`):
			write("    ", notes["adapters."+adapters[0].Name])
			adapters = adapters[1:]
		}
		out.WriteString(line)
	}
	write("", notes[noteEnd])
	return []byte(out.String())
}

func (p Plan) annotated() bool {
	return len(p.Notes) > 0 || slices.ContainsFunc(p.Rules, func(r Rule) bool { return r.Note != "" })
}
