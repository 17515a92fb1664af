package heat

// Cell is one value ready to be drawn: 0 to 255 is its place on the ramp from
// quiet to hot (lowest to highest, if the map diverges), larger ones are special.
type Cell uint16

// Cells that are not on the ramp.
const (
	Blank Cell = 256 + iota // not computed
	None                    // no block here
	NaN
	Inf
)

// value reports whether c is on the ramp.
func (c Cell) value() bool { return c < Blank }

// Grid is a matrix of cells, row-major, with a cursor on one of them. A cursor
// outside the matrix is not drawn.
type Grid struct {
	Rows, Cols int
	Cells      []Cell
	CursorRow  int
	CursorCol  int
}
