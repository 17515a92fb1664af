package tui

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"mergescope/merge"
	"mergescope/themes"
)

// pollEvery is how often the screen looks at a running job. Workers never send:
// a slow screen cannot hold them up.
const pollEvery = 100 * time.Millisecond

// autoParams is the largest model, in weights, whose figures follow each edit
// of the plan by themselves: about a second of work.
const autoParams = 256 << 20

// jobRun is a job from the wish to run it to its report.
type jobRun struct {
	gen    int
	plan   merge.Plan
	sigs   []string // of the plan's layers, see signature
	opt    merge.Options
	quiet  bool // began by itself, so it ends without a word
	again  bool // the plan changed meanwhile: run once more
	run    runner
	cancel context.CancelFunc
	snap   merge.Snapshot
	ended  bool
	err    error
	asked  *mergeBox // the dialog that waits for the check
	news   news      // of the last snapshot
}

// outcome is what a writing job left behind.
type outcome struct {
	out      string
	state    merge.State
	layers   int
	errors   int
	warnings int
	err      error
}

// alerts counts the alerts that matter: "1 error, 3 warnings".
func (o *outcome) alerts() string {
	var parts []string
	if o.errors > 0 {
		parts = append(parts, plural(o.errors, "error"))
	}
	if o.warnings > 0 {
		parts = append(parts, plural(o.warnings, "warning"))
	}
	if len(parts) == 0 {
		return "no alerts"
	}
	return strings.Join(parts, ", ")
}

type (
	jobReadyMsg struct {
		gen int
		run runner
		err error
	}
	jobDoneMsg struct {
		gen    int
		report *merge.Report
		err    error
	}
	pollMsg struct{ gen int }
)

// busy reports whether a job runs or is about to.
func (a *app) busy() bool { return a.job != nil && !a.job.ended }

// writing reports whether a job runs that writes.
func (a *app) writing() bool { return a.busy() && a.job.opt.Out != "" }

// start prepares a job for the plan. Its messages carry a generation, since
// those of an earlier job may still be under way.
func (a *app) start(opt merge.Options, quiet bool) tea.Cmd {
	a.jobGen++
	gen, plan, eng := a.jobGen, a.history.Now(), a.eng
	opt.Tiles, opt.Workers, opt.Now = true, a.opt.Workers, a.now
	a.job = &jobRun{
		gen: gen, plan: plan, sigs: slices.Clone(a.book.sigs), opt: opt, quiet: quiet,
		cancel: func() {},
	}
	return a.work(func() tea.Msg {
		run, err := eng.newJob(plan, opt)
		return jobReadyMsg{gen, run, err}
	})
}

// jobReady runs what start prepared.
func (a *app) jobReady(msg jobReadyMsg) tea.Cmd {
	j := a.job
	if j == nil || msg.gen != j.gen || j.ended {
		return nil
	}
	if j.asked != nil {
		j.asked.waiting = false
	}
	switch {
	case msg.err != nil && j.asked != nil: // refused: say so where it was asked
		j.ended = true
		j.asked.bad = msg.err.Error()
		return nil
	case msg.err != nil:
		return a.jobDone(jobDoneMsg{msg.gen, nil, msg.err})
	case j.asked != nil:
		a.pop(j.asked)
	}
	ctx, cancel := context.WithCancel(a.ctx)
	j.run, j.cancel = msg.run, cancel
	a.takeSnapshot()
	done := a.work(func() tea.Msg {
		defer cancel()
		report, err := msg.run.Run(ctx)
		return jobDoneMsg{msg.gen, report, err}
	})
	return tea.Batch(done, a.pollLater())
}

func (a *app) pollLater() tea.Cmd {
	return a.after(pollEvery, pollMsg{a.job.gen})
}

// poll looks at the running job and comes back while it runs.
func (a *app) poll(msg pollMsg) tea.Cmd {
	if !a.busy() || msg.gen != a.job.gen || a.job.run == nil {
		return nil
	}
	a.drawn.touch()
	a.takeSnapshot()
	a.showTile()
	return tea.Batch(a.pollLater(), a.follow())
}

// takeSnapshot copies what the screen shows of the job.
func (a *app) takeSnapshot() {
	j := a.job
	j.snap = j.run.Snapshot()
	a.book.states = nil
	if !j.ended {
		a.book.states = a.book.sameAs(j.sigs, j.snap.Layers)
	}
	for i, l := range j.snap.Layers {
		if l.Result != nil && i < len(j.sigs) {
			a.book.remember(i, j.sigs[i], l.Result)
		}
	}
	if news := newsOf(j.snap); news != j.news || j.ended {
		j.news = news
		a.gatherAlerts()
		a.tree.refresh()
	}
}

// news is what tells two snapshots of a job apart as far as lists depend on
// them.
type news struct {
	done, alerts, count int
	last                time.Time
}

func newsOf(s merge.Snapshot) news {
	n := news{done: s.LayersDone, alerts: len(s.Alerts)}
	if n.alerts > 0 {
		n.count, n.last = s.Alerts[0].Count, s.Alerts[0].Last
	}
	return n
}

// jobDone takes the end of a job, delivered exactly once.
func (a *app) jobDone(msg jobDoneMsg) tea.Cmd {
	j := a.job
	if j == nil || msg.gen != j.gen || j.ended {
		return nil
	}
	j.ended = true
	j.err = msg.err
	if j.run != nil {
		a.takeSnapshot()
		a.showTile()
	}
	j.cancel()
	if !errors.Is(msg.err, context.Canceled) {
		a.book.pass(j.sigs, j.opt.Only)
		a.general.keep(j)
	}
	if j.opt.Out != "" {
		a.noteOutcome()
	}
	cmd := a.announce()
	if j.again || msg.err == nil {
		return tea.Batch(cmd, a.refigure())
	}
	return cmd
}

// noteOutcome keeps what a writing job did, for the line after leaving.
func (a *app) noteOutcome() {
	j := a.job
	o := &outcome{out: j.opt.Out, state: j.snap.State, layers: j.snap.LayersDone, err: j.err}
	for _, al := range j.snap.Alerts {
		switch al.Level {
		case merge.Error:
			o.errors++
		case merge.Warning:
			o.warnings++
		}
	}
	if j.run != nil { // else it never began, and an earlier outcome stands
		a.wrote = o
	}
}

// announce says how a job ended.
func (a *app) announce() tea.Cmd {
	j := a.job
	switch {
	case errors.Is(j.err, context.Canceled):
		if j.quiet {
			return nil
		}
		if j.opt.Out != "" {
			return a.say(themes.Warn, "cancelled; merging into "+j.opt.Out+" again goes on where it stopped")
		}
		return a.say(themes.Warn, "dry run cancelled")
	case j.err != nil && j.quiet:
		return a.say(themes.Bad, clean(j.err.Error()))
	case j.err != nil:
		return a.ask(&confirm{
			name:    "the " + j.kind() + " failed",
			lines:   []string{clean(j.err.Error())},
			choices: []choice{{"enter", "back", nil}},
		}, true)
	case j.opt.Out != "":
		return a.ask(a.mergedDialog(), true)
	case j.quiet:
		return nil
	}
	return a.say(themes.Good, "dry run done: "+a.verdict())
}

// kind names a job in messages.
func (j *jobRun) kind() string {
	if j.opt.Out == "" {
		return "dry run"
	}
	return "merge"
}

// mergedDialog tells what was written and what to do next.
func (a *app) mergedDialog() *confirm {
	o := a.wrote
	lines := []string{
		fmt.Sprintf("%s merged into %s", plural(o.layers, "layer"), clean(o.out)),
		a.verdict(),
	}
	if o.errors+o.warnings > 0 {
		lines = append(lines, o.alerts())
	}
	for _, g := range merge.Guidance() {
		if g.When == merge.Export {
			lines = append(lines, "", "next: "+g.Text)
		}
	}
	return &confirm{name: "merged", lines: lines, choices: []choice{
		{"4", "see the alerts", func(a *app) tea.Cmd { a.setFocus(alertsID); return nil }},
		{"enter", "back", nil},
	}}
}

// refigure starts a dry run of the layers whose figures are missing, where
// figures follow the plan by themselves.
func (a *app) refigure() tea.Cmd {
	if !a.auto {
		return nil
	}
	need := a.book.missing()
	if len(need) == 0 {
		return nil
	}
	if a.busy() {
		if a.job.quiet {
			a.job.again = true
			a.job.cancel()
		}
		return nil
	}
	return a.start(merge.Options{Only: func(layer string) bool { return need[layer] }}, true)
}

// dryRun runs the whole plan without writing.
func (a *app) dryRun() tea.Cmd {
	a.takeOver()
	return a.start(merge.Options{}, false)
}

// rerun runs the layers under the cursor again.
func (a *app) rerun() tea.Cmd {
	need := map[string]bool{}
	for _, i := range a.tree.chosen() {
		if a.book.planned(i) {
			need[a.book.layers[i].Weight.Name] = true
		}
	}
	a.takeOver()
	return a.start(merge.Options{Only: func(layer string) bool { return need[layer] }}, false)
}

// takeOver ends a job that began by itself, so that one the user asked for can
// begin; its late messages are ignored.
func (a *app) takeOver() {
	if a.busy() && a.job.quiet {
		a.job.ended = true
		a.job.cancel()
	}
}

// general holds what jobs said of the model as a whole. A job over some layers
// only would count less than one over all, so the earlier ones are kept.
type general struct {
	adapters []merge.AdapterRef
	alerts   map[alertID]merge.Alert
}

func (g *general) keep(j *jobRun) {
	if g.alerts == nil || !slices.Equal(g.adapters, j.plan.Adapters) {
		g.adapters, g.alerts = j.plan.Adapters, map[alertID]merge.Alert{}
	}
	for _, al := range j.snap.Alerts {
		id := alertKey(&al)
		if old, ok := g.alerts[id]; al.Layer == "" && (!ok || al.Count > old.Count) {
			g.alerts[id] = al
		}
	}
}

// fitting returns the alerts as long as the plan has the same adapters.
func (g *general) fitting(plan merge.Plan) []merge.Alert {
	if !slices.Equal(g.adapters, plan.Adapters) {
		return nil
	}
	return slices.Collect(maps.Values(g.alerts))
}

// gatherAlerts lists what the plan, the last job and the reports say.
func (a *app) gatherAlerts() {
	all := slices.Clone(a.book.notes)
	for _, r := range a.book.reports {
		if r != nil {
			all = append(all, r.Alerts...)
		}
	}
	all = append(all, a.general.fitting(a.book.plan)...)
	if j := a.job; j != nil {
		same := slices.Equal(j.sigs, a.book.sigs)
		for _, al := range j.snap.Alerts {
			if same || al.Layer == "" && j.plan.Equal(a.book.plan) {
				all = append(all, al)
			}
		}
	}
	switch {
	case a.busy():
		a.feed.todo = "what the " + a.job.kind() + " finds comes here while it runs"
	case a.book.countPlanned() == 0:
		a.feed.todo = "what is wrong with an adapter, and what a merge would lose, comes here; A puts one on"
	default:
		a.feed.todo = "D runs the merge without writing and shows what it would lose"
	}
	before := a.feed.counts()[merge.Error]
	a.feed.set(all)
	a.book.flag(all)
	a.tree.facts = facts{alerts: a.feed.byLayer()}
	if a.feed.counts()[merge.Error] > before {
		a.errorsCame()
	}
}

// errorsCame shows that there are new errors.
func (a *app) errorsCame() {
	a.flash = a.flash || a.focus != alertsID
	if first := a.feed.alerts[0]; a.chase && a.book.index(first.Layer) >= 0 {
		a.chase = false
		a.tree.reveal(first.Layer)
	}
}
