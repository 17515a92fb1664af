package tui

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"mergescope/loader"
	"mergescope/merge"
	"mergescope/themes"
)

// memoryVersion is the version of session files.
const memoryVersion = 1

// memory is what is kept of a checkpoint from one time to the next, as JSON.
// Paths are absolute. What does not fit the checkpoint any more is passed over.
type memory struct {
	Version  int         `json:"version"`
	Model    string      `json:"model"` // see modelKey
	Saved    time.Time   `json:"saved"`
	Began    *merge.Plan `json:"began"` // by the command line
	Plan     *merge.Plan `json:"plan"`
	PlanFile string      `json:"plan_file,omitempty"`
	Filed    bool        `json:"filed"` // the plan is as in its file

	Pane  string `json:"pane"`
	Below string `json:"below"`
	Full  bool   `json:"full"`

	Cursor string   `json:"cursor"` // path of a layer or group
	Open   []string `json:"open"`   // unfolded groups
	Marked []string `json:"marked"`
	Filter string   `json:"filter"`
	Sort   string   `json:"sort"`
	Turned bool     `json:"turned"`

	Metric    string   `json:"metric"`
	Aggregate string   `json:"aggregate"`
	OtherLog  []string `json:"other_log"` // metrics on the other scale
	Fitted    bool     `json:"fitted"`
	Map       string   `json:"map"`
	SignedMap string   `json:"signed_map"`
	Zoom      int      `json:"zoom"`
	Row       int      `json:"row"`
	Col       int      `json:"col"`

	BlockForm int         `json:"block_form"`
	Alerts    merge.Level `json:"alerts"` // the least level shown
}

// summary says what the plan had.
func (m *memory) summary() string {
	if m.Plan == nil || len(m.Plan.Adapters) == 0 {
		return "no adapter"
	}
	names := make([]string, len(m.Plan.Adapters))
	for i, ad := range m.Plan.Adapters {
		names[i] = ad.Name
	}
	return strings.Join(names, ", ")
}

// modelKey is the name under which the session of a checkpoint is kept.
func modelKey(model string) string { return absolute(model) }

// remembered takes down how things are.
func (a *app) remembered() *memory {
	plan, began := withAbsolute(a.history.Now()), withAbsolute(a.opt.Plan)
	m := &memory{
		Version: memoryVersion, Model: modelKey(plan.Model), Saved: a.now(),
		Plan: &plan, Began: &began, Filed: a.opt.PlanFile != "" && !a.unsaved(),
		Pane: paneNames[a.focus], Below: paneNames[a.below], Full: a.full,
		Filter: a.tree.filter.text, Turned: a.tree.turned,
		Metric: a.blocks.metric.Info().Name, Aggregate: aggregates[a.blocks.aggregate],
		Fitted: a.blocks.fitted, Map: a.blocks.sequence, SignedMap: a.blocks.signed,
		Zoom: a.blocks.level, BlockForm: int(a.block.form), Alerts: a.feed.least,
	}
	if a.opt.PlanFile != "" {
		m.PlanFile = absolute(a.opt.PlanFile)
	}
	m.Row, m.Col = a.blocks.cursor()
	if n := a.tree.node(); n != nil {
		m.Cursor = n.path
	}
	for _, n := range a.tree.nodes {
		if n.layer < 0 && !a.tree.folded[n.path] {
			m.Open = append(m.Open, n.path)
		}
	}
	for _, l := range slices.Sorted(maps.Keys(a.tree.marked)) {
		m.Marked = append(m.Marked, a.book.layers[l].Weight.Name)
	}
	if f := a.tree.sorting(); f != nil {
		m.Sort = f.name
	}
	for i, on := range a.blocks.logs {
		if on {
			m.OtherLog = append(m.OtherLog, merge.Metric(i).Info().Name)
		}
	}
	return m
}

// recall is a session that is taken up again, with the adapters its plan needs.
type recall struct {
	memory *memory
	plan   *merge.Plan // nil leaves the plan as it is
	fresh  []*loader.Adapter
	onto   *loader.Checkpoint // the original that the plan merges onto, if it was not open
	err    error              // what could not be had of it
}

// recallSession reads the session of the project's model. Its plan counts if
// the command line says nothing, or what it said the last time.
func recallSession(opt Options) recall {
	m, err := shelf(opt.Sessions).load(modelKey(opt.Plan.Model))
	if err != nil {
		if errors.Is(err, errNoSession) {
			err = nil
		}
		return recall{err: err}
	}
	r := recall{memory: m}
	silent := len(opt.Plan.Adapters) == 0 && len(opt.Plan.Rules) == 0
	same := m.Began != nil && m.Began.Equal(withAbsolute(opt.Plan))
	if m.Plan == nil || !silent && !same {
		return r
	}
	plan, fresh, err := openPlan(opt.Source, opt.Project.Model, opt.Project.Adapters, *m.Plan)
	plan.Model = opt.Plan.Model
	var lost error
	if r.onto, lost = original(opt.Source, plan, opt.Plan.Onto); lost != nil {
		plan.Onto, plan.Quantize = "", ""
	}
	r.plan, r.fresh, r.err = &plan, fresh, errors.Join(err, lost)
	return r
}

// takeUp goes on where the session ended. The sentence is for the user, "" if
// nothing is worth one.
func (a *app) takeUp(r recall) (role themes.Role, text string) {
	if r.err != nil {
		role, text = themes.Warn, "from the last session: "+clean(firstLine(r.err))
	}
	if r.memory == nil {
		return role, text
	}
	if r.onto != nil {
		if err := a.takeOriginal(r.plan.Onto, r.onto); err != nil {
			role, text = themes.Warn, "from the last session: "+clean(err.Error())
			r.plan.Onto, r.plan.Quantize = "", ""
		}
	}
	a.adopt(r.fresh)
	a.restoreView(r.memory)
	if r.plan == nil || !a.history.Do(*r.plan) {
		return role, text
	}
	if r.memory.PlanFile != "" && a.opt.PlanFile == "" {
		a.opt.PlanFile = r.memory.PlanFile
	}
	if r.memory.Filed && r.err == nil {
		a.saved = *r.plan
	}
	a.resolve()
	a.tree.refresh()
	if text == "" {
		role, text = themes.Note, "the plan is as you left it on "+r.memory.Saved.In(a.now().Location()).Format("2 Jan 15:04")+"; z takes it back"
	}
	return role, text
}

// firstLine is an error without what other errors are joined to it.
func firstLine(err error) string {
	first, _, more := strings.Cut(err.Error(), "\n")
	if more {
		first += ", and more"
	}
	return first
}

// adopt takes in adapters that were opened here.
func (a *app) adopt(fresh []*loader.Adapter) {
	for _, ad := range fresh {
		a.opened = append(a.opened, ad)
		a.eng = a.eng.with(ad)
	}
}

// restoreView brings cursors and views back.
func (a *app) restoreView(m *memory) {
	a.tree.restore(m)
	a.followLayer()
	a.blocks.restore(m)
	a.block.form = blockForm(between(m.BlockForm, 0, int(numBlockForms)-1))
	a.feed.least = min(m.Alerts, merge.Error)
	if p := slices.Index(paneNames[:], m.Pane); p >= int(layersID) {
		a.focus = paneID(p)
	}
	if p := slices.Index(paneNames[:], m.Below); p >= int(blockID) {
		a.below = paneID(p)
	}
	a.full = m.Full
}

// restore brings folds, marks, filter, order and cursor back.
func (p *layersPane) restore(m *memory) {
	p.settled = true
	p.foldAll(true)
	for _, path := range m.Open {
		p.folded[path] = false
	}
	for _, name := range m.Marked {
		if l := p.book.index(name); l >= 0 {
			p.marked[l] = true
		}
	}
	if f, ok := figureNamed(m.Sort); ok {
		p.sortBy(f, m.Turned)
	}
	p.setFilter(m.Filter)
	p.find(m.Cursor)
	p.move(0)
}

// restore brings the view of the blocks and the cursor back.
func (b *blocksPane) restore(m *memory) {
	for i := range merge.NumMetrics {
		name := i.Info().Name
		if name == m.Metric {
			b.metric = i
		}
		b.logs[i] = slices.Contains(m.OtherLog, name)
	}
	b.aggregate = merge.Aggregate(max(0, slices.Index(aggregates[:], m.Aggregate)))
	b.fitted = m.Fitted
	for _, choice := range []struct {
		name string
		of   *string
	}{{m.Map, &b.sequence}, {m.SignedMap, &b.signed}} {
		if _, ok := themes.MapByName(choice.name); ok {
			*choice.of = choice.name
		}
	}
	b.level = max(0, m.Zoom)
	b.jump(m.Row, m.Col)
}

// keepAfter is how long after an edit of the plan the session is kept.
const keepAfter = 2 * time.Second

// keepMsg keeps the session, unless the plan was edited since.
type keepMsg struct{ gen int }

// keepSoon keeps the session once edits rest, so that little is lost if the
// terminal goes away.
func (a *app) keepSoon() tea.Cmd {
	if a.opt.Sessions == "" {
		return nil
	}
	a.keepGen++
	return a.after(keepAfter, keepMsg{a.keepGen})
}

func (msg keepMsg) arrive(a *app) tea.Cmd {
	if msg.gen != a.keepGen || !a.memorable() {
		return nil
	}
	m, dir := a.remembered(), shelf(a.opt.Sessions)
	return a.work(func() tea.Msg { return keptMsg{dir.save(m)} })
}

// keptMsg is the end of keeping a session.
type keptMsg struct{ err error }

func (msg keptMsg) arrive(a *app) tea.Cmd {
	if msg.err == nil {
		return nil
	}
	return a.say(themes.Warn, "the session is not kept: "+clean(msg.err.Error()))
}

// memorable reports whether there is something to come back to. Going through
// the demo's adapters is nothing.
func (a *app) memorable() bool {
	if a.opt.Sessions == "" {
		return false
	}
	plan := a.history.Now()
	if a.opt.Demo && len(plan.Adapters) <= 1 {
		return !plan.Equal(merge.NewPlan(plan.Model, plan.Adapters...))
	}
	return true
}
