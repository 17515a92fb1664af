package tui

import "mergescope/quant"

// blockPane shows one block: code occupancy before and after, what moved, delta
// against half a code step, and on demand its weights.
type blockPane struct{}

// setTrace shows a block; nil shows why there is none.
func (b *blockPane) setTrace(t *quant.Trace, why string) {}

// move moves the weight cursor; weight returns its index in the block.
func (b *blockPane) move(d int)  {}
func (b *blockPane) weight() int { return 0 }

// cycle switches between occupancy, before/after/delta list and hex.
func (b *blockPane) cycle() string                  { return "" }
func (b *blockPane) title(int) (l, r string)        { return "block", "" }
func (b *blockPane) draw(canvas, int, int) []string { return nil }

// explainView is the step-by-step lesson over one weight of a trace, drawn
// over the other panes.
type explainView struct{}

// set shows the weight at index i of t; layer names it.
func (e *explainView) set(t *quant.Trace, layer string, i int) {}

// step goes on or back by d steps, weight moves to another weight.
func (e *explainView) step(d int)   {}
func (e *explainView) weight(d int) {}

// worst puts the cursor on the weight with the largest error.
func (e *explainView) worst() {}

// text is what "copy" puts on the clipboard.
func (e *explainView) text() string                   { return "" }
func (e *explainView) title(int) (l, r string)        { return "explain", "" }
func (e *explainView) draw(canvas, int, int) []string { return nil }
