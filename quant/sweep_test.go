package quant

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// newStrip makes one at random: special numbers, dead columns and scales that
// are no scales are planted by the bits of special.
func newStrip(seed uint64, format Format, given bool, special uint8) *strip {
	const size, groups = ProductRows * ProductCols, 5
	rng := rand.New(rand.NewPCG(seed, 1))
	values := func(n int, deviation float64) []float32 { return gauss(rng, n, deviation) }
	l := latticeOf(format)
	s := &strip{
		sums: values(size, 0.01), near: values(ProductCols*ProductCols, 0.1), diag: values(ProductCols, 1),
		target: values(size, 0.02), pull: values(size, 0.01), scales: make([]float32, groups*2*ProductRows), where: make([]int32, ProductCols),
		given: values(size, 0.02), codes: make([]byte, size), errs: make([]float32, size), aims: make([]float32, size),
		losses: make([]float64, ProductRows),
	}
	if !given {
		s.lattice = l
	}
	for i := range s.losses {
		s.losses[i] = rng.Float64()
	}
	for i, d := range s.diag {
		if s.diag[i] = max(d, -d); special&1 != 0 && i%3 == 0 {
			s.diag[i] = 0
		}
		s.where[i] = int32(rng.IntN(groups) * 2 * ProductRows)
	}
	for i := range s.scales {
		r := i % (2 * ProductRows)
		if r >= ProductRows {
			s.scales[i] = l.inverse(s.scales[i-ProductRows])
			continue
		}
		if s.scales[i] = values(1, 0.05)[0]; special&2 != 0 && rng.IntN(6) == 0 {
			s.scales[i] = odd[rng.IntN(len(odd))]
		}
	}
	for i := range s.target {
		if special&4 != 0 && rng.IntN(20) == 0 {
			s.target[i] = odd[rng.IntN(len(odd)-5)]
		}
		if special&8 != 0 && rng.IntN(20) == 0 { // on a point or between two
			k := i / ProductRows
			scale := s.scales[int(s.where[k])+i%ProductRows]
			s.pull[i], s.sums[i%ProductRows*ProductCols+k] = 0, 0
			if s.target[i] = l.value(uint8(rng.IntN(16)), scale); rng.IntN(2) == 0 {
				s.target[i] = (s.target[i] + l.value(uint8(rng.IntN(16)), scale)) / 2
			}
		}
	}
	return s
}

// checkStrip compares each level's kernels with the Go twin, and that with a sum
// worked out in float64.
func checkStrip(t *testing.T, seed uint64, format Format, given bool, special uint8) {
	t.Helper()
	want := newStrip(seed, format, given, special)
	start := newStrip(seed, format, given, special)
	want.runPlain()
	if special == 0 {
		for r := range ProductRows {
			for j := range ProductCols {
				k := j*ProductRows + r
				aim := float64(start.target[k]) - float64(start.pull[k]) - float64(start.sums[r*ProductCols+j])
				for i := range j {
					aim -= float64(want.errs[i*ProductRows+r]) * float64(start.near[i*ProductCols+j])
				}
				if math.Abs(aim-float64(want.aims[k])) > 1e-6 {
					t.Fatalf("row %d place %d: aim %v, want %v", r, j, want.aims[k], aim)
				}
				v := want.errs[k] + want.target[k]
				start.losses[r] += float64(start.diag[j]) * (float64(v) - aim) * (float64(v) - aim)
			}
			if math.Abs(start.losses[r]-want.losses[r]) > 1e-5*want.losses[r] {
				t.Fatalf("row %d: loss %v, want %v", r, want.losses[r], start.losses[r])
			}
		}
	}
	for _, l := range Levels()[1:] {
		got := newStrip(seed, format, given, special)
		at(t, l, func() { got.run() })
		name := fmt.Sprintf("%s: %s, given %t, special %d, seed %d", l, format, given, special, seed)
		identicalButNaN(t, name+" errors", got.errs, want.errs)
		identicalButNaN(t, name+" aims", got.aims, want.aims)
		if !slices.Equal(got.codes, want.codes) {
			t.Fatalf("%s: codes %v, the Go twin has %v", name, got.codes, want.codes)
		}
		for r, loss := range got.losses {
			if w := want.losses[r]; math.Float64bits(loss) != math.Float64bits(w) && (loss == loss || w == w) {
				t.Fatalf("%s: loss %v of row %d, the Go twin has %v", name, loss, r, w)
			}
		}
	}
}

// identicalButNaN is identical where NaN are all the same.
func identicalButNaN(t *testing.T, what string, got, want []float32) {
	t.Helper()
	clean := func(x []float32) []float32 {
		x = slices.Clone(x)
		for i, v := range x {
			if v != v {
				x[i] = nan
			}
		}
		return x
	}
	identical(t, what, clean(got), clean(want))
}

func TestStripKernels(t *testing.T) {
	for seed := range uint64(400) {
		for _, f := range []Format{NF4, FP4, Int8} {
			checkStrip(t, seed, f, seed%4 == 0, []uint8{0, 1, 2, 8, 4, 15, 0, 11}[seed%8])
		}
	}
}

func FuzzStripKernels(f *testing.F) {
	f.Add(uint64(1), uint8(0), false, uint8(0))
	f.Add(uint64(2), uint8(1), false, uint8(15))
	f.Add(uint64(3), uint8(2), true, uint8(3))
	f.Fuzz(func(t *testing.T, seed uint64, format uint8, given bool, special uint8) {
		checkStrip(t, seed, []Format{NF4, FP4, Int8}[format%3], given, special)
	})
}

func TestMissesKernels(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 8))
	for i := range 500 {
		l := latticeOf([]Format{NF4, FP4}[i%2])
		n := missLanes * (1 + rng.IntN(8))
		x := scaleSearch{lattice: l, aims: gauss(rng, n, 0.05), weights: gauss(rng, n, 1)}
		scale := gauss(rng, 1, 0.1)[0]
		for k := range x.aims {
			if i%5 == 0 && rng.IntN(9) == 0 {
				x.aims[k] = odd[rng.IntN(len(odd)-5)]
			}
			if i%7 == 0 && rng.IntN(3) == 0 {
				x.aims[k] = l.value(uint8(rng.IntN(16)), scale)
			}
		}
		if i%11 == 0 {
			scale = odd[rng.IntN(len(odd)-5)]
		}
		var want float64
		at(t, Go, func() { want = x.misses(scale) })
		sum := 0.0
		for k, aim := range x.aims {
			_, v := l.nearest(aim, scale, l.inverse(scale))
			sum += float64(x.weights[k]) * (float64(v) - float64(aim)) * (float64(v) - float64(aim))
		}
		if i%5 > 0 && i%11 > 0 && math.Abs(sum-want) > 1e-5*math.Abs(sum)+1e-6 {
			t.Fatalf("misses are %v, want %v", want, sum)
		}
		for _, level := range Levels()[1:] {
			at(t, level, func() {
				if got := x.misses(scale); math.Float64bits(got) != math.Float64bits(want) && (got == got || want == want) {
					t.Fatalf("%s, %s, scale %v: misses are %v, the Go twin has %v", level, l.format, scale, got, want)
				}
			})
		}
	}
}

// BenchmarkStrip goes through one strip, which stays in the first-level cache.
func BenchmarkStrip(b *testing.B) {
	for _, level := range Levels() {
		for _, f := range []Format{NF4, FP4, Int8, Unknown} {
			format, name := f, f.String()
			if f == Unknown {
				format, name = NF4, "given"
			}
			s := newStrip(1, format, f == Unknown, 0)
			b.Run(level.String()+"/"+name, func(b *testing.B) {
				at(b, level, func() {
					took := least(b, 20, s.run)
					b.ReportMetric(float64(took)/ProductRows/ProductCols, "ns/weight")
				})
			})
		}
	}
}
