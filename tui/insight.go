package tui

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"

	tea "charm.land/bubbletea/v2"

	"mergescope/merge"
	"mergescope/quant"
)

// chart is a picture of what is kept over all layers.
type chart int

const (
	scatterChart   chart = iota // delta ratio against kept
	histogramChart              // how many layers keep how much
	depthChart                  // kept over the depth of the model by kind of module
	numCharts
)

var chartNames = [numCharts]string{"kept by delta ratio", "layers by kept", "kept by depth"}

// insightBox shows what the layers have in common. Its cursor is a layer, the
// same one in all charts.
type insightBox struct {
	lensOf
	book   *ledger
	curves curves
	chart  chart
	inputs bool   // kept is that on the layers' inputs
	note   string // instead of what theory says, until the cursor moves
	layer  int    // under the cursor, -1 for none
}

// point is a layer with figures.
type point struct {
	layer       int
	kind        string // last part of the module path
	depth       int    // first number in the module path, -1 if there is none
	ratio, kept float64
	weights     float64
	curve       curveKey
	rank        int
}

// curveKey names a theoretical curve: the format, and how many weights share a
// scale.
type curveKey struct {
	format quant.Format
	n      int
}

// curves are the theoretical curves that have been worked out.
type curves map[curveKey]*quant.KeptCurve

// curvesMsg brings curves.
type curvesMsg struct{ found curves }

// expected is what the curve says of a layer, NaN before it is worked out.
func (x *insightBox) expected(p point) float64 {
	if c := x.curves[p.curve]; c != nil {
		return c.LowRank(p.ratio, p.rank)
	}
	return math.NaN()
}

// points lists the layers that have figures, in the order of the model. With
// inputs, kept is that on the layers' inputs.
func (b *ledger) points(inputs bool) []point {
	var out []point
	for i := range b.layers {
		r := b.report(i)
		if r == nil || !(r.DeltaRatio > 0) {
			continue
		}
		kept := float64(r.Kept)
		if inputs {
			kept = float64(r.KeptOnInputs)
		}
		if math.IsNaN(kept) {
			continue
		}
		l := &b.layers[i]
		p := point{layer: i, ratio: float64(r.DeltaRatio), kept: kept, weights: float64(l.Weight.Numel())}
		p.kind, p.depth = kindOf(l.Weight.Name)
		f := l.Weight.Format
		if form, ok := quant.ParseFormat(string(l.Output)); ok {
			f = form
		}
		p.curve = curveKey{f, l.Weight.Cols()}
		if f.Is4Bit() {
			p.curve.n = l.Weight.Spec().Blocksize
		}
		for _, s := range l.Steps {
			p.rank += s.Module.Rank
		}
		out = append(out, p)
	}
	return out
}

// kindOf returns the kind of module and its depth.
func kindOf(name string) (kind string, depth int) {
	parts := strings.Split(name, ".")
	depth = -1
	for _, s := range parts {
		if n, err := strconv.Atoi(s); err == nil {
			depth = n
			break
		}
	}
	return parts[len(parts)-1], depth
}

// kindOrder lists the modules of a block in the order in which data pass them;
// others follow by name.
var kindOrder = []string{"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}

func compareKinds(a, b string) int {
	place := func(s string) int {
		if i := slices.Index(kindOrder, s); i >= 0 {
			return i
		}
		return len(kindOrder)
	}
	return cmp.Or(cmp.Compare(place(a), place(b)), strings.Compare(a, b))
}

func (a *app) openInsight() tea.Cmd {
	x := &insightBox{book: &a.book, curves: a.curves, layer: a.tree.current()}
	points := a.book.points(false)
	if !slices.ContainsFunc(points, func(p point) bool { return p.layer == x.layer }) {
		x.worst(a)
	}
	a.push(x)
	need := map[curveKey]bool{}
	for _, p := range points {
		if a.curves[p.curve] == nil {
			need[p.curve] = true
		}
	}
	return a.work(func() tea.Msg {
		found := curves{}
		for k := range need {
			found[k] = quant.NewKeptCurve(k.format, quant.CPU, k.n)
		}
		return curvesMsg{found}
	})
}

// openModel shows what is kept over the depth of the model, the cursor on the
// layer it is on.
func (a *app) openModel() tea.Cmd {
	cmd := a.openInsight()
	if x, ok := a.topOverlay().(*insightBox); ok {
		x.chart = depthChart
	}
	return cmd
}

// curvesFound keeps curves for this insight and later ones.
func (a *app) curvesFound(msg curvesMsg) {
	for k, c := range msg.found {
		a.curves[k] = c
	}
}

func (x *insightBox) scope() scope { return inInsight }
func (x *insightBox) end(a *app)   { a.pop(x) }

func (x *insightBox) hints() []lensHint {
	return []lensHint{
		{"move.left move.right move.up move.down", "layer"},
		{"block.view", "chart"},
		{"blocks.metric", "metric"},
		{"go.in", "go there"},
		{"blocks.worst", "worst"},
		{"app.help", "help"},
	}
}

func (x *insightBox) cycle() { x.chart = (x.chart + 1) % numCharts }

func (x *insightBox) points() []point { return x.book.points(x.inputs) }

// nextMetric changes between kept and kept on inputs.
func (x *insightBox) nextMetric() {
	if !x.inputs && !x.book.sees {
		x.note = "kept on inputs is known of plans with calibrated layers: R, D"
		return
	}
	x.inputs = !x.inputs
}

func (x *insightBox) metric() string {
	if x.inputs {
		return merge.MetricOnInputs.Info().Name
	}
	return merge.MetricKept.Info().Name
}

// worst puts the cursor on the layer that keeps least.
func (x *insightBox) worst(*app) {
	x.layer = -1
	if points := x.points(); len(points) > 0 {
		x.layer = slices.MinFunc(points, func(a, b point) int { return cmp.Compare(a.kept, b.kept) }).layer
	}
}

// next puts the cursor on the layer that keeps a little more or less.
func (x *insightBox) next(_ *app, d int) { x.along(byKept, d) }

func byKept(a, b point) int  { return cmp.Compare(a.kept, b.kept) }
func byRatio(a, b point) int { return cmp.Compare(a.ratio, b.ratio) }

// along moves the cursor by d in an order of all layers.
func (x *insightBox) along(order func(a, b point) int, d int) {
	x.step(slices.SortedStableFunc(slices.Values(x.points()), order), d)
}

// step moves the cursor by d within some layers; outside them it goes to the
// first.
func (x *insightBox) step(points []point, d int) {
	if len(points) == 0 {
		return
	}
	i := slices.IndexFunc(points, func(p point) bool { return p.layer == x.layer })
	d = between(d, -len(points), len(points))
	x.layer, x.note = points[between(max(i, 0)+d, 0, len(points)-1)].layer, ""
}

// at returns the point under the cursor; ok is false if there is none.
func (x *insightBox) at() (p point, ok bool) {
	points := x.points()
	i := slices.IndexFunc(points, func(p point) bool { return p.layer == x.layer })
	if i < 0 {
		return point{}, false
	}
	return points[i], true
}

// move goes along the axes of the chart: in the scatter by delta ratio and by
// kept, in the histogram by bin and within it, over depth by depth and kind.
func (x *insightBox) move(_ *app, dr, dc int) tea.Cmd {
	switch x.chart {
	case scatterChart:
		if dc != 0 {
			x.along(byRatio, dc)
		}
		if dr != 0 {
			x.along(byKept, -dr)
		}
	case histogramChart:
		if dc != 0 {
			x.along(byKept, dc)
		}
		if dr != 0 {
			x.nextBin(dr)
		}
	case depthChart:
		x.nextDepth(dr, dc)
	}
	return nil
}

// nextBin goes to a layer of another bin.
func (x *insightBox) nextBin(d int) {
	var first []point // of each bin
	bin := -1
	at, _ := x.at()
	for _, p := range slices.SortedStableFunc(slices.Values(x.points()), byKept) {
		switch b := binOf(p.kept); {
		case b != bin:
			first, bin = append(first, p), b
		case p.layer == at.layer:
			first[len(first)-1] = p
		}
	}
	x.step(first, d)
}

// nextDepth goes along the depth of a kind of module, or to another kind at the
// same depth.
func (x *insightBox) nextDepth(dr, dc int) {
	at, ok := x.at()
	points := x.points()
	if !ok {
		x.step(points, 0)
		return
	}
	if dc != 0 {
		x.step(slices.DeleteFunc(points, func(p point) bool { return p.kind != at.kind }), dc)
		return
	}
	slices.SortStableFunc(points, func(a, b point) int {
		return cmp.Or(compareKinds(a.kind, b.kind), cmp.Compare(abs(a.depth-at.depth), abs(b.depth-at.depth)), cmp.Compare(abs(a.layer-at.layer), abs(b.layer-at.layer)))
	})
	x.step(slices.CompactFunc(points, func(a, b point) bool { return a.kind == b.kind }), dr)
}

// enter closes the charts and shows the layer under the cursor.
func (x *insightBox) enter(a *app) tea.Cmd {
	l := a.book.layer(x.layer)
	a.pop(x)
	if l == nil {
		return nil
	}
	a.tree.reveal(l.Weight.Name)
	a.setFocus(layersID)
	return nil
}

// binOf returns the bin of the histogram: below 0, ten of a tenth each, 1 and
// above. What rounds to 100 % is in the last.
func binOf(kept float64) int {
	if kept >= 0.995 {
		return bins - 1
	}
	return between(int(math.Floor(kept*10))+1, 0, bins-2)
}

const bins = 12
