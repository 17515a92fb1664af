package tui

import (
	"strings"
	"testing"

	tea "charm.land/bubbletea/v2"

	"mergescope/merge"
	"mergescope/themes"
)

func plainRig(t *testing.T, w, h int) *rig {
	return demoRig(t, w, h, func(o *Options) { o.Plain = true })
}

// The line that the terminal's cursor is on is what readers speak.
func (r *rig) spoken() string {
	r.t.Helper()
	lines := strings.Split(r.text(), "\n")
	at := r.a.View().Cursor
	if at == nil || at.Position.Y >= len(lines) {
		r.t.Fatalf("no line has the cursor:\n%s", r.text())
	}
	return lines[at.Position.Y]
}

func TestPlainSaysTheRowOfTheCursor(t *testing.T) {
	r := plainRig(t, 100, 30)
	for _, step := range []struct{ key, want string }{
		{"", "layers.0.mlp.down_proj, gocode-light scale 1, kept 4.0%, error 3.0%, warning"},
		{"j", "layers.0.mlp.gate_proj, gocode-light scale 1, kept 7.4%, error 2.3%, warning"},
		{"h", "Group layers.0 closed, 7 layers, kept 6.9%, error 2.7%, warning"},
		{"g", "lm_head, bf16, no adapter"},
		{"space", "embed_tokens, bf16, no adapter"},
		{"k", "lm_head, marked, bf16, no adapter"},
		{"w", "layers.0.self_attn.k_proj, gocode-light scale 1, kept 1.0%"},
		{"2", "worst"},
		{"3", "Weight "},
		{"4", "Group erased warning, 24 layers, closed"},
		{"j", "rounding-4bit warning: Merge lora module to 4-bit linear may get different generations"},
	} {
		if step.key != "" {
			r.press(step.key)
		}
		if got := r.spoken(); !strings.Contains(got, step.want) {
			t.Errorf("after %q it says %q, want %q\n%s", step.key, got, step.want, r.text())
		}
	}
}

// Nothing in plain text is drawn: no colours, no frames, no characters outside
// ASCII, whatever is open.
func TestPlainIsPlain(t *testing.T) {
	for _, size := range [][2]int{{120, 36}, {80, 24}, {60, 16}} {
		for _, keys := range [][]string{
			nil, {"2"}, {"3"}, {"4"}, {"?"}, {":"}, {"m"}, {"a"}, {"O"}, {"X"}, {"="}, {"e"}, {"B", "4"}, {"/", "q"}, {"+", "q"},
		} {
			r := plainRig(t, size[0], size[1])
			r.press(keys...)
			content := r.a.View().Content
			if i := strings.IndexFunc(content, func(c rune) bool { return c > 126 || c < 32 && c != '\n' }); i >= 0 {
				t.Errorf("%v keys %v: %q", size, keys, content[max(0, i-20):min(len(content), i+20)])
			}
			r.spoken()
			if len(r.a.overlays) > 0 && !strings.Contains(content, "Dialog, ") {
				t.Errorf("%v keys %v: the dialog is not announced", size, keys)
			}
		}
	}
	v := plainRig(t, 80, 24).a.View()
	if v.MouseMode != tea.MouseModeNone {
		t.Error("plain text takes the mouse")
	}
}

func TestPlainSaysWhatIsChosen(t *testing.T) {
	r := plainRig(t, 100, 30)
	r.press("O", "down")
	if got := r.spoken(); !strings.HasPrefix(got, "Chosen, 2 of 6: bf16.") {
		t.Errorf("it says %q", got)
	}
	r.press("esc")
	r.a.opt.Demo = false
	r.press("+", "q", "up")
	if got := r.spoken(); !strings.HasPrefix(got, "Chosen: q, quit without saving") {
		t.Errorf("it says %q", got)
	}
	r.press("esc", "/")
	r.typed("kept")
	if got := r.spoken(); got != "Filter: kept" {
		t.Errorf("it says %q", got)
	}
	r.press("esc")
	r.choose("Plain text")
	if r.a.skin.plain || !strings.Contains(r.text(), "1 layers") {
		t.Errorf("the full screen does not come back:\n%s", r.text())
	}
}

func TestPlainSaysTheProgress(t *testing.T) {
	r, run := runningRig(t, 100, 30)
	r.a.overlays = nil
	r.a.togglePlain()
	r.a.drawn.touch()
	if got := r.text(); !strings.Contains(got, "merge at 51%, 14 of 28 layers done, 1m12s to go, 0 errors, 0 warnings") {
		t.Errorf("progress:\n%s", got)
	}
	run.snap.State = merge.Paused
	r.a.Update(pollMsg{r.a.job.gen})
	if got := r.text(); !strings.Contains(got, "paused") {
		t.Errorf("the pause is not said:\n%s", got)
	}
}

func TestPlainScreens(t *testing.T) {
	for _, s := range []struct {
		name string
		w, h int
		keys []string
	}{
		{"plain-120x36", 120, 36, []string{"2"}},
		{"plain-80x24", 80, 24, nil},
		{"plain-60x16", 60, 16, []string{"O", "down"}},
	} {
		r := plainRig(t, s.w, s.h)
		r.press(s.keys...)
		r.golden(s.name)
	}
}

func TestLogKeepsWhatWasSaid(t *testing.T) {
	r := demoRig(t, 120, 36, nil)
	r.press("-", "z", "v") // an edit, and a view that is not worth a line
	r.choose("Show log")
	got := r.text()
	if !strings.Contains(got, "14:02:09 scale 0.9 on 1 layer; z takes it back") || strings.Contains(got, "metric:") {
		t.Errorf("log:\n%s", got)
	}
	for range 3 * maxLog {
		r.a.note(themes.Warn, "again")
	}
	if len(r.a.log) > maxLog {
		t.Errorf("%d lines", len(r.a.log))
	}
}

func TestScreensOfTheJob(t *testing.T) {
	r := demoRig(t, 120, 36, func(o *Options) { o.Demo = false })
	r.choose("Show job")
	if got := r.a.toast.text; !strings.Contains(got, "no job has run yet") {
		t.Errorf("toast %q", got)
	}
	r, run := runningRig(t, 120, 36)
	run.snap.BytesDone, run.snap.BytesTotal = 5<<20, 10<<20
	r.a.Update(pollMsg{r.a.job.gen})
	r.a.overlays, r.hold = nil, false
	r.a.openJob()
	r.golden("job-120x36")
	r.a.Update(tea.WindowSizeMsg{Width: 80, Height: 24})
	r.golden("job-80x24")
	r.a.Update(tea.WindowSizeMsg{Width: 60, Height: 16})
	r.golden("job-60x16")
	run.snap.State, run.snap.LayersDone = merge.Running, 28
	r.a.Update(pollMsg{r.a.job.gen})
	if got := r.text(); !strings.Contains(got, "copying the rest") {
		t.Errorf("after the last layer:\n%s", got)
	}
}

func TestTerminalPage(t *testing.T) {
	t.Setenv("TERM", "xterm-test")
	t.Setenv("TMUX", "")
	r := demoRig(t, 120, 36, nil)
	r.a.Update(tea.KeyboardEnhancementsMsg{Flags: 1})
	r.choose("Show terminal capabilities")
	got := r.text()
	for _, want := range []string{"120 x 36 cells", "24 bits", "xterm-test", "more keys       yes", "program status  no", "TMUX            –"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing:\n%s", want, got)
		}
	}
}

func TestProgramStatus(t *testing.T) {
	r, _ := runningRig(t, 120, 36)
	if r.a.View().ProgramStatus != nil {
		t.Error("a terminal that did not ask is told the status")
	}
	r.a.Update(tea.ProgramStatusSupportMsg{})
	if s := r.a.View().ProgramStatus; s == nil || s.State != tea.ProgramStateWorking || s.Progress != 51 {
		t.Errorf("while merging: %+v", s)
	}
	r.hold = false
	r.a.Update(jobDoneMsg{gen: r.a.job.gen})
	if s := r.a.View().ProgramStatus; s.State != tea.ProgramStateBlocked {
		t.Errorf("while a question waits: %+v", s)
	}
	r.a.overlays = nil
	if s := r.a.View().ProgramStatus; s.State != tea.ProgramStateIdle {
		t.Errorf("afterwards: %+v", s)
	}
	r.press("q")
	if s := r.a.View().ProgramStatus; s.State != tea.ProgramStateDone {
		t.Errorf("after leaving: %+v", s)
	}
}
