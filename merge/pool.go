package merge

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
)

// pool hands out work to a fixed set of goroutines: the panels of the layers in
// flight in order, and a new layer when they run out. Few layers are in flight
// at a time, which bounds memory, yet as many as there are workers if they are
// small, so that these keep all of them busy.
type pool struct {
	bytes func(layer int) int64                                 // that a layer in flight keeps in memory
	open  func(ctx context.Context, layer int) (*flight, error) // nil if there is nothing to compute
	panel func(w *work, t task) error
	end   func(ctx context.Context, w *work, layer int, f *flight) error
	place func(layer int, err error) error // says which layer an error belongs to

	mu      sync.Mutex
	wake    sync.Cond
	limit   int // workers that get work
	paused  bool
	stopped bool
	err     error
	queue   []int // layers not begun
	opening int
	flights []inFlight
	aloft   int64 // bytes of the layers opening and in flight
}

// The layers in flight may take so many bytes, and so many more for each worker,
// unless one alone takes more.
const (
	aloftBytes  = 64 << 20
	aloftWorker = 16 << 20
)

type inFlight struct {
	layer int
	f     *flight
}

// task is a panel of a layer in flight, or a layer to open if f is nil.
type task struct {
	layer       int
	f           *flight
	pass, panel int
}

// PanicError is a panic of a worker, which is a defect of this program.
type PanicError struct {
	Value any
	Stack []byte
}

// Error returns the value of the panic without its stack.
func (e *PanicError) Error() string { return fmt.Sprintf("internal error: %v", e.Value) }

// init sets up a pool for the given layers.
func (p *pool) init(limit int, layers []int) {
	p.wake.L = &p.mu
	p.limit, p.queue = limit, layers
}

// refill sets what the next run computes.
func (p *pool) refill(layers []int) {
	p.mu.Lock()
	p.queue = layers
	p.mu.Unlock()
}

// run computes everything with the given number of goroutines, of which only
// limit get work, and returns the first error. They have ended when it returns.
func (p *pool) run(ctx context.Context, workers int) error {
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		p.fail(ctx.Err())
		close(stopped)
	})
	var wg sync.WaitGroup
	for id := range workers {
		wg.Go(func() { p.work(ctx, id) })
	}
	wg.Wait()
	if !stop() {
		<-stopped
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

func (p *pool) work(ctx context.Context, id int) {
	var w work
	for {
		if err := ctx.Err(); err != nil {
			p.fail(err)
		}
		t, ok := p.next(id)
		if !ok {
			return
		}
		if err := p.do(ctx, &w, t); err != nil {
			p.fail(err)
		}
	}
}

// do does a task and what follows if it was the last of a pass.
func (p *pool) do(ctx context.Context, w *work, t task) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{v, debug.Stack()}
		}
		if err != nil && ctx.Err() == nil {
			err = p.place(t.layer, err)
		}
	}()
	if t.f == nil {
		f, err := p.open(ctx, t.layer)
		p.opened(t.layer, f)
		return err
	}
	if err := p.panel(w, t); err != nil {
		return err
	}
	if !p.lastOfPass(t.f) {
		return nil
	}
	if err := t.f.endPass(); err != nil {
		return err
	}
	if t.pass+1 < t.f.sub.passes() {
		p.nextPass(t.f)
		return nil
	}
	err = p.end(ctx, w, t.layer, t.f)
	p.landed(t.layer, t.f)
	return err
}

// next waits for work for worker id; ok is false when there is none any more.
func (p *pool) next(id int) (t task, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		if p.stopped || len(p.queue) == 0 && p.opening == 0 && len(p.flights) == 0 {
			return task{}, false
		}
		if id < p.limit && !p.paused {
			if t, ok := p.take(); ok {
				return t, true
			}
		}
		p.wake.Wait()
	}
}

func (p *pool) take() (t task, ok bool) {
	for _, l := range p.flights {
		if f := l.f; f.claimed < f.panels {
			f.claimed++
			return task{l.layer, f, f.pass, f.claimed - 1}, true
		}
	}
	if len(p.queue) == 0 || len(p.flights)+p.opening > p.limit {
		return task{}, false
	}
	if more := p.bytes(p.queue[0]); p.aloft > 0 && p.aloft+more > aloftBytes+int64(p.limit)*aloftWorker {
		return task{}, false
	}
	t.layer, p.queue = p.queue[0], p.queue[1:]
	p.opening++
	p.aloft += p.bytes(t.layer)
	return t, true
}

// opened puts a layer in flight.
func (p *pool) opened(layer int, f *flight) {
	p.mu.Lock()
	p.opening--
	if f != nil {
		p.flights = append(p.flights, inFlight{layer, f})
	} else {
		p.aloft -= p.bytes(layer)
	}
	p.wake.Broadcast()
	p.mu.Unlock()
}

// lastOfPass counts a panel as done and reports whether the pass is.
func (p *pool) lastOfPass(f *flight) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	f.left--
	return f.left == 0
}

func (p *pool) nextPass(f *flight) {
	p.mu.Lock()
	f.pass++
	f.claimed, f.left = 0, f.panels
	p.wake.Broadcast()
	p.mu.Unlock()
}

// landed takes a layer out of flight.
func (p *pool) landed(layer int, f *flight) {
	p.mu.Lock()
	p.aloft -= p.bytes(layer)
	p.flights = slices.DeleteFunc(p.flights, func(l inFlight) bool { return l.f == f })
	p.wake.Broadcast()
	p.mu.Unlock()
}

// fail ends the work with an error; the first one counts.
func (p *pool) fail(err error) {
	p.mu.Lock()
	if !p.stopped {
		p.stopped, p.err = true, err
	}
	p.wake.Broadcast()
	p.mu.Unlock()
}

func (p *pool) pause(on bool) {
	p.mu.Lock()
	p.paused = on
	p.wake.Broadcast()
	p.mu.Unlock()
}

func (p *pool) setLimit(n int) {
	p.mu.Lock()
	p.limit = n
	p.wake.Broadcast()
	p.mu.Unlock()
}
