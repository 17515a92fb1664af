package tui

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	tea "charm.land/bubbletea/v2"

	"mergescope/loader"
	"mergescope/merge"
	"mergescope/themes"
)

// evaluator is a run of the model as the interface sees it.
type evaluator interface {
	Run(context.Context) (*merge.EvalReport, error)
	Snapshot() merge.EvalSnapshot
}

// evalView is a page of a run.
type evalView int

const (
	evalCurves  evalView = iota // over position and depth
	evalFigures                 // of the variants
	evalTexts                   // of each text
	evalLayers                  // one merged at a time
	evalLadder                  // the ways to ship the adapter
	numEvalViews
)

var evalViewNames = [numEvalViews]string{"curves", "figures", "texts", "layers", "ladder"}

// evalBox shows what running the model over a text says of the plan. It runs on
// when it is closed, and is kept, so that it can be looked at again.
type evalBox struct {
	lensOf
	plan   merge.Plan
	asked  string // text and budget, as typed
	eval   evaluator
	cancel context.CancelFunc

	seen  merge.EvalSnapshot // of the last poll
	ended bool

	view evalView
	top  int // first line of the page
	rung int // under the cursor of the ladder

	steps   *merge.Ladder // nil if the run is none of a ladder, or has said nothing yet
	stepsOf *merge.EvalReport
}

// openEval shows the run of this plan, if there is one, else asks for a text;
// from within a run it asks for another one.
func (a *app) openEval() tea.Cmd {
	x, open := a.topOverlay().(*evalBox)
	switch {
	case open:
		a.pop(x)
	case a.eval != nil && (!a.eval.ended || a.eval.plan.Equal(a.history.Now())):
		a.push(a.eval)
		return nil
	}
	value := merge.Builtin + " 60s"
	if a.eval != nil {
		value = a.eval.asked
	}
	return a.askEval(value)
}

// askEval asks what to run.
func (a *app) askEval(value string) tea.Cmd {
	p := newPrompt("run the model over a text",
		evalHelp, value, func(a *app, p *prompt, text string) tea.Cmd { return a.beginEval(p, text) })
	p.files = true
	a.push(p)
	return nil
}

// beginEval reads the text in the background.
func (a *app) beginEval(p *prompt, text string) tea.Cmd {
	q, err := evalWords(text)
	if err != nil {
		return p.refuse(err.Error())
	}
	if a.eval != nil && !a.eval.ended {
		a.eval.cancel()
	}
	p.wait = true
	ctx, eng, plan, src, model := a.ctx, a.eng, a.history.Now(), a.opt.Source, a.model
	q.opt.Workers, q.opt.Unsafe, q.opt.Calibrate = a.opt.Workers, a.how.unsafe, a.how.calibrate
	q.opt.Plans = []merge.NamedPlan{{Name: merge.VariantPlan, Plan: plan}}
	return a.work(func() tea.Msg {
		open, err := q.open(src, model, eng.adapters())
		msg := evalReadMsg{from: p, plan: plan, asked: text, open: open, err: err}
		switch {
		case err != nil:
		case q.ladder:
			msg.eval, msg.err = eng.newLadder(ctx, plan, q.opt)
		default:
			msg.eval, msg.err = eng.newEval(plan, q.opt)
		}
		return msg
	})
}

// evalReadMsg brings a run that is ready.
type evalReadMsg struct {
	from  *prompt
	plan  merge.Plan
	asked string
	eval  evaluator
	open  []*loader.Checkpoint // run beside the others
	err   error
}

func (msg evalReadMsg) arrive(a *app) tea.Cmd {
	if msg.err != nil {
		closeCheckpoints(msg.open)
		return msg.from.refuse(msg.err.Error())
	}
	if !slices.Contains(a.overlays, overlay(msg.from)) { // given up meanwhile
		closeCheckpoints(msg.open)
		return nil
	}
	a.pop(msg.from)
	ctx, cancel := context.WithCancel(a.ctx)
	x := &evalBox{plan: msg.plan, asked: msg.asked, eval: msg.eval, cancel: cancel}
	if _, ok := x.eval.(laddered); ok {
		x.view = evalLadder
	}
	a.eval = x
	a.push(x)
	run := a.work(func() tea.Msg {
		defer cancel()
		defer closeCheckpoints(msg.open)
		_, err := x.eval.Run(ctx)
		return evalDoneMsg{x, err}
	})
	return tea.Batch(run, a.after(pollEvery, evalPollMsg{x}))
}

// evalPollMsg looks at a run.
type evalPollMsg struct{ box *evalBox }

func (msg evalPollMsg) arrive(a *app) tea.Cmd {
	x := msg.box
	if x.ended {
		return nil
	}
	x.look()
	return a.after(pollEvery, msg)
}

// evalDoneMsg is the end of a run.
type evalDoneMsg struct {
	box *evalBox
	err error
}

func (msg evalDoneMsg) arrive(a *app) tea.Cmd {
	x := msg.box
	x.ended = true
	x.look()
	a.gatherAlerts()
	if a.eval != x || slices.Contains(a.overlays, overlay(x)) {
		return nil
	}
	switch {
	case errors.Is(msg.err, context.Canceled):
		return nil
	case msg.err != nil:
		return a.say(themes.Bad, "the run stopped: "+clean(msg.err.Error()))
	}
	return a.say(themes.Good, "the model was run: F shows what changed")
}

// alerts are what the run said of the model as a whole, as long as the plan is
// the same.
func (x *evalBox) alerts(plan merge.Plan) []merge.Alert {
	if x == nil || x.seen.Report == nil || !x.plan.Equal(plan) {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(x.seen.Report.Alerts), func(al merge.Alert) bool { return al.Layer != "" })
}

// facts are what the run of a plan said of its merge; that the model was not run
// over a text is one, too.
func (x *evalBox) facts(plan merge.Plan) []string {
	if x == nil || x.seen.Report == nil || !x.plan.Equal(plan) {
		return []string{"not run over a text yet; F does that without writing"}
	}
	return x.seen.Report.Summary()[:1]
}

// noEval says why the model cannot be run.
func (a *app) noEval() string {
	if a.eval != nil && !a.eval.ended {
		return ""
	}
	return a.noPlanned()
}

func (x *evalBox) scope() scope { return inEval }
func (x *evalBox) end(a *app)   { a.pop(x) } // it runs on

func (x *evalBox) hints() []lensHint {
	list := []lensHint{{"block.view", "page"}}
	if x.view == evalLadder && x.steps != nil {
		list = append(list, lensHint{"go.in", "take this plan"})
	}
	if !x.ended {
		list = append(list, lensHint{"job.cancel", "stop"})
	}
	return append(list, lensHint{"move.up move.down", "scroll"}, lensHint{"lens.eval", "other text"}, lensHint{"app.copy", "copy"}, lensHint{"app.help", "help"})
}

func (x *evalBox) move(_ *app, dr, dc int) tea.Cmd {
	if dc != 0 {
		x.view, x.top = (x.view+evalView(dc)%numEvalViews+numEvalViews)%numEvalViews, 0
		return nil
	}
	if l := x.steps; x.view == evalLadder && l != nil {
		x.rung = between(x.rung+dr, 0, len(l.Rungs)-1)
		return nil
	}
	x.top = max(0, x.top+dr) // drawing bounds it from above
	return nil
}

func (x *evalBox) cycle() { x.move(nil, 0, 1) }

// copyText is the run in words.
func (x *evalBox) copyText() string {
	r := x.seen.Report
	if r == nil {
		return ""
	}
	text := fmt.Sprintf("%d tokens in %d windows of at most %d", r.Tokens, r.Windows, r.Window)
	return strings.Join(append([]string{text}, r.Summary()...), "\n")
}
