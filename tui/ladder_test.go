package tui

import (
	"context"
	"strings"
	"testing"

	tea "charm.land/bubbletea/v2"

	"mergescope/merge"
)

// ladderEngine runs the ladder for real, in no time, and calibrates on little.
type ladderEngine struct{ projectEngine }

type stillLadder struct{ *merge.LadderRun }

func (e ladderEngine) newLadder(ctx context.Context, plan merge.Plan, opt merge.EvalOptions) (evaluator, error) {
	plan = plan.SetMethodAll(merge.Method{Kind: merge.MethodCalibrated, Tokens: 256})
	r, err := merge.NewLadderRun(ctx, e.p, plan, opt)
	return stillLadder{r}, err
}

func (e stillLadder) Snapshot() merge.EvalSnapshot {
	s := e.LadderRun.Snapshot()
	s.Elapsed, s.ETA = 0, 0
	return s
}

func (e stillLadder) Ladder() *merge.Ladder {
	l := e.LadderRun.Ladder()
	for i := range l.Rungs {
		l.Rungs[i].Seconds = 0
	}
	return l
}

func ladderRig(t *testing.T, w, h int) *rig {
	t.Helper()
	opt := lightOptions(t)
	r := newRig(t, opt, ladderEngine{projectEngine{opt.Project}}, w, h)
	r.run(r.a.openLadder())
	r.press("ctrl+u")
	r.press(strings.Split("builtin", "")...)
	r.press("space", "5", "1", "2", "space")
	r.press(strings.Split(ladderWord, "")...)
	r.press("enter")
	return r
}

func TestLadder(t *testing.T) {
	r := ladderRig(t, 120, 36)
	for _, s := range []struct {
		name string
		w, h int
	}{{"ladder-120x36", 120, 36}, {"ladder-80x24", 80, 24}, {"ladder-60x16", 60, 16}} {
		r.send(tea.WindowSizeMsg{Width: s.w, Height: s.h})
		r.golden(s.name)
	}
	before := r.a.history.Now()
	r.press("down", "down")
	want := r.eval().steps.Rungs[2].Plan
	if r.press("enter"); !r.a.history.Now().Equal(want) {
		t.Errorf("the plan is not that of the rung")
	}
	if r.press("z"); !r.a.history.Now().Equal(before) {
		t.Error("z does not take it back")
	}
	r.run(r.a.openLadder())
	if x := r.eval(); x.view != evalLadder || x.steps == nil {
		t.Error("the ladder is measured again")
	}
}
