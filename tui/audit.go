package tui

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	tea "charm.land/bubbletea/v2"

	"mergescope/loader"
	"mergescope/merge"
)

// auditView is a table of an audit.
type auditView int

const (
	findingsView auditView = iota // what is wrong
	auditLayers                   // every layer with an adapter or a fault
	auditModules                  // the same by kind of module
	numAuditViews
)

var auditViewNames = [numAuditViews]string{"findings", "layers", "modules"}

// auditBox shows whether a merged checkpoint, whoever made it, holds what the
// plan says. It is kept when it is closed, so that it can be looked at again.
type auditBox struct {
	lensOf
	book   *ledger
	merged string // name of the checkpoint
	plan   merge.Plan
	start  time.Time
	watch  *auditWatch
	cancel context.CancelFunc

	seen   auditSeen // what the last poll saw
	took   time.Duration
	report *merge.AuditReport // nil while it runs
	layers []*merge.AuditLayer
	err    error
	ended  bool

	view auditView
	cur  [numAuditViews]int
}

// auditSeen is where an audit stands.
type auditSeen struct {
	progress merge.AuditProgress
	count    map[merge.Verdict]int // of the layers that are done
}

// auditWatch is written by the audit and read by polls.
type auditWatch struct {
	mu   sync.Mutex
	seen auditSeen
}

// note takes what the audit says of itself. Verdicts are counted here since
// those of the report are settled at the end only.
func (w *auditWatch) note(p merge.AuditProgress) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if p.LayersDone > w.seen.progress.LayersDone && p.Last != nil {
		w.seen.count[p.Last.Verdict]++
	}
	p.Last = nil
	w.seen.progress = p
}

func (w *auditWatch) look() auditSeen {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.seen
	s.count = make(map[merge.Verdict]int, len(w.seen.count))
	for v, n := range w.seen.count {
		s.count[v] = n
	}
	return s
}

// openAudit shows the last audit if it is of this plan, else asks for a
// checkpoint; from within an audit it asks for another one.
func (a *app) openAudit() tea.Cmd {
	x, open := a.topOverlay().(*auditBox)
	if open {
		x.end(a)
	} else if a.audit != nil && a.audit.plan.Equal(a.history.Now()) {
		a.push(a.audit)
		return nil
	}
	value := ""
	if a.wrote != nil && a.wrote.state == merge.Done {
		value = a.wrote.out
	}
	p := newPrompt("audit a merged checkpoint", "a directory, a .safetensors file or a name in the Hugging Face cache, merged by any program and in any format", value,
		func(a *app, p *prompt, text string) tea.Cmd {
			if text == "" {
				return p.refuse("a name is needed")
			}
			p.wait = true
			name, src := expandHome(text), a.opt.Source
			return a.work(func() tea.Msg {
				merged, err := src.Checkpoint(name)
				return auditOpenedMsg{p, merged, err}
			})
		})
	p.files = true
	a.push(p)
	return nil
}

// auditOpenedMsg brings the checkpoint to audit.
type auditOpenedMsg struct {
	from   *prompt
	merged *loader.Checkpoint
	err    error
}

func (msg auditOpenedMsg) arrive(a *app) tea.Cmd {
	if msg.err != nil {
		return msg.from.refuse(msg.err.Error())
	}
	if !slices.Contains(a.overlays, overlay(msg.from)) { // given up meanwhile
		return ignoring(msg.merged.Close())
	}
	a.pop(msg.from)
	ctx, cancel := context.WithCancel(a.ctx)
	x := &auditBox{
		book: &a.book, merged: msg.merged.Name, plan: a.history.Now(), start: a.now(), cancel: cancel,
		watch: &auditWatch{seen: auditSeen{count: map[merge.Verdict]int{}}},
	}
	a.audit = x
	a.push(x)
	eng := a.eng
	run := a.work(func() tea.Msg {
		defer cancel()
		report, err := eng.audit(ctx, x.plan, msg.merged, x.watch.note)
		return auditDoneMsg{x, report, errors.Join(err, msg.merged.Close())}
	})
	return tea.Batch(run, a.after(pollEvery, auditPollMsg{x}))
}

// auditPollMsg looks at a running audit.
type auditPollMsg struct{ box *auditBox }

func (msg auditPollMsg) arrive(a *app) tea.Cmd {
	x := msg.box
	if x.ended {
		return nil
	}
	x.seen, x.took = x.watch.look(), a.now().Sub(x.start)
	return a.after(pollEvery, msg)
}

// auditDoneMsg is the end of an audit.
type auditDoneMsg struct {
	box    *auditBox
	report *merge.AuditReport
	err    error
}

func (msg auditDoneMsg) arrive(a *app) tea.Cmd {
	x := msg.box
	x.seen, x.ended, x.report, x.err = x.watch.look(), true, msg.report, msg.err
	if x.err != nil {
		x.report = nil
		if errors.Is(x.err, context.Canceled) && a.audit == x {
			a.audit = nil
		}
		return nil
	}
	for _, l := range x.report.Layers {
		if len(l.Adapters) > 0 || l.Verdict != merge.VerdictSame {
			x.layers = append(x.layers, l)
		}
	}
	if len(x.report.Findings) == 0 {
		x.view = auditLayers
	}
	return nil
}

// end closes an audit; one that still runs ends.
func (x *auditBox) end(a *app) {
	x.cancel()
	a.pop(x)
}

func (x *auditBox) scope() scope { return inAudit }

func (x *auditBox) hints() []lensHint {
	return []lensHint{
		{"move.up move.down", "line"},
		{"block.view", "view"},
		{"blocks.worst", "worst"},
		{"go.in", "go there"},
		{"lens.audit", "other checkpoint"},
		{"app.copy", "copy"},
		{"app.help", "help"},
	}
}

// rows is the number of lines of the view.
func (x *auditBox) rows() int {
	if x.report == nil {
		return 0
	}
	return [...]int{findingsView: len(x.report.Findings), auditLayers: len(x.layers), auditModules: len(x.report.Modules)}[x.view]
}

func (x *auditBox) move(_ *app, dr, dc int) tea.Cmd {
	if dc != 0 {
		x.view = (x.view + auditView(dc)%numAuditViews + numAuditViews) % numAuditViews
		return nil
	}
	x.cur[x.view] = between(x.cur[x.view]+dr, 0, max(0, x.rows()-1))
	return nil
}

func (x *auditBox) cycle() { x.move(nil, 0, 1) }

// next goes to the next layer that is not right.
func (x *auditBox) next(_ *app, d int) {
	x.view = auditLayers
	for i := x.cur[auditLayers] + d; i >= 0 && i < len(x.layers); i += d {
		if x.layers[i].Verdict.Level() > merge.Info {
			x.cur[auditLayers] = i
			return
		}
	}
}

// worst goes to the layer with the worst verdict; among equals, to where least
// was applied.
func (x *auditBox) worst(*app) {
	x.view = auditLayers
	at := -1
	for i, l := range x.layers {
		if at < 0 || l.Verdict.Worse(x.layers[at].Verdict) || l.Verdict == x.layers[at].Verdict && l.Applied < x.layers[at].Applied {
			at = i
		}
	}
	x.cur[auditLayers] = max(at, 0)
}

// target is the layer that the cursor is on, or the first of a finding or of a
// kind of modules.
func (x *auditBox) target() string {
	i := x.cur[x.view]
	switch {
	case i >= x.rows():
		return ""
	case x.view == findingsView:
		if f := x.report.Findings[i]; len(f.Layers) > 0 {
			return f.Layers[0]
		}
		return ""
	case x.view == auditLayers:
		return x.layers[i].Name
	}
	for _, l := range x.layers {
		if kind, _ := kindOf(l.Name); kind == x.report.Modules[i].Name {
			return l.Name
		}
	}
	return ""
}

// enter closes the audit and shows the layer under its cursor.
func (x *auditBox) enter(a *app) tea.Cmd {
	name := x.target()
	if a.book.index(name) < 0 {
		return nil
	}
	a.pop(x)
	a.tree.reveal(name)
	a.setFocus(layersID)
	return nil
}

// copyText is the audit in words.
func (x *auditBox) copyText() string {
	if x.report == nil {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s: %s", x.merged, x.report.Verdict, x.report.Summary)
	for _, f := range x.report.Findings {
		fmt.Fprintf(&b, "\n%s %s: %s\nhint: %s", f.Level, f.Verdict, f.Message, f.Hint)
	}
	return b.String()
}
