package tui

import (
	"context"
	"errors"
	"os"
	"slices"
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
	t.Cleanup(func() { model.Close() })
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
	r.a.now = testTime
	r.a.after = func(_ time.Duration, msg tea.Msg) tea.Cmd {
		if _, ok := msg.(toastMsg); ok {
			return nil // toasts stay
		}
		return func() tea.Msg { return msg }
	}
	t.Cleanup(func() {
		cancel()
		r.a.crew.close()
		r.a.closeAdapters()
	})
	r.run(r.a.Init())
	r.send(tea.WindowSizeMsg{Width: w, Height: h})
	return r
}

// send delivers a message and runs what follows from it.
func (r *rig) send(msg tea.Msg) {
	r.t.Helper()
	r.log = append(r.log, msg)
	_, cmd := r.a.Update(msg)
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
	switch msg.(type) {
	case jobReadyMsg, jobDoneMsg, pollMsg, lookMsg, examinedMsg, tracedMsg, openedMsg, savedMsg, armMsg:
		return true
	}
	return false
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
func (f *fakeRunner) Pause()               { f.paused = true }
func (f *fakeRunner) Resume()              { f.paused = false }
func (f *fakeRunner) SetWorkers(int)       {}

// lightOptions is the demo as an ordinary checkpoint with the light adapter, so
// that nothing starts by itself.
func lightOptions(t *testing.T) Options {
	opt := demoOptions(t)
	ad, err := opt.Source.Adapter("demo:gocode-light")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ad.Close() })
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
	r := newRig(t, opt, &fakeEngine{engine: projectEngine{opt.Project}, run: run}, w, h)
	r.a.auto = false
	r.hold = true
	_, cmd := r.a.Update(keyPress("m"))
	r.run(cmd)
	r.a.Update(keyPress("enter"))
	r.a.Update(jobReadyMsg{gen: r.a.job.gen, run: run})
	return r, run
}

func TestDemoTellsItsStory(t *testing.T) {
	r := demoRig(t, 120, 36, nil)
	got := r.text()
	// testdata/demo/README.md: kept 0.073 in all with the light adapter.
	for _, want := range []string{"7.3% of the adapter is kept", "erased", "gocode-light", "B broken", "keep the adapter separate"} {
		if !strings.Contains(got, want) {
			t.Errorf("the first screen does not say %q:\n%s", want, got)
		}
	}
	r.press("B")
	// layers 1 and 2 have NaN and Inf, layer 3 a scale blown up by 3e38.
	if got := r.text(); !strings.Contains(got, "non-finite") || !strings.Contains(got, "3 errors") {
		t.Errorf("the broken adapter raises no alert:\n%s", got)
	}
	r.press("B", "t", "t")
	if got := r.text(); !strings.Contains(got, "99% of the adapter is kept") { // 0.989
		t.Errorf("the strong adapter is not shown:\n%s", got)
	}
}

func TestUndoTakesBackEveryEdit(t *testing.T) {
	r := demoRig(t, 120, 36, nil)
	plans := []merge.Plan{r.a.history.Now()}
	for _, keys := range [][]string{{"+"}, {"-", "-"}, {"d"}, {"B"}, {"E", "*", "O", "down", "enter"}} {
		before := r.a.history.Now()
		r.press(keys...)
		if r.a.history.Now().Equal(before) {
			t.Fatalf("%v changed nothing", keys)
		}
		plans = append(plans, r.a.history.Now())
	}
	for r.a.history.CanUndo() {
		r.press("z")
	}
	if got := r.a.history.Now(); !got.Equal(plans[0]) {
		t.Errorf("undo ends at %+v, want %+v", got, plans[0])
	}
	for r.a.history.CanRedo() {
		r.press("Z")
	}
	if got := r.a.history.Now(); !got.Equal(plans[len(plans)-1]) {
		t.Errorf("redo ends at %+v, want %+v", got, plans[len(plans)-1])
	}
}

func TestScaleStepsOverZero(t *testing.T) {
	r := newRig(t, lightOptions(t), nil, 120, 36)
	name := r.a.book.layers[r.a.tree.current()].Weight.Name
	for range 10 {
		r.press("-")
	}
	if got := r.a.history.Now().Assigned("gocode-light", name); got != -0.1 {
		t.Errorf("ten steps down from 1 end at %v, want -0.1", got)
	}
	r.press("=")
	r.press("ctrl+u")
	r.typed("0.25")
	r.press("enter")
	if got := r.a.history.Now().Assigned("gocode-light", name); got != 0.25 {
		t.Errorf("typed scale is %v, want 0.25", got)
	}
}

func TestEscLadder(t *testing.T) {
	r := demoRig(t, 120, 36, nil)
	r.press("/")
	r.typed("q_proj")
	r.press("enter", "3", "F", "?")
	steps := []struct {
		what string
		ok   func() bool
	}{
		{"close the help", func() bool { return r.a.topOverlay() == nil && r.a.full }},
		{"leave full screen", func() bool { return !r.a.full && r.a.focus == blockID }},
		{"go from block to blocks", func() bool { return r.a.focus == blocksID }},
		{"go to the layers", func() bool { return r.a.focus == layersID && r.a.tree.filter.text != "" }},
		{"clear the filter", func() bool { return r.a.tree.filter.text == "" }},
		{"stay", func() bool { return r.a.focus == layersID && !r.quit }},
	}
	for _, s := range steps {
		r.press("esc")
		if !s.ok() {
			t.Errorf("esc did not %s", s.what)
		}
	}
}

func TestQuitAsksOnlyIfSomethingIsLost(t *testing.T) {
	r := demoRig(t, 80, 24, nil)
	r.press("q")
	if !r.quit {
		t.Error("q asks although nothing would be lost")
	}

	r = newRig(t, lightOptions(t), nil, 80, 24)
	r.press("+", "q")
	if r.quit || !strings.Contains(r.text(), "changes that are not saved") {
		t.Errorf("q loses an edited plan:\n%s", r.text())
	}
	r.press("esc")
	if r.quit || r.a.topOverlay() != nil {
		t.Error("esc does not go back from the question")
	}
	r.press("ctrl+c")
	if r.quit {
		t.Error("the first ctrl+c leaves")
	}
	r.press("ctrl+c")
	if !r.quit {
		t.Error("the second ctrl+c does not leave")
	}
}

func TestQuitWhileMerging(t *testing.T) {
	r, _ := runningRig(t, 80, 24)
	r.hold = false
	r.press("q")
	if r.quit {
		t.Fatal("q leaves while a merge runs")
	}
	if got := r.text(); !strings.Contains(got, "14 of 28 layers done") || !strings.Contains(got, "goes on where") {
		t.Errorf("the question does not say what happens:\n%s", got)
	}
	r.press("enter") // the chosen answer is the harmless one
	if r.quit || r.a.topOverlay() != nil {
		t.Error("enter on the first answer does not go back")
	}
	cancelled := false
	cancel := r.a.job.cancel
	r.a.job.cancel = func() { cancelled = true; cancel() }
	r.press("q", "q")
	if !r.quit || !cancelled {
		t.Errorf("quit %v, job cancelled %v", r.quit, cancelled)
	}
}

func TestPollStopsWhenIdle(t *testing.T) {
	r, run := runningRig(t, 120, 36)
	r.held = nil
	polls := run.polls
	r.a.Update(pollMsg{r.a.job.gen})
	if run.polls != polls+1 {
		t.Errorf("a poll took %d snapshots, want 1", run.polls-polls)
	}
	if cmd := r.a.poll(pollMsg{r.a.job.gen - 1}); cmd != nil {
		t.Error("a poll of an earlier job goes on")
	}
	r.a.Update(jobDoneMsg{gen: r.a.job.gen})
	polls = run.polls
	if cmd := r.a.poll(pollMsg{r.a.job.gen}); cmd != nil || run.polls != polls {
		t.Error("polling goes on after the end of the job")
	}
	if !r.a.idle() {
		t.Error("not idle after the end of the job")
	}
}

func TestIdleFrameIsTheSameToTheByte(t *testing.T) {
	r := demoRig(t, 120, 36, nil)
	first := r.a.View()
	r.send(tea.FocusMsg{})
	r.send(tea.KeyReleaseMsg{})
	if second := r.a.View(); first.Content != second.Content || first.WindowTitle != second.WindowTitle {
		t.Error("the frame of an idle program changes")
	}
}

func TestStaleAnswersAreIgnored(t *testing.T) {
	r := demoRig(t, 120, 36, nil)
	want := r.text()
	r.send(jobDoneMsg{gen: r.a.job.gen - 1, err: errors.New("late")})
	r.send(tracedMsg{gen: r.a.sight.gen - 1, err: errors.New("late")})
	r.send(examinedMsg{gen: r.a.sight.gen - 1, err: errors.New("late")})
	r.send(lookMsg{gen: r.a.sight.gen - 1})
	if got := r.text(); got != want {
		t.Errorf("a late answer changed the screen:\n%s", cmp.Diff(want, got))
	}
}

func TestEventDialogIsDeafAtFirst(t *testing.T) {
	r, _ := runningRig(t, 120, 36)
	r.a.Update(jobDoneMsg{gen: r.a.job.gen})
	d, ok := r.a.topOverlay().(*confirm)
	if !ok {
		t.Fatal("no dialog at the end of a merge")
	}
	r.press("enter")
	if r.a.topOverlay() != d {
		t.Error("a key typed as the dialog came up answered it")
	}
	r.a.Update(armMsg{d})
	r.press("enter")
	if r.a.topOverlay() == d {
		t.Error("the dialog stays deaf")
	}
}

func TestRefusedMergeSaysWhy(t *testing.T) {
	opt := lightOptions(t)
	eng := &fakeEngine{engine: projectEngine{opt.Project}, run: &fakeRunner{}, refuse: errors.New("out: directory is not empty")}
	r := newRig(t, opt, eng, 120, 36)
	r.a.job = nil
	r.press("m", "enter")
	if got := r.text(); !strings.Contains(got, "directory is not empty") {
		t.Errorf("the refusal is not shown:\n%s", got)
	}
	if _, ok := r.a.topOverlay().(*mergeBox); !ok {
		t.Error("the question is gone")
	}
}

func TestMergeWritesAndSumsUp(t *testing.T) {
	opt := lightOptions(t)
	out := t.TempDir() + "/merged"
	opt.Out = out
	r := newRig(t, opt, nil, 120, 36)
	if r.a.summary() != "" {
		t.Error("there is a summary before anything was written")
	}
	r.press("m", "enter")
	if r.a.job.err != nil {
		t.Fatal(r.a.job.err)
	}
	if !slices.ContainsFunc(r.log, func(m tea.Msg) bool { _, ok := m.(pollMsg); return ok }) {
		t.Error("the job was never polled")
	}
	for _, f := range []string{"config.json", "model.safetensors"} {
		if _, err := os.Stat(out + "/" + f); err != nil {
			t.Error(err)
		}
	}
	if got := r.a.summary(); !strings.Contains(got, "merged 28 layers into "+out) {
		t.Errorf("summary %q", got)
	}
}

func TestSavePlan(t *testing.T) {
	r := newRig(t, lightOptions(t), nil, 120, 36)
	file := t.TempDir() + "/plan.json"
	r.press("+", "s", "ctrl+u")
	r.send(tea.PasteMsg{Content: file})
	r.press("enter")
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := merge.DecodePlan(data)
	if err != nil {
		t.Fatal(err)
	}
	if !plan.Equal(r.a.history.Now()) || r.a.unsaved() {
		t.Errorf("saved %+v, unsaved %v", plan, r.a.unsaved())
	}
	r.press("q")
	if !r.quit {
		t.Error("q asks although the plan is saved")
	}
}

func TestNextLayerFromAnyPane(t *testing.T) {
	r := demoRig(t, 120, 36, nil)
	r.press("C", "g", "2")
	var names []string
	for range len(r.a.book.layers) - 1 {
		r.press("]")
		names = append(names, r.a.book.layers[r.a.tree.current()].Weight.Name)
	}
	want := make([]string, 0, len(names))
	for _, l := range r.a.book.layers[1:] {
		want = append(want, l.Weight.Name)
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("] does not visit every layer in order:\n%s", diff)
	}
	for i := len(r.a.book.layers) - 2; i >= 0; i-- {
		r.press("[")
		if got, want := r.a.book.layers[r.a.tree.current()].Weight.Name, r.a.book.layers[i].Weight.Name; got != want {
			t.Fatalf("[ goes to %s, want %s", got, want)
		}
	}
}
