package tui

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	tea "charm.land/bubbletea/v2"
	"github.com/google/go-cmp/cmp"

	"mergescope/merge"
)

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
	r.answer("0.25")
	if got := r.a.history.Now().Assigned("gocode-light", name); got != 0.25 {
		t.Errorf("typed scale is %v, want 0.25", got)
	}
}

func TestEscLadder(t *testing.T) {
	r := demoRig(t, 120, 36, nil)
	r.press("/")
	r.typed("q_proj")
	r.press("enter", "3", "U", "?")
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
	r.send(tracedMsg{gen: r.a.sight.ask.gen - 1, err: errors.New("late")})
	r.send(examinedMsg{gen: r.a.sight.tile.gen - 1, err: errors.New("late")})
	r.send(lookMsg{gen: r.a.sight.rest.gen - 1})
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

func TestCopyAsCommandLine(t *testing.T) {
	r := demoRig(t, 120, 36, nil)
	line, file := r.a.commandLine()
	if want := "mergescope merge demo -a demo:gocode-light -o demo-nf4-merged"; line != want || file {
		t.Errorf("command %q, needs a file %v; want %q", line, file, want)
	}
	r.a.apply(r.a.history.Now().AssignAll("gocode-light", 0.5), "half")
	if line, _ = r.a.commandLine(); !strings.Contains(line, "-a demo:gocode-light=0.5") {
		t.Errorf("command %q", line)
	}
	r.press("d", "Y")
	if got := r.text(); !strings.Contains(got, "s saves it") {
		t.Errorf("a plan of several rules is copied without its file:\n%s", got)
	}
	r.a.opt.PlanFile = "it's mine.json"
	if line, file = r.a.commandLine(); !file || !strings.Contains(line, `--plan 'it'\''s mine.json'`) {
		t.Errorf("command %q", line)
	}
}

func TestBrokenAdapterIsRememberedAsBroken(t *testing.T) {
	r := demoRig(t, 120, 36, nil)
	r.press("B")
	want := r.a.feed.counts()
	if want[merge.Error] == 0 {
		t.Fatal("no errors")
	}
	r.press("B")
	if n := r.a.feed.counts(); n[merge.Error] != 0 {
		t.Errorf("the light adapter has %d errors", n[merge.Error])
	}
	r.press("B")
	if got := r.a.feed.counts(); got != want {
		t.Errorf("the second time there are %v alerts, the first time %v", got, want)
	}
	r.press("z", "z")
	if got := r.a.feed.counts(); got != want {
		t.Errorf("after undo there are %v alerts, the first time %v", got, want)
	}
}

func TestTwoAdaptersOnALayer(t *testing.T) {
	r := demoRig(t, 120, 36, nil)
	name := r.a.book.layers[r.a.tree.current()].Weight.Name
	steps := func() (out []string) {
		for _, s := range r.a.book.layers[r.a.tree.current()].Steps {
			out = append(out, s.Adapter.Name)
		}
		return out
	}
	r.press("a", "down", "down", "space") // gocode-light, broken, gocode
	if diff := cmp.Diff([]string{"gocode-light", "gocode"}, steps()); diff != "" {
		t.Errorf("space on a second adapter of %s:\n%s", name, diff)
	}
	r.press("a", "space") // gocode-light again
	if diff := cmp.Diff([]string{"gocode"}, steps()); diff != "" {
		t.Errorf("space on an adapter that is on:\n%s", diff)
	}
	r.press("a", "enter")
	if diff := cmp.Diff([]string{"gocode-light"}, steps()); diff != "" {
		t.Errorf("enter on an adapter:\n%s", diff)
	}
}
