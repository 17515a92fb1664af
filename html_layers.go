package main

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"mergescope/merge"
)

// pageMaps bounds the heatmaps of a page, pageWorst its worst blocks.
const (
	pageMaps  = 300
	pageWorst = 20
)

type (
	// pageLayer is a row of the table of layers.
	pageLayer struct {
		Name    []string // in parts between which a line may break
		Map     string   // anchor of its heatmap, "" if it has none
		Class   string
		Cells   []pageCell
		Format  string
		Steps   string
		Output  string
		Alerts  string
		Ordinal int
	}
	// pageCell is a figure with the number by which it is sorted, "" if it has
	// none.
	pageCell struct{ Text, Sort string }
	// pageMap is a heatmap with what stands below it.
	pageMap struct {
		Anchor  string
		Picture picture
		Name    []string
		Class   string
		Kept    string
		Extent  string
		Worst   string
	}
	// pageBlock is one of the worst blocks.
	pageBlock struct {
		Name     []string
		Row, Col int
		Kept     pageCell
		Command  string // what explain takes
	}
	// histogram counts layers or cells by kept.
	histogram struct {
		Title, Max string
		Bars       []histogramBar
	}
	histogramBar struct {
		X, Y, Height float64
		Class, Title string
	}
)

// keptClass says by a word of style how much is kept, with the limits of the
// alerts.
func keptClass(kept merge.Figure) string {
	switch v := float64(kept); {
	case math.IsNaN(v):
		return "none"
	case v < 0.1:
		return "bad"
	case v < 0.5:
		return "warn"
	default:
		return "good"
	}
}

// keptText is kept with three digits; blocks with tiny deltas can have any value.
func keptText(kept merge.Figure) string {
	if math.Abs(float64(kept)) >= 1000 {
		return short(kept)
	}
	return number(kept, 3)
}

// breakable cuts a module path behind its dots.
func breakable(name string) []string { return strings.SplitAfter(clean(name), ".") }

func anchor(i int) string { return "map-" + strconv.Itoa(i) }

func newCell(text string, v merge.Figure) pageCell {
	if f := float64(v); !math.IsNaN(f) && !math.IsInf(f, 0) {
		return pageCell{text, strconv.FormatFloat(f, 'g', -1, 64)}
	}
	return pageCell{text, ""}
}

func pageLayers(d *dossier) []pageLayer {
	drawn := d.drawn()
	var rows []pageLayer
	for i, l := range d.report.Layers {
		row := pageLayer{
			Name: breakable(l.Name), Class: keptClass(l.Kept), Ordinal: i,
			Cells: []pageCell{
				newCell(keptText(l.Kept), l.Kept),
				newCell(number(l.SNR, 1), l.SNR),
				newCell(percent(l.CodesChanged, 2), l.CodesChanged),
				newCell(percent(l.DeltaRatio, 2), l.DeltaRatio),
				newCell(percent(l.ErrorRelative, 2), l.ErrorRelative),
			},
			Format: clean(l.Format), Steps: clean(stepsText(l.Adapters)), Output: clean(string(l.Output)),
		}
		if d.report.Peft != nil {
			peft := merge.Kept{Kept: merge.Figure(math.NaN()), OnInputs: merge.Figure(math.NaN())}
			if l.Peft != nil {
				peft = *l.Peft
			}
			for i, v := range [...]merge.Figure{l.KeptOnInputs, peft.Kept, peft.OnInputs} {
				row.Cells = append(row.Cells, newCell(inputCells(l.Metrics, l.Peft)[i], v))
			}
		}
		if drawn[l] {
			row.Map = "#" + anchor(i)
		}
		var codes []string
		for _, al := range l.Alerts {
			codes = append(codes, clean(string(al.Code)))
		}
		row.Alerts = strings.Join(codes, " ")
		rows = append(rows, row)
	}
	return rows
}

// drawn returns the layers that get a heatmap: those that keep least, if there
// are too many.
func (d *dossier) drawn() map[*merge.LayerReport]bool {
	list := d.report.Layers
	if len(list) > pageMaps {
		list = worstLayers(d.report, pageMaps)
	}
	drawn := map[*merge.LayerReport]bool{}
	for _, l := range list {
		if d.tiles[l.Name] != nil {
			drawn[l] = true
		}
	}
	return drawn
}

// draw makes the heatmaps.
func (p *page) draw(d *dossier) (err error) {
	if p.Legend, err = legendPicture(); err != nil {
		return err
	}
	drawn := d.drawn()
	for i, l := range d.report.Layers {
		if !drawn[l] {
			p.MapsLeft++
			continue
		}
		t := d.tiles[l.Name]
		m := pageMap{
			Anchor: anchor(i), Name: breakable(l.Name), Class: keptClass(l.Kept), Kept: keptText(l.Kept),
			Extent: fmt.Sprintf("%s by %s of %s", plural(t.Grid.Rows, "row"), plural(t.Grid.Cols, "block"), plural(t.Grid.Width, "weight")),
		}
		if m.Picture, err = heatPicture(t); err != nil {
			return err
		}
		if w := l.WorstBlock; w != nil {
			m.Worst = fmt.Sprintf("worst block: row %d, column %d, kept %s", w.Row, w.Col, keptText(w.Kept))
		}
		p.Maps = append(p.Maps, m)
	}
	return nil
}

// pageBlocks lists the worst block of each layer, the worst first.
func pageBlocks(r *merge.Report) []pageBlock {
	var with []*merge.LayerReport
	for _, l := range r.Layers {
		if l.WorstBlock != nil {
			with = append(with, l)
		}
	}
	slices.SortStableFunc(with, func(a, b *merge.LayerReport) int { return cmp.Compare(a.WorstBlock.Kept, b.WorstBlock.Kept) })
	var list []pageBlock
	for _, l := range with[:min(len(with), pageWorst)] {
		w := l.WorstBlock
		list = append(list, pageBlock{
			breakable(l.Name), w.Row, w.Col, newCell(keptText(w.Kept), w.Kept),
			fmt.Sprintf("--at %s:%d:%d --block", clean(l.Name), w.Row, w.Col),
		})
	}
	return list
}

// Bins of a histogram of kept, and its size in units of the drawing.
const (
	histogramBins   = 20
	histogramWidth  = 100.0
	histogramHeight = 40.0
)

// pageHistograms counts layers by kept, and the cells of the heatmaps by kept
// over all their blocks.
func pageHistograms(d *dossier) []histogram {
	var layers, cells []float64
	for _, l := range d.report.Layers {
		layers = append(layers, float64(l.Kept))
		if t := d.tiles[l.Name]; t != nil {
			for i := range t.Rows * t.Cols {
				if v, state := t.At(merge.MetricKept, merge.Mean, i/t.Cols, i%t.Cols); state == merge.CellValue {
					cells = append(cells, v)
				}
			}
		}
	}
	var list []histogram
	for _, h := range []histogram{newHistogram("layers", layers), newHistogram("cells of the heatmaps", cells)} {
		if len(h.Bars) > 0 {
			list = append(list, h)
		}
	}
	return list
}

// newHistogram counts values that exist in bins of equal width from 0 to 1; the
// outer bins take what lies beyond.
func newHistogram(what string, values []float64) histogram {
	var counts [histogramBins]int
	most := 0
	for _, v := range values {
		if math.IsNaN(v) {
			continue
		}
		i := int(min(max(v*histogramBins, 0), histogramBins-1))
		counts[i]++
		most = max(most, counts[i])
	}
	h := histogram{Title: what + " by kept", Max: strconv.Itoa(most)}
	if most == 0 {
		return h
	}
	for i, n := range counts {
		height := histogramHeight * float64(n) / float64(most)
		low := float64(i) / histogramBins
		h.Bars = append(h.Bars, histogramBar{
			X: histogramWidth * low, Y: histogramHeight - height, Height: height,
			Class: keptClass(merge.Figure(low)),
			Title: fmt.Sprintf("kept %.2f to %.2f: %d", low, low+1.0/histogramBins, n),
		})
	}
	return h
}
