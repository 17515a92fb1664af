package quant

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// fused matches float32 fused multiply-adds in the assembly listings of Go for
// arm64 and amd64.
var fused = regexp.MustCompile(`\b(FN?M(ADD|SUB)S|VFN?M(ADD|SUB)\d+SS)\b`)

// platforms are those on which the compiler fuses x*y + z.
var platforms = [][]string{
	{"GOOS=linux", "GOARCH=arm64"},
	{"GOOS=linux", "GOARCH=amd64", "GOAMD64=v3"},
}

// fusedIn compiles the package in dir and returns the lines of the listing that
// hold a fused float32 operation.
func fusedIn(t *testing.T, dir string, env []string) (lines []string) {
	t.Helper()
	tool, err := exec.LookPath("go")
	if err != nil {
		t.Skip("needs the go tool to compile for other platforms")
	}
	cmd := exec.Command(tool, "build", "-gcflags=-S", "-o", os.DevNull, ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), append(env, "CGO_ENABLED=0", "GOFLAGS=")...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", env, err, out)
	}
	if !strings.Contains(string(out), "STEXT") {
		t.Fatalf("%v: no assembly listing", env)
	}
	for line := range strings.Lines(string(out)) {
		if fused.MatchString(line) {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

// The compiler may fuse any product with the addition that takes it unless an
// explicit conversion stands between them. One forgotten conversion changes
// last bits on other machines only, so no other test here can see it.
func TestNothingIsFused(t *testing.T) {
	for _, env := range platforms {
		for _, line := range fusedIn(t, ".", env) {
			t.Errorf("%v: fused operation: %s", env, line)
		}
	}
}

func TestFusedIsFound(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod": "module control\n\ngo 1.26\n",
		"a.go":   "package control\n\nfunc F(x, y, z float32) float32 { return x*y + z }\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, env := range platforms {
		if len(fusedIn(t, dir, env)) == 0 {
			t.Errorf("%v: the listing's x*y + z was not recognized", env)
		}
	}
}
