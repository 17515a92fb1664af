package tui

import "mergescope/merge"

// span is what the blocks pane wants to show: rows [r0, r1) of a layer as a
// tile of at most rows by cols cells. The app fetches it with Project.Examine.
type span struct {
	layer      string
	r0, r1     int
	rows, cols int
}

// blocksPane is the heatmap of one layer with its cursor and zoom.
type blocksPane struct{}

// setLayer shows another layer (nil: none); the zoom returns to the whole
// tensor and the cursor to its worst block.
func (b *blocksPane) setLayer(l *merge.Layer) {}

// setTile gives the pane data for the layer it shows, from a running job or
// from Examine. The cursor stays on the same weight row and block.
func (b *blocksPane) setTile(t *merge.Tile, r0, r1 int) {}

// setReport gives the figures of the whole layer, nil if there are none.
func (b *blocksPane) setReport(r *merge.LayerReport) {}

// want returns the span the pane needs for its zoom and size; ok is false if
// what it has is enough.
func (b *blocksPane) want(w, h int) (s span, ok bool) { return span{}, false }

// cursor returns the weight row and column (first weight of the block).
func (b *blocksPane) cursor() (row, col int) { return 0, 0 }

// jump puts the cursor on a weight.
func (b *blocksPane) jump(row, col int) {}

// move moves the cursor by cells.
func (b *blocksPane) move(dr, dc int) {}

// click puts the cursor on the cell at (x, y) of the pane's inside of w by h.
func (b *blocksPane) click(x, y, w, h int) {}

// zoom goes one level in (+1) or out (-1) and reports whether it could.
func (b *blocksPane) zoom(d int) bool { return false }

// worst puts the cursor on the worst cell; next goes to the next (or previous)
// hot cell.
func (b *blocksPane) worst() {}

func (b *blocksPane) next(d int) {}

// cycleMetric, cycleMap, toggleLog, toggleLock, cycleAggregate change the view
// and return a sentence for the toast.
func (b *blocksPane) cycleMetric(d int) string       { return "" }
func (b *blocksPane) cycleMap() string               { return "" }
func (b *blocksPane) toggleLog() string              { return "" }
func (b *blocksPane) toggleLock() string             { return "" }
func (b *blocksPane) cycleAggregate() string         { return "" }
func (b *blocksPane) title(int) (l, r string)        { return "blocks", "" }
func (b *blocksPane) draw(canvas, int, int) []string { return nil }
