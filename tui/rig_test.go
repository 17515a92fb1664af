package tui

import (
	"context"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	uv "github.com/charmbracelet/ultraviolet"
	"github.com/google/go-cmp/cmp"

	"mergescope/loader"
	"mergescope/merge"
	"mergescope/quant"
	"mergescope/themes"
	"mergescope/tui/screentest"
)

// rig drives an app without a terminal: commands run at once and in order,
// timers fire at once or never.
type rig struct {
	t    *testing.T
	a    *app
	quit bool
	held []tea.Cmd // commands not run, while hold is set
	hold bool
	log  []tea.Msg
}

func testTime() time.Time { return time.Date(2026, 1, 2, 14, 2, 9, 0, time.UTC) }

// demoRig opens the embedded demo as `mergescope` does.
func demoRig(t *testing.T, w, h int, change func(*Options)) *rig {
	t.Helper()
	opt := demoOptions(t)
	if change != nil {
		change(&opt)
	}
	return newRig(t, opt, nil, w, h)
}

func demoOptions(t *testing.T) Options {
	t.Helper()
	t.Setenv("NO_COLOR", "")
	src := loader.Source{Demo: os.DirFS("../testdata/demo")}
	model, err := src.Checkpoint("demo")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = model.Close() })
	depth, dark := themes.TrueColor, true
	return Options{
		Source: src, Project: merge.NewProject(model), Plan: merge.NewPlan("demo"),
		Demo: true, Color: &depth, Dark: &dark, Workers: 2,
	}
}

// newRig begins an app on eng, nil for the real one.
func newRig(t *testing.T, opt Options, eng engine, w, h int) *rig {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	if eng == nil {
		eng = projectEngine{opt.Project}
	}
	r := &rig{t: t, a: newApp(ctx, opt, eng)}
	if err := r.a.prepare(); err != nil {
		t.Fatal(err)
	}
	r.a.now = testTime
	r.a.after = func(_ time.Duration, msg tea.Msg) tea.Cmd {
		switch msg.(type) {
		case toastMsg, watchMsg: // toasts stay, nobody watches files
			return nil
		}
		return func() tea.Msg { return msg }
	}
	t.Cleanup(func() {
		cancel()
		r.a.crew.close()
		r.a.closeFiles()
	})
	r.run(r.a.Init())
	r.send(tea.WindowSizeMsg{Width: w, Height: h})
	return r
}

// send delivers a message and runs what follows from it.
func (r *rig) send(msg tea.Msg) {
	r.t.Helper()
	r.log = append(r.log, msg)
	m, cmd := r.a.Update(msg)
	r.a = m.(*app)
	r.run(cmd)
}

func (r *rig) run(cmd tea.Cmd) {
	r.t.Helper()
	if cmd == nil {
		return
	}
	if r.hold {
		r.held = append(r.held, cmd)
		return
	}
	switch msg := cmd().(type) {
	case nil:
	case tea.BatchMsg:
		for _, c := range msg {
			r.run(c)
		}
	case tea.QuitMsg:
		r.quit = true
	default:
		if own(msg) {
			r.send(msg)
		}
	}
}

// own reports whether a message is one of this package; the rest is for the
// terminal.
func own(msg tea.Msg) bool {
	return reflect.TypeOf(msg).PkgPath() == reflect.TypeFor[toastMsg]().PkgPath()
}

// press types keys by their names.
func (r *rig) press(keys ...string) {
	r.t.Helper()
	for _, k := range keys {
		r.send(keyPress(k))
	}
}

// keyPress is the message of a key by the name the registry uses.
func keyPress(name string) tea.KeyPressMsg {
	codes := map[string]rune{
		"enter": tea.KeyEnter, "esc": tea.KeyEscape, "tab": tea.KeyTab, "up": tea.KeyUp, "down": tea.KeyDown,
		"left": tea.KeyLeft, "right": tea.KeyRight, "backspace": tea.KeyBackspace, "home": tea.KeyHome,
		"end": tea.KeyEnd, "pgup": tea.KeyPgUp, "pgdown": tea.KeyPgDown, "delete": tea.KeyDelete,
	}
	var k tea.Key
	if rest, ok := strings.CutPrefix(name, "ctrl+"); ok {
		k.Mod, name = tea.ModCtrl, rest
	}
	if rest, ok := strings.CutPrefix(name, "shift+"); ok {
		k.Mod, name = tea.ModShift, rest
	}
	switch code, ok := codes[name]; {
	case ok:
		k.Code = code
	case name == "space":
		k.Code, k.Text = tea.KeySpace, " "
	default:
		k.Code = []rune(name)[0]
		if k.Mod == 0 {
			k.Text = name
		}
	}
	return tea.KeyPressMsg(k)
}

// answer puts a text into a prompt in place of what it proposes, and accepts it.
func (r *rig) answer(text string) {
	r.t.Helper()
	r.press("ctrl+u")
	r.typed(text)
	r.press("enter")
}

func (r *rig) typed(text string) {
	r.t.Helper()
	for _, c := range text {
		if c == ' ' {
			r.press("space")
		} else {
			r.press(string(c))
		}
	}
}

// screen returns the frame as cells and fails if it does not fit.
func (r *rig) screen() *screentest.Screen {
	r.t.Helper()
	content := r.a.View().Content
	if err := screentest.Fits(content, r.a.w, r.a.h); err != nil {
		r.t.Errorf("%dx%d: %v", r.a.w, r.a.h, err)
	}
	return screentest.Parse(content, r.a.w, r.a.h)
}

func (r *rig) text() string {
	r.t.Helper()
	return r.screen().Text()
}

func (r *rig) golden(name string) {
	r.t.Helper()
	screentest.Golden(r.t, "testdata/screens", name, r.screen(), r.letters())
}

// letters names the styles of the roles: lower case, upper case on the
// background of a selected row, "#" for what only heatmaps use.
func (r *rig) letters() func(uv.Style) byte {
	const names = "dabftkgwxnms" + "cr"
	p := r.a.skin.paint
	style := func(seq string) uv.Style {
		_, s := screentest.Parse(seq+"x", 1, 1).Cell(0, 0)
		return s
	}
	selected := style(p.on[themes.Select])
	return func(s uv.Style) byte {
		if s.Equal(&uv.Style{}) {
			return '.'
		}
		if s.Equal(&uv.Style{Attrs: uv.AttrBold}) {
			return '*'
		}
		onSelect := selected.Bg != nil && s.Bg != nil && cmp.Equal(s.Bg, selected.Bg) || selected.Attrs != 0 && s.Attrs&selected.Attrs != 0
		if onSelect {
			s.Bg = nil
			s.Attrs &^= selected.Attrs
		}
		letter := byte('#')
		if s.Equal(&uv.Style{}) {
			letter = 's'
		}
		for i := range themes.NumRoles {
			if role := style(p.on[i]); i != themes.Select && p.on[i] != "" && s.Equal(&role) {
				letter = names[i]
				break
			}
		}
		if onSelect && letter != '#' {
			letter -= 'a' - 'A'
		}
		return letter
	}
}

// fakeEngine answers with what a test prepared.
type fakeEngine struct {
	engine
	run    *fakeRunner
	refuse error
}

func (e *fakeEngine) newJob(merge.Plan, merge.Options) (runner, error) {
	if e.refuse != nil {
		return nil, e.refuse
	}
	return e.run, nil
}

func (e *fakeEngine) examine(context.Context, merge.Plan, span) (*merge.Examination, error) {
	return nil, nil
}

func (e *fakeEngine) explain(context.Context, merge.Plan, string, int, int) (*quant.Trace, error) {
	return nil, nil
}

func (e *fakeEngine) with(ad *loader.Adapter) engine {
	return &fakeEngine{engine: e.engine.with(ad), run: e.run, refuse: e.refuse}
}

// fakeRunner is a job that stands still.
type fakeRunner struct {
	snap   merge.Snapshot
	polls  int
	paused bool
}

func (f *fakeRunner) Run(ctx context.Context) (*merge.Report, error) { return nil, ctx.Err() }

func (f *fakeRunner) Snapshot() merge.Snapshot {
	f.polls++
	return f.snap
}

func (f *fakeRunner) Tile(int) *merge.Tile { return nil }

func (f *fakeRunner) SetWorkers(n int) { f.snap.Workers = n }

func (f *fakeRunner) Pause() { f.paused = true }

func (f *fakeRunner) Resume() { f.paused = false }

// lightOptions is adapterOptions with the light adapter.
func lightOptions(t *testing.T) Options { return adapterOptions(t, "gocode-light") }

// adapterOptions is the demo as an ordinary checkpoint with one of its adapters,
// so that nothing starts by itself.
func adapterOptions(t *testing.T, adapter string) Options {
	t.Helper()
	opt := demoOptions(t)
	ad, err := opt.Source.Adapter("demo:" + adapter)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ad.Close() })
	opt.Demo = false
	opt.Project = merge.NewProject(opt.Project.Model, ad)
	opt.Plan = merge.NewPlan("demo", merge.AdapterRef{Name: ad.Name, Path: ad.Path})
	return opt
}

// runningRig has a merge in the middle of its work.
func runningRig(t *testing.T, w, h int) (*rig, *fakeRunner) {
	t.Helper()
	opt := lightOptions(t)
	n := len(opt.Project.Model.Weights)
	run := &fakeRunner{snap: merge.Snapshot{
		State: merge.Running, Workers: 14, LayersDone: 14, LayersTotal: 28,
		WeightsDone: 51, WeightsTotal: 100, Rate: 412e6, ETA: 72 * time.Second,
		Layers: make([]merge.LayerState, n),
	}}
	for i := range run.snap.Layers {
		run.snap.Layers[i].State = merge.Queued
	}
	run.snap.Layers[6] = merge.LayerState{State: merge.Active, Fraction: 0.62}
	r := newRig(t, opt, &fakeEngine{engine: projectEngine{opt.Project}, run: run}, max(w, minOneW), max(h, minOneH))
	r.a.auto = false
	r.hold = true
	_, cmd := r.a.Update(keyPress("m"))
	r.run(cmd)
	r.a.Update(keyPress("enter"))
	r.a.Update(jobReadyMsg{gen: r.a.job.gen, run: run})
	r.a.Update(tea.WindowSizeMsg{Width: w, Height: h})
	return r, run
}
