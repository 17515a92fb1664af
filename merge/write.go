package merge

import (
	"context"
	"encoding/json"
	"fmt"
)

// layerOutput is where the merge of one weight writes; see layerSink.
type layerOutput struct {
	o        *output
	name     string
	slots    []*slot // absent ones too
	reverted bool
}

// layer returns the tensors that belong to the weight with that name. There
// are none if the plan copies it.
func (o *output) layer(name string) *layerOutput {
	return &layerOutput{o: o, name: name, slots: o.owned[name]}
}

func (w *layerOutput) done() bool {
	w.o.mu.Lock()
	defer w.o.mu.Unlock()
	_, ok := w.o.state.Weights[w.name]
	return ok
}

func (w *layerOutput) note() json.RawMessage {
	w.o.mu.Lock()
	defer w.o.mu.Unlock()
	return w.o.state.Weights[w.name]
}

// WriteAt stores p at byte off of a tensor of the weight.
func (w *layerOutput) WriteAt(tensor string, p []byte, off int64) error {
	for _, s := range w.slots {
		if s.name == tensor && !s.absent {
			return s.write(w.o, p, off)
		}
	}
	return fmt.Errorf("weight %s: the output has no tensor %s", w.name, tensor)
}

func (w *layerOutput) revert() {
	for _, s := range w.slots {
		s.restart()
	}
	w.reverted = true
}

// commit finishes the weight. Tensors to which nothing was written keep the
// input's bytes; one written in part is an error. If revert was called and the
// plan gives the weight another form, the files it touches are arranged anew
// when everything else in them is written.
func (w *layerOutput) commit(ctx context.Context, note json.RawMessage) error {
	records := make([]record, len(w.slots))
	if w.reverted && w.reshaped() {
		w.o.mu.Lock()
		w.o.state.Kept[w.name] = true
		w.o.mu.Unlock()
		for _, s := range w.slots {
			s.file.mu.Lock()
			s.file.stale = true
			s.file.mu.Unlock()
		}
		return w.o.finished(ctx, w, note, w.slots, records)
	}
	for i, s := range w.slots {
		r, err := w.settle(ctx, s)
		if err != nil {
			return err
		}
		records[i] = r
	}
	return w.o.finished(ctx, w, note, w.slots, records)
}

// reshaped reports whether a tensor of the weight has another form than in the
// input.
func (w *layerOutput) reshaped() bool {
	for _, s := range w.slots {
		if !s.keepable() {
			return true
		}
	}
	return false
}

// keepable reports whether a slot can hold the input's bytes.
func (s *slot) keepable() bool {
	return !s.absent && s.from != nil && s.from.DType == s.dtype && (s.late || s.from.Size == s.size)
}

// settle makes sure that a slot is fully written and returns its record.
func (w *layerOutput) settle(ctx context.Context, s *slot) (record, error) {
	switch {
	case s.absent:
		return record{}, nil
	case s.untouched():
		if !s.keepable() {
			return record{}, s.errorf("was not written")
		}
		return s.fill(ctx, w.o, nil) // the engine has counted the weight's bytes
	}
	return s.settle()
}

// finished records slots and completes the files they were the last of. w is
// nil for copies.
func (o *output) finished(ctx context.Context, w *layerOutput, note json.RawMessage, slots []*slot, records []record) error {
	o.mu.Lock()
	for i, s := range slots {
		o.state.put(s.file.name, s.name, records[i])
	}
	if w != nil {
		o.state.Weights[w.name] = note
	}
	o.dirty = true
	o.mu.Unlock()
	for _, s := range slots {
		s.file.mu.Lock()
		s.done = true
		s.file.left--
		last := s.file.left == 0 && !o.spec.part.on()
		s.file.mu.Unlock()
		if last {
			if err := s.file.finish(ctx, o); err != nil {
				return err
			}
		}
	}
	return o.save(false)
}
