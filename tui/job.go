package tui

import (
	"context"
	"errors"
	"slices"
	"time"

	tea "charm.land/bubbletea/v2"

	"mergescope/merge"
)

// pollEvery is how often the screen looks at a running job. Workers never send:
// a slow screen cannot hold them up.
const pollEvery = 100 * time.Millisecond

// listLayers is how many layers can be listed anew at every look at a job; of
// larger models alerts, order and totals follow at every second look, every third and so
// on, so that the interface takes a few percent of a processor at most.
const listLayers = 1000

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
	news   news      // of the last snapshot that was listed
	looks  int       // at the running job so far
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
	opt = a.how.options(opt)
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
	due := j.looks%(1+len(j.snap.Layers)/listLayers) == 0
	j.looks++
	if news := newsOf(j.snap); news != j.news && due || j.ended {
		j.news, a.book.whole = news, nil
		a.gatherAlerts()
		a.tree.refresh()
	}
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

// kind names a job in messages.
func (j *jobRun) kind() string {
	if j.opt.Out == "" {
		return "dry run"
	}
	return "merge"
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
