//go:build linux

package merge

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestFileSizeLimit lets the kernel refuse what is written beyond a limit. The
// shell counts it in blocks of 512 or 1024 bytes; the demo's weights have 1 MB.
func TestFileSizeLimit(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	model, adapter := filepath.Join(demoDir, "base-nf4"), filepath.Join(demoDir, "adapter-gocode")
	ref, out := filepath.Join(t.TempDir(), "ref"), filepath.Join(t.TempDir(), "out")
	if b, err := child(t.Context(), program, model, adapter, ref).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	want, input := results(t, ref), hashes(t, model)
	limited := exec.CommandContext(t.Context(), "sh", "-c", `ulimit -f 300; exec "$0" "$@"`, program, "-test.run=^TestMergeChild$")
	limited.Env = child(t.Context(), program, model, adapter, out).Env
	b, err := limited.CombinedOutput()
	if err == nil || !strings.Contains(string(b), "model.safetensors") || !strings.Contains(string(b), "file too large") {
		t.Fatalf("%v\n%s", err, b)
	}
	checkInterrupted(t, results(t, out), want)
	if b, err := child(t.Context(), program, model, adapter, out).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	sameFiles(t, "after the limit", results(t, out), want)
	sameFiles(t, "input", hashes(t, model), input)
}
