//go:build !darwin && !dragonfly && !freebsd && !linux && !windows

package merge

import "os"

// freeBytes returns -1: the space is not known on this system.
func freeBytes(string) int64 { return -1 }

// syncDir does nothing on this system.
func syncDir(*os.Root, string) error { return nil }

// lockFile does nothing on this system: two processes writing the same
// directory are not kept apart.
func lockFile(*os.File) error { return nil }
