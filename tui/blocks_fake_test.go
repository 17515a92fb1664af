package tui

import (
	"math"

	"mergescope/loader"
	"mergescope/merge"
	"mergescope/quant"
	"mergescope/themes"
)

// fakeMatrix is data made from a function of the block, aggregated exactly.
type fakeMatrix struct {
	g          merge.Grid
	r0, r1     int
	rows, cols int
	block      func(m merge.Metric, row, col int) float64 // NaN, infinite: as merge would flag them; empty: none
}

var none = math.Copysign(0, -1) // a block that is not computed

func (f fakeMatrix) grid() merge.Grid { return f.g }
func (f fakeMatrix) region() region   { return region{f.r0, f.r1, 0, f.g.Cols} }
func (f fakeMatrix) size() (int, int) { return f.rows, f.cols }

func (f fakeMatrix) span(r, c int) region {
	n := f.r1 - f.r0
	return region{f.r0 + r*n/f.rows, f.r0 + (r+1)*n/f.rows, c * f.g.Cols / f.cols, (c + 1) * f.g.Cols / f.cols}
}

func (f fakeMatrix) at(m merge.Metric, a merge.Aggregate, r, c int) (float64, int) {
	at := f.span(r, c)
	state, sum, n, worst := merge.CellEmpty, 0.0, 0.0, math.NaN()
	for row := at.r0; row < at.r1; row++ {
		for col := at.c0; col < at.c1; col++ {
			switch v := f.block(m, row, col); {
			case v == 0 && math.Signbit(v):
				continue
			case math.IsNaN(v):
				state = merge.CellNaN
			case math.IsInf(v, 0):
				if state != merge.CellNaN {
					state = merge.CellInf
				}
			default:
				if state == merge.CellEmpty {
					state = merge.CellValue
				}
				sum, n = sum+v, n+1
				if math.IsNaN(worst) || v != worst && (v < worst) == m.Info().BadIsLow {
					worst = v
				}
			}
		}
	}
	if a == merge.Mean {
		return sum / n, state
	}
	return worst, state
}

// erasedLayer is a layer of rows by cols blocks of 64 in which kept falls from
// the upper left to the lower right, with a bad block and a NaN.
func erasedLayer(name string, rows, cols int) *merge.Layer {
	return &merge.Layer{
		Weight: &loader.Weight{
			Name: name, Format: quant.NF4, Shape: []int64{int64(rows), int64(cols) * 64},
			State: &loader.QuantState{Type: quant.NF4, Blocksize: 64},
		},
		Steps: []merge.Step{{Scale: 2}},
	}
}

func erasedBlock(rows, cols int) func(m merge.Metric, row, col int) float64 {
	return func(m merge.Metric, row, col int) float64 {
		x, y := float64(row)/float64(rows), (float64(col)+0.5)/float64(cols)
		kept := 0.5 + 0.45*math.Sin(5*x+1)*math.Cos(4*y) + 0.04*math.Sin(float64(row*37+col*11))
		if row == rows*5/8 && col == cols/2 {
			kept = 0
		}
		if row == rows/8 && col == cols/4 {
			return math.NaN()
		}
		switch m {
		case merge.MetricSNR:
			return 20*kept - 1
		case merge.MetricCodes:
			return math.Round(64*max(0, kept-0.2)) / 64
		case merge.MetricGrowth:
			return math.Exp(0.5 * (kept - 0.5))
		case merge.MetricError:
			return 0.2 - 0.1*kept
		case merge.MetricErrorMax:
			return 0.003
		case merge.MetricNonFinite:
			return 0
		default:
			return max(0, kept)
		}
	}
}

// tensor returns data of the whole of such a layer.
func tensor(rows, cols, cellRows, cellCols int) fakeMatrix {
	return fakeMatrix{
		g: merge.Grid{Rows: rows, Cols: cols, Width: 64}, r1: rows,
		rows: min(rows, cellRows), cols: min(cols, cellCols), block: erasedBlock(rows, cols),
	}
}

// sheet is a canvas of one of the looks a terminal can have.
func sheet(d themes.Depth, dark, ascii bool) canvas {
	return canvas{paint: newPaint(themes.Default(dark), d), depth: d, ascii: ascii, dark: dark}
}
