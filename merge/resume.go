package merge

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"strings"
)

// resume takes over what an earlier run finished, as far as the files still
// hold it.
func (o *output) resume(ctx context.Context, old, fresh *state) error {
	if err := o.checkStrays(); err != nil {
		return err
	}
	// Nothing may load the directory while its weights are in doubt.
	for _, name := range []string{configName, o.spec.model.Index} {
		if name == "" {
			continue
		}
		if err := o.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := syncDir(o.root, "."); err != nil {
		return err
	}
	for _, s := range o.shards {
		if err := s.resume(ctx, o, old.Files[s.name], fresh); err != nil {
			return err
		}
	}
	for name, note := range old.Weights {
		if allDone(o.owned[name]) {
			fresh.Weights[name] = note
			continue
		}
		// A weight is finished as a whole or not at all.
		for _, s := range o.owned[name] {
			if s.done {
				s.restart()
				s.done = false
				s.file.left++
				delete(fresh.Files[s.file.name], s.name)
			}
		}
	}
	return nil
}

// isInput reports whether a file of the output directory is an input under
// another name.
func (o *output) isInput(info fs.FileInfo) bool {
	for _, m := range o.spec.models() {
		for _, f := range m.Files {
			if in, err := fs.Stat(m.FS(), f.Rel); err == nil && os.SameFile(in, info) {
				return true
			}
		}
	}
	return false
}

func allDone(slots []*slot) bool {
	for _, s := range slots {
		if !s.done {
			return false
		}
	}
	return true
}

// checkStrays refuses a resumable directory into which somebody has put other
// weights: loaders that take every file would mix them with ours.
func (o *output) checkStrays() error {
	ours := map[string]bool{}
	for _, s := range o.shards {
		ours[s.name] = true
	}
	for _, r := range o.residuals {
		ours[path.Join(r.dir, residualFile)] = true
	}
	return fs.WalkDir(o.root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && isWeights(path.Base(name)) && !ours[name] {
			return refusef("%s is no part of this checkpoint; remove it or choose a new directory", name)
		}
		return err
	})
}

// isWeights reports whether a file name is one of the formats in which
// checkpoints store weights.
func isWeights(name string) bool {
	switch strings.ToLower(path.Ext(name)) {
	case ".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".gguf", ".h5", ".msgpack", ".onnx", ".pkl":
		return true
	}
	return false
}

// resume verifies the recorded tensors of one file against their checksums.
// What does not verify is written again.
func (s *shard) resume(ctx context.Context, o *output, records map[string]record, fresh *state) error {
	for _, name := range []string{s.name, s.partial()} {
		info, err := o.root.Lstat(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return err
		case !info.Mode().IsRegular():
			return refusef("%s is no regular file", name)
		case o.isInput(info):
			return refusef("%s is a hard link to an input file", name)
		case name == s.name:
			// A finished file is verified, and if need be completed, under the
			// unfinished name.
			if err := o.root.Rename(name, s.partial()); err != nil {
				return err
			}
		}
	}
	if err := o.root.Remove(s.name + anewSuffix + partialSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, slot := range s.layout.absent {
		if _, ok := records[slot.name]; ok {
			s.adopt(slot, record{}, fresh)
		}
	}
	if _, err := o.root.Lstat(s.partial()); err != nil {
		return nil // nothing there; late tensors are written again with their weight
	}
	dev, err := s.open(o)
	if err != nil {
		return err
	}
	for _, slot := range s.layout.slots {
		r, ok := records[slot.name]
		switch {
		case !ok:
			continue
		case slot.late:
			ok = r.Data != nil && int64(len(r.Data)) <= slot.size
			slot.text = r.Data
		default:
			ok = r.Size == slot.size
		}
		if !ok {
			slot.restart()
			continue
		}
		sum, err := slot.read(ctx, dev)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil && sum == r.Sum {
			s.adopt(slot, r, fresh)
		} else {
			slot.restart()
		}
	}
	return nil
}

func (s *shard) adopt(slot *slot, r record, fresh *state) {
	slot.done = true
	s.left--
	fresh.put(s.name, slot.name, r)
}
