package quant

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// samePairs rounds at every level, where x is too, and wants what Go's twin makes of it.
func samePairs(t *testing.T, width, k int, size float32, special uint8, seed uint64) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, seed))
	x := make([]float32, 2*k*width)
	for i := range x {
		x[i] = float32(rng.NormFloat64()) * size
		if special > 0 && rng.IntN(int(special)) == 0 {
			x[i] = []float32{0, float32(math.Copysign(0, -1)), float32(math.Inf(1)), float32(math.NaN()), 0x1p-140, math.MaxFloat32}[rng.IntN(6)]
		}
	}
	limit := []float32{wantedLimit, factorLimit, crossLimit}[seed%3]
	round := func(l Level) (dst []int16, units []float32) {
		dst, units = make([]int16, len(x)), make([]float32, width)
		at(t, l, func() { roundPairs(dst, units, x, limit) })
		return dst, units
	}
	dst, units := round(Go)
	// What a column that is not finite is rounded to counts for nothing.
	drop := func(dst []int16) {
		for i := range dst {
			if u := units[i/2%width]; u != u {
				dst[i] = 0
			}
		}
	}
	drop(dst)
	for _, l := range Levels() {
		got, gotUnits := round(l)
		drop(got)
		identical(t, l.String()+" units", gotUnits, units)
		if !slices.Equal(got, dst) {
			t.Fatalf("%s, width %d, %d pairs: other integers", l, width, k)
		}
		if width != ProductCols {
			continue
		}
		in := slices.Clone(x)
		at(t, l, func() { roundPairs(int16s(in), gotUnits, in, limit) })
		there := int16s(in)[:len(dst)]
		drop(there)
		if !slices.Equal(there, dst) {
			t.Fatalf("%s, %d pairs: other integers where the values were", l, k)
		}
	}
}

func TestLevelsAgreeOnPairs(t *testing.T) {
	for _, width := range []int{ProductRows, ProductCols} {
		for _, k := range []int{1, 2, 16, span / 2, span} {
			for _, size := range []float32{1, 0x1p-120, 1e30} {
				samePairs(t, width, k, size, 0, uint64(k))
				samePairs(t, width, k, size, 30, uint64(k))
			}
		}
	}
}

func FuzzPairs(f *testing.F) {
	f.Add(true, uint8(96), float32(0.01), uint8(0), uint64(1))
	f.Add(false, uint8(16), float32(1e-38), uint8(9), uint64(2))
	f.Fuzz(func(t *testing.T, rows bool, k uint8, size float32, special uint8, seed uint64) {
		width := ProductCols
		if rows {
			width = ProductRows
		}
		samePairs(t, width, int(k), size, special, seed)
	})
}

// Each value is the multiple of its column's unit nearest to it, units are the
// largest over 2047, and values that are next to each other in a column are neighbours.
func TestRoundPairs(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	const k, width = 7, ProductRows
	x := make([]float32, 2*k*width)
	for i := range x {
		x[i] = float32(rng.NormFloat64() * math.Exp2(float64(i%width*4-24)))
	}
	for i := 3; i < len(x); i += width {
		x[i] *= 1e-28 // no signal
	}
	x[width+5] = float32(math.Inf(-1))
	dst, units := make([]int16, len(x)), make([]float32, width)
	roundPairs(dst, units, x, 2047)
	for c, unit := range units {
		most := 0.0
		for i := c; i < len(x); i += width {
			most = max(most, math.Abs(float64(x[i])))
		}
		switch {
		case c == 5:
			if unit == unit {
				t.Errorf("an infinite column has the unit %v", unit)
			}
			continue
		case c == 3:
			most = 0
		}
		if want := most / 2047; math.Abs(float64(unit)-want) > 1e-7*want {
			t.Errorf("column %d: unit %v, want %v", c, unit, want)
		}
		for i := range 2 * k {
			got, v := float64(dst[i/2*2*width+2*c+i%2])*float64(unit), float64(x[i*width+c])
			if c == 3 {
				v = 0
			}
			if math.Abs(got-v) > 0.5001*float64(unit) {
				t.Errorf("row %d column %d: %v, want %v", i, c, got, v)
			}
		}
	}
}
