package merge

import "golang.org/x/sys/unix"

// writeBack lets the system begin to write n bytes from off on to the disk, so
// that a later Sync finds little left to do. It is a hint: errors show in Sync.
func writeBack(f interface{ Fd() uintptr }, off, n int64) {
	_ = unix.SyncFileRange(int(f.Fd()), off, n, unix.SYNC_FILE_RANGE_WRITE)
}
