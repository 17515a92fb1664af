package merge

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"mergescope/loader"
)

// TestRefusedTargets tries every way in which an output directory can be an
// input or somebody else's, links included.
func TestRefusedTargets(t *testing.T) {
	root := t.TempDir()
	in := filepath.Join(root, "models", "base")
	copyDir(t, filepath.Join("..", "testdata", "golden", "bases", "llama-nf4"), in)
	link := func(name, to string) {
		if err := os.Symlink(to, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	link("same", in)
	link("models2", filepath.Join(root, "models"))
	link("loop", filepath.Join(root, "loop"))
	link("dangling", filepath.Join(root, "nowhere"))
	writeFile(t, filepath.Join(root, "full", "notes.txt"), []byte("mine"))
	writeFile(t, filepath.Join(root, "file"), nil)
	writeFile(t, filepath.Join(root, "hidden", ".gitattributes"), nil)
	if err := os.Mkdir(filepath.Join(root, "empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	link("toempty", filepath.Join(root, "empty"))
	before := hashes(t, root)

	c := modelAt(t, in)
	for _, tt := range []struct{ dir, want string }{
		{"models/base", "is the input"},
		{"models/base/", "is the input"},
		{"models/../models/./base", "is the input"},
		{"same", "is the input"},
		{"models2/base", "is the input"},
		{"models/base/merged", "inside the input"},
		{"same/merged/deep", "inside the input"},
		{"models2/base/merged", "inside the input"},
		{"models", "not empty"},
		{"full", "not empty (it holds notes.txt)"},
		{"file", "is a file"},
		{"loop", "too many links"},
		{"dangling", "link to nowhere"},
		{"", "no output directory"},
	} {
		dir := tt.dir
		if dir != "" {
			dir = root + "/" + dir
		}
		spec := outputSpec{dir: dir, model: c, plan: "p"}
		for _, err := range []error{checkOutput(spec), openAndClose(t, spec)} {
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%q: error %v, want %q", tt.dir, err, tt.want)
			}
			if tt.dir != "loop" && !errors.Is(err, ErrRefused) {
				t.Errorf("%q: not a refusal: %v", tt.dir, err)
			}
		}
	}
	sameFiles(t, "refused", hashes(t, root), before)

	for _, dir := range []string{"new", "deep/er/new", "empty", "toempty", "hidden", "models/base2"} {
		spec := outputSpec{dir: filepath.Join(root, dir), model: c, plan: "p"}
		if err := checkOutput(spec); err != nil {
			t.Errorf("%s: %v", dir, err)
		}
		if err := openAndClose(t, spec); err != nil {
			t.Errorf("%s: %v", dir, err)
		}
	}
}

func openAndClose(t *testing.T, spec outputSpec) error {
	o, err := openOutput(t.Context(), spec)
	if err != nil {
		return err
	}
	return o.close()
}

// TestLoneFile: beside a weights file without config.json an output directory
// may be made; inside a model directory it may not, however the model is named.
func TestLoneFile(t *testing.T) {
	root := t.TempDir()
	b, err := os.ReadFile(filepath.Join("..", "testdata", "golden", "bases", "llama-nf4", "model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(root, "w.safetensors")
	writeFile(t, file, b)
	out := filepath.Join(root, "out")
	c := modelAt(t, file)
	layers := layersOf(c, quantizedAs(Same))
	writeFake(t, out, c, layers)
	checkNames(t, out, reportName, "w.safetensors")
	err = checkOutput(outputSpec{dir: out, model: c, plan: "p"})
	if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "finished merge") {
		t.Errorf("second merge: error %v", err)
	}

	if got := FreeOutput(out); got != out+"-2" {
		t.Errorf("after a finished merge %s is proposed", got)
	}
	writeFile(t, filepath.Join(out+"-2", "notes.txt"), nil)
	if got := FreeOutput(out); got != out+"-3" {
		t.Errorf("beside foreign files %s is proposed", got)
	}
	writeFile(t, filepath.Join(out+"-2", stateName), nil)
	if got := FreeOutput(out); got != out+"-2" {
		t.Errorf("beside an unfinished run %s is proposed", got)
	}

	writeFile(t, filepath.Join(root, "config.json"), []byte("{}"))
	spec := outputSpec{dir: filepath.Join(root, "out2"), model: modelAt(t, file), plan: "p"}
	if err := checkOutput(spec); !errors.Is(err, ErrRefused) {
		t.Errorf("error %v", err)
	}
}

func checkNames(t *testing.T, dir string, want ...string) {
	t.Helper()
	if got := keys(hashes(t, dir)); !sameSet(got, want) {
		t.Errorf("%s holds %v, want %v", dir, got, want)
	}
}

// TestOtherRun: a directory of another plan, another input or another program
// version is left alone.
func TestOtherRun(t *testing.T) {
	c := goldenBase(t, "llama-nf4")
	spec := outputSpec{dir: filepath.Join(t.TempDir(), "out"), model: c, plan: "p"}
	if err := openAndClose(t, spec); err != nil {
		t.Fatal(err)
	}
	before := hashes(t, spec.dir)
	refuse := func(what, want string, spec outputSpec) {
		t.Helper()
		for _, err := range []error{checkOutput(spec), openAndClose(t, spec)} {
			if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: error %v", what, err)
			}
		}
	}
	other := spec
	other.plan = "q"
	refuse("plan", "another plan", other)

	// The same file with the last byte of one tensor changed.
	src := filepath.Join(t.TempDir(), "model")
	copyDir(t, c.Path, src)
	other = spec
	other.model = modelAt(t, src)
	if err := checkOutput(other); err != nil {
		t.Errorf("a copy of the input is refused: %v", err)
	}
	file := filepath.Join(src, "model.safetensors")
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	x := c.Weights[len(c.Weights)/2].Data
	b[x.Offset+x.Size-1] ^= 1
	writeFile(t, file, b)
	other.model = modelAt(t, src)
	refuse("input", "other input files", other)
	sameFiles(t, "refused", hashes(t, spec.dir), before)

	state := filepath.Join(spec.dir, stateName)
	for text, want := range map[string]string{
		`{"version":99,"plan_digest":"p","files":{},"layers":{},"kept":{}}`: "version 99",
		`{"version":1`:  "cannot be read",
		`null`:          "version 0",
		`{"version":2}`: "damaged",
	} {
		writeFile(t, state, []byte(text))
		refuse(text, want, spec)
	}
}

// TestPlantedFiles: links and foreign weights put into a directory that would
// be resumed lead to no input and into no mixture.
func TestPlantedFiles(t *testing.T) {
	src := filepath.Join(t.TempDir(), "model")
	copyDir(t, filepath.Join("..", "testdata", "golden", "bases", "llama-nf4"), src)
	before := hashes(t, src)
	c := modelAt(t, src)
	layers := layersOf(c, quantizedAs(Same))
	target := filepath.Join(src, "model.safetensors")
	for name, plant := range map[string]func(dir string) error{
		"partial link": func(dir string) error {
			return os.Symlink(target, filepath.Join(dir, "model.safetensors.partial"))
		},
		"final link": func(dir string) error { return os.Symlink(target, filepath.Join(dir, "model.safetensors")) },
		"foreign weights": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "pytorch_model.bin"), nil, 0o644)
		},
		"lock link": func(dir string) error { return os.Symlink(target, filepath.Join(dir, lockName)) },
		"hard link": func(dir string) error { return os.Link(target, filepath.Join(dir, "model.safetensors.partial")) },
	} {
		spec := outputSpec{dir: filepath.Join(t.TempDir(), "out"), model: c, layers: layers, plan: "p"}
		if err := openAndClose(t, spec); err != nil {
			t.Fatal(err)
		}
		if err := plant(spec.dir); err != nil {
			t.Fatal(err)
		}
		o, err := openOutput(t.Context(), spec)
		if err == nil {
			err = fakeMerge(t.Context(), diskSink{o}, layers)
		}
		if err == nil {
			t.Errorf("%s: not refused", name)
		}
		o.close()
		sameFiles(t, name, hashes(t, src), before)
	}
	// A link for a temporary name is replaced, not followed.
	spec := outputSpec{dir: filepath.Join(t.TempDir(), "out"), model: c, layers: layers, plan: "p"}
	if err := openAndClose(t, spec); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{stateName + ".tmp", configName + ".tmp", configName} {
		if err := os.Symlink(filepath.Join(src, "config.json"), filepath.Join(spec.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	writeFake(t, spec.dir, c, layers)
	checkFake(t, spec.dir, c, layers)
	sameFiles(t, "temporary link", hashes(t, src), before)
}

// TestTwoWriters: while one output is open, another for the same directory is
// refused; the lock of a dead process holds nobody up.
func TestTwoWriters(t *testing.T) {
	c := goldenBase(t, "llama-nf4")
	spec := outputSpec{dir: filepath.Join(t.TempDir(), "out"), model: c, plan: "p"}
	o, err := openOutput(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	err = openAndClose(t, spec)
	if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "another process (pid ") {
		t.Errorf("error %v", err)
	}
	if err := o.close(); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(spec.dir, lockName), []byte("pid 1\n"))
	if err := openAndClose(t, spec); err != nil {
		t.Error(err)
	}
	checkNames(t, spec.dir, stateName)
}

// FuzzState: a state of any content is taken or refused.
func FuzzState(f *testing.F) {
	f.Add([]byte(`{"version":2,"plan_digest":"p","inputs":[],"files":{"model.safetensors":{"a":{"checksum":"0000000000000000","size":1,"data":"AA=="}}},"layers":{"x":null},"kept":{"x":true}}`))
	f.Add([]byte(`{"version":2,"files":{"model.safetensors":null},"layers":{},"kept":{}}`))
	c, err := loader.Source{}.Checkpoint(filepath.Join("..", "testdata", "golden", "bases", "llama-nf4"))
	if err != nil {
		f.Fatal(err)
	}
	defer c.Close()
	ids, err := identifyAll([]*loader.Checkpoint{c}, nil)
	if err != nil {
		f.Fatal(err)
	}
	dir := f.TempDir()
	layers := layersOf(c, quantizedAs(AsBF16))
	f.Fuzz(func(t *testing.T, text []byte) {
		root, err := os.OpenRoot(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		writeFile(t, filepath.Join(dir, stateName), text)
		writeFile(t, filepath.Join(dir, "model.safetensors.partial"), nil)
		s, err := loadState(root, stateName)
		if err != nil || s == nil {
			return
		}
		o := &output{spec: outputSpec{dir: dir, model: c, layers: layers}, root: root, create: createFile}
		if err := o.arrange(s.Kept); err != nil {
			t.Fatal(err)
		}
		if err := o.resume(t.Context(), s, newState("p", ids)); err != nil {
			t.Fatal(err)
		}
		for _, s := range o.shards {
			if s.dev != nil {
				s.dev.Close()
			}
		}
	})
}

// A directory that another process makes while an output is looked for is found,
// or not yet there.
func TestResolveWhileMade(t *testing.T) {
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3000 {
		path := filepath.Join(root, strconv.Itoa(i))
		made := make(chan error, 1)
		go func() { made <- os.Mkdir(path, 0o777) }()
		if got, err := resolve(path); err != nil || got != path {
			t.Errorf("%s is %q, %v", path, got, err)
		}
		if err := <-made; err != nil {
			t.Fatal(err)
		}
	}
}
