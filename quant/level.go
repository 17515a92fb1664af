package quant

import (
	"fmt"
	"sync/atomic"
)

// Level is a set of kernels. All of them return the same bits; NaN within W, D
// and T is only ever computed by the Go twins.
type Level uint8

// The levels, slowest first. Each works on machines that the next one needs
// more of.
const (
	Go     Level = iota // any machine
	AVX2                // amd64 with AVX2 and FMA
	AVX512              // amd64 with AVX-512 F, BW, DQ and VL
)

var levelNames = [...]string{"go", "avx2", "avx512"}

// String returns the name ParseLevel reads, for example "avx512".
func (l Level) String() string {
	if int(l) < len(levelNames) {
		return levelNames[l]
	}
	return fmt.Sprintf("level(%d)", uint8(l))
}

// ParseLevel is the inverse of String; ok is false for other names.
func ParseLevel(s string) (l Level, ok bool) {
	for i, name := range levelNames {
		if s == name {
			return Level(i), true
		}
	}
	return Go, false
}

// forced is 1 + the level that Use asked for, 0 for the best one.
var forced atomic.Uint32

// Best returns the fastest level of this machine and build.
func Best() Level { return bestLevel() }

// Kernels returns the level in use: the best one unless Use chose another.
func Kernels() Level {
	if f := forced.Load(); f != 0 {
		return Level(f - 1)
	}
	return bestLevel()
}

// Use chooses the kernels of everything that follows, in all goroutines. It
// returns an error if this machine or build lacks them.
func Use(l Level) error {
	if l > bestLevel() {
		return fmt.Errorf("kernels %s: this machine or build has no more than %s", l, bestLevel())
	}
	forced.Store(uint32(l) + 1)
	return nil
}
