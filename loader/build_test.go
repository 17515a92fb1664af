package loader

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// entry is a tensor for build.
type entry struct {
	name, dtype string
	shape       []int64
	data        []byte
}

func f32s(v ...float32) []byte {
	var b []byte
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
	}
	return b
}

// build writes a well-formed safetensors file.
func build(entries ...entry) []byte {
	var head, data bytes.Buffer
	head.WriteByte('{')
	for i, e := range entries {
		if i > 0 {
			head.WriteByte(',')
		}
		shape, _ := json.Marshal(append([]int64{}, e.shape...))
		fmt.Fprintf(&head, `%q:{"dtype":%q,"shape":%s,"data_offsets":[%d,%d]}`,
			e.name, e.dtype, shape, data.Len(), data.Len()+len(e.data))
		data.Write(e.data)
	}
	head.WriteByte('}')
	return withHeader(head.String(), data.Bytes())
}

// withHeader joins any header text and data.
func withHeader(head string, data []byte) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(head)))
	return append(append(b, head...), data...)
}

// write puts files, given as name and content in turn, into a new directory.
func write(t testing.TB, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	for i := 0; i < len(files); i += 2 {
		name := filepath.Join(dir, filepath.FromSlash(files[i]))
		if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(files[i+1]), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// wantError checks that err is there and holds all of the words.
func wantError(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one with %q", words)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q lacks %q", err, w)
		}
	}
}

// counter is a file system that counts the files left open. Files are opened
// in parallel.
type counter struct {
	fs.FS
	open atomic.Int64
}

type countedFile struct {
	fs.File
	c *counter
}

func (c *counter) Open(name string) (fs.File, error) {
	f, err := c.FS.Open(name)
	if err != nil {
		return nil, err
	}
	c.open.Add(1)
	return &countedFile{f, c}, nil
}

func (f *countedFile) Close() error {
	f.c.open.Add(-1)
	return f.File.Close()
}

func (f *countedFile) ReadAt(p []byte, off int64) (int, error) {
	return f.File.(interface {
		ReadAt([]byte, int64) (int, error)
	}).ReadAt(p, off)
}

func (f *countedFile) ReadDir(n int) ([]fs.DirEntry, error) {
	return f.File.(fs.ReadDirFile).ReadDir(n)
}
