package merge

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// freeBytes returns the space the user may still fill on the volume of dir, or
// -1 if it is not known.
func freeBytes(dir string) int64 {
	p, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return -1
	}
	var free uint64
	if err := windows.GetDiskFreeSpaceEx(p, &free, nil, nil); err != nil {
		return -1
	}
	return int64(free)
}

// syncDir does nothing: Windows journals renames itself and does not flush
// directory handles.
func syncDir(*os.Root, string) error { return nil }

// lockFile takes an exclusive lock that the system gives up when the process
// ends. The locked byte lies behind the text of the file.
func lockFile(f *os.File) error {
	err := windows.LockFileEx(windows.Handle(f.Fd()),
		windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &windows.Overlapped{Offset: 1 << 20})
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return errLocked
	}
	return err
}
