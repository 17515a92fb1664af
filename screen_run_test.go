//go:build unix

package main

import (
	"crypto/sha256"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/creack/pty"
)

// digests returns the digest of every file of a merged checkpoint but the report,
// which holds seconds.
func digests(t *testing.T, dir string) map[string][32]byte {
	t.Helper()
	out := map[string][32]byte{}
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || name == "mergescope-report.json" {
			return err
		}
		b, err := os.ReadFile(filepath.Join(dir, name))
		out[name] = sha256.Sum256(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// sameMerge demands that two directories hold the same merged checkpoint.
func sameMerge(t *testing.T, got, want string) {
	t.Helper()
	a, b := digests(t, got), digests(t, want)
	if len(b) == 0 {
		t.Fatalf("%s is empty", want)
	}
	for name := range b {
		if a[name] != b[name] {
			t.Errorf("%s differs", name)
		}
	}
	if len(a) != len(b) {
		t.Errorf("%d files, want %d", len(a), len(b))
	}
}

func mergeHeadless(t *testing.T, model, adapter, out string) {
	t.Helper()
	if b, err := exec.Command("mergescope", "merge", model, "-a", adapter, "-o", out).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
}

// What the interface writes is what the command writes; on every size of screen
// the end of the merge is said, then in the line for the shell.
func TestScreenMerge(t *testing.T) {
	model, adapter := filepath.Join("testdata", "golden", "bases", "llama-nf4"), filepath.Join("testdata", "golden", "cases", "adapter-bf16", "adapter")
	want := filepath.Join(t.TempDir(), "want")
	mergeHeadless(t, model, adapter, want)
	for _, size := range [][2]int{{120, 36}, {80, 24}, {60, 16}} {
		out := filepath.Join(t.TempDir(), "out")
		s := startScreen(t, size[0], size[1], model, "-a", adapter, "-o", out)
		s.waitFor("adapter is kept") // a small model is computed without being asked
		s.settle()
		s.typeKeys("m")
		s.waitFor("requantized")
		s.typeKeys("\r")
		s.waitFor("merged into")
		if size[1] > 16 {
			s.wait("hearing keys", func() bool { return s.status() != "blocked" })
			s.typeKeys("\r")
		}
		s.settle()
		sameMerge(t, out, want)
		s.typeKeys("q")
		if code := s.exit(); code != exitFine {
			t.Errorf("%v: exit code %d", size, code)
		}
		if after := afterScreen(s); !strings.Contains(after, "merged 6 layers into "+out) {
			t.Errorf("%v: the shell gets %q", size, after)
		}
	}
}

// afterScreen is what was written after the alternate screen was left.
func afterScreen(s *ptySession) string {
	raw := s.term.Raw()
	return raw[strings.LastIndex(raw, "\x1b[?1049l"):]
}

// Leaving while a merge runs asks, stops it, and leaves an output that the
// command completes to the same bytes.
func TestScreenQuitWhileMerging(t *testing.T) {
	model, adapter := writeLarge(t, 300, 64)
	dir := t.TempDir()
	out, want := filepath.Join(dir, "out"), filepath.Join(dir, "want")
	s := startScreen(t, 80, 24, model, "-a", adapter, "-o", out, "--workers", "1")
	s.waitFor("adapter is kept")
	s.settle()
	s.typeKeys("m")
	s.waitFor("requantized")
	s.typeKeys("\r")
	s.waitFor("x cancel")
	s.typeKeys("p")
	s.waitFor("paused, p goes on")
	if !strings.Contains(s.term.Raw(), "\x1b]9;4;1;") {
		t.Error("the terminal has no progress bar")
	}
	s.typeKeys("q")
	s.waitFor("cancel the merge and quit")
	s.typeKeys("b")
	s.waitFor("x cancel")
	s.typeKeys("q")
	s.waitFor("cancel the merge and quit")
	s.typeKeys("q")
	if code := s.exit(); code != exitFine {
		t.Errorf("exit code %d", code)
	}
	after := afterScreen(s)
	if !strings.Contains(after, "stopped after ") || !strings.Contains(after, "merging into "+out+" again") {
		t.Errorf("the shell gets %q", after)
	}
	if raw := s.term.Raw(); strings.LastIndex(raw, "\x1b]9;4;0") < strings.LastIndex(raw, "\x1b]9;4;1;") {
		t.Error("the progress bar stays")
	}
	mergeHeadless(t, model, adapter, out)
	mergeHeadless(t, model, adapter, want)
	sameMerge(t, out, want)
}

// A terminal may become any size; the cursor stays on its layer.
func TestScreenResize(t *testing.T) {
	s := startScreen(t, 120, 36)
	s.waitFor("7.3%")
	s.typeKeys("/layer:2 v_proj\r")
	s.settle()
	resize := func(w, h int) {
		t.Helper()
		s.term.Resize(w, h)
		if err := pty.Setsize(s.tty, &pty.Winsize{Cols: uint16(w), Rows: uint16(h)}); err != nil {
			t.Fatal(err)
		}
	}
	resize(50, 10)
	s.waitFor("needs 60x14, have 50x10")
	for _, size := range [][2]int{{60, 16}, {200, 60}, {80, 24}} {
		resize(size[0], size[1])
		s.wait("drawn", func() bool {
			lines := strings.Split(s.term.Text(), "\n")
			return strings.Contains(lines[size[1]-1], "q quit")
		})
		s.settle()
		found := false
		for line := range strings.SplitSeq(s.term.Text(), "\n") {
			found = found || strings.Contains(line, "v_proj") && strings.Contains(line, "▌")
		}
		if !found {
			t.Errorf("%v: the cursor is lost:\n%s", size, s.term.Text())
		}
	}
	s.typeKeys("q")
	if code := s.exit(); code != exitFine {
		t.Errorf("exit code %d", code)
	}
}

// A session goes on where the last one ended.
func TestScreenSession(t *testing.T) {
	home := t.TempDir()
	model, adapter := filepath.Join("testdata", "golden", "bases", "llama-nf4"), filepath.Join("testdata", "golden", "cases", "adapter-bf16", "adapter")
	s := startScreenIn(t, home, 120, 36, model, "-a", adapter)
	s.waitFor("adapter is kept")
	s.typeKeys("/q_proj\r")
	s.settle()
	s.typeKeys("v") // the layers pane does not know it
	s.typeKeys("-") // scale 0.9
	s.typeKeys("2vb")
	s.settle()
	s.typeKeys("q")
	if code := s.exit(); code != exitFine {
		t.Fatalf("exit code %d", code)
	}
	s = startScreenIn(t, home, 120, 36, model)
	s.waitFor("×.9")
	s.waitFor("snr · p99")
	s.settle()
	s.typeKeys("q")
	s.exit()
}
