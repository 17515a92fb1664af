package tui

import (
	"math"
	"slices"

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
	block      func(m merge.Metric, row, col int) float64 // kept NaN or infinite: not finite; none: not computed
	memo       map[[4]int]sample
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
	if m == merge.MetricOnInputs { // as without a calibrated run
		return math.NaN(), merge.CellEmpty
	}
	key := [4]int{int(m), int(a), r, c}
	s, ok := f.memo[key]
	if !ok {
		s = f.aggregate(m, a, f.span(r, c))
		if f.memo != nil {
			f.memo[key] = s
		}
	}
	return s.v, s.state
}

// badValues is how many elements of a block that is not finite are not.
const badValues = 3

func (f fakeMatrix) aggregate(m merge.Metric, a merge.Aggregate, at region) sample {
	state, sum, n, worst := merge.CellEmpty, 0.0, 0.0, math.NaN()
	var all []float64
	for row := at.r0; row < at.r1; row++ {
		for col := at.c0; col < at.c1; col++ {
			v, kept := f.block(m, row, col), f.block(merge.MetricKept, row, col)
			switch {
			case kept == 0 && math.Signbit(kept):
				continue
			case math.IsNaN(kept):
				state = merge.CellNaN
			case math.IsInf(kept, 0) && state != merge.CellNaN:
				state = merge.CellInf
			case state == merge.CellEmpty:
				state = merge.CellValue
			}
			if math.IsNaN(kept) || math.IsInf(kept, 0) {
				if m != merge.MetricNonFinite {
					continue
				}
				v = badValues
			}
			sum, n, all = sum+v, n+1, append(all, v)
			if math.IsNaN(worst) || v != worst && (v < worst) == m.Info().BadIsLow {
				worst = v
			}
		}
	}
	switch {
	case a == merge.Mean:
		worst = sum / n
	case a == merge.P99 && len(all) > 0:
		slices.Sort(all)
		good := (99*len(all) + 99) / 100 // rounded up
		if m.Info().BadIsLow {
			slices.Reverse(all)
		}
		worst = all[good-1]
	}
	return sample{worst, state}
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
	keeps := make([]float64, rows*cols)
	for i := range keeps {
		keeps[i] = keptOf(rows, cols, i/cols, i%cols)
	}
	return func(m merge.Metric, row, col int) float64 {
		kept := keeps[row*cols+col]
		if math.IsNaN(kept) {
			return kept
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
			return kept
		}
	}
}

// keptOf is a smooth hill and a valley with a little noise, one block that keeps
// nothing and one that is not finite.
func keptOf(rows, cols, row, col int) float64 {
	switch {
	case row == rows*5/8 && col == cols/2:
		return 0
	case row == rows/8 && col == cols/4:
		return math.NaN()
	}
	x, y := float64(row)/float64(rows), (float64(col)+0.5)/float64(cols)
	return max(0.01, 0.5+0.45*math.Sin(5*x+1)*math.Cos(4*y)+0.04*math.Sin(float64(row*37+col*11)))
}

// tensor returns data of the whole of such a layer.
func tensor(rows, cols, cellRows, cellCols int) fakeMatrix {
	return fakeMatrix{
		g: merge.Grid{Rows: rows, Cols: cols, Width: 64}, r1: rows,
		rows: min(rows, cellRows), cols: min(cols, cellCols), block: erasedBlock(rows, cols), memo: map[[4]int]sample{},
	}
}

// sheet is a canvas of one of the looks a terminal can have.
func sheet(d themes.Depth, dark, ascii bool) canvas {
	return canvas{paint: newPaint(themes.Default(dark), d), depth: d, ascii: ascii, dark: dark}
}
