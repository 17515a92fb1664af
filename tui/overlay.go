package tui

import (
	"slices"
	"strings"

	tea "charm.land/bubbletea/v2"

	"mergescope/themes"
)

// An overlay lies over the panes and gets every key until it is closed. The
// last one opened is on top.
type overlay interface {
	// key handles a key; esc closes before it gets here.
	key(a *app, k tea.KeyPressMsg) tea.Cmd
	// box returns title and inside for at most w by h cells. cursor is where a
	// text cursor is in the inside, nil without one.
	box(c canvas, w, h int) (title string, lines []string, cursor *tea.Position)
}

// paster is an overlay that takes pasted text.
type paster interface {
	paste(text string)
}

// closer is an overlay that wants to know that esc closed it.
type closer interface {
	closed(a *app)
}

func (a *app) push(o overlay) { a.overlays = append(a.overlays, o) }

// pop closes an overlay wherever it is in the stack.
func (a *app) pop(o overlay) {
	a.overlays = slices.DeleteFunc(a.overlays, func(x overlay) bool { return x == o })
}

// topOverlay returns the overlay that gets the keys, nil if there is none.
func (a *app) topOverlay() overlay {
	if len(a.overlays) == 0 {
		return nil
	}
	return a.overlays[len(a.overlays)-1]
}

// picker is a list to choose from, filtered by what is typed.
type picker struct {
	name    string
	intro   []string
	items   []item
	input   *field // nil: keys are shortcuts, nothing is typed
	cur     int
	matches []int
	foot    string
	moved   func(a *app, item int) // the cursor came to an item
	dropped func(a *app)           // esc closed it
}

// item is one line of a picker. A reason disables it.
type item struct {
	text, note string
	help       string // searched too, not shown
	reason     string
	run        func(*app) tea.Cmd
	also       func(*app) tea.Cmd // on space; nil is the same as run
}

// besides is what space does: beside what is there, not in its place.
func (it item) besides() func(*app) tea.Cmd {
	if it.also != nil {
		return it.also
	}
	return it.run
}

func newPicker(name, foot string, typed bool, items []item) *picker {
	p := &picker{name: name, items: items, foot: foot}
	if typed {
		p.input = newField("", "type to search")
	}
	p.search()
	return p
}

// search keeps the items that match what is typed: those that contain it before
// those that only have its characters, and those before what is said of them.
func (p *picker) search() {
	typed := ""
	if p.input != nil {
		typed = strings.ToLower(strings.TrimSpace(p.input.value()))
	}
	p.matches = p.matches[:0]
	var loose, said []int
	for i, it := range p.items {
		text := strings.ToLower(it.text)
		switch {
		case strings.Contains(text, typed):
			p.matches = append(p.matches, i)
		case fuzzy(text, strings.ReplaceAll(typed, " ", "")):
			loose = append(loose, i)
		case len(typed) > 2 && strings.Contains(strings.ToLower(it.note+" "+it.help), typed):
			said = append(said, i)
		}
	}
	p.matches = append(append(p.matches, loose...), said...)
	p.cur = between(p.cur, 0, max(0, len(p.matches)-1))
}

func (p *picker) key(a *app, k tea.KeyPressMsg) tea.Cmd {
	before := p.at()
	cmd := p.press(a, k)
	if now := p.at(); p.moved != nil && now >= 0 && now != before {
		p.moved(a, now)
	}
	return cmd
}

// at returns the item under the cursor, -1 if there is none.
func (p *picker) at() int {
	if p.cur < 0 || p.cur >= len(p.matches) {
		return -1
	}
	return p.matches[p.cur]
}

func (p *picker) closed(a *app) {
	if p.dropped != nil {
		p.dropped(a)
	}
}

func (p *picker) press(a *app, k tea.KeyPressMsg) tea.Cmd {
	s := k.String()
	switch {
	case s == "enter":
		return p.choose(a, func(it item) func(*app) tea.Cmd { return it.run })
	case s == "space" && p.input == nil:
		return p.choose(a, item.besides)
	case s == "up" || s == "ctrl+p" || p.input == nil && s == "k":
		p.cur = max(0, p.cur-1)
	case s == "down" || s == "ctrl+n" || p.input == nil && s == "j":
		p.cur = min(len(p.matches)-1, p.cur+1)
	case s == "pgup":
		p.cur = max(0, p.cur-10)
	case s == "pgdown":
		p.cur = max(0, min(len(p.matches)-1, p.cur+10))
	case p.input != nil:
		if p.input.press(k) {
			p.cur = 0
			p.search()
		}
	}
	return nil
}

func (p *picker) paste(text string) {
	if p.input != nil {
		p.input.insert(text)
		p.search()
	}
}

func (p *picker) choose(a *app, run func(item) func(*app) tea.Cmd) tea.Cmd {
	if p.at() < 0 {
		return nil
	}
	it := p.items[p.at()]
	if it.reason != "" {
		return a.say(themes.Warn, it.reason)
	}
	a.pop(p)
	return run(it)(a)
}

// pickerWidth is how wide a list gets where there is room.
const pickerWidth = 84

// place returns how many lines come before the items in w by h cells, the first
// item shown and how many have room.
func (p *picker) place(w, h int) (head, top, room int) {
	for _, s := range p.intro {
		head += len(wrap(clean(s), min(w, pickerWidth)-2))
	}
	if p.input != nil {
		head++
	}
	room = max(1, min(h-head-2, max(len(p.items), 1)))
	return head, between(p.cur-room/2, 0, max(0, len(p.matches)-room)), room
}

func (p *picker) box(c canvas, w, h int) (title string, lines []string, cursor *tea.Position) {
	_, top, room := p.place(w, h)
	w = min(w, pickerWidth)
	for _, s := range p.intro {
		for _, l := range wrap(c.plain(s), w-2) {
			lines = append(lines, c.fit(" "+c.paint.text(themes.Dim, l), w))
		}
	}
	if p.input != nil {
		typed, column := p.input.view(c, w-4)
		cursor = &tea.Position{X: 3 + column, Y: len(lines)}
		lines = append(lines, c.paint.text(themes.Key, " > ")+typed+" ")
	}
	for row := top; row < top+room; row++ {
		if row >= len(p.matches) {
			lines = append(lines, c.fit("", w))
			continue
		}
		lines = append(lines, p.line(c, row, w))
	}
	if len(p.matches) == 0 {
		lines[len(lines)-room] = c.fit(c.paint.text(themes.Dim, "   nothing matches"), w)
	}
	lines = append(lines, c.fit(p.hidden(c, w), w), c.fit(c.paint.text(themes.Dim, " "+c.plain(p.foot)), w))
	return p.name, lines, cursor
}

// aside is what stands behind an item.
func (it item) aside() string {
	if it.reason != "" {
		return it.reason
	}
	return it.note
}

// hidden is what stands behind the item under the cursor, where its line has no
// room for it.
func (p *picker) hidden(c canvas, w int) string {
	if p.at() < 0 {
		return ""
	}
	it := p.items[p.at()]
	note := c.plain(it.aside())
	if n := width(note) + 1; 3+width(it.text)+1+n <= w || n <= w/2 {
		return ""
	}
	return c.paint.text(themes.Note, " "+note)
}

func (p *picker) line(c canvas, row, w int) string {
	it := p.items[p.matches[row]]
	note := it.aside()
	left := "   " + c.plain(it.text)
	if row == p.cur {
		left = " " + c.paint.text(themes.Accent, c.glyphs().cursor) + " " + c.plain(it.text)
	}
	if it.reason != "" {
		left = c.paint.text(themes.Dim, left)
	}
	line := c.ends(left, c.paint.text(themes.Dim, c.plain(note))+" ", w)
	if row == p.cur {
		line = c.paint.selected(line)
	}
	return line
}
