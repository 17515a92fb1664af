package tui

import (
	"math"
	"strconv"

	"mergescope/merge"
)

// column is a figure beside the layers.
type column struct {
	name   string
	width  int
	from   int // narrowest pane that shows it
	figure func(*figures) merge.Figure
	text   func(g *glyphs, v float64) string
}

var (
	keptColumn  = column{"KEPT", 6, 0, func(m *figures) merge.Figure { return m.Kept }, (*glyphs).percent}
	codesColumn = column{"CODES", 6, 56, func(m *figures) merge.Figure { return m.CodesChanged }, (*glyphs).percent}

	columns = []column{
		keptColumn,
		{"ERR", 6, 40, func(m *figures) merge.Figure { return m.ErrorRelative }, (*glyphs).percent},
		codesColumn,
		{"SNR", 7, 66, func(m *figures) merge.Figure { return m.SNR }, func(g *glyphs, v float64) string {
			if math.IsNaN(v) {
				return g.dash
			}
			return strconv.FormatFloat(v, 'f', 1, 64)
		}},
	}

	// inputColumns are those of plans with calibrated layers: what the inputs see,
	// and what PEFT's codes would keep.
	inputColumns = []column{
		keptColumn,
		{"INPUTS", 7, 40, func(m *figures) merge.Figure { return m.KeptOnInputs }, (*glyphs).percent},
		{"PEFT", 6, 56, func(m *figures) merge.Figure { return m.peft.Kept }, (*glyphs).percent},
		{"P.INPUTS", 9, 66, func(m *figures) merge.Figure { return m.peft.OnInputs }, (*glyphs).percent},
		{codesColumn.name, codesColumn.width, 76, codesColumn.figure, codesColumn.text},
	}
)

// columns are the figures that the reports at hand are best told by.
func (p *layersPane) columns() []column {
	if p.book.sees {
		return inputColumns
	}
	return columns
}
