package merge

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"mergescope/loader"
)

// hashes returns the digest of every file under dir, links left out.
func hashes(t testing.TB, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(name)
		sum := sha256.Sum256(b)
		rel, _ := filepath.Rel(dir, name)
		out[filepath.ToSlash(rel)] = hex.EncodeToString(sum[:])
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func sameFiles(t testing.TB, what string, got, want map[string]string) {
	t.Helper()
	for n, h := range want {
		if got[n] != h {
			t.Errorf("%s: %s differs or is missing", what, n)
		}
	}
	for n := range got {
		if want[n] == "" {
			t.Errorf("%s: %s should not be there", what, n)
		}
	}
}

// checkInterrupted holds the digests of an interrupted directory against those of
// the finished one: a
// file under a final name must be the final file, and the configuration, which
// makes it loadable, must not be there before everything else is.
func checkInterrupted(t testing.TB, got, want map[string]string) {
	t.Helper()
	for n, h := range got {
		switch {
		case n == stateName, n == lockName, partFile.MatchString(n), strings.HasSuffix(n, partialSuffix), strings.HasSuffix(n, ".tmp"):
		case want[n] != h:
			t.Errorf("interrupted: %s is not what it will be", n)
		case n == configName:
			for m := range want {
				if got[m] == "" {
					t.Errorf("interrupted: %s is there before %s", n, m)
				}
			}
		}
	}
}

// tripDevice counts what is done to files and fails from the operation at which
// trip reports an error.
type tripDevice struct {
	device
	trip func(bytes int) error
}

func (d tripDevice) WriteAt(p []byte, off int64) (int, error) {
	if err := d.trip(len(p)); err != nil {
		n, _ := d.device.WriteAt(p[:len(p)/2], off) // torn
		return n, err
	}
	return d.device.WriteAt(p, off)
}

func (d tripDevice) Truncate(size int64) error {
	if err := d.trip(0); err != nil {
		return err
	}
	return d.device.Truncate(size)
}

func (d tripDevice) Sync() error {
	if err := d.trip(0); err != nil {
		return err
	}
	return d.device.Sync()
}

// tripOutput opens an output whose files fail as trip says and whose state is
// saved at every step.
func tripOutput(ctx context.Context, spec outputSpec, trip func(bytes int) error) (*output, error) {
	o := &output{spec: spec}
	o.create = func(root *os.Root, name string) (device, error) {
		d, err := createFile(root, name)
		return tripDevice{d, trip}, err
	}
	return o, o.open(ctx)
}

// abandon lets go of an output as a killed process does: nothing is saved.
func abandon(o *output) {
	if o.root == nil {
		return
	}
	for _, s := range o.shards {
		if s.dev != nil {
			s.dev.Close()
		}
	}
	o.lock.f.Close()
	o.root.Close()
}

// mixed gives the quantized weights alternating output forms.
func mixed() func(*loader.Weight) Output {
	i := 0
	return func(w *loader.Weight) Output {
		if w.State == nil && w.SCB == nil {
			return ""
		}
		i++
		return []Output{Same, Same, AsBF16, Same, Keep}[i%5]
	}
}

// TestCrashAnywhere ends a merge at many of its file operations, the last one
// torn, resumes it and compares with an uninterrupted merge.
func TestCrashAnywhere(t *testing.T) {
	for _, base := range []string{"llama-nf4-shards", "llama-nf4-dq"} {
		t.Run(base, func(t *testing.T) {
			c := goldenBase(t, base)
			layers := layersOf(c, mixed())
			spec := outputSpec{dir: filepath.Join(t.TempDir(), "ref"), model: c, layers: layers, plan: "p"}
			var ops atomic.Int64
			o, err := tripOutput(t.Context(), spec, func(int) error { ops.Add(1); return nil })
			if err == nil {
				err = fakeMerge(t.Context(), diskSink{o}, layers)
			}
			if err != nil {
				t.Fatal(err)
			}
			o.close()
			want := hashes(t, spec.dir)
			input := hashes(t, c.Path)

			const points = 10
			for i := range int64(points) {
				crashAt(t, spec, ops.Load()*i/points, want)
			}
			sameFiles(t, "input", hashes(t, c.Path), input)
		})
	}
}

var errCrash = errors.New("crash")

// crashAt merges until the given file operation, then once more to twice as
// far, then to the end.
func crashAt(t *testing.T, spec outputSpec, at int64, want map[string]string) {
	spec.dir = filepath.Join(t.TempDir(), "out")
	for _, limit := range []int64{at, 2 * at, 1 << 62} {
		var ops atomic.Int64
		o, err := tripOutput(t.Context(), spec, func(int) error {
			if ops.Add(1) > limit {
				return errCrash
			}
			return nil
		})
		if err == nil {
			err = fakeMerge(t.Context(), diskSink{o}, spec.layers)
		}
		if err != nil && !errors.Is(err, errCrash) {
			t.Fatalf("operation %d: %v", at, err)
		}
		abandon(o)
		if err == nil {
			break
		}
		if limit == 1<<62 {
			t.Fatalf("operation %d: not finished", at)
		}
		checkInterrupted(t, hashes(t, spec.dir), want)
	}
	got := hashes(t, spec.dir)
	delete(got, lockName) // abandoned, as after a kill
	sameFiles(t, "resumed", got, want)
}

// TestDiskFull: the error says what could not be written where, finished
// weights survive, and the merge goes on when there is room.
func TestDiskFull(t *testing.T) {
	c := goldenBase(t, "llama-nf4-dq")
	layers := layersOf(c, quantizedAs(Same))
	ref := filepath.Join(t.TempDir(), "ref")
	writeFake(t, ref, c, layers)

	spec := outputSpec{dir: filepath.Join(t.TempDir(), "out"), model: c, layers: layers, plan: "p"}
	var room atomic.Int64
	room.Store(30_000)
	trip := func(n int) error {
		if room.Add(-int64(n)) < 0 {
			return &fs.PathError{Op: "write", Path: "model.safetensors.partial", Err: syscall.ENOSPC}
		}
		return nil
	}
	o, err := tripOutput(t.Context(), spec, trip)
	if err != nil {
		t.Fatal(err)
	}
	err = fakeMerge(t.Context(), diskSink{o}, layers)
	if a := diskAlert(err); len(a) != 1 || a[0].Code != CodeDisk || a[0].Level != Error {
		t.Errorf("alerts %+v", a)
	}
	if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "model.safetensors: tensor model.layers.") {
		t.Fatalf("error %v", err)
	}
	if err := o.close(); err != nil {
		t.Fatal(err)
	}
	checkInterrupted(t, hashes(t, spec.dir), hashes(t, ref))

	room.Store(1 << 40)
	if o, err = tripOutput(t.Context(), spec, trip); err != nil {
		t.Fatal(err)
	}
	done := 0
	for _, l := range layers {
		if w := o.layer(l.Weight.Name); w.done() {
			done++
			if !strings.Contains(string(w.note()), l.Weight.Name) {
				t.Errorf("%s: note %s", w.name, w.note())
			}
		}
	}
	if done == 0 {
		t.Error("nothing of the first run was kept")
	}
	if err := fakeMerge(t.Context(), diskSink{o}, layers); err != nil {
		t.Fatal(err)
	}
	if err := o.close(); err != nil {
		t.Fatal(err)
	}
	sameFiles(t, "resumed", hashes(t, spec.dir), hashes(t, ref))
}

// TestCancelAndResume cancels at several points; close saves what is finished.
func TestCancelAndResume(t *testing.T) {
	c := goldenBase(t, "llama-int8")
	layers := layersOf(c, quantizedAs(Same))
	ref := filepath.Join(t.TempDir(), "ref")
	writeFake(t, ref, c, layers)
	spec := outputSpec{dir: filepath.Join(t.TempDir(), "out"), model: c, layers: layers, plan: "p"}
	for _, limit := range []int64{5, 30, 60, 90} {
		ctx, cancel := context.WithCancel(t.Context())
		var ops atomic.Int64
		o, err := tripOutput(ctx, spec, func(int) error {
			if ops.Add(1) == limit {
				cancel()
			}
			return nil
		})
		if err == nil {
			err = fakeMerge(ctx, diskSink{o}, layers)
		}
		cancel()
		if err := o.close(); err != nil {
			t.Fatal(err)
		}
		if err == nil {
			t.Fatalf("finished before operation %d", limit)
		}
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		checkInterrupted(t, hashes(t, spec.dir), hashes(t, ref))
	}
	writeFake(t, spec.dir, c, layers)
	sameFiles(t, "resumed", hashes(t, spec.dir), hashes(t, ref))
}

// copyDir copies the files of a directory without its links.
func copyDir(t testing.TB, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

// TestInputShrinks: a weights file cut short while it is copied is an error that
// names it, and no reason to lose what is written.
func TestInputShrinks(t *testing.T) {
	src := filepath.Join(t.TempDir(), "model")
	copyDir(t, filepath.Join("..", "testdata", "golden", "bases", "llama-nf4-shards"), src)
	ref := filepath.Join(t.TempDir(), "ref")
	whole := modelAt(t, src)
	layers := layersOf(whole, quantizedAs(Same))
	writeFake(t, ref, whole, layers)

	dir := filepath.Join(t.TempDir(), "out")
	o, err := openOutput(t.Context(), outputSpec{dir: dir, model: whole, layers: layers, plan: "p"})
	if err != nil {
		t.Fatal(err)
	}
	first := whole.Files[0]
	file := filepath.Join(src, first.Rel)
	saved, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(file, 8+first.Header+600); err != nil {
		t.Fatal(err)
	}
	err = fakeMerge(t.Context(), diskSink{o}, layers)
	if !errors.Is(err, io.ErrUnexpectedEOF) || !strings.Contains(err.Error(), first.Rel+": tensor lm_head.weight: byte ") {
		t.Fatalf("error %v", err)
	}
	o.close()
	checkInterrupted(t, hashes(t, dir), hashes(t, ref))
	if err := os.WriteFile(file, saved, 0o644); err != nil {
		t.Fatal(err)
	}
	writeFake(t, dir, whole, layers)
	sameFiles(t, "resumed", hashes(t, dir), hashes(t, ref))
}

// TestResumeVerifies: what was damaged since it was written is written again,
// in unfinished and in finished files.
func TestResumeVerifies(t *testing.T) {
	c := goldenBase(t, "llama-nf4-shards")
	layers := layersOf(c, quantizedAs(Same))
	ref := filepath.Join(t.TempDir(), "ref")
	writeFake(t, ref, c, layers)
	want := hashes(t, ref)
	for _, damage := range []string{"data", "header", "cut", "removed"} {
		spec := outputSpec{dir: filepath.Join(t.TempDir(), "out"), model: c, layers: layers, plan: "p"}
		o, err := tripOutput(t.Context(), spec, func(int) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		if err := fakeMerge(t.Context(), noFinish{diskSink{o}}, layers); err != nil {
			t.Fatal(err)
		}
		o.close()
		if _, err := (loader.Source{}).Checkpoint(spec.dir); err == nil || !strings.Contains(err.Error(), "unfinished") {
			t.Errorf("an unfinished output opens: %v", err)
		}
		name := filepath.Join(spec.dir, c.Files[1].Rel)
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		switch damage {
		case "data":
			b[len(b)/2] ^= 1
		case "header":
			b[9] ^= 1
		case "cut":
			b = b[:len(b)/2]
		}
		if err := os.WriteFile(name, b, 0o644); err != nil {
			t.Fatal(err)
		}
		if damage == "removed" {
			if err := os.Remove(name); err != nil {
				t.Fatal(err)
			}
		}
		writeFake(t, spec.dir, c, layers)
		sameFiles(t, damage, hashes(t, spec.dir), want)
	}
}

// noFinish is a sink whose process ends just before finish.
type noFinish struct{ diskSink }

func (noFinish) finish(context.Context, []byte) error { return nil }

// TestResumeUnloads: a directory whose weights are in doubt must not load while
// they are verified and repaired, even if a run came as far as config.json.
func TestResumeUnloads(t *testing.T) {
	c := goldenBase(t, "llama-nf4-shards")
	layers := layersOf(c, quantizedAs(Same))
	spec := outputSpec{dir: filepath.Join(t.TempDir(), "out"), model: c, layers: layers, plan: "p"}
	if err := openAndClose(t, spec); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{configName, c.Index} {
		writeFile(t, filepath.Join(spec.dir, name), []byte("{}"))
	}
	if err := openAndClose(t, spec); err != nil {
		t.Fatal(err)
	}
	checkNames(t, spec.dir, stateName)
	writeFake(t, spec.dir, c, layers)
	checkFake(t, spec.dir, c, layers)
}

// TestEngineMistakes: what an engine leaves out or writes in the wrong place is
// an error, never a checkpoint with holes.
func TestEngineMistakes(t *testing.T) {
	c := goldenBase(t, "llama-nf4")
	w := c.Weight("model.layers.0.self_attn.q_proj")
	state := w.State.JSON.Name
	for name, tt := range map[string]struct {
		form Output
		do   func(*layerOutput) error
		want string
	}{
		"half":      {Same, func(l *layerOutput) error { return l.WriteAt(w.Param, make([]byte, 10), 0) }, "10 of 2048 bytes were written"},
		"nothing":   {AsBF16, func(*layerOutput) error { return nil }, "was not written"},
		"beyond":    {Same, func(l *layerOutput) error { return l.WriteAt(w.Param, make([]byte, 10), 2040) }, "bytes 2040 to 2050 lie outside"},
		"before":    {Same, func(l *layerOutput) error { return l.WriteAt(w.Param, make([]byte, 10), -1) }, "lie outside"},
		"unknown":   {Same, func(l *layerOutput) error { return l.WriteAt("x", nil, 0) }, "has no tensor x"},
		"companion": {AsF16, func(l *layerOutput) error { return l.WriteAt(state, nil, 0) }, "has no tensor " + state},
		"pieces":    {Same, func(l *layerOutput) error { return l.WriteAt(state, []byte("{"), 5) }, "in one piece"},
		"long":      {Same, func(l *layerOutput) error { return l.WriteAt(state, make([]byte, 500), 0) }, "lie outside"},
	} {
		layers := layersOf(c, quantizedAs(tt.form))
		dir := filepath.Join(t.TempDir(), "out")
		o, err := openOutput(t.Context(), outputSpec{dir: dir, model: c, layers: layers, plan: "p"})
		if err != nil {
			t.Fatal(err)
		}
		l := o.layer(w.Name)
		if err = tt.do(l); err == nil {
			err = l.commit(t.Context(), nil)
		}
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want %q", name, err, tt.want)
		}
		if err := o.copyRest(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := o.finish(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "tensors are not written") {
			t.Errorf("%s: finished: %v", name, err)
		}
		if err := o.close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestNoRoom asks for more than any disk has.
func TestNoRoom(t *testing.T) {
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	o := &output{
		spec: outputSpec{model: &loader.Checkpoint{}}, root: root,
		shards: []*shard{{layout: &layout{slots: []*slot{{outTensor: outTensor{size: 1 << 60}}}}}},
	}
	if freeBytes(root.Name()) < 0 {
		t.Skip("this system does not say how much is free")
	}
	if a := diskAlert(o.checkSpace()); len(a) != 1 || a[0].Code != CodeDisk || !strings.Contains(a[0].Message, "more bytes are needed") {
		t.Errorf("%+v", a)
	}
	if a := diskAlert(fs.ErrExist); len(a) != 0 {
		t.Errorf("%+v", a)
	}
}
