package tui

import (
	"context"
	"time"

	tea "charm.land/bubbletea/v2"

	"mergescope/merge"
	"mergescope/quant"
)

// lookAfter is how long the cursor must rest before weights are read for it, so
// that running through layers does not.
const lookAfter = 40 * time.Millisecond

// sight is what the panes on the right show and what is being computed for
// them. A generation tells late answers from the one that is waited for.
type sight struct {
	layer int    // index of the layer shown, -1 for none
	sig   string // what the plan did with it

	gen      int // of the last look, raised whenever something else is wanted
	resting  bool
	cancel   context.CancelFunc
	span     span // wanted by the blocks pane
	spanBusy bool
	failed   span // could not be computed, so it is not tried again

	block     blockKey // shown or being computed
	blockBusy bool
	trace     *quant.Trace
}

// blockKey is the block under the cursor.
type blockKey struct {
	sig      string
	row, col int
}

func (s *sight) pending() bool { return s.resting || s.spanBusy || s.blockBusy }

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
	a.followReport()
	if !a.wanting() || a.sight.resting {
		return nil
	}
	a.sight.resting = true
	a.sight.gen++
	return a.after(lookAfter, lookMsg{a.sight.gen})
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
	if i == s.layer && sig == s.sig {
		return
	}
	s.stop()
	s.layer, s.sig = i, sig
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

// followReport gives the blocks pane the layer's figures.
func (a *app) followReport() { a.blocks.setReport(a.book.report(a.sight.layer)) }

// wanting reports whether a pane needs something computed, and notes what.
func (a *app) wanting() bool {
	s := &a.sight
	l := a.book.layer(s.layer)
	if l == nil || !l.Merges() || l.Weight.Problem != nil {
		return false
	}
	want := false
	if slot, ok := a.lay.slot(blocksID); ok && !s.spanBusy {
		if sp, need := a.blocks.want(slot.inside.w, slot.inside.h); need && sp != s.failed {
			s.span, want = sp, true
		}
	}
	row, col := a.blocks.cursor()
	if key := (blockKey{s.sig, row, col}); key != s.block {
		want = true
	}
	return want
}

// look computes what the panes want now that the cursor rests.
func (a *app) look(msg lookMsg) tea.Cmd {
	s := &a.sight
	if msg.gen != s.gen {
		return nil
	}
	s.resting = false
	l := a.book.layer(s.layer)
	if l == nil || !a.wanting() {
		return nil
	}
	s.stop()
	ctx, cancel := context.WithCancel(a.ctx)
	s.cancel = cancel
	var cmds []tea.Cmd
	if slot, ok := a.lay.slot(blocksID); ok {
		if sp, need := a.blocks.want(slot.inside.w, slot.inside.h); need && sp != s.failed {
			s.span, s.spanBusy = sp, true
			cmds = append(cmds, a.examine(ctx, sp))
		}
	}
	row, col := a.blocks.cursor()
	if key := (blockKey{s.sig, row, col}); key != s.block {
		s.block, s.blockBusy = key, true
		cmds = append(cmds, a.explain(ctx, l.Weight.Name, row, col))
	}
	return tea.Batch(cmds...)
}

// stop gives up what is being computed.
func (s *sight) stop() {
	if s.cancel != nil {
		s.cancel()
		s.cancel = nil
	}
	if s.blockBusy {
		s.block = blockKey{}
	}
	s.gen++
	s.resting, s.spanBusy, s.blockBusy = false, false, false
}

func (a *app) examine(ctx context.Context, sp span) tea.Cmd {
	gen, eng, plan := a.sight.gen, a.eng, a.history.Now()
	return a.work(func() tea.Msg {
		ex, err := eng.examine(ctx, plan, sp)
		return examinedMsg{gen, sp, ex, err}
	})
}

func (a *app) explain(ctx context.Context, layer string, row, col int) tea.Cmd {
	gen, eng, plan := a.sight.gen, a.eng, a.history.Now()
	return a.work(func() tea.Msg {
		t, err := eng.explain(ctx, plan, layer, row, col)
		return tracedMsg{gen, t, err}
	})
}

func (a *app) examined(msg examinedMsg) tea.Cmd {
	s := &a.sight
	if msg.gen != s.gen {
		return nil
	}
	s.spanBusy = false
	if msg.err != nil || msg.ex == nil {
		s.failed = msg.span
		if msg.err != nil {
			a.blocks.setProblem(clean(msg.err.Error()))
		}
		return nil
	}
	a.blocks.setTile(msg.ex.Tile, msg.span.r0, msg.span.r1)
	return nil
}

func (a *app) traced(msg tracedMsg) tea.Cmd {
	s := &a.sight
	if msg.gen != s.gen {
		return nil
	}
	s.blockBusy = false
	s.trace = msg.trace
	switch {
	case msg.err != nil:
		a.block.setTrace(nil, clean(msg.err.Error()))
	case msg.trace == nil:
		a.block.setTrace(nil, "not computed yet")
	default:
		a.block.setTrace(msg.trace, "")
		a.showExplain()
	}
	return nil
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
