//go:build unix

package main

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"

	"mergescope/tui/screentest"
)

// ptySession is a mergescope in a pseudo terminal.
type ptySession struct {
	t    *testing.T
	cmd  *exec.Cmd
	tty  *os.File
	term *screentest.Terminal
	read chan struct{} // closed when the output ends
}

func startScreen(t *testing.T, w, h int, args ...string) *ptySession {
	t.Helper()
	s := &ptySession{t: t, cmd: exec.Command("mergescope", args...), term: screentest.NewTerminal(w, h), read: make(chan struct{})}
	home := t.TempDir()
	s.cmd.Env = append(os.Environ(), "TERM=xterm-256color", "NO_COLOR=yes", "HOME="+home, "XDG_CONFIG_HOME="+home)
	var err error
	if s.tty, err = pty.StartWithSize(s.cmd, &pty.Winsize{Cols: uint16(w), Rows: uint16(h)}); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(s.read)
		_, _ = io.Copy(s.term, s.tty) // ends with an error when the process is gone
	}()
	t.Cleanup(func() {
		_ = s.cmd.Process.Kill() // already gone if the test went well
		s.tty.Close()
		<-s.read
	})
	return s
}

// waitFor waits until the screen shows the text.
func (s *ptySession) waitFor(text string) {
	s.t.Helper()
	for range 600 {
		if strings.Contains(s.term.Text(), text) {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	s.t.Fatalf("the screen does not show %q:\n%s", text, s.term.Text())
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
