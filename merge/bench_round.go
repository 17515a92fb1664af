package merge

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// benchRound merges the layers of a case once, by the pool and the flights of a
// job.
type benchRound struct {
	*benchCase
	dir   string
	pool  pool
	flops atomic.Int64
	spare spares

	mu   sync.Mutex
	laps []*laps // one for each worker
}

func (r *benchRound) begin(_ context.Context, layer int) (*flight, error) {
	s, err := r.open(layer)
	if err != nil {
		return nil, err
	}
	for _, u := range s.updates {
		if l, ok := u.(*lora); ok {
			r.flops.Add(2 * int64(l.a.Rank) * int64(s.rows) * int64(s.cols))
		}
	}
	sink := &benchSink{base: filepath.Join(r.dir, strconv.Itoa(layer)), files: map[string]*os.File{}}
	return newFlight(s, sink, panelWeights, &r.spare), nil
}

func (r *benchRound) panel(w *work, t task) error {
	if w.laps == nil {
		w.laps = &laps{}
		r.mu.Lock()
		r.laps = append(r.laps, w.laps)
		r.mu.Unlock()
	}
	w.laps.last = time.Now()
	return t.f.compute(w, t.pass, t.panel)
}

func (r *benchRound) end(ctx context.Context, _ *work, _ int, f *flight) error {
	f.release()
	return f.sink.commit(ctx, nil)
}

// benchSink writes each tensor of a weight to a file of its own.
type benchSink struct {
	base string

	mu    sync.Mutex
	files map[string]*os.File
}

func (s *benchSink) done() bool            { return false }
func (s *benchSink) note() json.RawMessage { return nil }
func (s *benchSink) revert()               {}

func (s *benchSink) WriteAt(tensor string, p []byte, off int64) error {
	f, err := s.file(tensor)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(p, off)
	return err
}

func (s *benchSink) file(tensor string) (*os.File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.files[tensor]; f != nil {
		return f, nil
	}
	f, err := os.Create(s.base + "-" + strconv.Itoa(len(s.files)))
	if err == nil {
		s.files[tensor] = f
	}
	return f, err
}

func (s *benchSink) commit(context.Context, json.RawMessage) (err error) {
	for _, f := range s.files {
		if e := f.Close(); err == nil {
			err = e
		}
	}
	return err
}
