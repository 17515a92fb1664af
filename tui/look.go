package tui

import (
	"context"
	"errors"
	"time"

	tea "charm.land/bubbletea/v2"

	"mergescope/merge"
	"mergescope/quant"
)

// lookAfter is how long the cursor must rest before weights are read for it, so
// that running through layers does not.
const lookAfter = 40 * time.Millisecond

// sight is what the panes on the right show and what is being computed for
// them.
type sight struct {
	layer  int                // index of the layer shown, -1 for none
	sig    string             // what the plan did with it
	report *merge.LayerReport // of a calibrated layer, what is known of it

	rest   inquiry // the cursor rests
	tile   inquiry // the map of the blocks
	span   span    // of tile
	failed span    // could not be computed, so it is not tried again
	ask    inquiry // the block under the cursor
	block  blockKey
	trace  *quant.Trace // of the last block that was computed
}

// blockKey is the block under the cursor.
type blockKey struct {
	sig      string
	row, col int
}

// inquiry is something asked of a command. Its generation tells the answer that
// is waited for from late ones.
type inquiry struct {
	gen    int
	busy   bool
	cancel context.CancelFunc
}

// begin gives up what was asked before. The context ends with the inquiry.
func (q *inquiry) begin(ctx context.Context) (context.Context, int) {
	q.stop()
	ctx, q.cancel = context.WithCancel(ctx)
	q.busy = true
	return ctx, q.gen
}

// answered reports whether the answer of that generation is waited for, and if
// so ends the inquiry.
func (q *inquiry) answered(gen int) bool {
	if gen != q.gen || !q.busy {
		return false
	}
	q.stop()
	return true
}

func (q *inquiry) stop() {
	if q.cancel != nil {
		q.cancel()
	}
	q.gen++
	q.busy, q.cancel = false, nil
}

// stop gives up whatever is asked.
func (s *sight) stop() {
	s.rest.stop()
	s.tile.stop()
	s.ask.stop()
}

func (s *sight) pending() bool { return s.rest.busy || s.tile.busy || s.ask.busy }

type (
	lookMsg     struct{ gen int }
	examinedMsg struct {
		gen  int
		span span
		ex   *merge.Examination
		err  error
	}
	tracedMsg struct {
		gen   int
		trace *quant.Trace
		err   error
	}
)

// follow brings the panes on the right to where the cursor is. What needs
// weights is asked for once the cursor rests.
func (a *app) follow() tea.Cmd {
	a.followLayer()
	a.blocks.setReport(a.book.report(a.sight.layer))
	_, span := a.nextSpan()
	_, block := a.nextBlock()
	if a.sight.rest.busy || !span && !block {
		return nil
	}
	_, gen := a.sight.rest.begin(a.ctx)
	return a.after(lookAfter, lookMsg{gen})
}

// followLayer shows the layer under the cursor.
func (a *app) followLayer() {
	i := a.tree.current()
	l := a.book.layer(i)
	sig := ""
	if l != nil {
		sig = a.book.sigs[i]
	}
	s := &a.sight
	var report *merge.LayerReport // what a calibrated layer became comes with its report
	if l != nil && l.Method.Kind == merge.MethodCalibrated {
		report = a.book.report(i)
	}
	if i == s.layer && sig == s.sig && report == s.report {
		return
	}
	s.stop()
	s.layer, s.sig, s.report = i, sig, report
	s.failed, s.block, s.trace = span{}, blockKey{}, nil
	a.blocks.setLayer(l)
	why := "no layer"
	switch {
	case l != nil && !l.Merges():
		why = noDelta(l)
	case l != nil:
		why = "not computed yet"
	}
	a.block.setTrace(nil, why)
	a.showTile()
}

// noDelta says why a layer has nothing to show.
func noDelta(l *merge.Layer) string {
	switch {
	case l.Output == merge.Separate && len(l.Steps) > 0:
		return "the adapter stays beside this layer: nothing is lost"
	case l.Reason != "":
		return "no adapter here: " + l.Reason
	}
	return "no adapter here; a puts one on"
}

// computed reports whether there is anything to compute for the layer shown.
func (a *app) computed() bool {
	l := a.book.layer(a.sight.layer)
	return l != nil && l.Merges() && l.Weight.Problem == nil
}

// nextSpan returns what the blocks pane lacks and has not asked for.
func (a *app) nextSpan() (span, bool) {
	s := &a.sight
	slot, shown := a.lay.slot(blocksID)
	if !shown || !a.computed() {
		return span{}, false
	}
	sp, need := a.blocks.want(slot.inside.w, slot.inside.h)
	asked := s.tile.busy && sp == s.span
	return sp, need && !asked && sp != s.failed
}

// nextBlock returns the block under the cursor if it has not been asked for.
func (a *app) nextBlock() (blockKey, bool) {
	row, col := a.blocks.cursor()
	key := blockKey{a.sight.sig, row, col}
	return key, a.computed() && key != a.sight.block
}

// look computes what the panes want now that the cursor rests.
func (a *app) look(msg lookMsg) tea.Cmd {
	s := &a.sight
	if !s.rest.answered(msg.gen) {
		return nil
	}
	var cmds []tea.Cmd
	if sp, ok := a.nextSpan(); ok {
		s.span = sp
		cmds = append(cmds, a.examine(sp))
	}
	if key, ok := a.nextBlock(); ok {
		s.block = key
		cmds = append(cmds, a.explain(a.book.layers[s.layer].Weight.Name, key.row, key.col))
	}
	return tea.Batch(cmds...)
}

func (a *app) examine(sp span) tea.Cmd {
	ctx, gen := a.sight.tile.begin(a.ctx)
	eng, plan := a.eng, a.history.Now()
	return a.work(func() tea.Msg {
		ex, err := eng.examine(ctx, plan, sp)
		return examinedMsg{gen, sp, ex, err}
	})
}

func (a *app) explain(layer string, row, col int) tea.Cmd {
	ctx, gen := a.sight.ask.begin(a.ctx)
	eng, plan := a.eng, a.history.Now()
	return a.work(func() tea.Msg {
		t, err := eng.explain(ctx, plan, layer, row, col)
		return tracedMsg{gen, t, err}
	})
}

func (a *app) examined(msg examinedMsg) {
	s := &a.sight
	switch {
	case !s.tile.answered(msg.gen):
	case msg.err != nil:
		s.failed = msg.span
		a.blocks.setProblem(msg.err)
		if a.busy() && errors.Is(msg.err, merge.ErrNotRun) {
			a.blocks.todo = []string{"it comes when the " + a.job.kind() + " is through with the layer"}
		}
	case msg.ex == nil:
		s.failed = msg.span
	default:
		a.blocks.setTile(msg.ex.Tile, msg.span.r0, msg.span.r1)
	}
}

func (a *app) traced(msg tracedMsg) {
	s := &a.sight
	if !s.ask.answered(msg.gen) {
		return
	}
	s.trace = msg.trace
	switch {
	case errors.Is(msg.err, merge.ErrNotRun):
		a.block.setTrace(nil, notRun)
	case msg.err != nil:
		a.block.setTrace(nil, clean(msg.err.Error()))
	case msg.trace == nil:
		a.block.setTrace(nil, "not computed yet")
	default:
		a.block.setTrace(msg.trace, "")
		a.showExplain()
	}
}

// showTile shows what the job knows of the layer under the cursor.
func (a *app) showTile() {
	s := &a.sight
	l := a.book.layer(s.layer)
	j := a.job
	if l == nil || j == nil || j.run == nil || s.layer >= len(j.sigs) || j.sigs[s.layer] != s.sig {
		return
	}
	if j.opt.Only != nil && !j.opt.Only(l.Weight.Name) {
		return
	}
	if t := j.run.Tile(s.layer); t != nil {
		a.blocks.setTile(t, 0, l.Weight.Rows())
	}
}
