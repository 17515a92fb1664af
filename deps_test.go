package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// allowed lists, for every package, the packages of this module it may import.
// Packages below a listed one count as the listed one.
var allowed = map[string][]string{
	"mergescope":        {"tui", "merge", "model", "loader", "themes"},
	"mergescope/tui":    {"merge", "model", "loader", "quant", "themes"},
	"mergescope/merge":  {"model", "loader", "quant"},
	"mergescope/model":  {"loader", "quant"},
	"mergescope/loader": {"quant"},
	"mergescope/quant":  {},
	"mergescope/themes": {},
}

type goPackage struct {
	ImportPath string
	Imports    []string
	Standard   bool
	Module     *struct{ Path string }
}

// listPackages runs go list on this module and everything it needs.
func listPackages(t *testing.T) []goPackage {
	t.Helper()
	cmd := exec.Command("go", "list", "-deps", "-json=ImportPath,Imports,Standard,Module", "./...")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.Bytes())
	}
	var pkgs []goPackage
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return pkgs
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
}

// room returns the listed package that path is or lies below.
func room(path string) string {
	rest, ok := strings.CutPrefix(path, "mergescope/")
	if !ok {
		return path
	}
	top, _, _ := strings.Cut(rest, "/")
	return "mergescope/" + top
}

func TestDependencies(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range listPackages(t) {
		if p.Module == nil || p.Module.Path != "mergescope" {
			continue
		}
		from := room(p.ImportPath)
		seen[from] = true
		may, known := allowed[from]
		if !known {
			t.Errorf("%s: a new package; say in deps_test.go what it may import", p.ImportPath)
		}
		for _, imp := range p.Imports {
			if to := room(imp); strings.HasPrefix(to, "mergescope") && to != from &&
				!slices.Contains(may, strings.TrimPrefix(to, "mergescope/")) {
				t.Errorf("%s imports %s, against the arrows in docs/architecture.md", p.ImportPath, imp)
			}
			charm := strings.HasPrefix(imp, "charm.land/") || strings.HasPrefix(imp, "github.com/charmbracelet/")
			if charm && from != "mergescope/tui" && (from != "mergescope" || imp != "charm.land/fang/v2") {
				t.Errorf("%s imports %s; only tui draws", p.ImportPath, imp)
			}
			if imp == "C" {
				t.Errorf("%s uses cgo", p.ImportPath)
			}
		}
	}
	for name := range allowed {
		if !seen[name] {
			t.Errorf("go list does not know %s", name)
		}
	}
}

// What the sources of quant may not contain: it neither opens anything nor
// runs beside its caller. sync/atomic is for the choice of kernels.
func TestQuantIsArithmetic(t *testing.T) {
	forbidden := []string{"bufio", "context", "io", "io/fs", "log", "net", "os", "path/filepath", "runtime", "sync", "syscall", "time"}
	files := goFiles(t, "quant")
	for name, f := range files {
		if strings.HasSuffix(name, "_test.go") || f.Name.Name == "main" {
			continue // generators are programs of their own
		}
		for _, spec := range f.Imports {
			if path := strings.Trim(spec.Path.Value, `"`); slices.Contains(forbidden, path) {
				t.Errorf("%s imports %s", name, path)
			}
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if _, ok := n.(*ast.GoStmt); ok {
				t.Errorf("%s starts a goroutine", name)
			}
			return true
		})
	}
	if len(files) == 0 {
		t.Fatal("no files in quant")
	}
}

// goFiles parses the Go files below dir.
func goFiles(t *testing.T, dir string) map[string]*ast.File {
	t.Helper()
	files := map[string]*ast.File{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		files[path] = f
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// No function of this module runs before main, and none keeps state in package
// variables that functions change: init functions are where both begin.
func TestNoInit(t *testing.T) {
	for name, f := range goFiles(t, ".") {
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				t.Errorf("%s has an init function", name)
			}
		}
	}
}

// A committed file names no path of the machine it was written on, so that it
// means the same everywhere.
func TestNoMachinePaths(t *testing.T) {
	// Written in two parts, or this file would find itself.
	paths := []string{"/ho" + "me/", "/ro" + "ot/", "/wo" + "rk/", "/Us" + "ers/"}
	checked := 0
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			hidden := strings.HasPrefix(d.Name(), ".") && path != "." && path != ".ci"
			if hidden || path == "dist" {
				return fs.SkipDir
			}
			return nil
		}
		if !d.Type().IsRegular() || d.Name() == "mergescope" || d.Name() == ".git" { // .git is a file in a linked worktree
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if bytes.IndexByte(data, 0) >= 0 {
			return nil // binary
		}
		checked++
		for _, p := range paths {
			if i := bytes.Index(data, []byte(p)); i >= 0 {
				line := 1 + bytes.Count(data[:i], []byte("\n"))
				t.Errorf("%s:%d: names a path that begins with %s", path, line, p)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if checked < 50 {
		t.Fatalf("only %d text files looked at", checked)
	}
}
