package merge

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"mergescope/quant"
)

// TestSpan asks that the cells of a tile cover a weight without overlap, and
// that a block finds the cell whose span holds it.
func TestSpan(t *testing.T) {
	for _, c := range []struct{ rows, cols, from, to, tileRows, tileCols int }{
		{4096, 64, 0, 4096, 128, 64},
		{300, 7, 0, 300, 128, 64},
		{1000, 172, 0, 1000, 128, 64},
		{5, 3, 0, 5, 128, 64},
		{4096, 100, 777, 1201, 60, 33},
		{1, 1, 0, 1, 1, 1},
	} {
		h := newHeat(Grid{c.rows, c.cols, 64}, c.from, c.to, c.tileRows, c.tileCols)
		tile := h.tile()
		if tile.Rows > c.tileRows || tile.Cols > c.tileCols {
			t.Errorf("%+v: %d by %d cells", c, tile.Rows, tile.Cols)
		}
		row, col := c.from, 0
		for i := range tile.Rows {
			r0, r1, _, _ := tile.Span(i, 0)
			if r0 != row || r1 <= r0 {
				t.Fatalf("%+v: cell row %d is [%d, %d), want from %d", c, i, r0, r1, row)
			}
			for ; row < r1; row++ {
				if h.rowOf(row) != i {
					t.Errorf("%+v: row %d is in cell row %d, want %d", c, row, h.rowOf(row), i)
				}
			}
		}
		for i := range tile.Cols {
			_, _, c0, c1 := tile.Span(0, i)
			if c0 != col || c1 <= c0 {
				t.Fatalf("%+v: cell column %d is [%d, %d), want from %d", c, i, c0, c1, col)
			}
			for ; col < c1; col++ {
				if h.column[col] != i {
					t.Errorf("%+v: column %d is in cell column %d, want %d", c, col, h.column[col], i)
				}
			}
		}
		if row != c.to || col != c.cols {
			t.Errorf("%+v: ends at row %d, column %d", c, row, col)
		}
	}
}

func TestAggregates(t *testing.T) {
	h := newHeat(Grid{2, 4, 64}, 0, 2, 1, 4)
	blocks := []quant.BlockSum{
		{DD: 4, RD: 4, EE: 1, TT: 4, N: 64, Codes: 32, MaxE: 0.5, OldAbsmax: 1, NewAbsmax: 2}, // kept 1
		{DD: 1, RD: 0, EE: 4, TT: 4, N: 64, Codes: 0, MaxE: 0.25, OldAbsmax: 1, NewAbsmax: 1}, // kept 0
		{N: 64, WW: 1, TT: 1, OldAbsmax: 1, NewAbsmax: 1},                                     // no delta
		{N: 64, Delta: 1, Sum: 1, Output: 64},
	}
	for row := range 2 {
		p := h.newPart(row, row+1)
		h.addRow(p, row, []quant.BlockSum{blocks[row], blocks[2], blocks[3]})
		h.mark(p, row, 2, row == 1)
		h.merge(p)
	}
	tile := h.tile()
	for _, c := range []struct {
		m           Metric
		worst, mean float64
	}{
		{MetricKept, 0, 0.8},
		{MetricSNR, 10 * math.Log10(0.25), 0},
		{MetricError, 1, math.Sqrt(5.0 / 8)},
		{MetricCodes, 0.5, 0.25},
		{MetricGrowth, 2, 2},
		{MetricErrorMax, 0.5, 0.5},
		{MetricNonFinite, 0, 0},
	} {
		for a, want := range map[Aggregate]float64{Worst: c.worst, P99: c.worst, Mean: c.mean} {
			got, state := tile.At(c.m, a, 0, 0)
			if state != CellValue || math.Abs(got-want) > 1e-6 {
				t.Errorf("%s, aggregate %d: %g, state %d, want %g", c.m.Info().Name, a, got, state, want)
			}
		}
	}
	if _, state := tile.At(MetricKept, Worst, 0, 1); state != CellEmpty {
		t.Errorf("kept of no delta has state %d", state)
	}
	if v, state := tile.At(MetricErrorMax, Worst, 0, 1); state != CellValue || v != 0 {
		t.Errorf("largest error of no delta is %g, state %d", v, state)
	}
	if v, state := tile.At(MetricNonFinite, Mean, 0, 2); state != CellNaN || v != 132 {
		t.Errorf("%g non-finite, state %d", v, state)
	}
	if _, state := tile.At(MetricKept, Worst, 0, 3); state != CellEmpty {
		t.Errorf("a cell without blocks has state %d", state)
	}
	if _, col, ok := tile.WorstCell(MetricKept, Worst); !ok || col != 2 {
		t.Errorf("worst cell is column %d, %t", col, ok)
	}
}

// TestP99 compares the tails with a sort of all blocks, whatever order they
// come in and however the rows are shared out.
func TestP99(t *testing.T) {
	for _, n := range []int{1, 2, 99, 100, 101, 199, 200, 399, 1000} {
		h := newHeat(Grid{n, 1, 64}, 0, n, 1, 1)
		kept := make([]float64, n)
		growth := make([]float64, n)
		var parts []*part
		for row := range n {
			if row%7 == 0 {
				parts = append(parts, h.newPart(row, min(row+7, n)))
			}
			kept[row], growth[row] = float64(row*61%n)/float64(n), 1+float64(row*37%n)
			h.addRow(parts[len(parts)-1], row, []quant.BlockSum{{DD: 1, RD: float32(kept[row]), EE: 1, TT: 1, N: 64, OldAbsmax: 1, NewAbsmax: float32(growth[row])}})
		}
		for i := range parts {
			h.merge(parts[len(parts)-1-i])
		}
		slices.Sort(kept)
		slices.Sort(growth)
		good := (99*n + 99) / 100 // blocks that are no worse, rounded up
		tile := h.tile()
		for m, want := range map[Metric]float64{MetricKept: kept[n-good], MetricGrowth: growth[good-1]} {
			got, state := tile.At(m, P99, 0, 0)
			if state != CellValue || math.Abs(got-want) > 1e-6*want {
				t.Errorf("%s of %d blocks: %g, state %d, want %g", m.Info().Name, n, got, state, want)
			}
		}
	}
}

func TestTileBudget(t *testing.T) {
	for _, n := range []int{1, 28, 224, 7000} {
		rows := tileRows(n)
		if rows < 8 || rows > TileRows {
			t.Errorf("%d tiles: %d rows", n, rows)
		}
		if size := n * rows * TileCols * cellBytes; size > tileBudget && rows > 8 {
			t.Errorf("%d tiles take %d bytes", n, size)
		}
	}
	if tileRows(28) != TileRows {
		t.Errorf("few tiles have %d rows", tileRows(28))
	}
}

// TestCellsCompare: the worst of a cell, most blocks of which are dismissed by a
// product, are those that every quotient shows; so is the block with the least
// kept.
func TestCellsCompare(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	values := []float32{0, 1, 2, 3, 1e-45, 1.2e-38, 3.4e38, float32(math.Inf(1)), 0.1, 0.3, 7}
	pick := func() float32 {
		if rng.IntN(2) == 0 {
			return rng.Float32()
		}
		return values[rng.IntN(len(values))]
	}
	for round := range 2000 {
		blocks := make([]quant.BlockSum, 1+rng.IntN(40))
		for i := range blocks {
			b := &blocks[i]
			b.DD, b.TT, b.RD, b.EE, b.MaxE = pick(), pick(), pick(), pick(), pick()
			b.N, b.Codes = uint32(rng.IntN(3)*32), uint32(rng.IntN(65))
			b.OldAbsmax, b.NewAbsmax = pick(), pick()
			if rng.IntN(2) == 0 {
				b.RD = -b.RD
			}
			if rng.IntN(20) == 0 {
				b.Output = 64
			}
		}
		var got, want cell
		want.clearWorst()
		got.add(blocks, 1)
		var least worstBlock
		for i := range blocks {
			for m, v := range ordersOf(&blocks[i]) {
				want.take(Metric(m), v)
			}
			v := orderOf(&blocks[i], MetricKept)
			least.take(worstBlock{v == v, 0, 64 * i, v})
		}
		for m := range NumMetrics {
			if math.Float64bits(got.worst[m]) != math.Float64bits(want.worst[m]) && (got.worst[m] == got.worst[m] || want.worst[m] == want.worst[m]) {
				t.Fatalf("round %d: %s is %g, want %g", round, m.Info().Name, got.worst[m], want.worst[m])
			}
		}
		cols := 64 * len(blocks)
		p := quant.Panel{Spec: quant.Spec{Format: quant.NF4, Blocksize: 64}, Rows: 1, Cols: cols, Sums: blocks, D: make([]float32, cols), T: make([]float32, cols)}
		r := panelResult{first: noStrays()}
		r.search(&p, 0, 0, len(blocks), true, nil)
		if r.worst != least {
			t.Fatalf("round %d: %+v, want %+v", round, r.worst, least)
		}
	}
}
