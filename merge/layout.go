package merge

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"

	"mergescope/loader"
)

// maxHeader is the largest header the safetensors library reads, in bytes.
const maxHeader = 100_000_000

// outTensor is one tensor of an output file and where its bytes come from.
type outTensor struct {
	name   string
	dtype  loader.DType
	shape  []int64
	size   int64          // bytes; the most it may take if late
	late   bool           // a U8 vector whose length is known only when it is written
	absent bool           // the input's tensor is left out, unless its owner keeps the input's bytes
	owner  string         // weight whose merge writes it, "" for copied and given tensors
	from   *loader.Tensor // copied from; with an owner: what is written if the owner leaves it alone
	data   []byte         // given bytes, if neither owner nor from is set

	through content // from as it is written, if its bytes change on the way; without an owner only
}

// reader reads a tensor that is copied or given.
func (t *outTensor) reader() io.Reader {
	if t.from == nil {
		return bytes.NewReader(t.data)
	}
	return io.NewSectionReader(t.from, 0, t.size)
}

// slot is an outTensor at its place in a file, and how far it is written.
type slot struct {
	outTensor
	file *shard
	off  int64 // from the start of the data; of no meaning if late

	// Guarded by file.mu.
	extents extents // received, but for late tensors
	text    []byte  // what a late tensor holds, nil before that
	done    bool    // written and recorded
}

// layout is the arrangement of a safetensors file. Every offset but those of
// late tensors is fixed beforehand, so data can be written in any order; late
// tensors come last and the header has room for their longest form.
type layout struct {
	verbatim []byte // the header of a file that is kept as it is, length included
	metadata map[string]string
	slots    []*slot // in the order of the header
	absent   []*slot // tensors of the input that are left out
	late     []*slot // in the order of their data
	reserve  int64   // bytes of the header, padding included; a multiple of 8
	fixed    int64   // bytes of data before the late tensors
}

// newLayout arranges entries the way the safetensors library does: larger
// alignment first, else in the given order, with no gaps. Every tensor is
// aligned to its element because each class fills a multiple of its alignment.
func newLayout(metadata map[string]string, entries []outTensor) (*layout, error) {
	l := &layout{metadata: metadata}
	seen := make(map[string]bool, len(entries))
	for _, e := range entries {
		if seen[e.name] {
			return nil, fmt.Errorf("tensor %s: written twice", e.name)
		}
		seen[e.name] = true
		if e.absent {
			l.absent = append(l.absent, &slot{outTensor: e})
			continue
		}
		l.slots = append(l.slots, &slot{outTensor: e})
	}
	order := slices.Clone(l.slots)
	slices.SortStableFunc(order, func(a, b *slot) int {
		if a.late != b.late {
			if a.late {
				return 1
			}
			return -1
		}
		return alignment(b.dtype) - alignment(a.dtype)
	})
	for _, s := range order {
		if s.late {
			l.late = append(l.late, s)
			continue
		}
		s.off = l.fixed
		l.fixed += s.size
	}
	head := l.render(maxLength)
	l.reserve = int64(len(head)+7) &^ 7
	if l.reserve > maxHeader {
		return nil, fmt.Errorf("header of %d bytes exceeds %d", l.reserve, maxHeader)
	}
	return l, nil
}

// keepLayout is the arrangement of a file no tensor of which changes.
func keepLayout(model *loader.Checkpoint, f *loader.File) (*layout, error) {
	l := &layout{reserve: f.Header, fixed: f.Size - 8 - f.Header}
	r, err := model.FS().Open(f.Rel)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	l.verbatim = make([]byte, l.start())
	if _, err := io.ReadFull(r, l.verbatim); err != nil {
		return nil, fmt.Errorf("%s: header: %w", f.Name, err)
	}
	for _, t := range f.HeaderOrder() {
		l.slots = append(l.slots, &slot{outTensor: copyOf(t), off: t.Offset - l.start()})
	}
	return l, nil
}

func copyOf(t *loader.Tensor) outTensor {
	return outTensor{name: t.Name, dtype: t.DType, shape: t.Shape, size: t.Size, from: t}
}

// start is the offset of the data from the start of the file.
func (l *layout) start() int64 { return 8 + l.reserve }

// size returns the bytes of the whole file for given lengths of late tensors.
func (l *layout) size(length func(*slot) int64) int64 {
	n := l.start() + l.fixed
	for _, s := range l.late {
		n += length(s)
	}
	return n
}

// header returns the first start() bytes of the file: length, JSON, padding.
func (l *layout) header(length func(*slot) int64) []byte {
	if l.verbatim != nil {
		return l.verbatim
	}
	out := make([]byte, l.start())
	binary.LittleEndian.PutUint64(out, uint64(l.reserve))
	n := copy(out[8:], l.render(length))
	for i := 8 + n; i < len(out); i++ {
		out[i] = ' '
	}
	return out
}

// render writes the JSON of the header with the given lengths of late tensors.
func (l *layout) render(length func(*slot) int64) []byte {
	ends := make(map[*slot]int64, len(l.late))
	end := l.fixed
	for _, s := range l.late {
		end += length(s)
		ends[s] = end
	}
	b := []byte{'{'}
	if l.metadata != nil {
		b = append(b, `"__metadata__":{`...)
		for i, k := range slices.Sorted(maps.Keys(l.metadata)) {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(appendQuoted(b, k), ':')
			b = appendQuoted(b, l.metadata[k])
		}
		b = append(b, '}')
	}
	for _, s := range l.slots {
		if len(b) > 1 {
			b = append(b, ',')
		}
		shape, from, to := s.shape, s.off, s.off+s.size
		if s.late {
			to = ends[s]
			from = to - length(s)
			shape = []int64{to - from}
		}
		b = append(appendQuoted(b, s.name), `:{"dtype":`...)
		b = append(appendQuoted(b, string(s.dtype)), `,"shape":[`...)
		b = append(appendInts(b, shape), `],"data_offsets":[`...)
		b = append(appendInts(b, []int64{from, to}), `]}`...)
	}
	return append(b, '}')
}

func appendInts(b []byte, v []int64) []byte {
	for i, n := range v {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, n, 10)
	}
	return b
}

// appendQuoted appends s as a JSON string without HTML escapes.
func appendQuoted(b []byte, s string) []byte {
	w := bytes.NewBuffer(b)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		panic(err) // a string always encodes
	}
	return bytes.TrimSuffix(w.Bytes(), []byte("\n"))
}

// alignment returns the bytes of one element, 1 for elements below a byte.
func alignment(d loader.DType) int { return max(1, int(d.Bits()/8)) }
