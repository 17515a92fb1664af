//go:build unix

package main

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"
	"github.com/creack/pty"

	"mergescope/tui/screentest"
)

// ptySession is a mergescope in a pseudo terminal that shows what programs are
// at (OSC 7501), so that tests can wait until it is idle.
type ptySession struct {
	t    testing.TB
	cmd  *exec.Cmd
	tty  *os.File
	term *screentest.Terminal
	news chan struct{} // output came
	read chan struct{} // closed when the output ends
}

func startScreen(t testing.TB, w, h int, args ...string) *ptySession {
	t.Helper()
	return startScreenIn(t, t.TempDir(), w, h, args...)
}

// startScreenIn begins with the sessions and preferences in home. The emulator
// does not know all that newer terminals do, so it claims to be an old one.
func startScreenIn(t testing.TB, home string, w, h int, args ...string) *ptySession {
	t.Helper()
	return startScreenAs(t, []string{"TERM=vt100", "NO_COLOR=yes", "HOME=" + home, "XDG_CONFIG_HOME=" + home}, w, h, args...)
}

// startScreenAs begins in an environment.
func startScreenAs(t testing.TB, env []string, w, h int, args ...string) *ptySession {
	t.Helper()
	s := &ptySession{
		t: t, cmd: exec.Command("mergescope", args...), term: screentest.NewTerminal(w, h),
		news: make(chan struct{}, 1), read: make(chan struct{}),
	}
	s.cmd.Env = append(os.Environ(), env...)
	var err error
	if s.tty, err = pty.StartWithSize(s.cmd, &pty.Winsize{Cols: uint16(w), Rows: uint16(h)}); err != nil {
		t.Fatal(err)
	}
	go s.watch()
	t.Cleanup(func() {
		_ = s.cmd.Process.Kill() // already gone if the test went well
		s.tty.Close()
		<-s.read
	})
	return s
}

// watch feeds the terminal and answers the question whether it shows programs'
// status.
func (s *ptySession) watch() {
	defer close(s.read)
	buf := make([]byte, 32<<10)
	asked := false
	for {
		n, err := s.tty.Read(buf)
		if err != nil { // the process is gone
			return
		}
		_, _ = s.term.Write(buf[:n]) // an emulator takes everything
		if !asked && strings.Contains(s.term.Raw(), ansi.RequestProgramStatusSupport) {
			asked = true
			_, _ = s.tty.WriteString(ansi.RequestProgramStatusSupport) // the answer is the same
		}
		select {
		case s.news <- struct{}{}:
		default:
		}
	}
}

// patience is how long a test waits for what must come.
const patience = 2 * time.Minute

// wait returns when ok does, which is asked again whenever output came.
func (s *ptySession) wait(what string, ok func() bool) {
	s.t.Helper()
	end := time.After(patience)
	for !ok() {
		select {
		case <-s.news:
		case <-s.read:
			if !ok() {
				s.t.Fatalf("it ended before %s:\n%s", what, s.term.Text())
			}
			return
		case <-end:
			s.t.Fatalf("not %s:\n%s", what, s.term.Text())
		}
	}
}

// status is what the program last said to be at.
func (s *ptySession) status() string {
	const head = "\x1b]7501;state="
	raw := s.term.Raw()
	at := strings.LastIndex(raw, head)
	if at < 0 {
		return ""
	}
	state, _, _ := strings.Cut(raw[at+len(head):], ":")
	state, _, _ = strings.Cut(state, "\a")
	return state
}

// settle waits until all keys are worked off and the program is idle. No dialog
// may be open: two redraws show that the keys before them were taken and that
// the status after them has come.
func (s *ptySession) settle() {
	s.t.Helper()
	const clear = "\x1b[2J"
	for range 2 {
		n := strings.Count(s.term.Raw(), clear)
		s.typeKeys("\x0c")
		s.wait("drawn anew", func() bool { return strings.Count(s.term.Raw(), clear) > n })
	}
	s.wait("idle", func() bool { return s.status() == "idle" })
}

// waitFor waits until the screen shows the text.
func (s *ptySession) waitFor(text string) {
	s.t.Helper()
	s.wait("showing "+text, func() bool { return strings.Contains(s.term.Text(), text) })
}

func (s *ptySession) typeKeys(keys string) {
	s.t.Helper()
	if _, err := s.tty.WriteString(keys); err != nil {
		s.t.Fatal(err)
	}
}

// exit waits for the end and returns the exit code.
func (s *ptySession) exit() int {
	s.t.Helper()
	err := s.cmd.Wait()
	<-s.read
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return exit.ExitCode()
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return 0
}

// The inspector opens on the demo and its story, and leaves the terminal as it
// found it.
func TestScreenDemo(t *testing.T) {
	for _, size := range [][2]int{{120, 36}, {80, 24}, {60, 16}} {
		s := startScreen(t, size[0], size[1])
		s.waitFor("7.3%") // kept in all, testdata/demo/README.md
		s.typeKeys("q")
		if code := s.exit(); code != exitFine {
			t.Errorf("%v: exit code %d", size, code)
		}
		if raw := s.term.Raw(); !strings.Contains(raw, "\x1b[?1049h") || !strings.Contains(raw, "\x1b[?1049l") {
			t.Errorf("%v: the alternate screen is not entered and left", size)
		}
	}
}

// A signal ends it too, with the exit code of an interruption.
func TestScreenSignal(t *testing.T) {
	s := startScreen(t, 80, 24, "demo", "-a", "demo:gocode")
	s.waitFor("gocode")
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := s.exit(); code != exitInterrupted {
		t.Errorf("exit code %d, want %d", code, exitInterrupted)
	}
	if !strings.Contains(s.term.Raw(), "\x1b[?1049l") {
		t.Error("the alternate screen is not left")
	}
}
