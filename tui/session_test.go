package tui

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mergescope/merge"
	"mergescope/themes"
)

// sessionOptions is a copy of the demo's model in a directory of its own, so
// that it is a checkpoint like any other.
func sessionOptions(t *testing.T, dir, model string) Options {
	t.Helper()
	opt := demoOptions(t)
	ckpt, err := opt.Source.Checkpoint(model)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ckpt.Close() })
	opt.Demo, opt.Sessions = false, dir
	opt.Project = merge.NewProject(ckpt)
	opt.Plan = merge.NewPlan(model)
	return opt
}

func modelCopy(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "base")
	if err := os.CopyFS(dir, os.DirFS("../testdata/demo/base-nf4")); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestSessionComesBack(t *testing.T) {
	dir, model := t.TempDir(), modelCopy(t)
	r := newRig(t, sessionOptions(t, dir, model), nil, 120, 36)
	if r.a.toast.text != "" {
		t.Errorf("a checkpoint never seen greets with %q", r.a.toast.text)
	}
	r.press("A", "enter") // the only item: open an adapter
	r.typed("../testdata/demo/adapter-gocode-mid")
	r.press("enter")
	r.a.tree.reveal("model.layers.2.mlp.up_proj")
	r.press("=")
	r.press("backspace")
	r.typed("0.5")
	r.press("enter")
	r.press("/")
	r.typed("layer:1-3")
	r.press("enter", "space", "o", "o", "2", "v", "j", "j", "b", "U")
	before := r.a.remembered()
	plan := r.a.history.Now()
	if said := r.a.keepAtEnd(); said != "" {
		t.Fatal(said)
	}
	if before.Plan.Adapters[0].Path != absolute("../testdata/demo/adapter-gocode-mid") || !filepath.IsAbs(before.Plan.Adapters[0].Path) {
		t.Errorf("the adapter is kept as %q", before.Plan.Adapters[0].Path)
	}

	again := newRig(t, sessionOptions(t, dir, model), nil, 120, 36)
	after := again.a.remembered()
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("the session changed:\n%s", diff)
	}
	if !strings.Contains(again.a.toast.text, "as you left it on 2 Jan 14:02; z takes it back") {
		t.Errorf("greeted with %q", again.a.toast.text)
	}
	if got := again.a.history.Now(); !withAbsolute(plan).Equal(got) {
		t.Errorf("plan %s, was %s", got.Encode(), plan.Encode())
	}
	if again.a.book.countPlanned() != r.a.book.countPlanned() || again.a.book.countPlanned() == 0 {
		t.Errorf("%d layers have an adapter", again.a.book.countPlanned())
	}
	again.press("z")
	if n := again.a.book.countPlanned(); n != 0 {
		t.Errorf("undo leaves %d layers with the plan of last time", n)
	}
	again.press("q")
	if !again.quit {
		t.Error("leaving asks about a plan that the session keeps")
	}
}

// What the command line says counts more than what was, unless it is the same.
func TestSessionYieldsToTheCommandLine(t *testing.T) {
	dir, model := t.TempDir(), modelCopy(t)
	with := func(adapter string) Options {
		opt := sessionOptions(t, dir, model)
		ad, err := opt.Source.Adapter("../testdata/demo/" + adapter)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = ad.Close() })
		opt.Project = merge.NewProject(opt.Project.Model, ad)
		opt.Plan = merge.NewPlan(model, merge.AdapterRef{Name: ad.Name, Path: ad.Path})
		return opt
	}
	r := newRig(t, with("adapter-gocode"), nil, 80, 24)
	r.press("+", "2")
	edited := withAbsolute(r.a.history.Now())
	r.a.keepAtEnd()

	r = newRig(t, with("adapter-gocode"), nil, 80, 24)
	if got := withAbsolute(r.a.history.Now()); !got.Equal(edited) {
		t.Errorf("the same command line brings %s back", got.Encode())
	}
	r = newRig(t, with("adapter-gocode-light"), nil, 80, 24)
	if ads := r.a.history.Now().Adapters; len(ads) != 1 || !strings.Contains(ads[0].Name, "light") {
		t.Errorf("another command line has the adapters %v", ads)
	}
	if r.a.focus != blocksID {
		t.Error("the view is not brought back")
	}
	r = newRig(t, sessionOptions(t, dir, model), nil, 80, 24)
	if got := r.a.history.Now(); !got.Equal(edited) {
		t.Errorf("a command line without adapters brings %s back", got.Encode())
	}
}

func TestSessionThatDoesNotFit(t *testing.T) {
	dir, model := t.TempDir(), modelCopy(t)
	opt := sessionOptions(t, dir, model)
	file := shelf(dir).path(modelKey(model))
	for _, c := range []struct{ text, want string }{
		{"{", "unexpected end of JSON"},
		{"{}", "not a session of version 1"},
		{`{"version":2,"model":"x"}`, "not a session of version 1"},
		{`{"version":1,"model":"another"}`, ""},
		{`{"version":1,"model":` + quoted(model) + `,"plan":{"version":9}}`, "version"},
		{`{"version":1,"model":` + quoted(model) + `,"cursor":"gone","open":["x"],"marked":["y"],"sort":"z","filter":"kept<",
			"metric":"?","aggregate":"?","map":"?","zoom":-7,"row":-1,"col":99999999,"block_form":99,"pane":"?","below":"layers"}`, ""},
		{`{"version":1,"model":` + quoted(model) + `,"zoom":99999999,"row":99999999,"col":-5,"block_form":-1,
			"plan":{"version":1,"adapters":{"a":{"path":"/nowhere/a"},"b":{"path":` + quoted(absolute("../testdata/demo/adapter-gocode")) + `}},
			"rules":[{"match":"*","adapter":"a"},{"match":"*","adapter":"b"}]}}`, "/nowhere/a"},
	} {
		if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		r := newRig(t, opt, nil, 120, 36)
		if got := r.a.toast.text; c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s: greeted with %q, want %q", c.text, got, c.want)
		}
		r.text() // it draws
		r.press("2", "j", "+", "-", "3", "i")
		r.text()
	}
	r := newRig(t, opt, nil, 120, 36)
	if ads := r.a.history.Now().Adapters; len(ads) != 1 || ads[0].Name != "b" || r.a.book.countPlanned() == 0 {
		t.Errorf("of a plan with a lost adapter %v is left", ads)
	}
}

func quoted(s string) string { return `"` + strings.ReplaceAll(s, `\`, `\\`) + `"` }

func TestDemoIsKeptOnceChanged(t *testing.T) {
	dir := t.TempDir()
	r := demoRig(t, 80, 24, func(o *Options) { o.Sessions = dir })
	r.press("t", "B", "2")
	r.a.keepAtEnd()
	if n := len(shelf(dir).files()); n != 0 {
		t.Fatalf("%d sessions of a demo that was only looked at", n)
	}
	r.press("1", "-")
	r.a.keepAtEnd()
	if got := shelf(dir).recent(); len(got) != 1 || got[0].model != "demo" || got[0].gone {
		t.Errorf("recent: %+v", got)
	}
}

func TestShelfLetsTheOldestGo(t *testing.T) {
	s := shelf(t.TempDir())
	r := demoRig(t, 80, 24, nil)
	for i := range maxSessions + 3 {
		m := r.a.remembered()
		m.Model = "org/model-" + strings.Repeat("x", i)
		if err := s.save(m); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(s.files()); n != maxSessions {
		t.Errorf("%d sessions, want %d", n, maxSessions)
	}
	if _, err := shelf("").load("x"); err != errNoSession {
		t.Errorf("no shelf: %v", err)
	}
	if err := shelf("").save(r.a.remembered()); err != nil {
		t.Error(err)
	}
	// A directory that cannot be made is said at the end.
	r.a.opt.Demo, r.a.opt.Sessions = false, filepath.Join(string(s), filepath.Base(s.files()[0].path), "below")
	if said := r.a.keepAtEnd(); !strings.Contains(said, "the session is not kept") {
		t.Errorf("said %q", said)
	}
}

// A session file never makes the program fail, whatever is in it.
func FuzzSession(f *testing.F) {
	f.Add([]byte(`{"version":1,"model":"m","plan":{"version":1},"zoom":3}`))
	f.Add([]byte(`{"version":1,"model":"m","marked":null,"alerts":"error"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		file := filepath.Join(t.TempDir(), "x"+sessionFile)
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		m, err := readSession(file)
		if err != nil {
			return
		}
		p := treeOf("l.0.a", "l.0.b", "l.1.a")
		p.restore(m)
		var b blocksPane
		b.restore(m)
		b.draw(canvas{paint: newPaint(themes.Default(true), themes.NoColor)}, 40, 10)
		p.draw(canvas{paint: newPaint(themes.Default(true), themes.NoColor)}, 40, 10)
	})
}
