package tui

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"mergescope/merge"
	"mergescope/themes"
)

// header is the first line: what is open, and the plan.
func (a *app) header(c canvas, w int) string {
	name := " " + c.paint.text(themes.Accent, "mergescope") + " "
	if a.lay.form == onePane {
		return c.ends(name+c.plain(a.model.Name), a.tabs(c), w)
	}
	sep := " " + c.glyphs().dot + " "
	facts := []string{c.paint.text(themes.Title, c.plain(a.model.Name))}
	if a.lay.form == fourPanes {
		if t := a.model.Config.ModelType; t != "" {
			facts = append(facts, c.plain(t))
		}
		facts = append(facts, a.formats(), plural(len(a.model.Weights), "weight"), fileSize(a.facts.Bytes))
	} else {
		facts = append(facts, plural(len(a.model.Weights), "weight"))
	}
	return c.ends(name+" "+strings.Join(facts, c.paint.text(themes.Dim, sep)), a.planText(c, sep)+" ", w)
}

// formats names the quantized formats of the model, double quantization marked.
func (a *app) formats() string {
	var names []string
	for _, f := range a.facts.Formats {
		if f.Format.IsFloat() && len(a.facts.Formats) > 1 {
			continue
		}
		s := f.Format.String()
		if f.Format.Is4Bit() && a.facts.Nested > 0 {
			s += "+dq"
		}
		names = append(names, s)
	}
	return strings.Join(names, "+")
}

// planText sums up the plan.
func (a *app) planText(c canvas, sep string) string {
	plan := a.history.Now()
	var parts []string
	switch n := len(plan.Adapters); {
	case n == 1 && a.lay.form == fourPanes:
		parts = append(parts, c.plain(plan.Adapters[0].Name))
	case n == 0:
		parts = append(parts, "no adapter")
	case n > 1:
		parts = append(parts, plural(n, "adapter"))
	}
	parts = append(parts, fmt.Sprintf("plan %d/%d", a.book.countPlanned(), len(a.book.layers)))
	if a.unsaved() {
		parts = append(parts, c.paint.text(themes.Warn, "unsaved"))
	}
	return strings.Join(parts, sep)
}

// tabs are the panes in the header of a small screen, the shown one marked.
func (a *app) tabs(c canvas) string {
	s := ""
	for p := layersID; p <= alertsID; p++ {
		s += a.tab(c, p)
	}
	if a.busy() && a.job.run != nil {
		s += " " + c.glyphs().percent(a.progress())
	}
	return s + " "
}

// tab is one pane in the header of a small screen.
func (a *app) tab(c canvas, p paneID) string {
	n := strconv.Itoa(int(p))
	if p == a.focus {
		return c.paint.text(themes.BorderFocus, "["+n+" "+paneNames[p]+"]")
	}
	return " " + c.paint.text(themes.Key, n) + " "
}

// progress is the share of the job that is done.
func (a *app) progress() float64 {
	s := a.job.snap
	switch {
	case s.WeightsTotal > 0:
		return float64(s.WeightsDone) / float64(s.WeightsTotal)
	case s.LayersTotal > 0:
		return float64(s.LayersDone) / float64(s.LayersTotal)
	}
	return 0
}

// progressText says how far the job is.
func (a *app) progressText() string {
	s := a.job.snap
	text := fmt.Sprintf("%d of %s done", s.LayersDone, plural(s.LayersTotal, "layer"))
	if s.Stage.Name != "" {
		text += ", " + s.Stage.String()
	}
	return text
}

// statusLine is the progress of a job, or what is known of the plan.
func (a *app) statusLine(c canvas, w int) string {
	if a.busy() {
		return a.progressLine(c, w)
	}
	left := " "
	switch n := a.book.countPlanned(); {
	case len(a.eng.adapters()) == 0:
		left += "no adapter is open: " + c.paint.text(themes.Key, "A") + " opens one"
	case n == 0:
		left += "no layer has an adapter: " + c.paint.text(themes.Key, "a") + " puts one on"
	default:
		left += a.verdictLine(c)
	}
	if a.lay.form == onePane { // the line below has the counts
		return c.fit(left, w)
	}
	return c.ends(left, a.alertCounts(c)+" ", w)
}

// verdictLine is the verdict in colour, or how to get one.
func (a *app) verdictLine(c canvas) string {
	v := a.verdict()
	if v == "" {
		return "nothing computed yet: " + c.paint.text(themes.Key, "D") + " runs the merge without writing"
	}
	g := c.glyphs()
	return c.paint.text(a.verdictRole(), g.full) + " " + c.plain(v)
}

// alertCounts is "x1 !3", coloured; nothing without alerts.
func (a *app) alertCounts(c canvas) string {
	n := a.feed.counts()
	s := ""
	for l := merge.Error; ; l-- {
		if n[l] > 0 && (l > merge.Info) {
			role, sign := levelSign(l, c.glyphs())
			s += c.paint.text(role, sign+strconv.Itoa(n[l])) + " "
		}
		if l == merge.Info {
			return strings.TrimSuffix(s, " ")
		}
	}
}

// progressLine is the line of a running job.
func (a *app) progressLine(c canvas, w int) string {
	j, s := a.job, a.job.snap
	head := " " + j.kind() + " "
	if j.run == nil {
		return c.fit(head+"is being checked", w)
	}
	var parts []string
	parts = append(parts, fmt.Sprintf("%3.0f%%", math.Floor(a.progress()*100)), fmt.Sprintf("%d/%s", s.LayersDone, plural(s.LayersTotal, "layer")))
	switch {
	case s.State == merge.Paused:
		parts = append(parts, c.paint.text(themes.Warn, "paused, p goes on"))
	case s.Stage.Name != "":
		parts = append(parts, s.Stage.String())
	case j.computed():
		parts = append(parts, j.finish())
	default:
		parts = append(parts, a.speed()...)
	}
	tail := strings.Join(parts, "  ") + "   " + c.paint.text(themes.Key, "x") + " cancel  "
	if counts := a.alertCounts(c); counts != "" && a.lay.form != onePane {
		tail += " " + counts + " "
	}
	room := min(w-width(head)-width(tail)-1, 44)
	if room < 6 {
		return c.fit(head+tail, w)
	}
	return c.fit(head+c.bar(a.progress(), room)+" "+tail, w)
}

// speed is how fast a job is, as fully as there is room, and when it ends.
func (a *app) speed() (parts []string) {
	s := a.job.snap
	if a.lay.form == fourPanes && s.Workers > 0 {
		parts = append(parts, plural(s.Workers, "worker"))
	}
	if s.Rate > 0 && a.lay.form != onePane {
		unit := "w/s"
		if a.lay.form == fourPanes {
			unit = " weights/s"
		}
		parts = append(parts, quantity(s.Rate)+unit)
	}
	if s.ETA > 0 {
		parts = append(parts, "eta "+brief(s.ETA))
	}
	return parts
}

// noticeLine is a toast, or what to know at this point.
func (a *app) noticeLine(c canvas, w int) string {
	if a.toast.text != "" {
		return c.fit(" "+c.paint.text(a.toast.role, c.plain(a.toast.text)), w)
	}
	if a.lay.form == twoPanes {
		return a.statusLine(c, w)
	}
	if a.lay.form == onePane {
		return a.lastAlert(c, w)
	}
	return c.fit(" "+c.paint.text(themes.Note, alternatives(c.plain(a.guidance()), w-2)), w)
}

// alternatives leaves out the last of several remedies joined with "or" until
// the rest has room.
func alternatives(s string, w int) string {
	for width(s) > w {
		i := strings.LastIndex(s, ", or ")
		if i < 0 {
			break
		}
		s = s[:i]
	}
	return s
}

// lastAlert is the worst alert where there is no room for the pane.
func (a *app) lastAlert(c canvas, w int) string {
	s := " " + a.alertCounts(c)
	if len(a.feed.alerts) > 0 {
		al := a.feed.alerts[0]
		text := al.Message
		if al.Layer != "" {
			text = a.book.short(al.Layer) + " " + text
		}
		s += "  " + c.plain(text)
	}
	return c.fit(s, w)
}

// guidance is the sentence that fits what is on the screen.
func (a *app) guidance() string {
	m := a.book.overall()
	kept := float64(m.Kept)
	switch {
	case a.feed.counts()[merge.Error] > 0 && a.countCode(merge.CodeNonFinite) > 0:
		return merge.HintFor(merge.CodeNonFinite)
	case kept < 0.1:
		return merge.HintFor(merge.CodeErased)
	case kept < 0.5:
		return merge.HintFor(merge.CodeWeak)
	case a.book.countPlanned() > 0:
		for _, g := range merge.Guidance() {
			if g.When == merge.Export {
				return g.Text
			}
		}
	}
	return ""
}

// footer shows the keys that work here, as many as fit.
func (a *app) footer(c canvas, w int) string {
	switch top := a.topOverlay().(type) {
	case nil:
		if a.tree.typing {
			return c.fit(a.filterHints(c), w)
		}
	case lens:
		line, _ := a.lensHints(c, top, w)
		return line
	default:
		return c.fit(" "+c.paint.text(themes.Key, "esc")+" back", w)
	}
	line, _ := a.hints(c, w)
	return c.fit(line, w)
}

// filterHints are the keys while the filter is typed, and what it understands
// or does not.
func (a *app) filterHints(c canvas) string {
	key := func(k, word string) string { return c.paint.text(themes.Key, k) + " " + word + "  " }
	keys := " " + key("enter", "keeps") + key("esc", "drops")
	if hint := a.tree.filter.hint; hint != "" {
		return keys + c.paint.text(themes.Warn, c.plain(hint))
	}
	return keys + c.paint.text(themes.Dim, "words, kept<0.1, layer:0-3, type:q_proj, alert:erased, plan:none, and or not ( )")
}

// footerOrder lists the actions that have a hint, the most useful first: what
// does not fit is left out. What only the focused pane can do comes before what
// all can. On a small screen the other panes are out of sight, so the way to
// them comes first.
func footerOrder(f form, focus paneID) []string {
	ids := []string{"job.cancel", "job.pause"}
	switch focus {
	case blocksID:
		ids = append(ids, "blocks.metric", "blocks.in", "blocks.worst", "block.explain")
	case blockID:
		ids = append(ids, "block.view", "block.explain")
	case alertsID:
		ids = append(ids, "alerts.explain", "alerts.ack", "alerts.level")
	}
	for _, id := range []string{
		"plan.assign", "plan.all", "job.dry", "job.merge", "demo.broken", "demo.next",
		"blocks.metric", "blocks.in", "block.view", "block.explain", "plan.output",
		"mark.toggle", "tree.filter", "plan.up", "blocks.worst", "plan.undo",
	} {
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	if f == onePane {
		return append([]string{"pane.next"}, ids...)
	}
	return append(ids, "pane.next")
}

// hintSpan is where a hint is in the footer, for the mouse.
type hintSpan struct {
	from, to int
	action   *action
}

// hints builds the footer and where each hint is. Help and quit always fit.
func (a *app) hints(c canvas, w int) (line string, spans []hintSpan) {
	last := []string{"app.palette", "app.help", "app.quit"}
	tail := 0
	for _, id := range last {
		tail += a.hintWidth(c, a.byID(id))
	}
	at := 1
	line = " "
	add := func(x *action, room int) {
		n := a.hintWidth(c, x)
		if at+n > room {
			return
		}
		spans = append(spans, hintSpan{at, at + n - 2, x})
		line += c.paint.text(themes.Key, hintKey(c, x)) + " " + x.hint + "  "
		at += n
	}
	s := a.currentScope()
	for _, id := range footerOrder(a.lay.form, a.focus) {
		if x := a.byID(id); x.scope&s != 0 && x.reason(a) == "" {
			add(x, w-tail)
		}
	}
	for _, id := range last {
		add(a.byID(id), w+2)
	}
	return line, spans
}

func (a *app) hintWidth(c canvas, x *action) int { return width(hintKey(c, x)) + 1 + width(x.hint) + 2 }

func hintKey(c canvas, x *action) string { return keyName(x.keys[0], c.glyphs()) }
