package merge

import (
	"time"
)

// EvalSnapshot is an evaluation at one moment.
type EvalSnapshot struct {
	State   State
	Phase   string // what it does before the model runs, "" then
	Err     error
	Elapsed time.Duration
	ETA     time.Duration // 0 if unknown

	Share                   float64 // of the work, 0..1
	WindowsDone, WindowsAll int
	Names                   []string
	Depth                   map[string][]Figure // by variant, the pass at hand included
	Report                  *EvalReport         // of the passes that are through; nil before the first
}

// Snapshot copies what a watcher needs.
func (e *Eval) Snapshot() EvalSnapshot {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := EvalSnapshot{
		State: e.state, Phase: e.phase, Err: e.err, Elapsed: e.clock.elapsed(time.Now()),
		WindowsDone: len(e.run), WindowsAll: len(e.order), Depth: map[string][]Figure{}, Report: e.report,
	}
	for i, n := range e.names {
		s.Names = append(s.Names, n.name)
		if i < len(e.depth) {
			s.Depth[n.name] = e.depths(i)
		}
	}
	s.Share = (float64(len(e.run)) + e.share) / float64(max(1, len(e.order)))
	switch {
	case e.state == Done:
		s.Share = 1
	case e.dry != nil:
		s.Share = 0
	case s.Share > 0:
		s.ETA = time.Duration(float64(s.Elapsed) * (1 - s.Share) / s.Share)
	}
	if e.opt.Time > 0 && s.ETA > e.opt.Time-s.Elapsed {
		s.ETA = max(0, e.opt.Time-s.Elapsed)
	}
	return s
}
