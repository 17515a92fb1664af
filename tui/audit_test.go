package tui

import (
	"path/filepath"
	"strings"
	"testing"

	tea "charm.land/bubbletea/v2"

	"mergescope/merge"
)

// mergedDemo writes the demo with an adapter at some scale and returns where.
func mergedDemo(t *testing.T, adapter string, scale float64) string {
	t.Helper()
	opt := demoOptions(t)
	ad, err := opt.Source.Adapter("demo:" + adapter)
	if err != nil {
		t.Fatal(err)
	}
	defer ad.Close()
	p := merge.NewProject(opt.Project.Model, ad)
	plan := merge.NewPlan("demo", merge.AdapterRef{Name: ad.Name, Path: ad.Path})
	for i := range plan.Rules {
		plan.Rules[i].Scale = scale
	}
	out := filepath.Join(t.TempDir(), "merged")
	j, err := merge.NewJob(p, plan, merge.Options{Out: out})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := j.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	return out
}

// auditRig audits a checkpoint through the keys a user would press.
func auditRig(t *testing.T, dir string, w, h int) *rig {
	t.Helper()
	opt := adapterOptions(t, "gocode")
	r := newRig(t, opt, nil, w, h)
	r.press("K")
	r.send(tea.PasteMsg{Content: dir})
	r.press("enter")
	return r
}

func (r *rig) audit() *auditBox {
	r.t.Helper()
	x, ok := r.a.topOverlay().(*auditBox)
	if !ok {
		r.t.Fatalf("no audit on the screen:\n%s", r.text())
	}
	return x
}

// The screen says what `verify --json` says, of an honest merge and of one with
// half the scale.
func TestAuditVerdicts(t *testing.T) {
	for _, tt := range []struct {
		scale   float64
		verdict merge.Verdict
	}{{1, merge.VerdictRight}, {0.5, merge.VerdictScale}, {0, merge.VerdictMissing}} {
		dir := ""
		if tt.scale == 0 {
			dir = filepath.Join("..", "testdata", "demo", "base-nf4") // never merged
		} else {
			dir = mergedDemo(t, "gocode", tt.scale)
		}
		r := auditRig(t, dir, 120, 36)
		x := r.audit()
		if x.report == nil || x.report.Verdict != tt.verdict {
			t.Fatalf("scale %v: %+v, %v", tt.scale, x.report, x.err)
		}
		text := r.text()
		if !strings.Contains(text, string(tt.verdict)+": ") {
			t.Errorf("scale %v: the verdict is not on the screen:\n%s", tt.scale, text)
		}
		if len(x.layers) != 28 {
			t.Errorf("scale %v: %d layers listed, the adapter has 28", tt.scale, len(x.layers))
		}
		if got := x.copyText(); !strings.Contains(got, x.report.Summary) {
			t.Errorf("copied %q", got)
		}
	}
}

func TestAuditScreens(t *testing.T) {
	half := mergedDemo(t, "gocode", 0.5)
	for _, s := range []struct {
		name string
		w, h int
		keys []string
	}{
		{"audit-120x36", 120, 36, nil},
		{"audit-layers-120x36", 120, 36, []string{"i"}},
		{"audit-80x24", 80, 24, []string{"i"}},
		{"audit-modules-80x24", 80, 24, []string{"i", "i"}},
		{"audit-60x16", 60, 16, nil},
		{"audit-layers-60x16", 60, 16, []string{"i", "down"}},
	} {
		t.Run(s.name, func(t *testing.T) {
			r := auditRig(t, half, s.w, s.h)
			r.press(s.keys...)
			r.golden(s.name)
		})
	}
}

func TestAuditGoesToItsLayer(t *testing.T) {
	r := auditRig(t, mergedDemo(t, "gocode", 0.5), 80, 24)
	r.press("i", "down", "down")
	x := r.audit()
	want := x.layers[2].Name
	r.press("enter")
	if l := r.a.book.layer(r.a.tree.current()); l == nil || l.Weight.Name != want {
		t.Errorf("the cursor is not on %s", want)
	}
	if r.press("K"); r.audit() != x {
		t.Error("K forgot the audit")
	}
	if r.press("K"); r.a.topOverlay() == overlay(x) {
		t.Error("K within an audit does not ask for another checkpoint")
	}
}

func TestAuditOfNothing(t *testing.T) {
	r := auditRig(t, filepath.Join(t.TempDir(), "absent"), 80, 24)
	if got := r.text(); !strings.Contains(got, "absent") || !strings.Contains(got, "no such") && !strings.Contains(got, "not found") && !strings.Contains(got, "does not exist") {
		t.Errorf("the prompt does not say why:\n%s", got)
	}
}

// esc ends an audit that runs; its late messages change nothing.
func TestAuditCancelled(t *testing.T) {
	dir := mergedDemo(t, "gocode", 1)
	r := auditRig(t, dir, 80, 24)
	r.press("esc")
	r.a.audit = nil
	r.press("K")
	r.send(tea.PasteMsg{Content: dir})
	r.hold = true
	_, cmd := r.a.Update(keyPress("enter"))
	msg := opened(t, cmd)
	_, cmd = r.a.Update(msg)
	r.hold = false
	x := r.audit()
	if got := r.text(); !strings.Contains(got, "every weight is compared") {
		t.Errorf("a running audit shows:\n%s", got)
	}
	r.press("esc")
	r.run(cmd) // the audit begins only now
	if r.a.audit != nil || x.report != nil {
		t.Error("a cancelled audit left a result")
	}
}

// opened runs a command until it brings an opened checkpoint.
func opened(t *testing.T, cmd tea.Cmd) tea.Msg {
	t.Helper()
	switch msg := cmd().(type) {
	case auditOpenedMsg:
		return msg
	case tea.BatchMsg:
		for _, c := range msg {
			if c == nil {
				continue
			}
			if m := opened(t, c); m != nil {
				return m
			}
		}
	}
	return nil
}
