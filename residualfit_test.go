package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A merge finds its residual, and what is written beside the model has it; a plan
// that was found the same way says so.
func TestResidualKL(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	args := []string{"demo", "-a", "demo:gocode-light", "--method", "calibrated,tokens=256", "--residual-kl", "0.0005", "--max-tokens", "512"}
	_, stderr, code := command(t, append([]string{"merge", "-o", out, "--calibration", "builtin"}, args...)...)
	if code != exitFine || !strings.Contains(string(stderr), "a residual of rank ") {
		t.Fatalf("exit code %d\n%s", code, stderr)
	}
	if _, err := os.Stat(filepath.Join(out, "adapter", "adapter_model.safetensors")); err != nil {
		t.Error(err)
	}
	stdout, stderr, code := command(t, append([]string{"plan"}, append(args, "--statistics", filepath.Join(t.TempDir(), "s"))...)...)
	if code != exitFine || !strings.Contains(string(stdout), ",residual=") || !strings.Contains(string(stderr), "reaches a KL of") {
		t.Errorf("exit code %d\n%s\n%s", code, stdout, stderr)
	}
	for _, wrong := range [][]string{
		{"merge", "demo", "-a", "demo:gocode-light", "-o", out, "--residual-kl", "0"},
		{"merge", "demo", "-a", "demo:gocode-light", "-o", out, "--residual-kl", "1", "--shard", "1/2"},
		{"plan", "demo", "-a", "demo:gocode-light", "--residual-kl", "1", "--advise"},
	} {
		if _, stderr, code := command(t, wrong...); code != exitUsage {
			t.Errorf("%v: exit code %d\n%s", wrong, code, stderr)
		}
	}
}
