package tui

import (
	"fmt"
	"strings"

	tea "charm.land/bubbletea/v2"

	"mergescope/merge"
	"mergescope/themes"
)

// What keys step through one by one, by name; and places by name.

func chooseActions() []action {
	return []action{
		{"blocks.metric.pick", nil, inPanes, "", "Metric of the map…", "Choose what the colours of the map show.", nil, (*app).chooseMetric},
		{"blocks.aggregate.pick", nil, inPanes, "", "Aggregate of the map…", "Choose what a cell shows of the blocks under it.", nil, (*app).chooseAggregate},
		{"blocks.map.pick", nil, inPanes, "", "Colour map…", "Choose the colours of the map.", nil, (*app).chooseMap},
		{"go.layer", nil, inPanes, "", "Go to layer…", "Find a layer by its name.", nil, (*app).chooseLayer},
		{"go.block", nil, inPanes, "", "Go to block…", "Type the row and the column of a weight; the cursor goes to its block.", (*app).noBlocks, (*app).askBlock},
	}
}

// pick shows items with the cursor on one of them.
func (a *app) pick(name string, items []item, cur int) tea.Cmd {
	p := newPicker(name, "enter chooses · esc back", true, items)
	p.cur = max(0, cur)
	a.push(p)
	return nil
}

func (a *app) chooseMetric() tea.Cmd {
	var items []item
	for m := range merge.NumMetrics {
		items = append(items, item{text: m.Info().Name, note: metricHelp[m], run: func(a *app) tea.Cmd {
			return a.onMap(func(b *blocksPane) string { return b.cycleMetric(int(m) - int(b.metric)) })
		}})
	}
	return a.pick("metric of the map", items, int(a.blocks.metric))
}

// metricHelp says what a metric is in few words.
var metricHelp = [merge.NumMetrics]string{
	merge.MetricKept:      "share of the adapter that is left after rounding",
	merge.MetricSNR:       "decibels of the adapter over the rounding error",
	merge.MetricError:     "rounding error relative to the exact sum",
	merge.MetricCodes:     "share of stored codes that change",
	merge.MetricGrowth:    "new over old absmax of a block",
	merge.MetricErrorMax:  "largest error of a weight",
	merge.MetricNonFinite: "NaN and infinite values",
	merge.MetricOnInputs:  "share of what the adapter adds to outputs that is left, by row; of calibrated plans",
}

func (a *app) chooseAggregate() tea.Cmd {
	notes := [merge.NumAggregates]string{
		merge.Worst: "the worst block: no bad one is hidden",
		merge.P99:   "what 99 of 100 blocks are no worse than: without the few that stand alone",
		merge.Mean:  "over all weights of the cell: less noise, hides single bad blocks",
	}
	var items []item
	for g := range merge.NumAggregates {
		items = append(items, item{text: aggregates[g], note: notes[g], run: func(a *app) tea.Cmd {
			return a.onMap(func(b *blocksPane) string { return b.setAggregate(g) })
		}})
	}
	return a.pick("aggregate of the map", items, int(a.blocks.aggregate))
}

func (a *app) chooseMap() tea.Cmd {
	var items []item
	cur := 0
	for _, name := range themes.MapNames() {
		m, _ := themes.MapByName(name)
		it := item{text: name, run: func(a *app) tea.Cmd {
			return a.onMap(func(b *blocksPane) string { return b.setMap(name) })
		}}
		switch {
		case m.Diverging && !a.blocks.isSigned():
			it.reason = "for metrics with a neutral middle"
		case m.Diverging:
			it.note = "two directions from a quiet middle"
		case name == "cividis":
			it.note = "almost the same to people who see red and green alike"
		}
		if name == a.blocks.mapName(a.skin.theme) {
			cur = len(items)
		}
		items = append(items, it)
	}
	return a.pick("colour map", items, cur)
}

// chooseLayer lists all layers; the cursor is on the one it is on.
func (a *app) chooseLayer() tea.Cmd {
	items := make([]item, len(a.book.layers))
	for i := range a.book.layers {
		name := a.book.layers[i].Weight.Name
		items[i] = item{text: a.book.short(name), run: func(a *app) tea.Cmd {
			a.tree.reveal(name)
			if a.focus != blocksID && a.focus != blockID {
				a.setFocus(layersID)
			}
			return nil
		}}
		if r := a.book.report(i); r != nil {
			items[i].note = "kept " + unicodeGlyphs.percent(float64(r.Kept))
		}
	}
	return a.pick("go to layer", items, a.tree.current())
}

// noBlocks says why there is no block to go to.
func (a *app) noBlocks() string {
	if b := &a.blocks; b.layer == nil || b.grid.Rows == 0 || b.grid.Cols == 0 {
		return "no layer with blocks is under the cursor"
	}
	return ""
}

// askBlock asks for a weight by its row and column.
func (a *app) askBlock() tea.Cmd {
	w := a.blocks.layer.Weight
	rows, cols := w.Rows(), w.Cols()
	row, col := a.blocks.cursor()
	help := fmt.Sprintf("row and column of a weight of %s: rows 0 to %d, columns 0 to %d", a.book.short(w.Name), rows-1, cols-1)
	a.push(newPrompt("go to block", help, fmt.Sprintf("%d %d", row, col), func(a *app, p *prompt, text string) tea.Cmd {
		var r, c int
		text = strings.NewReplacer(",", " ", "r", "", "c", "").Replace(text)
		if n, _ := fmt.Sscan(text, &r, &c); n == 0 {
			return p.refuse("two numbers are needed, or one for the row alone")
		}
		if r < 0 || r >= rows || c < 0 || c >= cols {
			return p.refuse(fmt.Sprintf("there is no weight at row %d, column %d", r, c))
		}
		a.pop(p)
		a.blocks.jump(r, c)
		a.setFocus(blocksID)
		return nil
	}))
	return nil
}
