package tui

import (
	"strings"

	tea "charm.land/bubbletea/v2"

	"mergescope/themes"
)

// pager shows text that may be longer than the screen.
type pager struct {
	name string
	text func(c canvas, w int) []string
	top  int
}

// pagerWidth is how wide text gets where there is room.
const pagerWidth = 96

func (p *pager) key(a *app, k tea.KeyPressMsg) tea.Cmd {
	room := max(1, a.h-6)
	last := max(0, len(p.text(a.skin.canvas(true), min(a.w-4, pagerWidth)))-room)
	step := 0
	switch k.String() {
	case "up", "k":
		step = -1
	case "down", "j":
		step = 1
	case "pgup", "ctrl+u":
		step = -room
	case "pgdown", "ctrl+d", "space":
		step = room
	case "g", "home":
		step = -farAway
	case "G", "end":
		step = farAway
	case "?", "q", "enter":
		a.pop(p)
	}
	p.top = between(p.top+step, 0, last)
	return nil
}

func (p *pager) box(c canvas, w, h int) (title string, lines []string, cursor *tea.Position) {
	w = min(w, pagerWidth)
	all, room := p.text(c, w), max(1, h-2)
	top := between(p.top, 0, max(0, len(all)-room))
	for _, l := range all[top:min(len(all), top+room)] {
		lines = append(lines, c.fit(l, w))
	}
	foot := "esc back"
	if len(all) > room {
		foot = c.glyphs().keyUp + " " + c.glyphs().keyDown + " scroll · esc back"
	}
	return p.name, append(lines, c.fit(c.paint.text(themes.Dim, " "+c.plain(foot)), w)), nil
}

// openHelp lists the keys from the registry, those of the focused pane first.
func (a *app) openHelp() tea.Cmd {
	here := a.currentScope()
	a.push(&pager{name: "help", text: func(c canvas, w int) []string { return a.helpText(c, w, here) }})
	return nil
}

func (a *app) helpText(c canvas, w int, here scope) []string {
	var out []string
	part := func(name string, in func(*action) bool) {
		var rows []string
		for i := range a.actions {
			if x := &a.actions[i]; len(x.keys) > 0 && in(x) {
				rows = append(rows, a.helpRow(c, x, w)...)
			}
		}
		if len(rows) > 0 {
			out = append(append(out, "", " "+c.paint.text(themes.Title, name)), rows...)
		}
	}
	part("here: "+scopeName(here), func(x *action) bool { return x.scope&here != 0 && x.scope&inPanes != inPanes })
	part("everywhere", func(x *action) bool { return x.scope&inPanes == inPanes })
	part("elsewhere", func(x *action) bool { return x.scope&here == 0 && x.scope&inPanes != inPanes })
	return out[1:]
}

func (a *app) helpRow(c canvas, x *action, w int) []string {
	key := c.paint.text(themes.Key, right(keyNames(x, c.glyphs()), 12))
	text := x.title
	if x.help != "" {
		text = x.help
	}
	role := themes.NumRoles
	if why := x.reason(a); why != "" {
		text, role = x.title+" ("+why+")", themes.Dim
	}
	var out []string
	for i, l := range wrap(c.plain(text), w-16) {
		if role == themes.Dim {
			l = c.paint.text(themes.Dim, l)
		}
		if i > 0 {
			key = strings.Repeat(" ", 12)
		}
		out = append(out, " "+key+"  "+l)
	}
	return out
}

func scopeName(s scope) string {
	for _, n := range scopeNames {
		if n.scope == s {
			return strings.ToLower(n.name)
		}
	}
	return ""
}

// openPalette lists every action. Those that cannot run say why.
func (a *app) openPalette() tea.Cmd {
	var items []item
	here := a.focusScope()
	for i := range a.actions {
		x := &a.actions[i]
		if strings.HasPrefix(x.id, "move.") || x.id == "app.palette" || x.scope == inExplain {
			continue
		}
		why := x.reason(a)
		if why == "" && x.scope&here == 0 {
			why = "in " + where(x.scope)
		}
		items = append(items, item{text: x.title, note: keyNames(x, &unicodeGlyphs), help: x.help, reason: why, run: x.run})
	}
	for _, name := range a.demo {
		items = append(items, item{text: "Demo: use adapter " + name, run: func(a *app) tea.Cmd { return a.useDemo(name) }})
	}
	a.push(newPicker("commands", "enter runs · esc back", true, items))
	return nil
}

// openAdvice shows what is advised about merging into quantized weights.
func (a *app) openAdvice() tea.Cmd {
	a.push(&pager{name: "when to merge and when not", text: func(c canvas, w int) []string {
		return advice(c, w, farAway)
	}})
	return nil
}

// openAlert shows the alert under the cursor in full.
func (a *app) openAlert() tea.Cmd {
	al := a.feed.current()
	if al == nil {
		return nil
	}
	text := []string{al.Message, "", "What to do: " + al.Hint}
	if al.Layer != "" {
		text = append([]string{al.Layer, ""}, text...)
	}
	a.push(&pager{name: string(al.Code), text: func(c canvas, w int) []string {
		var out []string
		for _, s := range text {
			for _, l := range wrap(c.plain(s), w-2) {
				out = append(out, " "+l)
			}
		}
		return out
	}})
	return nil
}
