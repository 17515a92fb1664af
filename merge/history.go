package merge

import "slices"

// maxHistory is how many plans undo can go back.
const maxHistory = 256

// History is a plan with undo and redo. Not safe for concurrent use.
type History struct {
	past, future []Plan
	now          Plan
}

// NewHistory returns a history that begins with p.
func NewHistory(p Plan) *History { return &History{now: p} }

// Now returns the current plan.
func (h *History) Now() Plan { return h.now }

// Do makes p the current plan and forgets what could be redone. It reports
// whether p differs from the plan before; if not, nothing is remembered.
func (h *History) Do(p Plan) bool {
	if p.Equal(h.now) {
		return false
	}
	if len(h.past) == maxHistory {
		h.past = slices.Delete(h.past, 0, 1)
	}
	h.past = append(h.past, h.now)
	h.future = nil
	h.now = p
	return true
}

// CanUndo reports whether there is a plan to go back to.
func (h *History) CanUndo() bool { return len(h.past) > 0 }

// CanRedo reports whether an undone plan can be had again.
func (h *History) CanRedo() bool { return len(h.future) > 0 }

// Undo goes back one plan and returns the current one; ok is false if there
// was none to go back to.
func (h *History) Undo() (p Plan, ok bool) {
	ok = shift(&h.past, &h.now, &h.future)
	return h.now, ok
}

// Redo takes back one Undo.
func (h *History) Redo() (p Plan, ok bool) {
	ok = shift(&h.future, &h.now, &h.past)
	return h.now, ok
}

// shift takes the last plan of from as the current one and puts the current one
// on to.
func shift(from *[]Plan, now *Plan, to *[]Plan) bool {
	n := len(*from)
	if n == 0 {
		return false
	}
	*to = append(*to, *now)
	*now = (*from)[n-1]
	*from = (*from)[:n-1]
	return true
}

// Past returns the plan that Undo would go back to; ok is false if there is
// none.
func (h *History) Past() (p Plan, ok bool) {
	if len(h.past) == 0 {
		return Plan{}, false
	}
	return h.past[len(h.past)-1], true
}
