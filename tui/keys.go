package tui

import (
	"fmt"
	"strings"

	tea "charm.land/bubbletea/v2"

	"mergescope/themes"
)

// press routes a key: to the dialog on top, to the filter line, or through the
// registry.
func (a *app) press(k tea.KeyPressMsg) tea.Cmd {
	key := k.String()
	a.letGo()
	if key == "ctrl+c" {
		return a.interrupt()
	}
	if a.lay.form == tooSmall {
		return a.pressUnseen(key)
	}
	switch top := a.topOverlay().(type) {
	case nil:
	case lens:
		return a.act(key, top.scope())
	default:
		if key == "esc" {
			a.pop(top)
			if c, ok := top.(closer); ok {
				c.closed(a)
			}
			return nil
		}
		return top.key(a, k)
	}
	if a.tree.typing {
		return a.filterKey(k)
	}
	return a.act(key, a.focusScope())
}

// pressUnseen takes a key on a screen that is too small to show what it would
// do: only leaving works, and asking again does not.
func (a *app) pressUnseen(key string) tea.Cmd {
	if key == "q" {
		return a.interrupt()
	}
	if d := a.quitDialog(); d != nil {
		a.pop(d)
	}
	return nil
}

// act runs the action of a key, or says why it cannot.
func (a *app) act(key string, s scope) tea.Cmd {
	x := a.bound(key, s)
	if x == nil {
		return a.elsewhere(key, s)
	}
	return a.runAction(x)
}

// elsewhere says in which pane a key does something that does nothing here.
func (a *app) elsewhere(key string, s scope) tea.Cmd {
	if s&inPanes == 0 {
		return nil
	}
	if x := a.bound(key, inPanes); x != nil {
		return a.view(key + " works in " + where(x.scope&inPanes) + ": " + strings.TrimSuffix(x.title, "…"))
	}
	return nil
}

func (a *app) runAction(x *action) tea.Cmd {
	if why := x.reason(a); why != "" {
		return a.say(themes.Warn, why)
	}
	return x.run(a)
}

// bound returns the action of a key in a scope, nil if there is none.
func (a *app) bound(key string, s scope) *action {
	for i := range a.actions {
		x := &a.actions[i]
		if x.scope&s == 0 {
			continue
		}
		for _, k := range x.keys {
			if k == key {
				return x
			}
		}
	}
	return nil
}

// focusScope is the scope of the focused pane.
func (a *app) focusScope() scope {
	return [...]scope{layersID: inLayers, blocksID: inBlocks, blockID: inBlock, alertsID: inAlerts}[a.focus]
}

// currentScope is where keys go now.
func (a *app) currentScope() scope {
	if l := a.topLens(); l != nil {
		return l.scope()
	}
	return a.focusScope()
}

// paste gives pasted text to what is being typed.
func (a *app) paste(text string) {
	if p, ok := a.topOverlay().(paster); ok {
		p.paste(text)
	} else if a.topOverlay() == nil && a.tree.typing {
		a.tree.input.insert(text)
		a.tree.setFilter(a.tree.input.value())
	}
}

// beginFilter lets the filter be typed.
func (a *app) beginFilter() tea.Cmd {
	a.setFocus(layersID)
	a.tree.typing, a.tree.input = true, newField(a.tree.filter.text, "")
	return nil
}

// filterKey edits the filter line. The rows follow each key; enter keeps the
// filter, esc drops it.
func (a *app) filterKey(k tea.KeyPressMsg) tea.Cmd {
	f := a.tree.input
	switch k.String() {
	case "enter":
		a.tree.typing = false
		return nil
	case "esc":
		a.tree.typing = false
		a.tree.setFilter("")
		return nil
	case "up":
		a.tree.move(-1)
		return nil
	case "down":
		a.tree.move(1)
		return nil
	case "backspace":
		if len(f.text) == 0 {
			a.tree.typing = false
			return nil
		}
	}
	if f.press(k) && f.value() != a.tree.filter.text {
		a.tree.setFilter(f.value())
		a.tree.toMatch()
	}
	return nil
}

// keyName spells a key for people.
func keyName(key string, g *glyphs) string {
	switch key {
	case "up":
		return g.keyUp
	case "down":
		return g.keyDown
	case "left":
		return g.keyLeft
	case "right":
		return g.keyRight
	}
	return key
}

// keyNames joins the keys of an action for people.
func keyNames(x *action, g *glyphs) string {
	names := make([]string, len(x.keys))
	for i, k := range x.keys {
		names[i] = keyName(k, g)
	}
	return strings.Join(names, " ")
}

// scopeNames are the headings of help and documentation, in their order.
var scopeNames = []struct {
	scope scope
	name  string
}{
	{inAny, "Everywhere"},
	{inPanes, "All panes"},
	{inLayers, "Layers"},
	{inBlocks, "Blocks"},
	{inBlock, "Block"},
	{inAlerts, "Alerts"},
	{inExplain, "Explain"},
	{inInsight, "Insight"},
	{inCompare, "Compare"},
	{inTour, "Tours"},
	{inAudit, "Audit"},
	{inTexts, "Texts"},
	{inEval, "Run"},
}

// KeysMarkdown returns the table of keys and commands for the documentation.
func KeysMarkdown() string {
	var b strings.Builder
	b.WriteString("# Keys and commands\n\nGenerated from the registry of actions; `?` shows the same inside the program.\nCommands without a key are in the palette (`:`).\n")
	left := registry()
	for _, s := range scopeNames {
		var rows []action
		for _, x := range left {
			if x.scope == s.scope {
				rows = append(rows, x)
			}
		}
		writeTable(&b, s.name, rows)
	}
	var rest []action
	for _, x := range left {
		if !oneScope(x.scope) {
			rest = append(rest, x)
		}
	}
	writeTable(&b, "Several panes", rest)
	return b.String()
}

func oneScope(s scope) bool {
	for _, n := range scopeNames {
		if n.scope == s {
			return true
		}
	}
	return false
}

func writeTable(b *strings.Builder, name string, rows []action) {
	if len(rows) == 0 {
		return
	}
	fmt.Fprintf(b, "\n## %s\n\n| key | does | where |\n|---|---|---|\n", name)
	for _, x := range rows {
		keys := ""
		for _, k := range x.keys {
			keys += " `" + k + "`"
		}
		text := x.title
		if x.help != "" {
			text += ": " + x.help
		}
		fmt.Fprintf(b, "| %s | %s | %s |\n", strings.ReplaceAll(strings.TrimSpace(keys), "|", `\|`), strings.ReplaceAll(text, "|", `\|`), where(x.scope))
	}
}

// where names the panes of a scope.
func where(s scope) string {
	if s&inPanes == inPanes {
		return "everywhere"
	}
	var names []string
	for _, n := range []struct {
		scope scope
		name  string
	}{{inLayers, "layers"}, {inBlocks, "blocks"}, {inBlock, "block"}, {inAlerts, "alerts"}, {inExplain, "explain"}, {inInsight, "insight"}, {inCompare, "compare"}, {inTour, "tours"}, {inAudit, "audit"}, {inTexts, "texts"}, {inEval, "run"}} {
		if s&n.scope != 0 {
			names = append(names, n.name)
		}
	}
	return strings.Join(names, ", ")
}
