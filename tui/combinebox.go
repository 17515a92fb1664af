package tui

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	tea "charm.land/bubbletea/v2"

	"mergescope/loader"
	"mergescope/merge"
	"mergescope/themes"
)

// combineBox makes one adapter of several, as PEFT's add_weighted_adapter.
type combineBox struct {
	kind    int // index into merge.CombinationTypes
	parts   []combinePart
	options [numCombineOptions]*field
	count   bool   // signs are elected by count instead of by sum
	cur     int    // index into rows
	bad     string // why it cannot be made
	wait    bool   // it is being made
}

// combinePart is an adapter that can take part. An empty weight leaves it out.
type combinePart struct {
	name, path string
	weight     *field
}

// combineOption is a text that some types take.
type combineOption int

const (
	optDensity combineOption = iota
	optRank
	optSeed
	optName
	numCombineOptions
)

var combineOptions = [numCombineOptions]struct{ name, help, first string }{
	optDensity: {"density", "share of the values to keep", "0.5"},
	optRank:    {"rank", "empty: the largest of the parts", ""},
	optSeed:    {"seed", "of the values dropped at random", "0"},
	optName:    {"name", "of the new adapter; empty: its type", ""},
}

// combineHelp says what each type does.
var combineHelp = map[string]string{
	"linear":              "weighted sums of A and of B: cross terms come along, ranks must agree",
	"cat":                 "A and B side by side: exactly the sum of the deltas, ranks add up",
	"svd":                 "sum of the deltas, cut to a rank",
	"ties":                "trims small values, elects a sign for each, adds those that agree",
	"ties_svd":            "ties on the deltas, cut to a rank",
	"dare_linear":         "drops values at random, scales the rest up, adds",
	"dare_ties":           "drops values at random, scales up, elects signs",
	"dare_linear_svd":     "dare_linear on the deltas, cut to a rank",
	"dare_ties_svd":       "dare_ties on the deltas, cut to a rank",
	"magnitude_prune":     "keeps the largest values of each, adds",
	"magnitude_prune_svd": "magnitude_prune on the deltas, cut to a rank",
}

// combineRow is a line of the dialog: the type, a part, how signs are elected,
// or an option.
type combineRow struct {
	label string
	text  *field
	part  int // index, -1 for other rows
	step  func(d int)
	shown string // of a choice
	help  string
}

func (b *combineBox) kindName() string { return merge.CombinationTypes()[b.kind] }

// rows are the lines that the type has.
func (b *combineBox) rows() []combineRow {
	n := len(merge.CombinationTypes())
	rows := []combineRow{{label: "type", part: -1, shown: b.kindName(), help: combineHelp[b.kindName()], step: func(d int) { b.kind = (b.kind + d + n) % n }}}
	for i := range b.parts {
		help := "weight; empty leaves it out"
		rows = append(rows, combineRow{label: b.parts[i].name, text: b.parts[i].weight, part: i, help: help})
	}
	has := merge.Combination{Type: b.kindName()}.Takes()
	option := func(o combineOption) {
		rows = append(rows, combineRow{label: combineOptions[o].name, text: b.options[o], part: -1, help: combineOptions[o].help})
	}
	if has.Density {
		option(optDensity)
	}
	if has.Majority {
		shown, help := "total", "signs go by the sum of the values"
		if b.count {
			shown, help = "frequency", "signs go by how many values have them"
		}
		rows = append(rows, combineRow{label: "majority", part: -1, shown: shown, help: help, step: func(int) { b.count = !b.count }})
	}
	if has.Rank {
		option(optRank)
	}
	if has.Seed {
		option(optSeed)
	}
	option(optName)
	return rows
}

// askCombine opens the dialog on the adapters that are open and the demo's.
func (a *app) askCombine() tea.Cmd {
	b := &combineBox{}
	plan := a.history.Now()
	add := func(name, path string) {
		weight := ""
		if _, on := plan.Adapter(name); on {
			weight = "1"
		}
		b.parts = append(b.parts, combinePart{name, path, newField(weight, "not in it")})
	}
	for _, ad := range a.eng.adapters() {
		if _, _, combined, _ := merge.ParseCombinedPath(ad.Path); !combined {
			add(ad.Name, ad.Path)
		}
	}
	for _, name := range a.demo {
		if !slices.ContainsFunc(b.parts, func(p combinePart) bool { return p.path == "demo:"+name }) {
			add(name, "demo:"+name)
		}
	}
	for o := range b.options {
		b.options[o] = newField(combineOptions[o].first, "")
	}
	a.push(b)
	return nil
}

// noParts says why there is nothing to combine.
func (a *app) noParts() string {
	if len(a.eng.adapters()) == 0 && len(a.demo) == 0 {
		return "no adapter is open; A opens one"
	}
	return ""
}

func (b *combineBox) key(a *app, k tea.KeyPressMsg) tea.Cmd {
	if b.wait {
		return nil
	}
	rows := b.rows()
	b.cur = between(b.cur, 0, len(rows)-1)
	row := rows[b.cur]
	switch s := k.String(); {
	case s == "enter":
		return b.make(a)
	case s == "up" || s == "shift+tab" || s == "ctrl+p":
		b.cur = (b.cur + len(rows) - 1) % len(rows)
	case s == "down" || s == "tab" || s == "ctrl+n":
		b.cur = (b.cur + 1) % len(rows)
	case row.step != nil && (s == "right" || s == "space" || s == "l"):
		row.step(1)
		b.bad = ""
	case row.step != nil && (s == "left" || s == "h"):
		row.step(-1)
		b.bad = ""
	case row.part >= 0 && s == "space": // in and out
		if row.text.value() == "" {
			row.text.set("1")
		} else {
			row.text.set("")
		}
	case row.text != nil && row.text.press(k):
		b.bad = ""
	}
	return nil
}

func (b *combineBox) paste(text string) {
	if row := b.rows()[between(b.cur, 0, len(b.rows())-1)]; row.text != nil && !b.wait {
		row.text.insert(text)
	}
}

// path returns the name under which the combination is opened, or what is wrong.
func (b *combineBox) path() (string, error) {
	var parts []merge.Weighted
	for _, p := range b.parts {
		text := strings.TrimSpace(p.weight.value())
		if text == "" {
			continue
		}
		w, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(w) || math.IsInf(w, 0) {
			return "", fmt.Errorf("%s: the weight %q is no number", p.name, text)
		}
		if strings.Contains(p.path, ";") {
			return "", fmt.Errorf("%s: a path with a semicolon cannot take part", p.path)
		}
		parts = append(parts, merge.Weighted{Path: p.path, Weight: w})
	}
	if len(parts) < 2 {
		return "", fmt.Errorf("two adapters at least need a weight")
	}
	text := b.kindName()
	has := merge.Combination{Type: text}.Takes()
	if has.Density {
		text += ",density=" + strings.TrimSpace(b.options[optDensity].value())
	}
	if has.Majority && b.count {
		text += ",majority=frequency"
	}
	if rank := strings.TrimSpace(b.options[optRank].value()); has.Rank && rank != "" {
		text += ",rank=" + rank
	}
	if seed := strings.TrimSpace(b.options[optSeed].value()); has.Seed && seed != "" {
		text += ",seed=" + seed
	}
	c, err := merge.ParseCombination(text)
	if err != nil {
		return "", err
	}
	return merge.CombinedPath(c, parts), nil
}

// combinedMsg brings an adapter made of others.
type combinedMsg struct {
	box     *combineBox
	adapter *loader.Adapter
	err     error
}

func (b *combineBox) make(a *app) tea.Cmd {
	path, err := b.path()
	if err != nil {
		b.bad = err.Error()
		return nil
	}
	b.wait = true
	src, model := a.opt.Source, a.model
	name := strings.TrimSpace(b.options[optName].value())
	if name == "" {
		name = b.kindName()
	}
	return a.work(func() tea.Msg {
		ad, err := merge.OpenAdapter(src, model, path)
		if err == nil {
			ad.Name = name
		}
		return combinedMsg{b, ad, err}
	})
}

// arrive takes the adapter in and asks where it goes; an error is said where the
// combination was asked for.
func (msg combinedMsg) arrive(a *app) tea.Cmd {
	msg.box.wait = false
	if msg.err != nil {
		msg.box.bad = msg.err.Error()
		return nil
	}
	a.pop(msg.box)
	msg.adapter.Name = freeName(msg.adapter.Name, a.eng.adapters())
	a.adopt([]*loader.Adapter{msg.adapter})
	return a.placeAdapter(msg.adapter)
}

func (b *combineBox) box(c canvas, w, h int) (title string, lines []string, cursor *tea.Position) {
	w = min(w, 84)
	rows := b.rows()
	at := between(b.cur, 0, len(rows)-1)
	said, role := rows[at].help, themes.Dim
	switch {
	case b.wait:
		said = "combining…"
	case b.bad != "":
		said, role = b.bad, themes.Bad
	}
	foot := wrap(c.plain(said), w-4)
	foot = foot[:min(len(foot), 3)]
	room := max(1, h-len(foot)-3)
	top := between(at-room/2, 0, max(0, len(rows)-room))
	for i := top; i < min(top+room, len(rows)); i++ {
		line, column := b.line(c, rows[i], i == at, w)
		if i == at && column >= 0 {
			cursor = &tea.Position{X: column, Y: len(lines)}
		}
		lines = append(lines, line)
	}
	lines = append(lines, c.fit("", w))
	for _, l := range foot {
		lines = append(lines, c.fit("  "+c.paint.text(role, l), w))
	}
	keys := "  "
	if room < len(rows) {
		keys += fmt.Sprintf("%d/%d · ", at+1, len(rows))
	}
	keys += "enter combines · " + c.glyphs().keyLeft + " " + c.glyphs().keyRight + " change · esc back"
	return "combine adapters", append(lines, c.fit(c.paint.text(themes.Dim, c.plain(keys)), w)), cursor
}

// line draws a row; column is where its text cursor is, -1 without one.
func (b *combineBox) line(c canvas, row combineRow, here bool, w int) (line string, column int) {
	const label = 26
	head := " "
	if here {
		head = c.paint.text(themes.Accent, c.glyphs().cursor)
	}
	head += " " + c.fit(c.plain(row.label), label) + " "
	column = -1
	if row.step != nil {
		shown := c.plain(row.shown)
		if here {
			shown = c.paint.text(themes.Key, c.glyphs().keyLeft) + " " + shown + " " + c.paint.text(themes.Key, c.glyphs().keyRight)
		}
		line = head + shown
	} else {
		typed, at := row.text.view(c, max(1, w-width(head)-2))
		line, column = head+typed, width(head)+at
	}
	line = c.fit(line, w)
	if here {
		line = c.paint.selected(line)
	}
	return line, column
}
