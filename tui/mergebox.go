package tui

import (
	"fmt"
	"path/filepath"
	"strings"

	tea "charm.land/bubbletea/v2"

	"mergescope/merge"
	"mergescope/themes"
)

// mergeBox asks where to write and says what that will do, at the place where
// it is decided.
type mergeBox struct {
	in      *field
	facts   []string
	bad     string
	waiting bool // the job is being checked
	gen     int
}

// askMerge opens the question where to write.
func (a *app) askMerge() tea.Cmd {
	if why := (*app).noPlanned(a); why != "" {
		return a.say(themes.Warn, why)
	}
	out, given := a.outDefault()
	b := &mergeBox{in: newField(out, ""), facts: a.mergeFacts()}
	a.push(b)
	if given {
		return nil
	}
	return a.work(func() tea.Msg { return freeMsg{b, out, merge.FreeOutput(out)} })
}

// freeMsg brings a directory that can be written to in place of the first
// proposal.
type freeMsg struct {
	box       *mergeBox
	from, out string
}

func (msg freeMsg) arrive(*app) tea.Cmd {
	if msg.box.in.value() == msg.from && !msg.box.waiting { // nothing was typed meanwhile
		msg.box.in.set(msg.out)
	}
	return nil
}

// outDefault proposes a directory beside where the program was started. given
// says that it must be that one.
func (a *app) outDefault() (out string, given bool) {
	if a.opt.Out != "" {
		return a.opt.Out, true
	}
	if a.wrote != nil && a.wrote.state != merge.Done {
		return a.wrote.out, true // go on where it stopped
	}
	name := strings.Map(func(r rune) rune {
		if strings.ContainsRune(`/\:*?"<>|`, r) {
			return '-'
		}
		return r
	}, a.model.Name)
	return filepath.Base(name) + "-merged", false
}

// mergeFacts says what would be written and what is known of it.
func (a *app) mergeFacts() []string {
	forms := map[merge.Output]int{}
	planned := 0
	for i := range a.book.layers {
		if a.book.planned(i) {
			forms[a.book.layers[i].Output]++
			planned++
		}
	}
	var parts []string
	for _, o := range merge.Outputs() {
		switch n := forms[o]; {
		case n == 0:
		case o == merge.Same:
			parts = append(parts, fmt.Sprintf("%d requantized", n))
		default:
			parts = append(parts, fmt.Sprintf("%d %s", n, o))
		}
	}
	first := fmt.Sprintf("%s with an adapter: %s", plural(planned, "layer"), strings.Join(parts, ", "))
	if rest := len(a.book.layers) - planned; rest > 0 {
		first += fmt.Sprintf("; the other %d are copied byte for byte", rest)
	}
	facts := []string{first}
	v := a.verdict()
	switch {
	case v == "":
		v = "not computed yet what is kept; D does that without writing"
	case a.countCode(merge.CodeErased) > 0:
		v += "; O writes layers in another form"
	}
	return append(append(facts, v), a.eval.facts(a.history.Now())...)
}

func (b *mergeBox) key(a *app, k tea.KeyPressMsg) tea.Cmd {
	switch {
	case b.waiting:
		return nil
	case k.String() == "enter":
		return b.begin(a)
	case b.in.press(k):
		b.bad = ""
	}
	return nil
}

func (b *mergeBox) paste(text string) {
	if !b.waiting {
		b.in.insert(text)
	}
}

// closed forgets a job that is still being checked.
func (b *mergeBox) closed(a *app) {
	if b.waiting && a.job != nil && a.job.gen == b.gen && a.job.run == nil {
		a.job.ended = true
	}
}

func (b *mergeBox) begin(a *app) tea.Cmd {
	out := strings.TrimSpace(b.in.value())
	if out == "" {
		b.bad = "a directory is needed"
		return nil
	}
	a.takeOver()
	cmd := a.start(merge.Options{Out: out}, false)
	b.waiting, b.gen = true, a.job.gen
	a.job.asked = b
	return cmd
}

func (b *mergeBox) box(c canvas, w, h int) (title string, lines []string, cursor *tea.Position) {
	w = min(w, 88)
	gap := func() {
		if h >= 16 {
			lines = append(lines, c.fit("", w))
		}
	}
	say := func(role themes.Role, plain bool, s string) {
		for _, l := range wrap(c.plain(s), w-4) {
			if !plain {
				l = c.paint.text(role, l)
			}
			lines = append(lines, c.fit("  "+l, w))
		}
	}
	typed, column := b.in.view(c, w-9)
	lines = append(lines, c.fit("  into "+typed, w))
	cursor = &tea.Position{X: 7 + column, Y: 0}
	switch {
	case b.bad != "":
		say(themes.Bad, false, b.bad)
	case b.waiting:
		say(themes.Dim, false, "checking…")
		cursor = nil
	default:
		say(themes.Dim, false, "new, empty, or an earlier run of this plan to go on with")
	}
	for _, f := range b.facts {
		gap()
		say(0, true, f)
	}
	gap()
	lines = append(lines, advice(c, w, h-2-len(lines))...)
	gap()
	lines = append(lines, c.fit(c.paint.text(themes.Key, "  enter")+" merge   "+c.paint.text(themes.Key, "esc")+" back", w))
	return "merge", lines, cursor
}

// advice is the guidance as a list, whole sentences in at most h lines of w
// cells.
func advice(c canvas, w, h int) []string {
	var out []string
	for _, g := range merge.Guidance() {
		text := wrap(c.plain(g.Text), w-6)
		if len(out)+len(text) > h {
			break
		}
		for i, l := range text {
			bullet := "  "
			if i == 0 {
				bullet = c.paint.text(themes.Key, c.glyphs().dot) + " "
			}
			out = append(out, c.fit("  "+bullet+c.paint.text(themes.Note, l), w))
		}
	}
	return out
}
