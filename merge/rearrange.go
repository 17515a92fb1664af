package merge

import (
	"context"
	"io"
	"maps"
)

// rearrange replaces a fully written but unsealed file by one in which kept
// weights have the input's form, and returns the new file. It is for the rare
// layer that was to become floats and was stopped on the way. The caller holds
// s.mu.
func (s *shard) rearrange(ctx context.Context, o *output, old device) (device, error) {
	o.mu.Lock()
	kept := maps.Clone(o.state.Kept)
	o.mu.Unlock()
	l, err := o.layoutOf(s.input, kept)
	if err != nil {
		return nil, err
	}
	written := map[string]*slot{}
	for _, t := range s.layout.slots {
		if !kept[t.owner] {
			written[t.name] = t
		}
	}
	anew := &shard{name: s.name + anewSuffix, layout: l}
	dev, err := anew.open(o)
	if err != nil {
		return nil, err
	}
	for _, t := range l.slots {
		t.file = anew
		if w := written[t.name]; w != nil {
			err = t.take(dev, w, old)
		} else {
			var r record
			r, err = t.fill(ctx, o, nil)
			o.mu.Lock()
			o.state.put(s.name, t.name, r)
			o.mu.Unlock()
		}
		if err != nil {
			dev.Close()
			return nil, err
		}
	}
	for _, d := range []device{old, dev} {
		if err := d.Close(); err != nil {
			return nil, err
		}
	}
	if err := o.root.Rename(anew.partial(), s.partial()); err != nil {
		return nil, err
	}
	s.layout, s.stale = l, false
	for _, t := range l.slots {
		t.file = s
	}
	s.dev, err = o.create(o.root, s.partial())
	return s.dev, err
}

// anewSuffix marks the file that rearrange writes.
const anewSuffix = ".anew"

// take copies a tensor that the old arrangement of the file holds.
func (s *slot) take(dev io.WriterAt, from *slot, old io.ReaderAt) error {
	if s.late {
		s.text = from.text
		return nil
	}
	w := io.NewOffsetWriter(dev, s.file.layout.start()+s.off)
	_, err := io.CopyN(w, io.NewSectionReader(old, from.file.layout.start()+from.off, from.size), s.size)
	if err != nil {
		return s.errorf("%w", err)
	}
	return nil
}
