package merge

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"sync"

	"mergescope/loader"
)

// partialSuffix marks a file that is being written. No program loads it.
const partialSuffix = ".partial"

// chunk is how many bytes are copied or read back at a time.
const chunk = 1 << 20

// device is what a shard is written to: an *os.File outside of tests.
type device interface {
	io.ReaderAt
	io.WriterAt
	Truncate(size int64) error
	Sync() error
	Close() error
}

// shard is one safetensors file of the output.
type shard struct {
	name   string // slash-separated, inside the output directory
	input  *loader.File
	layout *layout

	mu    sync.Mutex
	dev   device // nil until first written to, and after the end
	left  int    // slots not done, absent ones counted
	stale bool   // a weight keeps its form after all: to be arranged anew
	done  bool   // complete under its final name
}

// partial is the name of the file while it is being written.
func (s *shard) partial() string { return s.name + partialSuffix }

// open returns the unfinished file, created on first use.
func (s *shard) open(o *output) (device, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dev != nil {
		return s.dev, nil
	}
	if s.done {
		return nil, fmt.Errorf("%s: written to after it was finished", s.name)
	}
	dev, err := o.create(o.root, s.partial())
	if err != nil {
		return nil, err
	}
	if err := dev.Truncate(s.layout.size(maxLength)); err != nil {
		dev.Close()
		return nil, fmt.Errorf("%s: %w", s.name, err)
	}
	s.dev = dev
	return dev, nil
}

// device returns the unfinished file, nil if it is not open.
func (s *shard) device() device {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dev
}

// createFile opens name for reading and writing and keeps what it holds. It
// refuses anything but a regular file of its own: a link planted in the
// directory must not lead to an input.
func createFile(root *os.Root, name string) (device, error) {
	if err := makeParent(root, name); err != nil {
		return nil, err
	}
	info, err := root.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, refusef("%s is no regular file", name)
	}
	return root.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
}

// maxLength returns the most bytes a slot can take.
func maxLength(s *slot) int64 { return s.size }

// length returns the bytes a late tensor has; the most it may have while it is
// not written. Callers hold mu or know that the shard has no writers.
func (s *slot) length() int64 {
	if s.text != nil {
		return int64(len(s.text))
	}
	return s.size
}

// write stores p at offset off of the slot.
func (s *slot) write(o *output, p []byte, off int64) error {
	if off < 0 || off+int64(len(p)) > s.size {
		return s.errorf("bytes %d to %d lie outside its %d", off, off+int64(len(p)), s.size)
	}
	if s.late {
		if off != 0 {
			return s.errorf("must be written in one piece")
		}
		s.file.mu.Lock()
		s.text = bytes.Clone(p)
		s.file.mu.Unlock()
		return nil
	}
	dev, err := s.file.open(o)
	if err != nil {
		return err
	}
	if _, err := dev.WriteAt(p, s.file.layout.start()+s.off+off); err != nil {
		return s.errorf("byte %d: %w", off, err)
	}
	r := runOf(off, p)
	s.file.mu.Lock()
	fresh := s.extents.add(r)
	s.file.mu.Unlock()
	if !fresh {
		return s.errorf("bytes %d to %d were written before", r.from, r.to)
	}
	return nil
}

func (s *slot) errorf(format string, args ...any) error {
	return fmt.Errorf("%s: tensor %s: "+format, append([]any{s.file.name, s.name}, args...)...)
}

// restart forgets what an owner wrote before it gave up.
func (s *slot) restart() {
	s.file.mu.Lock()
	s.extents, s.text = extents{}, nil
	s.file.mu.Unlock()
}

// fill writes the tensor's bytes from its source, which is not an owner, and
// returns their record. copied is told of every piece; nil for nobody.
func (s *slot) fill(ctx context.Context, o *output, copied func(int64)) (record, error) {
	s.restart()
	if s.from == nil || s.late {
		p := s.data
		if s.from != nil {
			var err error
			if p, err = s.from.Bytes(); err != nil {
				return record{}, err
			}
		}
		if err := s.write(o, p, 0); err != nil {
			return record{}, err
		}
		return s.settle()
	}
	if copied == nil {
		copied = func(int64) {}
	}
	var src content = s.from
	if s.through != nil {
		src = s.through
	}
	buf := make([]byte, min(chunk, max(s.size, 1)))
	for off := int64(0); off < s.size; {
		if err := ctx.Err(); err != nil {
			return record{}, err
		}
		p := buf[:min(int64(len(buf)), s.size-off)]
		if err := src.ReadFull(p, off); err != nil {
			return record{}, err
		}
		if err := s.write(o, p, off); err != nil {
			return record{}, err
		}
		off += int64(len(p))
		copied(int64(len(p)))
	}
	return s.settle()
}

// settle ends the writing of a slot and returns what the state keeps of it.
func (s *slot) settle() (record, error) {
	r, err := s.record()
	if f, ok := s.file.device().(*os.File); ok && !s.late && s.size >= chunk {
		writeBack(f, s.file.layout.start()+s.off, s.size)
	}
	return r, err
}

// record returns what the state keeps of a slot, all of which must be written.
func (s *slot) record() (record, error) {
	s.file.mu.Lock()
	defer s.file.mu.Unlock()
	if s.late {
		r := record{Size: int64(len(s.text)), Data: s.text}
		r.Sum.update(s.text)
		return r, nil
	}
	sum, ok := s.extents.whole(s.size)
	if !ok {
		return record{}, s.errorf("%d of %d bytes were written", s.extents.bytes(), s.size)
	}
	return record{Sum: sum, Size: s.size}, nil
}

// untouched reports whether nothing was written to a slot that has room.
func (s *slot) untouched() bool {
	s.file.mu.Lock()
	defer s.file.mu.Unlock()
	return s.size > 0 && s.text == nil && len(s.extents.runs) == 0
}

// read returns the checksum of what the file holds.
func (s *slot) read(ctx context.Context, r io.ReaderAt) (c checksum, err error) {
	if s.late {
		c.update(s.text)
		return c, nil
	}
	c, err = checksumOf(ctx, r, s.file.layout.start()+s.off, s.size)
	if err != nil && ctx.Err() == nil {
		err = s.errorf("read back: %w", err)
	}
	return c, err
}

// finish puts a file whose tensors are all written under its final name. The
// header comes last, so that an unfinished file is none even under that name.
func (s *shard) finish(ctx context.Context, o *output) error {
	dev, err := s.open(o)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stale {
		if dev, err = s.rearrange(ctx, o, dev); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	if err = s.seal(dev); err == nil {
		err = dev.Sync()
	}
	if e := dev.Close(); err == nil {
		err = e
	}
	s.dev = nil
	if err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	// A file under its final name is always fully recorded.
	if err := o.save(true); err != nil {
		return err
	}
	if err := o.root.Rename(s.partial(), s.name); err != nil {
		return err
	}
	s.done = true
	return syncDir(o.root, path.Dir(s.name))
}

// seal writes the late tensors and the header and cuts the file to its length.
func (s *shard) seal(dev device) error {
	if err := dev.Sync(); err != nil {
		return err
	}
	at := s.layout.start() + s.layout.fixed
	for _, late := range s.layout.late {
		if _, err := dev.WriteAt(late.text, at); err != nil {
			return err
		}
		at += int64(len(late.text))
	}
	if err := dev.Truncate(at); err != nil {
		return err
	}
	_, err := dev.WriteAt(s.layout.header((*slot).length), 0)
	return err
}
