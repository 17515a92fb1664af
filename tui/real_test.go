package tui

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"
	"go.uber.org/goleak"

	"mergescope/tui/screentest"
)

// The real program writes real bytes to an emulated terminal: what that shows
// is what View returned.
func TestRealBytes(t *testing.T) {
	defer verifyNoLeak(t)()
	opt := demoOptions(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	term := screentest.NewTerminal(120, 36)
	a := newApp(ctx, opt, projectEngine{opt.Project})
	a.now = testTime
	in, keys := io.Pipe()
	defer func() { _ = keys.Close() }()
	p := tea.NewProgram(a, tea.WithContext(ctx), tea.WithInput(in), tea.WithOutput(term),
		tea.WithWindowSize(120, 36), tea.WithColorProfile(colorprofile.TrueColor), tea.WithEnvironment([]string{"TERM=xterm-256color"}), tea.WithoutSignals())
	done := make(chan error, 1)
	go func() {
		_, err := p.Run()
		done <- err
	}()
	type keyStep struct{ press, want string }
	for _, s := range []keyStep{
		{"", "7.3% of the adapter is kept"},
		{"?", "here: layers"},
		{"\x1b", "7.3% of the adapter is kept"},
		{"B", "2 with NaN or infinite values"},
	} {
		if s.press != "" {
			if _, err := io.WriteString(keys, s.press); err != nil {
				t.Fatal(err)
			}
		}
		waitFor(ctx, t, term, s.want)
	}
	p.Send(tea.Quit())
	if err := <-done; err != nil {
		t.Error(err)
	}
	a.crew.close()
	a.closeFiles()
	raw := term.Raw()
	if !strings.Contains(raw, "\x1b[?1049h") || !strings.Contains(raw, "\x1b[?1049l") {
		t.Error("the alternate screen was not entered and left")
	}
}

// verifyNoLeak returns a check that all goroutines begun since have ended, but
// for the timers that Bubble Tea leaves to run out.
func verifyNoLeak(t *testing.T) func() {
	now := goleak.IgnoreCurrent()
	return func() {
		goleak.VerifyNone(t, now,
			goleak.IgnoreAnyFunction("charm.land/bubbletea/v2.Tick.func1"),
			goleak.IgnoreAnyFunction("charm.land/bubbletea/v2.(*Program).execBatchMsg"))
	}
}

// waitFor waits until the terminal shows a text.
func waitFor(ctx context.Context, t *testing.T, term *screentest.Terminal, want string) {
	t.Helper()
	for !strings.Contains(term.Text(), want) {
		select {
		case <-ctx.Done():
			t.Fatalf("the terminal never shows %q:\n%s", want, term.Text())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// Run ends with its context, and not before the job it started.
func TestRunWaitsForTheJob(t *testing.T) {
	defer verifyNoLeak(t)()
	opt := demoOptions(t)
	term := screentest.NewTerminal(120, 36)
	opt.Output, opt.Input, opt.Dark = term, strings.NewReader(""), nil
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	summary, err := Run(ctx, opt)
	if err == nil || summary != "" {
		t.Errorf("summary %q, error %v; want the context's error", summary, err)
	}
	if raw := term.Raw(); strings.LastIndex(raw, "\x1b[?2031h") > strings.LastIndex(raw, "\x1b[?2031l") {
		t.Error("the terminal goes on reporting its background to the shell")
	}
}

func TestRunNeedsACheckpoint(t *testing.T) {
	if _, err := Run(t.Context(), Options{}); err == nil {
		t.Error("no error without a checkpoint")
	}
}
