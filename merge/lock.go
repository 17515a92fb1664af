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

// dirLock keeps a second process out of an output directory.
type dirLock struct {
	root *os.Root
	f    *os.File
}

// takeLock locks the directory. The file's text, the process id, is only there
// for people to read.
func takeLock(root *os.Root) (*dirLock, error) {
	for range 8 {
		f, err := root.OpenFile(lockName, os.O_RDWR|os.O_CREATE, 0o644)
		if err != nil {
			return nil, err
		}
		if err := lockFile(f); err != nil {
			defer f.Close()
			if errors.Is(err, errLocked) {
				who, _ := io.ReadAll(io.LimitReader(f, 64))
				return nil, fmt.Errorf("%w: %s is being written by another process (%s)", ErrRefused, root.Name(), strings.TrimSpace(string(who)))
			}
			return nil, fmt.Errorf("%s: lock: %w", lockName, err)
		}
		// The holder before us may have removed the file between open and lock.
		mine, err1 := f.Stat()
		there, err2 := root.Lstat(lockName)
		if err1 == nil && err2 == nil && os.SameFile(mine, there) {
			if err := f.Truncate(0); err == nil {
				_, _ = fmt.Fprintf(f, "pid %d\n", os.Getpid())
			}
			return &dirLock{root: root, f: f}, nil
		}
		f.Close()
	}
	return nil, fmt.Errorf("%w: %s is being written by another process", ErrRefused, root.Name())
}

// release removes the lock file and unlocks. Removing comes first where the
// system allows it, so that no other process locks a file about to vanish.
func (l *dirLock) release() {
	err := l.root.Remove(lockName)
	l.f.Close()
	if err != nil {
		_ = l.root.Remove(lockName)
	}
}
