package model

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
)

// parallel calls do for every i in [0, n) on so many workers and waits for
// them. The first error, a panic among them, or ctx ends it early.
func parallel(ctx context.Context, workers, n int, do func(worker, i int) error) error {
	var next atomic.Int64
	var stop atomic.Bool
	errs := make([]error, min(workers, n))
	var wg sync.WaitGroup
	for w := range errs {
		wg.Go(func() {
			for !stop.Load() && ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if err := guard(func() error { return do(w, i) }); err != nil {
					errs[w] = err
					stop.Store(true)
				}
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return ctx.Err()
}

// guard turns a panic into an error.
func guard(do func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
		}
	}()
	return do()
}
