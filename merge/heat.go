package merge

// Aggregate says how the blocks under one cell become one value.
type Aggregate uint8

// Aggregates; Worst is the default, since a mean hides the single bad block.
const (
	Worst Aggregate = iota
	Mean
)

// Largest grid of a tile kept per layer while a job runs. Larger weights share
// cells; exact figures come from Project.Examine.
const (
	TileRows = 128
	TileCols = 64
)

// Grid places the blocks of one weight: Rows weight rows by Cols block columns
// of Width weights each.
type Grid struct {
	Rows, Cols int
	Width      int
}

// Cell states other than a value.
const (
	CellEmpty = iota // not computed yet, or no block begins here
	CellValue        // a value
	CellNaN          // NaN among the blocks
	CellInf          // infinite, but no NaN
)

// Tile is a bounded map of block metrics of one weight. A Tile handed out by a
// snapshot is a copy and does not change.
type Tile struct {
	Grid Grid // of the weight
	Rows int  // cells, at most TileRows (or as asked in Examine)
	Cols int

	state  []uint8
	values [NumMetrics][2][]float32 // by metric and aggregate, row-major
}

// Span returns the weight rows [r0,r1) and block columns [c0,c1) under a cell.
func (t *Tile) Span(row, col int) (r0, r1, c0, c1 int) { return }

// At returns the value of a cell and its state; the value counts only when the
// state is CellValue.
func (t *Tile) At(m Metric, a Aggregate, row, col int) (v float64, state int) { return 0, CellEmpty }
