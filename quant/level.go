package quant

import (
	"fmt"
	"sync/atomic"
)

// Level is a set of kernels. All of them return the same bits; NaN within W, D
// and T is only ever computed by the Go twins.
type Level uint8

// The levels, slowest first. A machine has those of its architecture, see Levels.
const (
	Go     Level = iota // any machine
	NEON                // arm64; only the delta is more than the Go twin
	AVX2                // amd64 with AVX2 and FMA
	AVX512              // amd64 with AVX-512 F, BW, DQ and VL
)

var levelNames = [...]string{"go", "neon", "avx2", "avx512"}

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

// best is the fastest level of this machine and build.
var best = Levels()[len(Levels())-1]

// Levels returns the levels of this machine and build, slowest first; Go is
// always there.
func Levels() (l []Level) {
	for v := range Level(len(levelNames)) {
		if hasLevel(v) {
			l = append(l, v)
		}
	}
	return l
}

// Best returns the fastest level of this machine and build.
func Best() Level { return best }

// Kernels returns the level in use: the best one unless Use chose another.
func Kernels() Level {
	if f := forced.Load(); f != 0 {
		return Level(f - 1)
	}
	return best
}

// Use chooses the kernels of everything that follows, in all goroutines. It
// returns an error if this machine or build lacks them.
func Use(l Level) error {
	if !hasLevel(l) {
		return fmt.Errorf("kernels %s: this machine or build has no more than %s", l, best)
	}
	forced.Store(uint32(l) + 1)
	return nil
}
