package merge

import "testing"

// TestSpare: what fits closely is used again, the smallest first, and no more is
// kept than may be.
func TestSpare(t *testing.T) {
	var s spare[float32]
	a, b := make([]float32, 1000), make([]float32, 3000)
	s.give(b)
	s.give(a)
	if x := s.take(800); cap(x) != 1000 || len(x) != 800 {
		t.Errorf("%d of %d elements", len(x), cap(x))
	}
	if x := s.take(800); &x[:1][0] != &b[0] {
		t.Error("the larger one is not used")
	}
	s.give(b)
	if x := s.take(700); cap(x) == 3000 {
		t.Error("four times what is needed is used")
	}
	if x := s.take(3001); cap(x) < 3001 {
		t.Error("too small")
	}
	for range 4 {
		s.give(make([]float32, spareBytes/4/2))
	}
	if len(s.list) != 2 {
		t.Errorf("%d arrays of half the bound each are kept", len(s.list))
	}
}
