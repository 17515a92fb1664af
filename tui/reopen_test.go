package tui

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mergescope/merge"
)

// choose opens the palette on a command.
func (r *rig) choose(command string) {
	r.t.Helper()
	r.press(":")
	r.typed(command)
	r.press("enter")
}

func TestOpenAnotherCheckpoint(t *testing.T) {
	dir, model := t.TempDir(), modelCopy(t)
	r := demoRig(t, 120, 36, func(o *Options) { o.Sessions = dir })
	r.press("T", "2", "j", "+", "-")
	theme, first := r.a.skin.theme.Name, r.a
	r.choose("Open checkpoint")
	if _, ok := r.a.topOverlay().(*prompt); !ok {
		t.Fatal("nothing was open before, so the name should be asked for")
	}
	r.typed("/nowhere/at/all")
	r.press("enter")
	if p, ok := r.a.topOverlay().(*prompt); !ok || !strings.Contains(p.bad, "/nowhere/at/all") || p.wait {
		t.Fatalf("a checkpoint that is not there:\n%s", r.text())
	}
	r.answer(model)
	if r.a == first || r.a.model.Name != "base" || r.a.opt.Demo || len(r.a.overlays) != 0 {
		t.Fatalf("the checkpoint is not open:\n%s", r.text())
	}
	if r.a.skin.theme.Name != theme || r.a.w != 120 || !strings.Contains(r.a.toast.text, "opened base") {
		t.Errorf("theme %s, width %d, toast %q", r.a.skin.theme.Name, r.a.w, r.a.toast.text)
	}
	r.press("m")
	if got := r.a.toast.text; !strings.Contains(got, "no adapter is open") {
		t.Errorf("the adapters of the other checkpoint are still there: %q", got)
	}

	// Answers that were asked for before are not those of this checkpoint.
	r.send(jobDoneMsg{gen: first.jobGen})
	r.send(tracedMsg{gen: first.sight.ask.gen - 1})
	if r.a.job != nil || r.a.sight.trace != nil {
		t.Error("a late answer was taken")
	}

	// And back: the demo is the recent one, though it was only scaled there.
	first.opt.Sessions = dir
	r.choose("Open checkpoint")
	p, ok := r.a.topOverlay().(*picker)
	if !ok {
		t.Fatalf("no list of what was open:\n%s", r.text())
	}
	var names []string
	for _, it := range p.items {
		names = append(names, it.text+" "+it.reason)
	}
	if diff := cmp.Diff([]string{"another… ", "demo "}, names); diff != "" {
		t.Errorf("recent: %s", diff)
	}
	r.press("down", "enter")
	if !r.a.opt.Demo || r.a.model.Name != "demo:nf4" {
		t.Errorf("open is %s, demo %v", r.a.model.Name, r.a.opt.Demo)
	}
}

func TestRecentSaysWhatIsGone(t *testing.T) {
	dir, model := t.TempDir(), modelCopy(t)
	r := newRig(t, sessionOptions(t, dir, model), nil, 120, 36)
	r.a.keepAtEnd()
	m := r.a.remembered()
	m.Model, m.Saved = filepath.Join(dir, "gone"), time.Date(2025, 12, 31, 23, 59, 0, 0, time.UTC)
	if err := shelf(dir).save(m); err != nil {
		t.Fatal(err)
	}
	r.choose("Open checkpoint")
	reasons := map[string]string{}
	for _, it := range r.a.topOverlay().(*picker).items {
		reasons[filepath.Base(it.text)] = it.reason
	}
	want := map[string]string{"another…": "", "base": "is open", "gone": "is not there any more", "demo": ""}
	if diff := cmp.Diff(want, reasons); diff != "" {
		t.Error(diff)
	}
}

func TestOpenAsksBeforeAPlanIsLost(t *testing.T) {
	r := newRig(t, lightOptions(t), nil, 120, 36)
	r.press("+")
	r.choose("Open checkpoint")
	r.press("down", "enter") // the demo
	d, ok := r.a.topOverlay().(*confirm)
	if !ok || !strings.Contains(d.lines[0], "not saved") {
		t.Fatalf("not asked:\n%s", r.text())
	}
	r.press("b")
	if r.a.opt.Demo {
		t.Error("back opens it all the same")
	}
	r.choose("Open checkpoint")
	r.press("down", "enter", "o")
	if !r.a.opt.Demo {
		t.Error("not opened")
	}
}

func TestOpenWaitsForARunningMerge(t *testing.T) {
	r, _ := runningRig(t, 120, 36)
	r.a.overlays = nil
	r.press(":")
	for _, k := range "open checkpoint" {
		r.a.Update(keyPress(strings.Replace(string(k), " ", "space", 1)))
	}
	if got := r.text(); !strings.Contains(got, "a merge is running; x cancels it") {
		t.Errorf("the palette does not say why not:\n%s", got)
	}
}

func TestLoadPlan(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "p.json")
	plan := merge.NewPlan("elsewhere", merge.AdapterRef{Name: "x", Path: "demo:gocode"}, merge.AdapterRef{Name: "gocode-light", Path: "demo:gocode-mid"}).
		Assign("x", 0.25, "model.layers.1.mlp.up_proj")
	if err := os.WriteFile(path, plan.Encode(), 0o600); err != nil {
		t.Fatal(err)
	}
	r := demoRig(t, 120, 36, nil)
	before := r.a.history.Now()
	r.choose("Load plan")
	r.answer(path)
	if got := r.a.toast.text; !strings.Contains(got, "made for elsewhere") {
		t.Fatalf("toast %q\n%s", got, r.text())
	}
	now := r.a.history.Now()
	// gocode-light was taken by another adapter, so the plan's has a number.
	want := []merge.AdapterRef{{Name: "x", Path: "demo:gocode"}, {Name: "gocode-light-2", Path: "demo:gocode-mid"}}
	if diff := cmp.Diff(want, now.Adapters); diff != "" {
		t.Error(diff)
	}
	l := r.a.book.layer(r.a.book.index("model.layers.1.mlp.up_proj"))
	if len(l.Steps) != 2 || l.Steps[0].Factor != 0.25 || l.Steps[1].Adapter.Name != "gocode-light-2" {
		t.Errorf("steps %+v", l.Steps)
	}
	r.press("z")
	if !r.a.history.Now().Equal(before) {
		t.Error("undo does not take the plan back")
	}

	open := len(r.a.eng.adapters())
	for text, want := range map[string]string{
		"{": "p.json",
		`{"version":1,"adapters":{"a":{"path":"demo:nothing"}},"rules":[]}`: "nothing",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		r.choose("Load plan")
		r.answer(path)
		if p, ok := r.a.topOverlay().(*prompt); !ok || !strings.Contains(p.bad, want) {
			t.Errorf("%s: want an error with %q:\n%s", text, want, r.text())
		}
		r.press("esc")
	}
	if n := len(r.a.eng.adapters()); n != open {
		t.Errorf("%d adapters open after plans that failed, %d before", n, open)
	}
}

func TestCompletions(t *testing.T) {
	dir := t.TempDir() + string(filepath.Separator)
	for _, f := range []string{"model-a/x", "model-b/x", "plan.json", ".hidden", "Modell"} {
		if err := os.MkdirAll(filepath.Dir(dir+f), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(dir+f, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	sep := string(filepath.Separator)
	for _, c := range []struct {
		begun, longest string
		possible       []string
	}{
		{"p", "plan.json", []string{"plan.json"}},
		{"m", "model-", []string{"model-a" + sep, "model-b" + sep}},
		{"model-a", "model-a" + sep, []string{"model-a" + sep}},
		{"model-a" + sep, "model-a" + sep + "x", []string{"x"}},
		{".h", ".hidden", []string{".hidden"}},
		{"q", "q", nil},
		{"nowhere" + sep + "q", "nowhere" + sep + "q", nil},
	} {
		longest, possible := completions(dir + c.begun)
		if longest != dir+c.longest {
			t.Errorf("%q becomes %q, want %q", c.begun, strings.TrimPrefix(longest, dir), c.longest)
		}
		if diff := cmp.Diff(c.possible, possible); diff != "" {
			t.Errorf("%q: %s", c.begun, diff)
		}
	}
}

func TestTabCompletes(t *testing.T) {
	r := demoRig(t, 80, 24, nil)
	r.choose("Load plan")
	r.press("ctrl+u")
	r.typed("testdata/sc")
	r.press("tab")
	if got := r.a.topOverlay().(*prompt).in.value(); got != "testdata/screens/" {
		t.Errorf("completed to %q", got)
	}
	r.typed("demo-8")
	r.press("tab", "tab")
	if got := r.text(); !strings.Contains(got, "demo-80x24.style") || !strings.Contains(got, "demo-80x24.txt") {
		t.Errorf("the choice is not shown:\n%s", got)
	}
	r.typed("?")
	r.press("tab")
	if got := r.text(); !strings.Contains(got, "no file begins so") {
		t.Errorf("nothing is said:\n%s", got)
	}
}

func TestExpandHome(t *testing.T) {
	t.Setenv("HOME", "/h/of")
	t.Setenv("USERPROFILE", "/h/of")
	for in, want := range map[string]string{"~": "/h/of", "~/x": "/h/of/x", "~x": "~x", "a~": "a~", "": ""} {
		if got := expandHome(in); got != want {
			t.Errorf("expandHome(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestScreensOfOpening(t *testing.T) {
	for _, s := range []struct {
		name string
		w, h int
	}{{"open-120x36", 120, 36}, {"open-80x24", 80, 24}, {"open-60x16", 60, 16}} {
		r := demoRig(t, s.w, s.h, nil)
		r.send(recentMsg{[]recent{
			{"org/llama-2-7b-nf4", testTime(), "alpaca, code", false},
			{"/models/gone", testTime(), "no adapter", true},
			{"demo", testTime(), "gocode-light", false},
		}})
		r.golden(s.name)
		r.press("esc")
		r.a.push(newPrompt("open checkpoint", "a directory", "/models/no", nil))
		r.a.topOverlay().(*prompt).files = true
		_ = r.a.topOverlay().(*prompt).refuse("/models/no: no such file or directory")
		r.golden(s.name + "-refused")
	}
}
