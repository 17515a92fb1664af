package tui

import (
	"math"
	"strings"

	"mergescope/loader"
	"mergescope/merge"
	"mergescope/quant"
)

// export is the layers that the filter shows, in the order shown, folded or not.
func (p *layersPane) export() *table {
	t := &table{columns: []string{"name", "format", "rows", "cols", "plan", "output"}}
	for i := range layerFigures {
		t.columns = append(t.columns, layerFigures[i].name)
	}
	t.columns = append(t.columns, "alerts")
	order := p.rows
	if p.sorting() == nil {
		order = nil
		for i := range p.nodes {
			order = append(order, i)
		}
	}
	for _, i := range order {
		l := p.nodes[i].layer
		if l < 0 || !p.filter.match(p.book, l) {
			continue
		}
		layer := &p.book.layers[l]
		row := []any{
			layer.Weight.Name, layer.Weight.Format.String(), layer.Weight.Rows(), layer.Weight.Cols(),
			stepsText(layer.Steps), string(layer.Output),
		}
		for k := range layerFigures {
			row = append(row, layerFigures[k].of(p.book, l))
		}
		var codes []string
		for _, al := range p.facts.of(layer.Weight.Name) {
			codes = append(codes, string(al.Code))
		}
		t.rows = append(t.rows, append(row, strings.Join(codes, " ")))
	}
	return t
}

// stepsText names the adapters of a layer with their scales.
func stepsText(steps []merge.Step) string {
	parts := make([]string, len(steps))
	for i, st := range steps {
		parts[i] = adapterName(st.Adapter) + "*" + cellText(st.Factor, "")
	}
	return strings.Join(parts, " + ")
}

// export is the cells of the map as shown: which blocks each covers and its
// value.
func (b *blocksPane) export() *table {
	g, data, _ := b.shown()
	t := &table{columns: []string{"row_from", "row_to", "block_from", "block_to", "metric", "aggregate", "value", "state"}}
	for i, s := range data {
		r := g.region(i/g.cellCols, i%g.cellCols)
		state, v := "", s.v
		switch s.state {
		case merge.CellNaN:
			state = "nan"
		case merge.CellInf:
			state = "inf"
		case merge.CellEmpty:
			state, v = "empty", math.NaN()
		}
		t.add(r.r0, r.r1, r.c0, r.c1, b.metric.Info().Name, aggregates[b.aggregate], v, state)
	}
	return t
}

// export is the weights of the block, of a weight with cols columns.
func (b *blockPane) export(cols int) *table {
	t := &table{columns: []string{"row", "col", "before", "delta", "sum", "after", "code_before", "code_after"}}
	x := b.trace
	for i := range x.W {
		at := int(x.First) + i
		row := []any{at / max(1, cols), at % max(1, cols), x.W[i], x.D[i], x.T[i], x.Out[i], "", ""}
		if i < len(x.OldCode) && i < len(x.NewCode) {
			row[6], row[7] = codeNumber(x.Spec, x.OldCode[i]), codeNumber(x.Spec, x.NewCode[i])
		}
		t.rows = append(t.rows, row)
	}
	return t
}

// codeNumber is a code as a number: int8 has a sign.
func codeNumber(s quant.Spec, code uint8) int {
	if s.Format == quant.Int8 {
		return int(int8(code))
	}
	return int(code)
}

// export is the alerts of the levels shown.
func (p *alertsPane) export() *table {
	t := &table{columns: []string{"level", "code", "layer", "file", "tensor", "row", "col", "count", "acknowledged", "message", "hint"}}
	for i := range p.alerts {
		al := &p.alerts[i]
		if al.Level < p.least {
			continue
		}
		var row, col any = "", ""
		if al.Place.Row >= 0 && al.Layer != "" {
			row, col = al.Place.Row, al.Place.Col
		}
		t.add(al.Level.String(), string(al.Code), al.Layer, al.Place.File, al.Place.Tensor, row, col, al.Count,
			p.acked[alertKey(al)], al.Message, al.Hint)
	}
	return t
}

// layerFile is a layer's name as part of the name of a file.
func layerFile(w *loader.Weight) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(`/\:*?"<>| `, r) || r < ' ' {
			return '-'
		}
		return r
	}, w.Name)
}
