package merge

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"time"
)

// enterEvery is how often a process that waits for the directory's lock looks.
const enterEvery = 50 * time.Millisecond

// enter locks the directory and returns the state of an earlier run, nil if
// there is none.
//
// The lock of the directory guards who may begin what. A process that writes all
// of an output or completes one holds it to the end. That of a part holds it
// only until its own lock is taken and its state is on disk, so that nobody who
// has the directory's lock overlooks it.
func (o *output) enter(ctx context.Context) (*state, error) {
	switch {
	case o.spec.part.on():
		return o.enterPart(ctx)
	case o.spec.join > 0:
		return o.enterJoin(ctx)
	}
	var err error
	if o.lock, err = takeLock(o.root, lockName); err != nil {
		return nil, err
	}
	if err := checkForeign(o.spec.dir, o.root.Name()); err != nil {
		return nil, err // somebody came between the first look and the lock
	}
	old, err := loadState(o.root, stateName)
	if err != nil || old != nil {
		return old, err
	}
	if old, err = o.takeOver(); err == nil && old == nil && o.spec.resume {
		err = refusef("it holds no unfinished run to resume")
	}
	return old, err
}

// waitLock takes the directory's lock, for as long as others begin. It returns
// errLocked if one completes the output.
func (o *output) waitLock(ctx context.Context) error {
	for {
		var err error
		if o.lock, err = takeLock(o.root, lockName); !errors.Is(err, errLocked) {
			return err
		}
		if _, err := o.root.Lstat(stateName); err == nil {
			return errLocked
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(enterEvery):
		}
	}
}

// enterPart begins a part.
func (o *output) enterPart(ctx context.Context) (*state, error) {
	err := o.waitLock(ctx)
	if errors.Is(err, errLocked) {
		return nil, ErrPartWritten
	}
	if err != nil {
		return nil, err
	}
	gate := o.lock
	o.lock = nil
	defer gate.release()
	if _, err := o.root.Lstat(stateName); err == nil {
		return nil, ErrPartWritten
	}
	if err := o.checkParts(); err != nil {
		return nil, err
	}
	if o.lock, err = takeLock(o.root, o.spec.part.lockName()); err != nil {
		return nil, fmt.Errorf("part %s: %w", o.spec.part, err)
	}
	old, err := loadState(o.root, o.stateName())
	if err != nil {
		return nil, err
	}
	begun := old
	if begun == nil {
		begun = o.state
	}
	begun.Complete = false
	return old, begun.save(o.root, o.stateName())
}

// checkParts refuses a directory in which others do something else. Nothing but
// names that are known is looked for: a listing may miss files that are being
// replaced.
func (o *output) checkParts() error {
	found := false
	for i := range o.spec.part.Count {
		s, err := loadState(o.root, Part{i + 1, o.spec.part.Count}.stateName())
		if err == nil && s != nil {
			found = true
			err = s.matches(o.state)
		}
		if err != nil {
			return err
		}
	}
	others, err := partsIn(o.root)
	if err != nil {
		return err
	}
	for _, s := range others {
		if s.Count != o.spec.part.Count {
			return refusef("it holds an unfinished run in %d parts, not %d; finish that one, or choose a new directory", s.Count, o.spec.part.Count)
		}
	}
	switch {
	case found:
		return nil
	case o.spec.resume:
		return refusef("it holds no unfinished run to resume")
	}
	return checkForeign(o.spec.dir, o.root.Name())
}

// enterJoin begins to complete an output if all its parts are written and
// nobody else does it.
func (o *output) enterJoin(ctx context.Context) (*state, error) {
	err := o.waitLock(ctx)
	if errors.Is(err, errLocked) {
		return nil, ErrParts
	}
	if err != nil {
		return nil, err
	}
	old, err := loadState(o.root, stateName)
	if err != nil || old != nil {
		return old, err
	}
	var all []*state
	for i := range o.spec.join {
		s, err := loadState(o.root, Part{i + 1, o.spec.join}.stateName())
		if err != nil {
			return nil, err
		}
		if s != nil && s.Complete {
			all = append(all, s)
		}
	}
	if len(all) < o.spec.join {
		return nil, fmt.Errorf("%w; %d of %d parts are written", ErrParts, len(all), o.spec.join)
	}
	return o.unite(all)
}

// takeOver goes on alone with what parts have written, if none of them is
// being written any more.
func (o *output) takeOver() (*state, error) {
	list, err := partsIn(o.root)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	var all []*state
	for _, part := range list {
		s, err := loadState(o.root, part.stateName())
		if err != nil {
			return nil, err
		}
		all = append(all, s)
		l, err := takeLock(o.root, part.lockName())
		if err != nil {
			return nil, fmt.Errorf("part %s: %w", part, err)
		}
		l.release()
	}
	return o.unite(all)
}

// unite makes one state of those of parts and saves it: who waits for the lock
// sees that the output is being completed. Nothing is kept of which layers were
// stopped: parts know nothing of each other's when they arrange their files, so
// those are computed again.
func (o *output) unite(all []*state) (*state, error) {
	one := newState(o.state.Plan, o.state.Inputs)
	for _, s := range all {
		if err := s.matches(one); err != nil {
			return nil, err
		}
		for file, tensors := range s.Files {
			for name, r := range tensors {
				one.put(file, name, r)
			}
		}
		maps.Copy(one.Weights, s.Weights)
	}
	return one, one.save(o.root, stateName)
}

// stateName is the file of this run's state.
func (o *output) stateName() string { return o.spec.part.stateName() }

// holdsRun reports whether a directory has the state of an unfinished run.
func holdsRun(root *os.Root) bool {
	_, err := root.Lstat(stateName)
	if !errors.Is(err, fs.ErrNotExist) {
		return err == nil
	}
	list, err := partsIn(root)
	return err == nil && len(list) > 0
}
