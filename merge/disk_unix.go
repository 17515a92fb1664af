//go:build darwin || dragonfly || freebsd || linux

package merge

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// freeBytes returns the space an unprivileged user may still fill in the file
// system of dir, or -1 if it is not known.
func freeBytes(dir string) int64 {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return -1
	}
	return int64(st.Bavail) * int64(st.Bsize) //nolint:unconvert // types differ between systems
}

// syncDir makes renames in a directory survive a power failure. File systems
// that cannot sync directories say EINVAL or ENOTSUP.
func syncDir(root *os.Root, dir string) error {
	d, err := root.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOTSUP) {
		return err
	}
	return nil
}

// lockFile takes an exclusive lock that the kernel gives up when the process
// ends, however it ends, so that there are no stale locks. Some network file
// systems have no locks; there, two processes are not kept apart.
func lockFile(f *os.File) error {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	switch {
	case errors.Is(err, unix.EWOULDBLOCK):
		return errLocked
	case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.ENOTSUP), errors.Is(err, unix.ENOLCK):
		return nil
	}
	return err
}
