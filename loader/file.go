package loader

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"
)

// Limits of the safetensors format and of this reader.
const (
	maxHeader = 100_000_000 // bytes, as in safetensors/src/tensor.rs
	maxDims   = 64
	metaKey   = "__metadata__"
)

// File is one open safetensors file.
type File struct {
	Name     string            // as shown in messages: path or name inside the source
	Rel      string            // slash-separated path inside the checkpoint's or adapter's directory
	Size     int64             // bytes of the whole file
	Header   int64             // bytes of the JSON header, padding included
	Metadata map[string]string // "__metadata__", nil if absent
	Tensors  []*Tensor         // in the order of their data

	order  []*Tensor // in the order of the header
	byName map[string]*Tensor
	r      io.ReaderAt
	closer io.Closer
}

// NewFile reads the header of a safetensors file of size bytes from r. It
// checks everything the format promises: the data of the tensors lie inside
// the file without overlap or hole, and each has the bytes its dtype and shape
// ask for. Faults are *FormatError. The tensors' data are not read.
func NewFile(r io.ReaderAt, size int64, name string) (*File, error) {
	if size < 0 {
		return nil, fmt.Errorf("%s: negative size %d", name, size)
	}
	f := &File{Name: name, Size: size, r: r, byName: map[string]*Tensor{}}
	text, err := f.readHeader()
	if err != nil {
		return nil, err
	}
	if err := f.parse(text); err != nil {
		return nil, err
	}
	if err := f.layout(); err != nil {
		return nil, err
	}
	return f, nil
}

// Tensor returns the tensor with that name, or nil.
func (f *File) Tensor(name string) *Tensor { return f.byName[name] }

// Stamp identifies the content of a file on a server, as far as that says
// something; "" for files on disk.
func (f *File) Stamp() string {
	if r, ok := f.r.(interface{ Stamp() string }); ok {
		return r.Stamp()
	}
	return ""
}

// HeaderOrder returns the tensors in the order of the header, which a writer
// keeps. It usually is the order of the data too.
func (f *File) HeaderOrder() []*Tensor { return slices.Clone(f.order) }

// Close closes the underlying file if this package opened it.
func (f *File) Close() error {
	if f.closer == nil {
		return nil
	}
	return f.closer.Close()
}

func (f *File) fault(offset int64, format string, args ...any) error {
	return &FormatError{File: f.Name, Offset: offset, Err: fmt.Errorf(format, args...)}
}

// readHeader returns the JSON text. Its length is checked against the file's
// before any memory is asked for.
func (f *File) readHeader() (string, error) {
	var head [8]byte
	if n, err := f.r.ReadAt(head[:min(f.Size, 8)], 0); int64(n) < min(f.Size, 8) {
		return "", f.readFault(int64(n), err)
	}
	if err := f.foreign(); err != nil {
		return "", err
	}
	if f.Size < 8 {
		return "", f.fault(0, "%d bytes are too few for a safetensors file", f.Size)
	}
	n := binary.LittleEndian.Uint64(head[:])
	switch {
	case n > maxHeader:
		return "", f.fault(0, "header of %d bytes is longer than the format's limit of %d", n, maxHeader)
	case n > uint64(f.Size-8):
		return "", f.fault(0, "header of %d bytes does not fit into a file of %d: truncated, or no safetensors file", n, f.Size)
	}
	f.Header = int64(n)
	var b strings.Builder
	b.Grow(int(n))
	if m, err := io.Copy(&b, io.NewSectionReader(f.r, 8, f.Header)); m < f.Header {
		return "", f.readFault(8+m, err)
	}
	return b.String(), nil
}

func (f *File) readFault(at int64, err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		err = fmt.Errorf("file shrank while it was read, it had %d bytes: %w", f.Size, io.ErrUnexpectedEOF)
	}
	return &FormatError{File: f.Name, Offset: at, Err: err}
}

// foreign recognises files that often sit where a safetensors file should.
func (f *File) foreign() error {
	var buf [24]byte
	n, _ := f.r.ReadAt(buf[:min(f.Size, 24)], 0)
	for _, m := range [...]struct{ magic, what string }{
		{"version https://git-lfs", "a git-lfs pointer in place of the file: run `git lfs pull`"},
		{"PK\x03\x04", "a PyTorch pickle archive, not a safetensors file"},
		{"GGUF", "a GGUF file, not a safetensors file"},
		{"<!DOCTYPE", "a web page, not a safetensors file: the download failed"},
	} {
		if strings.HasPrefix(string(buf[:n]), m.magic) {
			return f.fault(0, "this is %s", m.what)
		}
	}
	return nil
}

// parse reads the header's JSON into f.order, f.byName and f.Metadata.
func (f *File) parse(text string) error {
	if !strings.HasPrefix(text, "{") {
		return f.fault(8, "header does not begin with '{'")
	}
	s := &scanner{s: text}
	current := ""
	err := s.object(func(key string, at int) error {
		if key == metaKey {
			return f.parseMetadata(s)
		}
		if key == "" || strings.ContainsFunc(key, unprintable) {
			return s.failAt(at, "tensor name %q is empty or not printable", key)
		}
		current = key
		t, err := parseTensor(s, at)
		if err != nil {
			return err
		}
		t.Name, t.file = key, f
		f.order = append(f.order, t)
		f.byName[key] = t
		current = ""
		return f.place(t, s, at)
	})
	if err == nil {
		err = s.end()
	}
	var fe *FormatError
	if err == nil || errors.As(err, &fe) {
		return err
	}
	err = jsonError(f.Name, 8, err)
	if errors.As(err, &fe) {
		fe.Tensor = current
	}
	return err
}

// unprintable runes are refused since they could steer the terminal a name is
// shown on.
func unprintable(r rune) bool { return !unicode.IsPrint(r) }

func (f *File) parseMetadata(s *scanner) error {
	f.Metadata = map[string]string{}
	return s.object(func(key string, _ int) (err error) {
		f.Metadata[key], err = s.text()
		return err
	})
}

// parseTensor reads one entry. Offset and Size are left relative to the data.
func parseTensor(s *scanner, at int) (*Tensor, error) {
	t := &Tensor{Offset: -1}
	var span []int64
	err := s.object(func(key string, at int) error {
		switch key {
		case "dtype":
			v, err := s.text()
			t.DType = DType(v)
			return err
		case "shape":
			return s.sizes(&t.Shape, maxDims)
		case "data_offsets":
			return s.sizes(&span, 2)
		}
		return s.failAt(at, "unknown field %q", key)
	})
	switch {
	case err != nil:
		return nil, err
	case t.DType == "":
		return nil, s.failAt(at, "field \"dtype\" is missing")
	case t.Shape == nil:
		return nil, s.failAt(at, "field \"shape\" is missing")
	case len(span) != 2:
		return nil, s.failAt(at, "field \"data_offsets\" must have two numbers")
	case span[0] > span[1]:
		return nil, s.failAt(at, "data_offsets [%d, %d] run backwards", span[0], span[1])
	}
	t.Offset, t.Size = span[0], span[1]-span[0]
	return t, nil
}

// sizes reads an array of at most limit non-negative integers.
func (s *scanner) sizes(dst *[]int64, limit int) error {
	*dst = make([]int64, 0, 2)
	return s.array(func() error {
		s.peek()
		at := s.pos
		v, err := s.integer()
		switch {
		case err != nil:
			return err
		case v < 0:
			return s.failAt(at, "%d is negative", v)
		case len(*dst) == limit:
			return s.failAt(at, "more than %d numbers", limit)
		}
		*dst = append(*dst, v)
		return nil
	})
}

// place turns t.Offset into an offset in the file and checks the size. at is
// the entry's place in the header.
func (f *File) place(t *Tensor, s *scanner, at int) error {
	place := func(err error) error {
		return &FormatError{File: f.Name, Tensor: t.Name, Offset: 8 + int64(at), Err: err}
	}
	width := t.DType.Bits()
	if width == 0 {
		return place(fmt.Errorf("unknown dtype %q", t.DType))
	}
	n, ok := product(t.Shape)
	nbits, ok2 := product([]int64{n, width})
	if !ok || !ok2 {
		return place(fmt.Errorf("shape %v of %s overflows", t.Shape, t.DType))
	}
	if nbits%8 != 0 {
		return place(fmt.Errorf("shape %v of %s does not end on a byte", t.Shape, t.DType))
	}
	if nbits/8 != t.Size {
		return place(fmt.Errorf("shape %v of %s takes %d bytes, data_offsets give %d", t.Shape, t.DType, nbits/8, t.Size))
	}
	data := 8 + f.Header
	if end := t.Offset + t.Size; end > f.Size-data {
		return place(fmt.Errorf("data end at byte %d of a file of %d: truncated, or wrong data_offsets",
			uint64(data)+uint64(end), f.Size))
	}
	t.Offset += data
	return nil
}

// layout sorts the tensors by their data and checks that these fill the file.
func (f *File) layout() error {
	f.Tensors = slices.Clone(f.order)
	slices.SortStableFunc(f.Tensors, func(a, b *Tensor) int {
		return cmp.Or(cmp.Compare(a.Offset, b.Offset), cmp.Compare(a.Size, b.Size))
	})
	at := 8 + f.Header
	last := "the header"
	for _, t := range f.Tensors {
		switch {
		case t.Offset < at:
			return t.errorAt(0, fmt.Errorf("data overlap those of %s, which end at byte %d", last, at))
		case t.Offset > at:
			return t.errorAt(0, fmt.Errorf("a hole of %d bytes lies before the data, after %s", t.Offset-at, last))
		}
		at, last = at+t.Size, t.Name
	}
	if at != f.Size {
		return f.fault(at, "%d bytes follow the data of the last tensor", f.Size-at)
	}
	return nil
}
