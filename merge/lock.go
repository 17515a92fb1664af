package merge

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

const lockName = "mergescope.lock"

var errLocked = errors.New("locked")

// lockedError says who has a lock.
type lockedError struct{ text string }

func (e lockedError) Error() string   { return ErrRefused.Error() + ": " + e.text }
func (e lockedError) Unwrap() []error { return []error{ErrRefused, errLocked} }

// dirLock keeps a second process out of an output directory, or out of a part
// of it.
type dirLock struct {
	root *os.Root
	name string
	f    *os.File
}

// takeLock locks a file of the directory. Its text, the process id, is only
// there for people to read. If another process has the lock, the error matches
// ErrRefused and errLocked.
func takeLock(root *os.Root, name string) (*dirLock, error) {
	for range 8 {
		f, err := root.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
		if err != nil {
			return nil, err
		}
		if err := lockFile(f); err != nil {
			defer f.Close()
			if errors.Is(err, errLocked) {
				who, _ := io.ReadAll(io.LimitReader(f, 64))
				return nil, lockedError{fmt.Sprintf("%s is being written by another process (%s)", root.Name(), strings.TrimSpace(string(who)))}
			}
			return nil, fmt.Errorf("%s: lock: %w", name, err)
		}
		// The holder before us may have removed the file between open and lock.
		mine, err1 := f.Stat()
		there, err2 := root.Lstat(name)
		if err1 == nil && err2 == nil && os.SameFile(mine, there) {
			if err := f.Truncate(0); err == nil {
				_, _ = fmt.Fprintf(f, "pid %d\n", os.Getpid())
			}
			return &dirLock{root: root, name: name, f: f}, nil
		}
		f.Close()
	}
	return nil, lockedError{root.Name() + " is being written by another process"}
}

// release removes the lock file and unlocks. Removing comes first where the
// system allows it, so that no other process locks a file about to vanish.
func (l *dirLock) release() {
	err := l.root.Remove(l.name)
	l.f.Close()
	if err != nil {
		_ = l.root.Remove(l.name)
	}
}
