//go:build unix

package merge

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestReadOnly merges as an ordinary user into directories that may not be
// written; nothing is left behind.
func TestReadOnly(t *testing.T) {
	dir, err := os.MkdirTemp("", "mergescope")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	model := filepath.Join(dir, "model")
	copyDir(t, filepath.Join("..", "testdata", "golden", "bases", "llama-nf4"), model)
	locked := filepath.Join(dir, "locked")
	if err := os.Mkdir(locked, 0o555); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "program")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(program, b, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, out := range []string{locked, filepath.Join(locked, "new")} {
		cmd := child(t.Context(), program, model, "", out)
		cmd.Dir = dir
		asNobody(cmd)
		text, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || !strings.Contains(string(text), "permission denied") || !strings.Contains(string(text), "locked") {
			t.Errorf("%s: %v\n%s", out, err, text)
		}
	}
	list, err := os.ReadDir(locked)
	if err != nil || len(list) != 0 {
		t.Errorf("left behind: %v %v", list, err)
	}
}

// asNobody takes the rights of root, whom modes do not stop, from a command.
func asNobody(cmd *exec.Cmd) {
	if os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
}
