package tui

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	tea "charm.land/bubbletea/v2"

	"mergescope/merge"
)

// stillEngine runs the model for real, in no time.
type stillEngine struct{ projectEngine }

type stillEval struct{ evaluator }

func (e stillEngine) newEval(plan merge.Plan, opt merge.EvalOptions) (evaluator, error) {
	v, err := e.projectEngine.newEval(plan, opt)
	return stillEval{v}, err
}

func (e stillEval) Snapshot() merge.EvalSnapshot {
	s := e.evaluator.Snapshot()
	s.Elapsed, s.ETA = 0, 0
	return s
}

// evalRig opens the demo with an adapter and asks for a run.
func evalRig(t *testing.T, adapter, asked string, w, h int) *rig {
	t.Helper()
	opt := adapterOptions(t, adapter)
	r := newRig(t, opt, stillEngine{projectEngine{opt.Project}}, w, h)
	r.ask(asked)
	return r
}

// ask types a text into the prompt that F opens.
func (r *rig) ask(text string) {
	r.t.Helper()
	r.press("F", "ctrl+u")
	r.send(tea.PasteMsg{Content: text})
	r.press("enter")
}

func (r *rig) eval() *evalBox {
	r.t.Helper()
	x, ok := r.a.topOverlay().(*evalBox)
	if !ok {
		r.t.Fatalf("no run on the screen:\n%s", r.text())
	}
	return x
}

func TestEvalScreens(t *testing.T) {
	for _, s := range []struct {
		name, asked string
		w, h        int
		keys        []string
	}{
		{"eval-120x36", "builtin 1024", 120, 36, nil},
		{"eval-layers-120x36", "builtin 1024 layers", 120, 36, []string{"left"}},
		{"eval-figures-80x24", "builtin 1024", 80, 24, []string{"i"}},
		{"eval-texts-80x24", "builtin 1024", 80, 24, []string{"i", "i"}},
		{"eval-60x16", "builtin 1024", 60, 16, nil},
		{"eval-depth-60x16", "builtin 1024", 60, 16, []string{"down"}},
	} {
		t.Run(s.name, func(t *testing.T) {
			r := evalRig(t, "gocode", s.asked, s.w, s.h)
			r.press(s.keys...)
			r.golden(s.name)
		})
	}
}

// The screen's figures are those of package merge, and of the text that was
// asked for.
func TestEvalSaysWhatMergeSays(t *testing.T) {
	file := filepath.Join(t.TempDir(), "mine.txt")
	text := strings.Repeat("In the beginning God created the heaven and the earth.\n", 12)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	r := evalRig(t, "gocode-light", file, 120, 36)
	x := r.eval()
	got := x.seen.Report
	if got == nil || !got.Complete || got.Tokens != len(text) || got.Texts[0].Name != file {
		t.Fatalf("%+v", got)
	}
	texts, err := merge.OpenTexts(r.a.model, nil, []string{file}, nil)
	if err != nil {
		t.Fatal(err)
	}
	e, err := merge.NewEval(r.a.eng.(stillEngine).p, x.plan, merge.EvalOptions{Texts: texts, Plans: []merge.NamedPlan{{Name: merge.VariantPlan, Plan: x.plan}}})
	if err != nil {
		t.Fatal(err)
	}
	want, err := e.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if g, w := got.Variant(merge.VariantPlan).Figures.KL, want.Variant(merge.VariantPlan).Figures.KL; g != w || !(g.Value > 0.1) {
		t.Errorf("KL %v, want %v", g, w)
	}
	summary := want.Summary()[0]
	if c := x.copyText(); !strings.Contains(c, summary) {
		t.Errorf("copied %q", c)
	}
	if !strings.Contains(strings.Join(strings.Fields(r.text()), " "), summary[:40]) {
		t.Errorf("the summary is not on the screen:\n%s", r.text())
	}
}

// A run goes on when it is closed; F shows it again, x stops it, and what was
// run stays.
func TestEvalInBackground(t *testing.T) {
	r := evalRig(t, "gocode", "builtin 1024", 80, 24)
	x := r.eval()
	r.press("esc")
	if r.press("F"); r.eval() != x {
		t.Error("F forgot the run")
	}
	if r.press("F"); r.a.topOverlay() == overlay(x) {
		t.Error("F within a run does not ask for another text")
	}
	r.press("esc")
	stopped := &evalBox{plan: x.plan, asked: "builtin", eval: neverEval{}, cancel: func() {}}
	r.a.eval = stopped
	r.a.push(stopped)
	canceled := false
	stopped.cancel = func() { canceled = true }
	if r.press("x"); !canceled {
		t.Error("x does not stop the run")
	}
	r.send(evalDoneMsg{stopped, context.Canceled})
	if got := r.text(); !strings.Contains(got, "stopped: 3 of 9 windows") {
		t.Errorf("got:\n%s", got)
	}
}

// neverEval was stopped before it had a figure.
type neverEval struct{}

func (neverEval) Run(context.Context) (*merge.EvalReport, error) { return nil, context.Canceled }

func (neverEval) Snapshot() merge.EvalSnapshot {
	return merge.EvalSnapshot{State: merge.Cancelled, WindowsDone: 3, WindowsAll: 9}
}

func TestEvalRefuses(t *testing.T) {
	dir := t.TempDir()
	brief := filepath.Join(dir, "brief.txt")
	if err := os.WriteFile(brief, []byte("ten bytes."), 0o644); err != nil {
		t.Fatal(err)
	}
	for asked, want := range map[string]string{
		filepath.Join(dir, "none.txt"): "no such file",
		brief:                          "too short",
		"   ":                          "a text is needed",
	} {
		r := evalRig(t, "gocode", asked, 120, 36)
		if got := strings.Join(strings.Fields(r.text()), " "); !strings.Contains(got, want) {
			t.Errorf("%q: no %q on the screen:\n%s", asked, want, r.text())
		}
	}
}

// NaN is told in the list of alerts as well.
func TestEvalAlerts(t *testing.T) {
	r := evalRig(t, "broken", "builtin 600", 120, 36)
	if x := r.eval(); !strings.Contains(x.copyText(), "there are no figures") {
		t.Errorf("%s", x.copyText())
	}
	found := false
	for _, al := range r.a.feed.alerts {
		found = found || strings.Contains(al.Message, "separate: scores of all tokens are NaN")
	}
	if !found {
		t.Errorf("no alert: %+v", r.a.feed.alerts)
	}
}

func TestEvalWords(t *testing.T) {
	for _, x := range []struct {
		in, name string
		opt      merge.EvalOptions
	}{
		{"a text.txt", "a text.txt", merge.EvalOptions{}},
		{"builtin 60s", "builtin", merge.EvalOptions{Time: 60e9}},
		{"my text.txt 500 layers 2m", "my text.txt", merge.EvalOptions{MaxTokens: 500, Time: 120e9, Sensitivity: 2048}},
		{"layers", "layers", merge.EvalOptions{}},
	} {
		q, err := evalWords(x.in)
		if err != nil {
			t.Fatal(err)
		}
		if len(q.texts) != 1 || q.texts[0] != x.name || q.opt.Time != x.opt.Time || q.opt.MaxTokens != x.opt.MaxTokens || q.opt.Sensitivity != x.opt.Sensitivity {
			t.Errorf("%q: %+v", x.in, q)
		}
	}
	q, err := evalWords("a b.txt text=c.txt beside=x beside=y compare=p.json on=z tokens=ids.txt window=64 max-kl=0.05 30s")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(q.texts, q.beside, q.compare, q.on, q.tokens, q.opt.Window, q.opt.MaxKL, q.opt.Time), "[a b.txt c.txt] [x y] [p.json] [z] [ids.txt] 64 0.05 30s"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if q, err := evalWords("tokens=ids.txt"); err != nil || len(q.texts) != 0 || len(q.tokens) != 1 {
		t.Errorf("%+v, %v", q, err)
	}
	for _, bad := range []string{"", "beside=", "a.txt window=1", "a.txt max-kl=x", "builtin ladder beside=x"} {
		if _, err := evalWords(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
