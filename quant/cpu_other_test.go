//go:build !linux

package quant

import "time"

var epoch = time.Now()

// threadTime returns the time on the clock, for want of that of the thread.
func threadTime() time.Duration { return time.Since(epoch) }
