package merge

import (
	"slices"
	"sync"
	"unsafe"

	"mergescope/quant"
)

// spares are the large arrays of weights that have landed, for those to come:
// fresh memory costs a page fault every 4 KiB and must be cleared. Safe for
// concurrent use; nil keeps nothing.
type spares struct {
	pending spare[quant.Pending]
	floats  spare[float32]
}

// spareBytes bounds what each kind of array keeps.
const spareBytes = 48 << 20

// spare is spares of one kind.
type spare[T any] struct {
	mu   sync.Mutex
	list [][]T
}

// take returns n elements of no defined value.
func (s *spare[T]) take(n int) []T {
	s.mu.Lock()
	defer s.mu.Unlock()
	best := -1
	for i, x := range s.list {
		if cap(x) >= n && cap(x)/4 <= n && (best < 0 || cap(x) < cap(s.list[best])) {
			best = i
		}
	}
	if best < 0 {
		return make([]T, n)
	}
	x := s.list[best]
	s.list = slices.Delete(s.list, best, best+1)
	return x[:n]
}

// give takes an array back; the oldest make room.
func (s *spare[T]) give(x []T) {
	var zero T
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, x)
	n := 0
	for _, x := range s.list {
		n += cap(x) * int(unsafe.Sizeof(zero))
	}
	for ; n > spareBytes; s.list = slices.Delete(s.list, 0, 1) {
		n -= cap(s.list[0]) * int(unsafe.Sizeof(zero))
	}
}
