package merge

import (
	"math"
	"testing"

	"mergescope/quant"
)

// nestedCase is the synthetic weight with nested scales.
func nestedCase(t testing.TB, size, rank int) *subject {
	t.Helper()
	for _, c := range syntheticCases(size, rank) {
		if c.format == "nf4-dq" {
			s, err := c.open(0)
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
	}
	t.Fatal("no synthetic weight has nested scales")
	return nil
}

// fly computes a weight, in panels of so many weights, with a tile of rows by cols
// cells unless rows is 0. twice leaves everything to the last pass.
func fly(t testing.TB, s *subject, twice bool, panel, rows, cols int) *flight {
	t.Helper()
	s.scales = nil
	f := newFlight(s, nil, panel, nil)
	if twice {
		f.pending, f.settled = nil, nil
	}
	if rows > 0 {
		f.result.heat = s.newHeat(0, s.rows, rows, cols)
	}
	var w work
	for ; f.pass < s.passes(); f.pass++ {
		for i := range f.panels {
			if err := f.compute(&w, f.pass, i); err != nil {
				t.Fatal(err)
			}
		}
		if err := f.endPass(); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

// Figures found when the scales are known are those of a second look at the
// weights, cell by cell, and so are those of panels of another size.
func TestOnePassFindsTheSame(t *testing.T) {
	s := nestedCase(t, 256, 4)
	for _, c := range []struct{ panel, rows, cols int }{
		{panelWeights, 0, 0}, {2048, 0, 0}, {2048, 16, 4}, {panelWeights, 16, 4}, {768, 100, 3}, {256, 256, 4},
	} {
		want := fly(t, s, true, panelWeights, c.rows, c.cols)
		got := fly(t, s, false, c.panel, c.rows, c.cols)
		for i, settled := range got.settled {
			if !settled {
				t.Fatalf("%+v: panel %d took two passes", c, i)
			}
		}
		if got.result.sums != want.result.sums || got.result.worst != want.result.worst {
			t.Errorf("%+v: %+v, in two passes %+v", c, got.result, want.result)
		}
		if c.rows == 0 {
			continue
		}
		a, b := got.result.heat.tile(), want.result.heat.tile()
		for m := range NumMetrics {
			for g, v := range a.values[m] {
				for i := range v {
					if math.Float32bits(v[i]) != math.Float32bits(b.values[m][g][i]) {
						t.Errorf("%+v: %s of cell %d is %v, in two passes %v", c, m.Info().Name, i, v[i], b.values[m][g][i])
					}
				}
			}
		}
	}
}

// A panel with something infinite is computed again, and the others are not.
func TestOnePassLeavesOutWhatIsNotFinite(t *testing.T) {
	s := nestedCase(t, 256, 4)
	l := s.plain()
	for _, v := range []float32{float32(math.Inf(1)), float32(math.NaN()), 1e30, 3e38} {
		before := l.b[100*l.a.Rank]
		l.b[100*l.a.Rank] = v
		got, want := fly(t, s, false, 256*16, 16, 4), fly(t, s, true, 256*16, 16, 4)
		l.b[100*l.a.Rank] = before
		a, b := got.result.sums, want.result.sums
		for _, sums := range []*quant.Sums{&a, &b} { // NaN is not equal to itself
			for _, v := range []*float64{&sums.DD, &sums.TT, &sums.RD, &sums.EE} {
				if *v != *v {
					*v = -1
				}
			}
		}
		if a != b || got.result.first != want.result.first {
			t.Errorf("%v: %+v %+v, in two passes %+v %+v", v, a, got.result.first, b, want.result.first)
		}
		if got.settled[6] || !got.settled[5] {
			t.Errorf("%v: panels merged in one pass: %v", v, got.settled)
		}
	}
}
