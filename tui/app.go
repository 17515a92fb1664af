package tui

import (
	"context"
	"slices"
	"time"

	tea "charm.land/bubbletea/v2"
	uv "github.com/charmbracelet/ultraviolet"
	"github.com/charmbracelet/x/ansi"

	"mergescope/loader"
	"mergescope/merge"
	"mergescope/quant"
)

// app is the one Bubble Tea model. State changes in Update only; files and
// weights are read in commands only. Panes are plain structs it draws.
type app struct {
	ctx   context.Context // ends with Run
	crew  *crew
	opt   Options
	eng   engine
	model *loader.Checkpoint
	facts loader.Facts
	now   func() time.Time
	after func(time.Duration, tea.Msg) tea.Cmd // delivers a message later

	history *merge.History
	saved   merge.Plan // as it is in the plan file, or as it was in the beginning
	book    ledger
	opened  []*loader.Adapter    // opened here, so closed here
	models  []*loader.Checkpoint // opened here, so closed here
	next    *app                 // takes over, on another checkpoint
	keepGen int                  // of the last edit that asked for the session to be kept
	auto    bool                 // figures follow the plan without being asked for
	demo    []string             // names of the demo's adapters

	how    how     // jobs are run beside what the plan says
	onto   string  // name of the original that is open, "" without
	job    *jobRun // the last job, nil if there was none
	jobGen int

	gathered []merge.Alert // memory of gatherAlerts
	general  general       // alerts of the model as a whole
	wrote    *outcome      // what was last written, for the summary

	tree   layersPane
	blocks blocksPane
	block  blockPane
	feed   alertsPane
	sight  sight
	curves curves     // theoretical, for the insight
	audit  *auditBox  // the last one, nil if there was none
	texts  *textsBox  // the last ones, nil if there were none
	eval   *evalBox   // the last run of the model, nil if there was none
	lesson *tourFacts // numbers of the tours, nil before the first one

	w, h     int
	lay      layout
	focus    paneID
	below    paneID // block or alerts, where they share a place
	full     bool
	overlays []overlay
	toast    toast
	greeting toast // what there is to say at the beginning
	flash    bool  // an error came in and nobody has been in the alerts since
	chase    bool  // the cursor goes to the first error that comes in
	skin     skin
	actions  []action
	drawn    frameCache
	mouseOff bool
	held     edge // by the mouse
	term     terminal
	log      []logLine
	left     bool // the program ends
	prefs    preferences
	began    preferences // as they are in the file
}

// newApp returns the model on an open project.
func newApp(ctx context.Context, opt Options, eng engine) *app {
	a := &app{
		ctx:   ctx,
		crew:  &crew{},
		opt:   opt,
		eng:   eng,
		model: opt.Project.Model,
		now:   time.Now,
		after: later,
		focus: layersID,
		below: alertsID,

		curves: curves{},
		onto:   opt.Plan.Onto,
	}
	a.facts = a.model.Facts()
	a.mouseOff = opt.NoMouse
	a.history = merge.NewHistory(opt.Plan)
	a.saved = opt.Plan
	a.auto = opt.Demo || a.facts.Params <= autoParams
	if opt.Demo {
		a.demo = opt.Source.DemoAdapters()
	}
	a.actions = registry()
	a.skin = newSkin(opt)
	a.feed.book = &a.book
	a.sight.layer = -1
	a.resolve()
	a.tree.setBook(&a.book)
	a.startCursor()
	return a
}

// later delivers a message after some time.
func later(d time.Duration, msg tea.Msg) tea.Cmd {
	return tea.Tick(d, func(time.Time) tea.Msg { return msg })
}

// startCursor puts the cursor on the first layer with an adapter, or else on
// the first quantized one.
func (a *app) startCursor() {
	first := func(l merge.Layer) bool { return len(l.Steps) > 0 }
	if a.book.countPlanned() == 0 {
		first = func(l merge.Layer) bool { return l.Weight.Format.Is4Bit() || l.Weight.Format == quant.Int8 }
	}
	if i := slices.IndexFunc(a.book.layers, first); i >= 0 {
		a.tree.reveal(a.book.layers[i].Weight.Name)
	}
}

// Init asks the terminal for its background and begins the first dry run.
func (a *app) Init() tea.Cmd {
	if a.opt.Dark == nil {
		return tea.Batch(a.begin(), tea.RequestBackgroundColor, tea.RequestProgramStatusSupport, tea.Raw(ansi.SetModeLightDark))
	}
	return a.begin()
}

// begin begins on a checkpoint.
func (a *app) begin() tea.Cmd {
	cmds := []tea.Cmd{a.refigure(), a.watchThemes(), a.say(a.greeting.role, a.greeting.text)}
	if a.opt.Demo && len(a.history.Now().Adapters) == 0 {
		cmds = append(cmds, a.beginDemo())
	}
	return tea.Batch(cmds...)
}

// Update routes a message to its handler, then lets the panes on the right
// follow the cursor.
func (a *app) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case pollMsg: // changes only what the job changed
		return a, a.poll(msg)
	case watchMsg: // changes nothing
		return a, a.watched(msg)
	}
	a.drawn.touch()
	cmd := a.handle(msg)
	if a.next != nil {
		a = a.next
	}
	return a, tea.Batch(cmd, a.follow(), a.followCompare())
}

func (a *app) handle(msg tea.Msg) tea.Cmd {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		a.resize(msg.Width, msg.Height)
	case tea.KeyPressMsg:
		return a.press(msg)
	case tea.PasteMsg:
		a.paste(msg.Content)
	case tea.MouseMsg:
		return a.mouse(msg)
	case tea.ColorProfileMsg:
		a.skin.profile(msg.Profile)
	case tea.KeyboardEnhancementsMsg:
		a.term.keys = msg.Flags != 0
	case tea.ProgramStatusSupportMsg:
		a.term.status = true
	case tea.BackgroundColorMsg:
		a.term.told = true
		a.skin.background(msg.IsDark())
	case uv.DarkColorSchemeEvent:
		a.skin.background(true)
	case uv.LightColorSchemeEvent:
		a.skin.background(false)
	case jobReadyMsg:
		return a.jobReady(msg)
	case jobDoneMsg:
		return a.jobDone(msg)
	case lookMsg:
		return a.look(msg)
	case examinedMsg:
		a.examined(msg)
	case tracedMsg:
		a.traced(msg)
	case tourMsg:
		a.tourReady(msg)
	case comparedMsg:
		a.compared(msg)
	case curvesMsg:
		a.curvesFound(msg)
	case openedMsg:
		return a.adapterOpened(msg)
	case savedMsg:
		return a.planSaved(msg)
	case arrival:
		return msg.arrive(a)
	case toastMsg:
		a.endToast(msg)
	case armMsg:
		msg.dialog.deaf = false
	}
	return nil
}

// resize lays the screen out anew. Cursors stay on what they are on, since they
// are kept by identity and not by row.
func (a *app) resize(w, h int) {
	a.w, a.h = w, h
	a.relayout()
}

// relayout follows a change of size, focus or form.
func (a *app) relayout() {
	a.lay = arrangeSplit(a.w, a.h, a.focus, a.below, a.full || a.skin.plain, a.prefs.Split)
	if s, ok := a.lay.slot(layersID); ok {
		a.tree.resize(s.inside.h)
	}
	if s, ok := a.lay.slot(alertsID); ok {
		a.feed.resize(s.inside.h)
	}
}

// setFocus moves the focus to a pane.
func (a *app) setFocus(p paneID) {
	a.focus = p
	if p == blockID || p == alertsID {
		a.below = p
	}
	if p == alertsID {
		a.flash = false
	}
	a.relayout()
}

// idle reports whether nothing is under way: no job, no look at weights. Tests
// wait for it.
func (a *app) idle() bool { return !a.busy() && !a.sight.pending() }

// work turns a function into a command that Run waits for. The context ends
// with Run at the latest.
func (a *app) work(f func() tea.Msg) tea.Cmd {
	return func() tea.Msg {
		if !a.crew.join() {
			return nil
		}
		defer a.crew.leave()
		return f()
	}
}
