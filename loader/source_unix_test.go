//go:build unix

package loader

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestOddFiles: links that lead round in a circle, pipes and directories with
// a file's name are errors and never wait.
func TestOddFiles(t *testing.T) {
	dir := t.TempDir()
	link := func(to, name string) {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	link("b.safetensors", "a.safetensors")
	link("a.safetensors", "b.safetensors")
	_, err := Source{}.Checkpoint(dir)
	wantError(t, err, "a.safetensors", syscall.ELOOP.Error())
	_, err = Source{}.Checkpoint(filepath.Join(dir, "b.safetensors"))
	wantError(t, err, "b.safetensors", syscall.ELOOP.Error())
	dir = t.TempDir()
	link("self", "self")
	_, err = Source{}.Checkpoint(filepath.Join(dir, "self"))
	wantError(t, err, syscall.ELOOP.Error())
	if err := os.Mkdir(filepath.Join(dir, "model.safetensors"), 0o777); err != nil {
		t.Fatal(err)
	}
	_, err = Source{}.Checkpoint(dir)
	wantError(t, err, "no .safetensors file")
	dir = write(t, "x.json", "")
	if err := syscall.Mkfifo(filepath.Join(dir, "model.safetensors"), 0o666); err != nil {
		t.Fatal(err)
	}
	_, err = Source{}.Checkpoint(dir)
	wantError(t, err, "model.safetensors: is a named pipe, not a file")
	dir = write(t, "model.safetensors", tinyModel)
	link("config.json", "config.json")
	_, err = Source{}.Checkpoint(dir)
	wantError(t, err, "config.json", syscall.ELOOP.Error())
}
