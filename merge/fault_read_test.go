package merge

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"mergescope/loader"
)

// faultFS is a file system, say on a network, whose weights cannot be read any
// more after so many reads.
type faultFS struct {
	fs.FS
	left *atomic.Int64
	err  error
}

type faultFile struct {
	fs.File
	f faultFS
}

func (f faultFS) Open(name string) (fs.File, error) {
	file, err := f.FS.Open(name)
	if err != nil || !strings.HasSuffix(name, ".safetensors") {
		return file, err
	}
	return faultFile{file, f}, nil
}

func (f faultFile) ReadAt(p []byte, off int64) (int, error) {
	if f.f.left.Add(-1) < 0 {
		return 0, &fs.PathError{Op: "read", Path: "model.safetensors", Err: f.f.err}
	}
	return f.File.(io.ReaderAt).ReadAt(p, off)
}

// placed is an error at a byte of a tensor, or at the start of the file, where
// its header is and its digest begins.
var placed = regexp.MustCompile(`\.safetensors: (tensor \S+: byte \d+|byte 0): `)

// TestReadFault: a disk or server that fails in the middle of a merge is an error
// that names file, tensor and byte, and the merge goes on when it is back.
func TestReadFault(t *testing.T) {
	ref := filepath.Join(t.TempDir(), "ref")
	open := func(left *atomic.Int64, err error) *Project {
		src := loader.Source{Demo: faultFS{os.DirFS(demoDir), left, err}}
		c, e := src.Checkpoint("demo")
		if e != nil {
			t.Fatal(e)
		}
		a, e := src.Adapter("demo:gocode")
		if e != nil {
			t.Fatal(e)
		}
		t.Cleanup(func() { c.Close(); a.Close() })
		return NewProject(c, a)
	}
	var total atomic.Int64
	total.Store(1 << 40)
	whole := open(&total, nil)
	opening := total.Load()
	if err := runJob(t, whole, whole.NewPlan(), Options{Out: ref}); err != nil {
		t.Fatal(err)
	}
	reads := opening - total.Load()
	want := results(t, ref)
	for i, fault := range []error{syscall.EIO, syscall.ESTALE, io.EOF, syscall.EIO} {
		out := filepath.Join(t.TempDir(), "out")
		var left atomic.Int64
		left.Store(1 << 40)
		p := open(&left, fault)
		left.Store(reads * int64(i+1) / 5)
		err := runJob(t, p, p.NewPlan(), Options{Out: out})
		wanted := fault
		if fault == io.EOF {
			wanted = io.ErrUnexpectedEOF // what a file that is cut short gives
		}
		if !errors.Is(err, wanted) || !placed.MatchString(err.Error()) {
			t.Errorf("after %d reads: %v", reads*int64(i+1)/5, err)
		}
		if _, err := os.Stat(out); err == nil {
			checkInterrupted(t, results(t, out), want)
		}
		left.Store(1 << 40)
		if err := runJob(t, p, p.NewPlan(), Options{Out: out}); err != nil {
			t.Fatal(err)
		}
		sameFiles(t, "after the fault", results(t, out), want)
	}
}
