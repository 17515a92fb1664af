package loader

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"mergescope/quant"
)

// Checkpoint is an opened model: its files, its configuration and its weights.
type Checkpoint struct {
	Name    string // as the user gave it, shortened for screens
	Path    string // directory, file or URL, "" for the embedded demo
	Remote  bool   // on a server: every look costs a request
	Files   []*File
	Sharded bool   // an index names the files
	Index   string // the index's name inside FS, "" without one
	Config  Config
	Weights []*Weight // natural order: layers.2 before layers.10

	Loose []*Tensor // tensors that are no weight's data, companion or bias
	Other []string  // files beside the weights and config.json, names inside FS: tokenizer and so on

	fsys    fs.FS
	byName  map[string]*Weight
	tensors map[string]*Tensor
}

// Facts sums up a checkpoint for a screen.
type Facts struct {
	Bytes   int64 // of all files with tensors
	Tensors int
	Params  int64 // elements of all weights that can be decoded; 1-D tensors are not counted
	Nested  int   // 4-bit weights with double quantization
	Formats []FormatFacts
}

// FormatFacts counts the weights of one format.
type FormatFacts struct {
	Format  quant.Format
	Weights int
	Bytes   int64 // on disk, companions included
}

// Facts counts what is in the checkpoint. Formats come in the order of
// quant.Format's values; absent ones are left out.
func (c *Checkpoint) Facts() Facts {
	f := Facts{Tensors: len(c.tensors)}
	for _, file := range c.Files {
		f.Bytes += file.Size
	}
	var byFormat [quant.BF16 + 1]FormatFacts
	for _, w := range c.Weights {
		if w.Problem == nil {
			f.Params += w.Numel()
		}
		if w.State != nil && w.State.Nested {
			f.Nested++
		}
		byFormat[w.Format].Weights++
		byFormat[w.Format].Bytes += w.Bytes()
	}
	for i, n := range byFormat {
		if n.Weights > 0 {
			n.Format = quant.Format(i)
			f.Formats = append(f.Formats, n)
		}
	}
	return f
}

// Weight returns the weight whose Name or Param is name, or nil.
func (c *Checkpoint) Weight(name string) *Weight { return c.byName[name] }

// Tensor returns the tensor with that name, or nil.
func (c *Checkpoint) Tensor(name string) *Tensor { return c.tensors[name] }

// FS returns the directory the checkpoint is in, for reading the files of
// Other and hashing them.
func (c *Checkpoint) FS() fs.FS { return c.fsys }

// Close closes the files of the checkpoint.
func (c *Checkpoint) Close() error { return closeAll(c.Files) }

func closeAll(files []*File) error {
	var errs []error
	for _, f := range files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// openCheckpoint opens the checkpoint at a place.
func openCheckpoint(p place) (*Checkpoint, error) {
	c := &Checkpoint{Name: p.name, Path: p.path, Remote: p.remote, fsys: p.fsys}
	if p.remote {
		c.Path = p.show(p.file)
	}
	if err := c.open(p); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (c *Checkpoint) open(p place) error {
	files, names, shard, err := c.choose(p)
	if err != nil {
		return err
	}
	if err := c.openFiles(p, files); err != nil {
		return err
	}
	if err := checkIndex(p.show(c.Index), names, shard, c.tensors); err != nil {
		return err
	}
	if err := c.readConfig(p); err != nil {
		return err
	}
	return c.assemble()
}

// OpenFiles opens safetensors files of a directory as a checkpoint with the
// given config.json, nil for none. The directory need not hold one, nor an
// index: an output that is not finished has neither.
func OpenFiles(dir string, names []string, config []byte) (*Checkpoint, error) {
	p := place{fsys: os.DirFS(dir), dir: dir, path: dir, name: shortName(dir)}
	c := &Checkpoint{Name: p.name, Path: p.path, fsys: p.fsys}
	err := c.openFiles(p, names)
	if err == nil && config != nil {
		c.Config, err = parseConfig(p.show("config.json"), config)
	}
	if err == nil {
		err = c.assemble()
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// openFiles opens the files and gathers their tensors.
func (c *Checkpoint) openFiles(p place, names []string) (err error) {
	if c.Files, err = openFiles(p, names); err != nil {
		return err
	}
	if c.Remote {
		warm(c.Files)
	}
	return c.collect()
}

// assemble makes weights of the tensors.
func (c *Checkpoint) assemble() error {
	var all []*Tensor
	for _, f := range c.Files {
		all = append(all, f.Tensors...)
	}
	var err error
	c.Weights, c.Loose, err = assemble(all, c.tensors)
	if err != nil {
		return err
	}
	c.byName = make(map[string]*Weight, 2*len(c.Weights))
	for _, w := range c.Weights {
		c.byName[w.Param] = w
	}
	for _, w := range c.Weights {
		if c.byName[w.Name] == nil {
			c.byName[w.Name] = w
		}
	}
	return nil
}

// choose returns the files with tensors, as transformers picks them:
// model.safetensors, else those of an index, else every safetensors file.
func (c *Checkpoint) choose(p place) (files, names []string, shard map[string]string, err error) {
	if p.file != "" && !strings.HasSuffix(p.file, indexSuffix) {
		return []string{p.file}, nil, nil, nil
	}
	d, err := readDir(p)
	if err != nil {
		return nil, nil, nil, err
	}
	if i := slices.IndexFunc(d.all, func(name string) bool { return strings.HasPrefix(name, statePrefix) }); i >= 0 {
		return nil, nil, nil, fmt.Errorf("%s: a merge into this directory is unfinished (it holds %s): run it again to its end", p.show(""), d.all[i])
	}
	index := p.file
	if index == "" && !slices.Contains(d.tensors, "model.safetensors") && len(d.indexes) > 0 {
		index = d.indexes[0]
		if slices.Contains(d.indexes, "model"+indexSuffix) {
			index = "model" + indexSuffix
		}
	}
	if index != "" {
		c.Sharded, c.Index = true, index
		text, err := readSmall(p.fsys, index, p.show(index), maxIndex)
		if err != nil {
			return nil, nil, nil, err
		}
		names, shard, err = parseIndex(p.show(index), text)
		return shardsOf(shard), names, shard, err
	}
	switch {
	case slices.Contains(d.tensors, "model.safetensors"):
		return []string{"model.safetensors"}, nil, nil, nil
	case len(d.tensors) == 0:
		return nil, nil, nil, d.noModel(p)
	}
	return d.tensors, nil, nil, nil
}

// collect gathers the tensors of all files by name.
func (c *Checkpoint) collect() error {
	n := 0
	for _, f := range c.Files {
		n += len(f.Tensors)
	}
	c.tensors = make(map[string]*Tensor, n)
	for _, f := range c.Files {
		for _, t := range f.Tensors {
			if first := c.tensors[t.Name]; first != nil {
				return t.errorAt(0, fmt.Errorf("is in %s too", first.file.Name))
			}
			c.tensors[t.Name] = t
		}
	}
	return nil
}

// readConfig reads config.json if there is one, and lists the other files. A
// lone file without config.json has no other files: the rest of its directory
// need not belong to it.
func (c *Checkpoint) readConfig(p place) error {
	text, err := readSmall(p.fsys, "config.json", p.show("config.json"), maxJSON)
	if errors.Is(err, fs.ErrNotExist) {
		if p.file != "" {
			return nil
		}
	} else {
		if err != nil {
			return err
		}
		if c.Config, err = parseConfig(p.show("config.json"), text); err != nil {
			return err
		}
	}
	c.Other, err = otherFiles(p)
	return err
}

// openFile opens one safetensors file of a directory.
func openFile(fsys fs.FS, rel, shown string) (*File, error) {
	h, info, err := openRegular(fsys, rel, shown)
	if err != nil {
		return nil, err
	}
	r, ok := h.(io.ReaderAt)
	if !ok {
		h.Close()
		return nil, fmt.Errorf("%s: its source cannot read at an offset", shown)
	}
	f, err := NewFile(r, info.Size(), shown)
	if err != nil {
		h.Close()
		return nil, err
	}
	f.Rel, f.closer = path.Clean(rel), h
	return f, nil
}
