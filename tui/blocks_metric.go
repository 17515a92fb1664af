package tui

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"mergescope/merge"
	"mergescope/themes"
	"mergescope/tui/heat"
)

// blocksView is what the user chose to see; it outlives the layer.
type blocksView struct {
	metric    merge.Metric
	aggregate merge.Aggregate
	logs      [merge.NumMetrics]bool // the scale is the other one than the metric's own
	fitted    bool                   // ends of the scale follow the data instead of staying fixed
	sequence  string                 // colour map of magnitudes, "" for the theme's
	signed    string                 // colour map of signed metrics, "" for diverging
}

// aggregates names the aggregates in the order of cycling.
var aggregates = [...]string{merge.Worst: "worst", merge.P99: "p99", merge.Mean: "mean"}

// cycleMetric, cycleMap, toggleLog, toggleLock, cycleAggregate change the view
// and return a sentence for the toast.
func (b *blocksPane) cycleMetric(d int) string {
	n := int(merge.NumMetrics)
	b.metric = merge.Metric(((int(b.metric)+d)%n + n) % n)
	return "metric: " + b.metric.Info().Name
}

func (b *blocksPane) cycleMap() string {
	names := themes.MapNames()
	for i, name := range names {
		if name != b.mapName(themes.Theme{}) {
			continue
		}
		next := names[(i+1)%len(names)]
		if m, _ := themes.MapByName(next); m.Diverging && !b.isSigned() {
			next = names[(i+2)%len(names)]
		}
		return b.setMap(next)
	}
	return ""
}

// setMap uses a colour map for metrics of the kind that is shown.
func (b *blocksPane) setMap(name string) string {
	if b.isSigned() {
		b.signed = name
	} else {
		b.sequence = name
	}
	return "colour map: " + name
}

func (b *blocksPane) toggleLog() string {
	if b.metric == merge.MetricSNR {
		return "decibels are logarithmic already"
	}
	b.logs[b.metric] = !b.logs[b.metric]
	if b.scale(nil).Log {
		return "logarithmic scale"
	}
	return "linear scale"
}

func (b *blocksPane) toggleLock() string {
	b.fitted = !b.fitted
	if b.fitted {
		return "scale fitted to this layer: colours of two layers do not compare"
	}
	return "scale locked: a colour means the same in every layer"
}

func (b *blocksPane) cycleAggregate() string {
	return b.setAggregate((b.aggregate + 1) % merge.NumAggregates)
}

func (b *blocksPane) setAggregate(to merge.Aggregate) string {
	b.aggregate = to
	switch to {
	case merge.Worst:
		return "a cell shows its worst block"
	case merge.P99:
		return "a cell shows what 99 of 100 of its blocks are no worse than; of fewer than 100 the worst"
	default:
		return "a cell shows the mean over its blocks, which hides single bad ones"
	}
}

// isSigned reports whether the metric has a neutral middle.
func (b *blocksPane) isSigned() bool { return b.metric == merge.MetricGrowth }

func (b *blocksPane) worseIsLow() bool { return b.metric.Info().BadIsLow }

// mapName returns the colour map in use under a theme.
func (b *blocksPane) mapName(t themes.Theme) string {
	switch {
	case b.isSigned() && b.signed != "":
		return b.signed
	case b.isSigned():
		return "diverging"
	case b.sequence != "":
		return b.sequence
	case t.Map != "":
		return t.Map
	default:
		return themes.MapNames()[0]
	}
}

// scale returns the scale of the metric: its fixed ends, or those of the data.
func (b *blocksPane) scale(data []sample) heat.Scale {
	info := b.metric.Info()
	s := heat.Scale{Low: info.Low, High: info.High, Log: info.Log != b.logs[b.metric], Flip: info.BadIsLow}
	if !b.fitted {
		return s
	}
	low, high := math.Inf(1), math.Inf(-1)
	for _, d := range data {
		if d.state == merge.CellValue && !math.IsInf(d.v, 0) {
			low, high = min(low, d.v), max(high, d.v)
		}
	}
	if low < high && !(s.Log && high <= 0) {
		s.Low, s.High = low, high
	}
	return s
}

// legend describes a scale for the reader.
func (b *blocksPane) legend(s heat.Scale, mapName string, g *glyphs) heat.Legend {
	kind := "lin"
	if s.Log {
		kind = "log"
	}
	if b.fitted {
		kind += " fitted"
	}
	low, high := s.Ends()
	return heat.Legend{
		Metric: b.metric.Info().Name,
		Low:    g.figure(b.metric, low),
		High:   g.figure(b.metric, high),
		Scale:  kind,
		Map:    mapName,
		Flip:   s.Flip,
	}
}

// oneEnd says that the whole map is in the colour of one end of the scale, so
// that it shows nothing, and which keys change that, at length and briefly; nil
// if it does not.
func (b *blocksPane) oneEnd(s heat.Scale, data []sample, g *glyphs) []string {
	const near = 0.02
	low, high, n := 1.0, 0.0, 0
	for _, d := range data {
		if d.state == merge.CellValue {
			p := s.Pos(d.v)
			low, high, n = min(low, p), max(high, p), n+1
		}
	}
	if n < 2 || low < 1-near && high > near {
		return nil
	}
	end, other := s.Ends()
	if (low >= 1-near) != s.Flip {
		end = other
	}
	text := "all at " + g.figure(b.metric, end) + ": "
	if _, density := b.density(b.geometry(b.shape())); b.aggregate != merge.Mean && density != "single" {
		return []string{text + "b mean, L fit", text + "b, L"}
	}
	return []string{text + "L fit"}
}

// figure writes a value of a metric with its unit, a dash for NaN.
func (g *glyphs) figure(m merge.Metric, v float64) string {
	switch {
	case math.IsNaN(v):
		return g.dash
	case math.IsInf(v, 0):
		return strings.ToLower(strings.TrimPrefix(fmt.Sprint(v), "+"))
	}
	switch m {
	case merge.MetricSNR:
		return strings.Replace(strconv.FormatFloat(v, 'f', 1, 64), "-0.0", "0.0", 1) + " dB"
	case merge.MetricGrowth:
		return g.times + strconv.FormatFloat(v, 'g', 4, 64)
	case merge.MetricErrorMax:
		return scientific(v)
	case merge.MetricNonFinite:
		return strconv.FormatFloat(v, 'g', 3, 64)
	default:
		if v == 0 {
			return "0%"
		}
		return g.percent(v)
	}
}

// scientific writes two digits and an exponent without padding: 5.5e-4.
func scientific(v float64) string {
	if v == 0 || math.IsNaN(v) || math.IsInf(v, 0) {
		return strconv.FormatFloat(v, 'g', -1, 64)
	}
	if a := math.Abs(v); a >= 1e-2 && a < 1000 {
		return strconv.FormatFloat(v, 'g', 3, 64)
	}
	s := strconv.FormatFloat(v, 'e', 1, 64)
	mantissa, exp, _ := strings.Cut(s, "e")
	n, _ := strconv.Atoi(exp)
	return mantissa + "e" + strconv.Itoa(n)
}

// density says how many blocks a cell stands for and how they become one value,
// at length and briefly.
func (b *blocksPane) density(g geometry) (long, short string) {
	how := aggregates[b.aggregate]
	if g.cellRows == 0 || g.cellCols == 0 {
		return how, how
	}
	rows, cols := widest(g.row, g.cellRows), widest(g.col, g.cellCols)
	if m := b.best(g); m != nil { // data may be coarser than the view
		at := m.region()
		r, c := m.size()
		rows, cols = max(rows, ceilDiv(at.r1-at.r0, r)), max(cols, ceilDiv(at.c1-at.c0, c))
	}
	switch {
	case rows == 1 && cols == 1:
		return "single blocks", "single"
	case cols == 1:
		return fmt.Sprintf("%s of %d rows/cell", how, rows), fmt.Sprintf("%s of %d", how, rows)
	case rows == 1:
		return fmt.Sprintf("%s of %d blocks/cell", how, cols), fmt.Sprintf("%s of %d", how, cols)
	default:
		return fmt.Sprintf("%s of %d×%d blocks/cell", how, rows, cols), fmt.Sprintf("%s of %d", how, rows*cols)
	}
}

// widest returns the largest of n parts of an axis.
func widest(begin func(int) int, n int) int {
	most := 0
	for i := range n {
		most = max(most, begin(i+1)-begin(i))
	}
	return most
}

// painterCache keeps the painter of the last look.
type painterCache struct {
	key painterKey
	p   *heat.Painter
}

type painterKey struct {
	theme themes.Theme
	depth themes.Depth
	name  string
	ascii bool
}

func (c *painterCache) painter(k painterKey) *heat.Painter {
	if c.p == nil || c.key != k {
		m, _ := themes.MapByName(k.name)
		c.key, c.p = k, heat.New(k.theme, m, k.depth, k.ascii)
	}
	return c.p
}
