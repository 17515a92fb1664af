package loader

import (
	"errors"
	"io/fs"
)

// Source resolves the names a user types: directories, files, names in the
// local Hugging Face cache, "demo" and "demo:NAME". The zero value knows
// directories and files only.
type Source struct {
	Demo  fs.FS  // embedded demo, base-nf4/ and adapter-*/ at its root; nil if none
	Cache string // hub cache directory, see HubCache; "" disables cache names
}

var errStub = errors.New("stub")

// Checkpoint opens a model: a directory in Hugging Face layout, one
// .safetensors file, "org/name[@revision]" in the cache, "demo" (the NF4 base)
// or "demo:base-int8" and the like.
func (s Source) Checkpoint(name string) (*Checkpoint, error) { return nil, errStub }

// Adapter opens a PEFT adapter: a directory, its safetensors file, a cache name
// or "demo:gocode-light" ("demo:adapter-gocode-light" works too).
func (s Source) Adapter(name string) (*Adapter, error) { return nil, errStub }

// DemoAdapters lists the names of the embedded adapters, without "demo:".
func (s Source) DemoAdapters() []string { return nil }

// Close closes the files of the checkpoint.
func (c *Checkpoint) Close() error { return nil }

// Close closes the file of the adapter.
func (a *Adapter) Close() error { return nil }

// Weight returns the weight whose Name or Param is name, or nil.
func (c *Checkpoint) Weight(name string) *Weight { return nil }

// Tensor returns the tensor with that name, or nil.
func (c *Checkpoint) Tensor(name string) *Tensor { return nil }

// ReadAt reads len(p) bytes from offset off of the tensor's data. Errors name
// file, tensor and byte offset; a file that shrank is reported as such.
func (t *Tensor) ReadAt(p []byte, off int64) (int, error) { return 0, errStub }

// File returns the file the tensor is stored in.
func (t *Tensor) File() *File { return t.file }

// Numel returns the number of elements.
func (t *Tensor) Numel() int64 { return 0 }

// Rows and Cols return the weight's shape flattened to a matrix: the product of
// all dimensions but the last, and the last.
func (w *Weight) Rows() int { return 0 }

// Cols returns the last dimension.
func (w *Weight) Cols() int { return 0 }
