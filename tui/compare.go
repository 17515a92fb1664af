package tui

import (
	"fmt"
	"slices"

	tea "charm.land/bubbletea/v2"

	"mergescope/merge"
	"mergescope/quant"
)

// compareBox shows one layer under two plans, side by side on one scale. The
// cursor is on the same block in both maps, the layer is that of the tree.
type compareBox struct {
	lensOf
	sides [2]side
	layer int // of the tree, -1 before the first
}

// side is one plan of a comparison.
type side struct {
	name   string
	plan   merge.Plan
	layers []merge.Layer
	pane   blocksPane

	asked  inquiry
	span   span        // asked for
	failed span        // could not be computed
	sums   *quant.Sums // over the whole layer, nil before they are known
}

// comparedMsg is the examination of one side.
type comparedMsg struct {
	box  *compareBox
	side int
	gen  int
	ex   *merge.Examination
	err  error
}

// askCompare offers plans to compare the current one with.
func (a *app) askCompare() tea.Cmd {
	if x, ok := a.topOverlay().(*compareBox); ok {
		x.end(a)
	}
	var items []item
	for _, v := range a.variants() {
		items = append(items, item{text: v.name, note: v.note, run: func(a *app) tea.Cmd { return a.openCompare(v.name, v.plan) }})
	}
	a.push(newPicker("compare the plan with …", "enter compares · esc back", false, items))
	return nil
}

// variant is a plan to compare with.
type variant struct {
	name, note string
	plan       merge.Plan
}

// variants are the plans that differ from the current one in one way.
func (a *app) variants() []variant {
	now := a.history.Now()
	var all []variant
	add := func(name, note string, plan merge.Plan) {
		if len(plan.Adapters) > 0 && !plan.Equal(now) {
			all = append(all, variant{name, note, plan})
		}
	}
	if a.anyLayer(func(l *merge.Layer) bool { return l.Output != merge.AsBF16 }) {
		add("bf16", "the layers dequantized and written in bfloat16", now.SetOutputAll(merge.AsBF16))
	}
	if a.anyLayer(func(l *merge.Layer) bool { return l.Method.Kind != merge.MethodDithered }) {
		add("dithered", "codes drawn at random, right on average", now.SetMethodAll(merge.Method{Kind: merge.MethodDithered}))
	}
	if a.anyLayer(func(l *merge.Layer) bool { return l.Output != merge.Same || l.Method.Kind != merge.MethodPeft }) {
		add("peft", "nearest codes in the base's format", now.SetOutputAll(merge.Same).SetMethodAll(merge.Method{Kind: merge.MethodPeft}))
	}
	if a.anyLayer(func(l *merge.Layer) bool { return l.Output != merge.Separate }) {
		add("separate", "the adapter beside the base", now.SetOutputAll(merge.Separate))
	}
	add("scale ×2", "twice the scale of every adapter", rescaled(now, 2))
	add("scale ×½", "half the scale of every adapter", rescaled(now, 0.5))
	add("cuda", "the rounding of bitsandbytes' CUDA kernels", withProfile(now, merge.ProfileCUDA))
	add("cpu", "the rounding of bitsandbytes on a CPU", withProfile(now, merge.ProfileCPU))
	if past, ok := a.history.Past(); ok {
		add("before", "the plan before the last change", past)
	}
	add("saved plan", "as it was opened or saved", a.saved)
	for _, ad := range a.eng.adapters() {
		add(ad.Name, "this adapter alone", merge.NewPlan(now.Model, merge.AdapterRef{Name: ad.Name, Path: ad.Path}))
	}
	return all
}

// anyLayer reports whether some layer with an adapter is so.
func (a *app) anyLayer(is func(*merge.Layer) bool) bool {
	return slices.ContainsFunc(a.book.layers, func(l merge.Layer) bool { return len(l.Steps) > 0 && is(&l) })
}

// rescaled multiplies the scale of every rule.
func rescaled(p merge.Plan, by float64) merge.Plan {
	p.Rules = slices.Clone(p.Rules)
	for i := range p.Rules {
		p.Rules[i].Scale *= by
	}
	return p
}

func withProfile(p merge.Plan, profile string) merge.Plan {
	p.Profile = profile
	return p
}

// openCompare shows the current plan beside another.
func (a *app) openCompare(name string, plan merge.Plan) tea.Cmd {
	x := &compareBox{layer: -1}
	for i, p := range []merge.Plan{a.history.Now(), plan} {
		s := &x.sides[i]
		s.plan = p
		s.layers, _ = a.eng.layers(p)
		s.pane.blocksView = a.blocks.blocksView
		s.pane.fitted = false // both on one scale
	}
	x.sides[0].name, x.sides[1].name = "the plan", name
	a.push(x)
	return nil
}

// end gives up what is being computed.
func (x *compareBox) end(a *app) {
	for i := range x.sides {
		x.sides[i].asked.stop()
	}
	a.pop(x)
}

// followCompare shows the layer under the cursor and asks for what the maps
// lack.
func (a *app) followCompare() tea.Cmd {
	x, ok := a.topOverlay().(*compareBox)
	if !ok {
		return nil
	}
	if i := a.tree.current(); i != x.layer && i >= 0 {
		x.show(i)
	}
	w, h := x.size(a.w-4, a.h-4)
	var cmds []tea.Cmd
	for i := range x.sides {
		s := &x.sides[i]
		sp, need := s.pane.want(w, h)
		if !need || sp == s.failed || s.asked.busy && sp == s.span {
			continue
		}
		ctx, gen := s.asked.begin(a.ctx)
		eng, plan := a.eng, s.plan
		s.span = sp
		cmds = append(cmds, a.work(func() tea.Msg {
			ex, err := eng.examine(ctx, plan, sp)
			return comparedMsg{x, i, gen, ex, err}
		}))
	}
	return tea.Batch(cmds...)
}

// show begins with another layer.
func (x *compareBox) show(layer int) {
	x.layer = layer
	for i := range x.sides {
		s := &x.sides[i]
		s.asked.stop()
		s.failed, s.sums = span{}, nil
		s.pane.setLayer(s.at(layer))
	}
}

// at returns a layer under the side's plan, nil if there is none.
func (s *side) at(layer int) *merge.Layer {
	if layer < 0 || layer >= len(s.layers) {
		return nil
	}
	return &s.layers[layer]
}

func (a *app) compared(msg comparedMsg) {
	s := &msg.box.sides[msg.side]
	switch {
	case !s.asked.answered(msg.gen):
	case msg.err != nil:
		s.failed = s.span
		s.pane.setProblem(msg.err)
	case msg.ex == nil:
		s.failed = s.span
	default:
		s.pane.setTile(msg.ex.Tile, s.span.r0, s.span.r1)
		if l := s.pane.layer; l != nil && s.span.r0 == 0 && s.span.r1 >= l.Weight.Rows() {
			s.sums = &msg.ex.Sums
		}
		msg.box.align()
	}
}

// align puts the second map where the first one is, or the first where the
// second is if only that has data.
func (x *compareBox) align() {
	from, to := &x.sides[0].pane, &x.sides[1].pane
	if from.coarse == nil && to.coarse != nil {
		from, to = to, from
	}
	to.row, to.col, to.reach, to.seeking = from.row, from.col, from.reach, from.seeking
	to.level, to.top, to.left = from.level, from.top, from.left
	to.metric, to.aggregate, to.logs, to.sequence, to.signed = from.metric, from.aggregate, from.logs, from.sequence, from.signed
}

// lead is the map that the keys go to.
func (x *compareBox) lead() *blocksPane {
	if x.sides[0].pane.coarse == nil && x.sides[1].pane.coarse != nil {
		return &x.sides[1].pane
	}
	return &x.sides[0].pane
}

// maps returns the map that a key is for, and what must follow it.
func (a *app) maps() (b *blocksPane, then func()) {
	if x, ok := a.topOverlay().(*compareBox); ok {
		return x.lead(), x.align
	}
	return &a.blocks, func() {}
}

// onMap changes what a map shows and says so.
func (a *app) onMap(change func(*blocksPane) string) tea.Cmd {
	b, then := a.maps()
	text := change(b)
	then()
	return a.view(text)
}

// nextMetric shows the next metric of the map, or of the charts.
func (a *app) nextMetric() tea.Cmd {
	if x, ok := a.topOverlay().(*insightBox); ok {
		x.nextMetric()
		return nil
	}
	return a.onMap(func(b *blocksPane) string { return b.cycleMetric(1) })
}

func (x *compareBox) scope() scope { return inCompare }

func (x *compareBox) worst(*app) {
	x.lead().worst()
	x.align()
}

func (x *compareBox) next(_ *app, d int) {
	x.lead().next(d)
	x.align()
}

func (x *compareBox) move(_ *app, dr, dc int) tea.Cmd {
	x.lead().move(dr, dc)
	x.align()
	return nil
}

func (x *compareBox) hints() []lensHint {
	return []lensHint{
		{"tensor.prev tensor.next", "layer"},
		{"move.left move.right move.up move.down", "cell"},
		{"blocks.in blocks.out", "zoom"},
		{"blocks.metric", "metric"},
		{"blocks.worst", "worst"},
		{"lens.compare", "other plan"},
		{"app.help", "help"},
	}
}

// metrics are the figures of the whole layer, those that exist.
func (s *side) metrics() merge.Metrics {
	l := s.pane.layer
	switch {
	case l != nil && l.Output == merge.Separate && len(l.Steps) > 0:
		m := noFigures().Metrics
		m.Kept, m.ErrorRelative = 1, 0
		return m
	case s.sums == nil:
		return noFigures().Metrics
	}
	return merge.MetricsOf(*s.sums)
}

// copyText is the comparison in words.
func (x *compareBox) copyText() string {
	l := x.sides[0].pane.layer
	if l == nil {
		return ""
	}
	text := l.Weight.Name
	for i := range x.sides {
		s := &x.sides[i]
		m := s.metrics()
		g := &unicodeGlyphs
		text += fmt.Sprintf("\n%s: kept %s, error %s, %d bytes", s.name, g.percent(float64(m.Kept)), g.percent(float64(m.ErrorRelative)), s.pane.layer.OutBytes())
	}
	return text
}
