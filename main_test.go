package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"mergescope": main})
}

// TestScripts runs the commands as processes. Scripts find the golden data as
// $GOLDEN.
func TestScripts(t *testing.T) {
	golden, err := filepath.Abs("testdata/golden")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/scripts",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("GOLDEN", golden)
			e.Setenv("TUNERS", filepath.Join(filepath.Dir(golden), "golden-tuners", "cases"))
			e.Setenv("NO_COLOR", "yes")
			e.Setenv("HF_HOME", filepath.Join(e.WorkDir, "hub"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":    exits,
			"sametree": sameTree,
		},
	})
}

// exits CODE ARGS... runs mergescope and demands the exit code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE ARGS...")
	}
	err := ts.Exec("mergescope", args[1:]...)
	code := "0"
	if err != nil {
		code = "?"
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
			code = strconv.Itoa(exit.ExitCode())
		}
	}
	if code != args[0] {
		ts.Fatalf("exit code %s, want %s (%v)", code, args[0], err)
	}
}

// command runs a command line inside this process.
func command(t *testing.T, args ...string) (stdout, stderr []byte, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, &out, &errs)
	return out.Bytes(), errs.Bytes(), code
}

// commandJSON runs a command that must exit with code and decodes its output.
func commandJSON(t *testing.T, v any, code int, args ...string) {
	t.Helper()
	stdout, stderr, got := command(t, args...)
	if got != code {
		t.Fatalf("%v: exit code %d, want %d\n%s", args, got, code, stderr)
	}
	dec := json.NewDecoder(bytes.NewReader(stdout))
	if err := dec.Decode(v); err != nil {
		t.Fatalf("%v: %v\n%s", args, err, stdout)
	}
	if dec.More() {
		t.Fatalf("%v: more text after the JSON value", args)
	}
}

// sameTree DIR1 DIR2 compares all files of two directories.
func sameTree(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: sametree DIR1 DIR2")
	}
	a, b := tree(ts, args[0]), tree(ts, args[1])
	same := len(a) == len(b)
	for name, data := range a {
		if b[name] != data {
			same = false
			ts.Logf("%s differs", name)
		}
	}
	if same == neg {
		ts.Fatalf("same files: %v", same)
	}
}

func tree(ts *testscript.TestScript, dir string) map[string]string {
	files := map[string]string{}
	root := ts.MkAbs(dir)
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		rel, _ := filepath.Rel(root, path)
		files[rel] = string(data)
		return err
	})
	ts.Check(err)
	return files
}
