package tui

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode"

	uv "github.com/charmbracelet/ultraviolet"
	"github.com/charmbracelet/x/ansi"

	"mergescope/merge"
	"mergescope/themes"
	"mergescope/tui/screentest"
)

// paneGolden compares what a pane draws, frame included, with a golden file.
func paneGolden(t *testing.T, name string, c canvas, p pane, w, h int) {
	t.Helper()
	body := p.draw(c, w-2, h-2)
	if err := screentest.Fits(strings.Join(body, "\n"), w-2, h-2); err != nil {
		t.Errorf("%s: %v", name, err)
	}
	left, right := p.title(w)
	content := strings.Join(c.frame(c.plain(left), c.plain(right), body, w, h), "\n")
	screentest.Golden(t, "testdata/panes", name, screentest.Parse(content, w, h), func(s uv.Style) byte {
		switch {
		case s.Equal(&uv.Style{}):
			return '.'
		case s.Bg != nil && s.Fg != nil:
			return '#'
		case s.Bg != nil:
			return 'b'
		case s.Fg != nil:
			return 'f'
		}
		return 'a' // an attribute only
	})
}

// shown returns a pane with the data of a layer as a job would have it.
func shown(rows, cols int) *blocksPane {
	b := &blocksPane{}
	b.setLayer(erasedLayer("model.layers.11.self_attn.v_proj", rows, cols))
	b.setMatrix(tensor(rows, cols, merge.TileRows, merge.TileCols))
	return b
}

// feed gives a pane what it wants until it wants no more, as the app does.
func feed(t *testing.T, b *blocksPane, w, h int) {
	t.Helper()
	for range 3 {
		s, ok := b.want(w, h)
		if !ok {
			return
		}
		if s.r0 < 0 || s.r1 > b.grid.Rows || s.r0 >= s.r1 || s.rows < 1 || s.cols < 1 || s.rows > s.r1-s.r0 || s.cols > b.grid.Cols {
			t.Fatalf("wants %+v of %+v", s, b.grid)
		}
		m, ok := b.coarse.(fakeMatrix)
		if !ok {
			m = tensor(b.grid.Rows, b.grid.Cols, s.rows, s.cols)
		}
		m.r0, m.r1, m.rows, m.cols = s.r0, s.r1, min(s.rows, s.r1-s.r0), s.cols
		m.memo = map[[4]int]sample{}
		b.setMatrix(m)
	}
	if s, ok := b.want(w, h); ok {
		t.Fatalf("still wants %+v after it got it", s)
	}
}

func TestBlocksGolden(t *testing.T) {
	plain, ascii := sheet(themes.NoColor, true, false), sheet(themes.NoColor, true, true)
	for _, tc := range []struct {
		name       string
		c          canvas
		rows, cols int
		w, h       int
		zoom       int
	}{
		{"blocks-wide", plain, 4096, 64, 74, 17, 0},
		{"blocks-narrow", plain, 192, 3, 46, 14, 0},
		{"blocks-few-columns", sheet(themes.TrueColor, true, false), 448, 3, 74, 14, 0},
		{"blocks-band", plain, 4096, 64, 74, 17, 1},
		{"blocks-rows", plain, 4096, 172, 60, 14, 9},
		{"blocks-ascii", ascii, 192, 7, 74, 14, 0},
		{"blocks-16", sheet(themes.ANSI16, true, false), 192, 7, 60, 12, 0},
		{"blocks-256", sheet(themes.ANSI256, false, false), 192, 7, 60, 12, 0},
		{"blocks-small", plain, 4096, 64, 22, 7, 0},
		{"blocks-few-rows", plain, 6, 4, 44, 20, 0},
	} {
		b := shown(tc.rows, tc.cols)
		b.draw(tc.c, tc.w-2, tc.h-2)
		for range tc.zoom {
			b.zoom(1)
			feed(t, b, tc.w-2, tc.h-2)
		}
		paneGolden(t, tc.name, tc.c, b, tc.w, tc.h)
	}
}

func TestBlocksEmptyStates(t *testing.T) {
	c := sheet(themes.NoColor, true, false)
	layer := func(change func(*merge.Layer)) *merge.Layer {
		l := erasedLayer("model.layers.0.mlp.up_proj", 64, 3)
		if change != nil {
			change(l)
		}
		return l
	}
	for _, tc := range []struct {
		name  string
		layer *merge.Layer
		set   func(*blocksPane)
		want  []string
	}{
		{"no layer", nil, nil, []string{"no layer chosen"}},
		{"no adapter", layer(func(l *merge.Layer) { l.Steps, l.Reason = nil, "the adapter has no such module" }), nil, []string{"no adapter on this layer", "no such module", "a puts an adapter"}},
		{"separate", layer(func(l *merge.Layer) { l.Output = merge.Separate }), nil, []string{"stays separate", "beside the checkpoint"}},
		{"kept", layer(func(l *merge.Layer) { l.Steps, l.Output = nil, merge.Keep }), nil, []string{"keeps this layer as it is"}},
		{"undecodable", layer(func(l *merge.Layer) { l.Weight.Problem = fmt.Errorf("absmax: 3 of 4 elements") }), nil, []string{"cannot be decoded", "3 of 4 elements"}},
		{"failed", layer(nil), func(b *blocksPane) { b.setProblem(errors.New("model.safetensors: read: input/output error")) }, []string{"input/output error"}},
		{"no elements", layer(func(l *merge.Layer) { l.Weight.Shape = []int64{0, 64} }), nil, []string{"has no elements"}},
		{"computing", layer(nil), nil, []string{"computing", "kept 0%", "100%"}},
	} {
		b := &blocksPane{}
		b.setLayer(tc.layer)
		if tc.set != nil {
			tc.set(b)
		}
		lines := strings.Join(b.draw(c, 60, 12), "\n")
		for _, want := range tc.want {
			if !strings.Contains(lines, want) {
				t.Errorf("%s: no %q in\n%s", tc.name, want, lines)
			}
		}
	}
}

// The legend is there in every state with data and at every size that has room
// for more than the figures.
func TestLegendIsAlwaysVisible(t *testing.T) {
	c := sheet(themes.NoColor, true, false)
	b := shown(192, 3)
	for w := 20; w <= 300; w += 7 {
		for h := 2; h <= 40; h++ {
			lines := b.draw(c, w, h)
			if !strings.HasPrefix(lines[h-2], "kept 0% ") || !strings.Contains(lines[h-2], " 100%") {
				t.Fatalf("%dx%d: legend is %q", w, h, lines[h-2])
			}
		}
	}
}

// cursorAt finds the cursor in what was drawn.
func cursorAt(lines []string) (x, y int, ok bool) {
	for y, l := range lines {
		if strings.HasPrefix(l, "kept") { // the legend names the sign
			break
		}
		if i := strings.IndexRune(l, '◉'); i >= 0 {
			return width(l[:i]), y, true
		}
	}
	return 0, 0, false
}

// A click puts the cursor on the cell that was clicked: drawn in the same line
// and in the same column of cells.
func TestClickIsTheInverseOfDrawing(t *testing.T) {
	for _, d := range []themes.Depth{themes.NoColor, themes.TrueColor} {
		c := sheet(d, true, false)
		for _, s := range []struct{ rows, cols, w, h, zoom int }{
			{4096, 64, 72, 15, 0}, {4096, 64, 72, 15, 2}, {192, 3, 44, 12, 0}, {10, 5, 60, 20, 0}, {4096, 172, 40, 12, 9}, {448, 7, 20, 8, 1},
		} {
			b := shown(s.rows, s.cols)
			b.draw(c, s.w, s.h)
			for range s.zoom {
				b.zoom(1)
				feed(t, b, s.w, s.h)
			}
			g := b.geometry(b.shape())
			for y := range s.h {
				for x := range s.w {
					row, col := b.cursor()
					g = b.geometry(b.shape())
					in, inside := g.at(x, y)
					b.click(x, y, s.w, s.h)
					if !inside {
						if r, cc := b.cursor(); r != row || cc != col {
							t.Fatalf("%+v: a click outside the map at %d,%d moved the cursor", s, x, y)
						}
						continue
					}
					if !in.contains(b.row, b.col) {
						t.Fatalf("%+v: a click on %+v put the cursor on %d,%d", s, in, b.row, b.col)
					}
					if b.geometry(b.shape()).top != g.top {
						t.Fatalf("%+v: a click at %d,%d scrolled", s, x, y)
					}
					if d != themes.NoColor || (x+y)%5 != 0 {
						continue // drawing is slow
					}
					cx, cy, ok := cursorAt(b.draw(c, s.w, s.h))
					if !ok || cy != y || (cx-g.gutter)/g.wide != (x-g.gutter)/g.wide {
						t.Fatalf("%+v: clicked %d,%d, drawn at %d,%d %v", s, x, y, cx, cy, ok)
					}
				}
			}
		}
	}
}

// The cursor points at the same block whatever the size and the zoom.
func TestCursorKeepsItsBlock(t *testing.T) {
	c := sheet(themes.NoColor, true, false)
	for _, at := range []struct{ row, col int }{{0, 0}, {4095, 171}, {2113, 37}, {1, 170}} {
		b := shown(4096, 172)
		b.jump(at.row, at.col*64)
		sizes := []struct{ w, h int }{{72, 15}, {20, 5}, {300, 60}, {40, 12}, {118, 33}}
		for level := range 8 {
			for _, s := range sizes {
				feed(t, b, s.w, s.h)
				lines := b.draw(c, s.w, s.h)
				if row, col := b.cursor(); row != at.row || col != at.col*64 {
					t.Fatalf("level %d, %dx%d: cursor at %d,%d, want %d,%d", level, s.w, s.h, row, col, at.row, at.col*64)
				}
				_, y, ok := cursorAt(lines)
				if !ok {
					t.Fatalf("level %d, %dx%d: cursor not drawn:\n%s", level, s.w, s.h, strings.Join(lines, "\n"))
				}
				g := b.geometry(b.shape())
				if r, _, _ := g.cell(at.row, at.col); g.line(r) != y-count(g.ruler) {
					t.Fatalf("level %d, %dx%d: row %d drawn in line %d", level, s.w, s.h, at.row, y)
				}
			}
			if !b.zoom(1) && level == 0 {
				t.Fatal("4096 rows cannot be zoomed")
			}
		}
		for b.zoom(-1) {
		}
		if g := b.geometry(b.shape()); g.rows != 4096 || g.top != 0 {
			t.Errorf("zoomed out to rows %d+%d", g.top, g.rows)
		}
		if row, col := b.cursor(); row != at.row || col != at.col*64 {
			t.Errorf("zooming moved the cursor to %d,%d", row, col)
		}
	}
}

func TestZoomLevels(t *testing.T) {
	for _, tc := range []struct {
		rows, cells, lines int
		want               []int
	}{
		{4096, 26, 13, []int{4096, 1024, 256, 64, 26, 13}},
		{448, 26, 13, []int{448, 112, 26, 13}},
		{192, 20, 10, []int{192, 48, 20, 10}},
		{64, 80, 40, []int{64, 40}},
		{30, 80, 40, []int{30}},
		{100, 40, 40, []int{100, 40}},
		{1, 2, 1, []int{1}},
	} {
		if got := zoomLevels(tc.rows, tc.cells, tc.lines); fmt.Sprint(got) != fmt.Sprint(tc.want) {
			t.Errorf("%d rows on %d cells: %v, want %v", tc.rows, tc.cells, got, tc.want)
		}
	}
}

// Moving reaches every cell and stops at the edges.
func TestMove(t *testing.T) {
	b := shown(192, 7)
	b.want(72, 12)
	b.move(-1000, -1000)
	if row, col := b.cursor(); row > 5 || col != 0 {
		t.Fatalf("upper left is %d,%d", row, col)
	}
	seen := map[int]bool{}
	g := b.geometry(b.shape())
	for range g.cellRows + 3 {
		r, _, _ := g.cell(b.row, b.col)
		seen[r] = true
		b.move(1, 0)
	}
	if len(seen) != g.cellRows {
		t.Errorf("moving down visits %d of %d rows of cells", len(seen), g.cellRows)
	}
	if row, _ := b.cursor(); row < 192-(192+g.cellRows-1)/g.cellRows {
		t.Errorf("the bottom is row %d", row)
	}
	b.move(0, 1<<30)
	if _, col := b.cursor(); col != 6*64 {
		t.Errorf("the right edge is column %d", col)
	}

	for b.zoom(1) { // to single rows
	}
	feed(t, b, 72, 12)
	b.jump(100, 0)
	for want := 101; want < 130; want++ { // past the lower edge of the window
		b.move(1, 0)
		feed(t, b, 72, 12)
		if row, _ := b.cursor(); row != want {
			t.Fatalf("one row down from %d is %d", want-1, row)
		}
	}
}

// The cursor rests on the worst block under it as soon as the data tell it.
func TestCursorFindsTheWorstBlock(t *testing.T) {
	b := shown(4096, 64) // NaN at row 512, column 16; kept 0 at row 2560, column 32
	if row, col := b.cursor(); row > 512 || row < 480 || col != 16*64 {
		t.Fatalf("begins at %d,%d, want the rows of the tile around 512 and column 1024", row, col)
	}
	for range 8 {
		b.zoom(1)
		feed(t, b, 72, 15)
	}
	if row, col := b.cursor(); row != 512 || col != 16*64 {
		t.Errorf("zoomed in the cursor is at %d,%d, want 512,1024", row, col)
	}
	b.next(1)
	feed(t, b, 72, 15)
	if row, col := b.cursor(); row != 2560 || col != 32*64 {
		t.Errorf("the next hot block is %d,%d, want 2560,2048", row, col)
	}
	b.next(-1)
	if row, col := b.cursor(); !(region{480, 544, 16, 17}).contains(row, col/64) {
		t.Errorf("back from there is %d,%d", row, col)
	}
	b.setReport(&merge.LayerReport{WorstBlock: &merge.WorstBlock{Row: 77, Col: 128, Kept: -3}})
	b.worst()
	if row, col := b.cursor(); row != 77 || col != 128 {
		t.Errorf("the worst block of the report is %d,%d, want 77,128", row, col)
	}
}

// Until the user moves it, the cursor of a new layer waits for the worst block;
// a jump to a place ends that.
func TestJumpBeforeDataStays(t *testing.T) {
	b := &blocksPane{}
	b.setLayer(erasedLayer("model.layers.1.mlp.up_proj", 192, 3))
	b.jump(150, 64)
	b.setMatrix(tensor(192, 3, 128, 64))
	if row, col := b.cursor(); row != 150 || col != 64 {
		t.Errorf("the jump to 150,64 ended at %d,%d", row, col)
	}
	b.zoom(1)
	b.setLayer(erasedLayer("model.layers.1.mlp.up_proj", 192, 3)) // another plan
	if row, col := b.cursor(); row != 150 || col != 64 || b.level != 1 {
		t.Errorf("another plan moved the cursor to %d,%d and the zoom to %d", row, col, b.level)
	}
	b.setLayer(erasedLayer("model.layers.2.mlp.up_proj", 192, 3))
	if b.level != 0 {
		t.Errorf("another layer is shown at zoom %d", b.level)
	}
}

// Resampling never hides a bad block: what a cell shows is no better than any
// block under it, and it is the value of one of the blocks under the cells it
// touches.
func TestCellsShowTheWorst(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 60 {
		rows, cols := 1+rng.IntN(300), 1+rng.IntN(90)
		values := make([]float64, rows*cols)
		for i := range values {
			values[i] = rng.NormFloat64()
		}
		m := fakeMatrix{
			g: merge.Grid{Rows: rows, Cols: cols, Width: 64}, r1: rows,
			rows: 1 + rng.IntN(rows), cols: 1 + rng.IntN(cols),
			block: func(_ merge.Metric, r, c int) float64 { return values[r*cols+c] },
		}
		b := &blocksPane{layer: erasedLayer("x", rows, cols), grid: m.g}
		b.metric = merge.Metric(rng.IntN(2)) * merge.MetricError // kept or error
		low := b.metric.Info().BadIsLow
		g := b.geometry(shape{16 + rng.IntN(100), 4 + rng.IntN(30), 1 + rng.IntN(2)})
		for i, s := range b.cells(g, m) {
			in := g.region(i/g.cellCols, i%g.cellCols)
			worst := math.NaN()
			for r := in.r0; r < in.r1; r++ {
				for c := in.c0; c < in.c1; c++ {
					if v := values[r*cols+c]; math.IsNaN(worst) || (v < worst) == low {
						worst = v
					}
				}
			}
			if s.state != merge.CellValue || low && s.v > worst || !low && s.v < worst {
				t.Fatalf("cell %d shows %v, the worst block under it is %v", i, s, worst)
			}
			if m.rows == g.cellRows && m.cols == g.cellCols && s.v != worst {
				t.Fatalf("cell %d of data of the same size shows %v, want %v", i, s.v, worst)
			}
		}
	}
}

// Where the cells of the data are smaller than those of the view, each belongs
// to one of them, so a single bad block is drawn once.
func TestBadBlockIsDrawnOnce(t *testing.T) {
	for row := 0; row < 4096; row += 197 {
		m := fakeMatrix{
			g: merge.Grid{Rows: 4096, Cols: 172, Width: 64}, r1: 4096, rows: merge.TileRows, cols: merge.TileCols,
			memo: map[[4]int]sample{},
			block: func(_ merge.Metric, r, c int) float64 {
				if r == row && c == 100 {
					return 0
				}
				return 1
			},
		}
		b := &blocksPane{}
		b.setLayer(erasedLayer("x", 4096, 172))
		b.setMatrix(m)
		for _, s := range []shape{{72, 15, 2}, {40, 9, 1}, {118, 33, 2}} {
			b.seen = s
			g := b.geometry(b.shape())
			n := 0
			for i, cell := range b.cells(g, m) {
				if cell.v != 0 {
					continue
				}
				n++
				if in := g.region(i/g.cellCols, i%g.cellCols); !in.contains(row, 100) {
					t.Fatalf("%+v: block %d,100 is drawn in %+v", s, row, in)
				}
			}
			if n != 1 {
				t.Fatalf("%+v: block %d,100 is drawn %d times", s, row, n)
			}
		}
	}
}

// A job's tile, which may be coarse, does not replace what Examine gave.
func TestFinerDataStay(t *testing.T) {
	b := shown(4096, 64)
	b.setTile(nil, 0, 0)
	b.setMatrix(tensor(4096, 64, 18, 64)) // a job of very many layers
	s, ok := b.want(118, 60)
	if !ok || s.r0 != 0 || s.r1 != 4096 || s.rows < 100 || s.cols != 64 {
		t.Fatalf("with 18 rows of cells it wants %+v %v", s, ok)
	}
	feed(t, b, 118, 60)
	b.setMatrix(tensor(4096, 64, 18, 64))
	if s, ok := b.want(118, 60); ok {
		t.Errorf("after the job's tile came again it wants %+v", s)
	}
	b.setLayer(erasedLayer("model.layers.11.self_attn.v_proj", 4096, 64)) // another plan
	if _, ok := b.want(118, 60); !ok {
		t.Error("figures of another plan are kept")
	}
}

// Data that a job has not finished leave blanks, and the cursor waits.
func TestUnfinishedData(t *testing.T) {
	m := tensor(192, 3, 128, 64)
	all := m.block
	m.block = func(metric merge.Metric, r, c int) float64 {
		if r >= 96 {
			return none
		}
		return all(metric, r, c)
	}
	b := &blocksPane{}
	b.setLayer(erasedLayer("x", 192, 3))
	b.setMatrix(m)
	c := sheet(themes.NoColor, true, false)
	b.want(60, 15)
	lines := b.draw(c, 60, 15)
	if _, _, ok := cursorAt(lines); ok {
		t.Error("the cursor is on the worst block of half a layer")
	}
	if strings.TrimSpace(lines[1][5:]) == "" || strings.TrimSpace(lines[12][5:]) != "" {
		t.Errorf("half a layer is drawn as\n%s", strings.Join(lines, "\n"))
	}
	if s, ok := b.want(60, 15); !ok || s.rows != 12 { // the lines of the map; the job may have stopped
		t.Errorf("with half a layer it wants %+v %v", s, ok)
	}
	b.setMatrix(tensor(192, 3, 12, 64))
	b.setMatrix(m)
	if _, _, ok := cursorAt(b.draw(c, 60, 15)); !ok {
		t.Error("no cursor on a whole layer, or half a layer took its place")
	}
}

// In complete data a cell without a value is not one that is still to come.
func TestCellsWithoutBlocks(t *testing.T) {
	m := tensor(8, 4, 8, 4)
	m.block = func(_ merge.Metric, r, c int) float64 {
		if c == 3 && r%2 == 1 {
			return none
		}
		return 0.5
	}
	b := &blocksPane{}
	b.setLayer(erasedLayer("x", 8, 4))
	b.setMatrix(m)
	lines := b.draw(sheet(themes.NoColor, true, false), 20, 12)
	if got, want := lines[2], "1 ▅▅▅▅▅▅▅▅▅▅▅▅····  "; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// The mean weighs cells by how much of them a cell of the view covers: on data
// with one value a block it is the plain mean.
func TestCellsShowTheMean(t *testing.T) {
	b := &blocksPane{layer: erasedLayer("x", 30, 4), grid: merge.Grid{Rows: 30, Cols: 4, Width: 64}}
	b.aggregate = merge.Mean
	m := fakeMatrix{g: b.grid, r1: 30, rows: 30, cols: 4, block: func(_ merge.Metric, r, c int) float64 { return float64(r*r + c) }}
	g := b.geometry(shape{40, 10, 1}) // 7 lines for 30 rows
	for i, s := range b.cells(g, m) {
		in := g.region(i/g.cellCols, i%g.cellCols)
		want := 0.0
		for r := in.r0; r < in.r1; r++ {
			want += float64(r*r+in.c0) / float64(in.r1-in.r0)
		}
		if math.Abs(s.v-want) > 1e-12*want {
			t.Errorf("rows %d to %d: mean %v, want %v", in.r0, in.r1, s.v, want)
		}
	}
}

// A percentile of percentiles is none, so the pane asks for the cells of the
// view and is content with those, whatever a job's tile brings meanwhile.
func TestPercentilesNeedTheCellsOfTheView(t *testing.T) {
	const rows, cols = 20000, 4
	b := &blocksPane{}
	b.setLayer(erasedLayer("x", rows, cols))
	tile := tensor(rows, cols, merge.TileRows, merge.TileCols)
	b.setMatrix(tile)
	if s, ok := b.want(72, 12); ok {
		t.Fatalf("the worst needs %+v beside a tile", s)
	}
	b.aggregate = merge.P99
	s, ok := b.want(72, 12)
	if !ok {
		t.Fatal("percentiles are taken from a tile with other cells")
	}
	m := tensor(rows, cols, s.rows, s.cols)
	b.setMatrix(m)
	for range 2 {
		if s, ok := b.want(72, 12); ok {
			t.Fatalf("asks again for %+v", s)
		}
		b.setMatrix(tile)
	}
	g, data, done := b.shown()
	if !done || g.cellRows != s.rows {
		t.Fatalf("%d rows of cells, want %d", g.cellRows, s.rows)
	}
	for i, got := range data {
		if v, state := m.at(merge.MetricKept, merge.P99, i/g.cellCols, i%g.cellCols); got.state != state || state == merge.CellValue && got.v != v {
			t.Fatalf("cell %d: %v, want %g in state %d", i, got, v, state)
		}
	}
	b.aggregate = merge.Worst
	if s, ok := b.want(72, 12); ok {
		t.Errorf("the worst needs %+v", s)
	}
}

// Of single blocks the percentile is exact.
func TestPercentileOfBlocks(t *testing.T) {
	b := &blocksPane{layer: erasedLayer("x", 500, 1), grid: merge.Grid{Rows: 500, Cols: 1, Width: 64}}
	b.aggregate = merge.P99
	m := fakeMatrix{g: b.grid, r1: 500, rows: 500, cols: 1, block: func(_ merge.Metric, r, _ int) float64 { return float64(r + 1) }}
	if got := b.combine(m, merge.MetricKept, region{0, 500, 0, 1}, 0, 500, 0, 1).v; got != 6 { // 495 of 500 keep 6 or more
		t.Errorf("low: %g", got)
	}
	if got := b.combine(m, merge.MetricError, region{0, 500, 0, 1}, 0, 500, 0, 1).v; got != 495 {
		t.Errorf("high: %g", got)
	}
}

func TestFigures(t *testing.T) {
	b := shown(192, 3)
	c := sheet(themes.NoColor, true, false)
	b.draw(c, 100, 14)
	for b.zoom(1) {
	}
	feed(t, b, 100, 14)
	b.jump(120, 64) // kept 0 by construction, hence codes 0 and snr -1 dB
	footer := func(w int) string { return strings.TrimRight(ansi.Strip(b.draw(c, w, 14)[13]), " ") }
	for w, want := range map[int]string{
		100: "block r120 c1 (weights 64–127)  kept 0%  flips 0/64  snr -1.0 dB  absmax ×0.7788  err 20%",
		60:  "block r120 c1  kept 0%  flips 0/64  snr -1.0 dB",
		34:  "block r120 c1  kept 0%  flips 0/64",
		20:  "r120 c1  kept 0%",
	} {
		if got := footer(w); got != want {
			t.Errorf("width %d: %q, want %q", w, got, want)
		}
	}
	b.cycleMetric(4)
	if got, want := footer(60), "block r120 c1  absmax ×0.7788  kept 0%  flips 0/64"; got != want {
		t.Errorf("growth: %q, want %q", got, want)
	}
	b.jump(24, 0)
	if got, want := footer(60), "block r24 c0 (weights 0–63)  NaN, 3 values not finite"; got != want {
		t.Errorf("not finite: %q, want %q", got, want)
	}
	b.jump(120, 64)
	empty := fakeMatrix{g: b.grid, r1: 192, rows: 192, cols: 3, block: func(merge.Metric, int, int) float64 { return none }}
	b.setTile(nil, 0, 0)
	b.setMatrix(empty)
	if got, want := footer(60), "block r120 c1 (weights 64–127)  absmax –  kept –  flips –"; got != want {
		t.Errorf("nothing computed: %q, want %q", got, want)
	}
}

func TestScaleAndView(t *testing.T) {
	b := shown(192, 3)
	c := sheet(themes.NoColor, true, false)
	legend := func() string { return strings.TrimSpace(b.draw(c, 72, 12)[10]) }
	if s := b.cycleMetric(1); s != "metric: snr" || !strings.HasPrefix(legend(), "snr -5.0 dB ") {
		t.Errorf("%q, legend %q", s, legend())
	}
	if s := b.toggleLog(); !strings.Contains(s, "already") {
		t.Errorf("decibels became logarithmic: %q", s)
	}
	b.cycleMetric(1)
	if l := legend(); !strings.Contains(l, "log") || !strings.HasPrefix(l, "error 0.1% ") {
		t.Errorf("legend of the error %q", l)
	}
	b.toggleLog()
	if l := legend(); !strings.Contains(l, "lin") {
		t.Errorf("linear legend of the error %q", l)
	}
	b.toggleLock() // the error of this layer runs from about 0.1 to 0.2
	if l := legend(); !strings.Contains(l, "fitted") || strings.Contains(l, "0.1%") || !strings.Contains(l, "20%") {
		t.Errorf("fitted legend %q", l)
	}
	b.toggleLock()
	b.cycleMetric(2)
	if l := legend(); !strings.HasPrefix(l, "absmax growth ×0.5 ") || !strings.Contains(l, "diverging") {
		t.Errorf("legend of a signed metric %q", l)
	}
	b.cycleMetric(-4)
	for range themes.MapNames() {
		if s := b.cycleMap(); strings.Contains(s, "diverging") {
			t.Errorf("%q for a metric without a middle", s)
		}
	}
	if _, r := b.title(72); !strings.HasPrefix(r, "kept · worst of ") || !strings.HasSuffix(r, "rows/cell") {
		t.Errorf("title %q", r)
	}
	for _, want := range []string{"kept · p99 of ", "kept · mean of "} {
		b.cycleAggregate()
		if _, r := b.title(72); !strings.HasPrefix(r, want) {
			t.Errorf("title %q, want %q", r, want)
		}
	}
}

func TestLayerTitle(t *testing.T) {
	const path = "model.layers.11.self_attn.v_proj"
	for w, want := range map[int]string{
		40: "layers.11 self_attn.v_proj", 26: "layers.11 self_attn.v_proj", 25: "L11 self_attn.v_proj",
		19: "L11 v_proj", 8: "v_proj", 4: "proj",
	} {
		if got := layerTitle(path, w); got != want {
			t.Errorf("%d cells: %q, want %q", w, got, want)
		}
	}
	if got := layerTitle("lm_head", 20); got != "lm_head" {
		t.Errorf("lm_head is %q", got)
	}
}

func FuzzBlocks(f *testing.F) {
	f.Add(uint16(72), uint8(15), uint16(4096), uint8(64), uint8(3), []byte{1, 2, 3, 4, 5, 6, 7, 8, 9})
	f.Add(uint16(20), uint8(4), uint16(64), uint8(3), uint8(0), []byte{9, 9, 2, 200, 3})
	f.Add(uint16(300), uint8(60), uint16(7), uint8(200), uint8(5), []byte{7, 7, 7, 0, 0, 1})
	f.Fuzz(func(t *testing.T, w16 uint16, h8 uint8, rows16 uint16, cols8, look uint8, acts []byte) {
		w, h := int(w16%320), int(h8%70)
		rows, cols := 1+int(rows16%1500), 1+int(cols8%120)
		c := sheet(themes.Depth(look%4), look&8 == 0, look&16 != 0)
		b := shown(rows, cols)
		for i, a := range acts[:min(len(acts), 12)] {
			switch n := int(a); n % 10 {
			case 0:
				b.move(n/10-12, i-5)
			case 1:
				b.zoom(1)
			case 2:
				b.zoom(-1)
			case 3:
				b.click(n, i*3, w, h)
			case 4:
				b.next(n/100 - 1)
			case 5:
				b.cycleMetric(1)
			case 6:
				b.cycleAggregate()
			case 7:
				b.toggleLock()
			case 8:
				b.jump(n*31, n*17)
			case 9:
				b.toggleLog()
			}
		}
		feed(t, b, w, h)
		lines := b.draw(c, w, h)
		if h > 0 {
			if err := screentest.Fits(strings.Join(lines, "\n"), w, h); err != nil {
				t.Fatal(err)
			}
		}
		if row, col := b.cursor(); row < 0 || row >= rows || col < 0 || col >= cols*64 {
			t.Fatalf("cursor at %d,%d of %dx%d", row, col, rows, cols)
		}
		for _, l := range lines {
			for _, r := range l {
				if c.ascii && r > unicode.MaxASCII {
					t.Fatalf("%q in ASCII: %q", r, l)
				}
			}
		}
		b.title(w)
	})
}
