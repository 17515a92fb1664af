package quant

import (
	"math"
	"math/rand/v2"
	"testing"
)

// slowNearest8 returns the codes at the least distance from x in float64, and
// those as near but for float32 rounding.
func slowNearest8(x float32) (codes []int) {
	distance := func(c int) float64 { return math.Abs(float64(x) - float64(dynamicMap[c])) }
	least := math.Inf(1)
	for c := range dynamicMap {
		least = min(least, distance(c))
	}
	for c := range dynamicMap {
		if distance(c) <= least+3e-7*math.Abs(float64(x)) {
			codes = append(codes, c)
		}
	}
	return codes
}

func TestNearest8(t *testing.T) {
	rng := rand.New(rand.NewPCG(33, 34))
	check := func(x float32) {
		t.Helper()
		got := int(nearest8(x))
		for _, c := range slowNearest8(x) {
			if c == got {
				return
			}
		}
		t.Errorf("%v: code %d (%v), nearest are %v", x, got, dynamicMap[got], slowNearest8(x))
	}
	for c, v := range dynamicMap {
		if got := nearest8(v); int(got) != c {
			t.Errorf("value %d became %d", c, got)
		}
		check(math.Nextafter32(v, 2))
		if c < 255 {
			check(midpoint8(c))
		}
	}
	for range 20000 {
		check(2*rng.Float32() - 1)
		check((2*rng.Float32() - 1) * 1e-4)
	}
	if got := nearest8(float32(math.NaN())); got != 0 {
		t.Errorf("NaN became %d", got)
	}
	if a, b := nearest8(-1), nearest8(1); a != 0 || b != 255 {
		t.Errorf("ends became %d and %d", a, b)
	}
}

// lookup8 is the CPU's code of x.
func lookup8(x float32) uint8 { return codes8[place(x)] }

// Codes 124 to 130 are out of reach of the CPU's look-up table, and nothing is
// further from its value than the table's grid allows.
func TestLookup8(t *testing.T) {
	rng := rand.New(rand.NewPCG(35, 36))
	if got := lookup8(0); got != 131 {
		t.Errorf("0 became %d, want 131", got)
	}
	away, n := 0, 200000
	for range n {
		x := float32(math.Max(-1, math.Min(1, rng.NormFloat64()/3)))
		got := lookup8(x)
		if got >= 124 && got <= 130 {
			t.Fatalf("%v became %d", x, got)
		}
		best := slowNearest8(x)[0]
		if d := math.Abs(float64(x-dynamicMap[got])) - math.Abs(float64(x-dynamicMap[best])); d > 2.0/65535 {
			t.Fatalf("%v became %d, %v further than %d", x, got, d, best)
		}
		if got != nearest8(x) {
			away++
		}
	}
	if away == 0 || away > n/100 {
		t.Errorf("%d of %d differ from the nearest code, want a few (0.155 %% of Gaussian values)", away, n)
	}
	for x, want := range map[float32]uint8{-1: 0, 1: 255, -5: 0, 5: 255, float32(math.NaN()): 0} {
		if got := lookup8(x); got != want {
			t.Errorf("%v became %d, want %d", x, got, want)
		}
	}
}

func TestNestedNonFinite(t *testing.T) {
	nan := float32(math.NaN())
	for _, bad := range []float32{nan, inf} {
		for _, p := range profiles {
			n := QuantizeAbsmax([]float32{1, 2, bad, 3}, p)
			dst := make([]float32, 4)
			n.Dequantize(dst)
			if n.Offset == n.Offset && finite(n.Offset) {
				t.Errorf("%s, %v among the scales: offset %v", p, bad, n.Offset)
			}
			for i, v := range dst {
				if v == v {
					t.Errorf("%s, %v among the scales: [%d] decodes to %v, want NaN", p, bad, i, v)
				}
			}
		}
	}
}

func TestNestedShapes(t *testing.T) {
	rng := rand.New(rand.NewPCG(37, 38))
	for _, p := range profiles {
		for _, n := range []int{0, 1, 255, 256, 257, 1000} {
			absmax := gauss(rng, n, 0.01)
			for i := range absmax {
				absmax[i] = abs(absmax[i]) + 0.05
			}
			q := QuantizeAbsmax(absmax, p)
			if q.Blocksize != 256 || len(q.Codes) != n || len(q.Absmax) != (n+255)/256 {
				t.Fatalf("%d scales: %d codes, %d scales of blocks of %d", n, len(q.Codes), len(q.Absmax), q.Blocksize)
			}
			dst := make([]float32, n)
			q.Dequantize(dst)
			for i, v := range dst {
				// The widest gap of the map is 0.0146 of the block's scale.
				if d := math.Abs(float64(v - absmax[i])); d > 0.0147/2*float64(q.Absmax[i/256])+1e-6 {
					t.Errorf("%s: %v decodes to %v", p, absmax[i], v)
				}
			}
		}
	}
}

func TestNestedConstant(t *testing.T) {
	for _, p := range profiles {
		n := QuantizeAbsmax([]float32{0.25, 0.25, 0.25}, p)
		sameBytes(t, "codes", n.Codes, []byte{0, 0, 0})
		sameBits(t, "absmax", n.Absmax, []float32{0})
		dst := make([]float32, 3)
		n.Dequantize(dst)
		sameBits(t, "scales", dst, []float32{0.25, 0.25, 0.25})
	}
}

func TestNestedSubnormalCUDA(t *testing.T) {
	n := QuantizeAbsmaxAt([]float32{1e-40, -1e-40}, 0, CUDA)
	sameBytes(t, "codes", n.Codes, []byte{0, 0})
	sameBits(t, "absmax", n.Absmax, []float32{0})
	n = QuantizeAbsmaxAt([]float32{1e-40, -1e-40}, 0, CPU)
	if n.Absmax[0] == 0 {
		t.Error("the CPU keeps subnormal scales")
	}
}

func TestMeanOfNothing(t *testing.T) {
	if m := Mean(nil); m == m {
		t.Errorf("mean of nothing is %v", m)
	}
}

// Scales placed on the border between two codes move with the mean, scales in
// the middle of a code do not.
func TestOffsetUlp(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	for i, c := range []struct {
		n            int
		mean, spread float32
	}{
		{4096, 0.05, 0.01}, {70000, 0.015, 0.003}, {1000, 0.05, 1e-6}, {300, 1, 0}, {513, 1e-38, 1e-38}, {257, 1e-3, 100},
	} {
		absmax := make([]float32, c.n)
		for i := range absmax {
			absmax[i] = c.mean + float32(c.spread*rng.Float32())
		}
		n := QuantizeAbsmax(absmax, CPU)
		above := QuantizeAbsmaxAt(absmax, math.Nextafter32(n.Offset, math.MaxFloat32), CPU)
		below := QuantizeAbsmaxAt(absmax, math.Nextafter32(n.Offset, -math.MaxFloat32), CPU)
		want := 0
		for i, code := range n.Codes {
			if code != above.Codes[i] || code != below.Codes[i] {
				want++
			}
		}
		got := n.OffsetUlp(absmax, CPU)
		if got != want {
			t.Errorf("%+v: %d codes hang on an ulp, want %d", c, got, want)
		}
		if i < 2 && (got == 0 || got > len(absmax)/100) {
			t.Errorf("%+v: %d of %d codes hang on an ulp, want a few at borders", c, got, len(absmax))
		}
	}
}

func BenchmarkNested(b *testing.B) {
	rng := rand.New(rand.NewPCG(7, 8))
	absmax := make([]float32, 4096*64)
	for i := range absmax {
		absmax[i] = 0.01 + 0.01*rng.Float32()
	}
	stored := make([]float32, len(absmax))
	n := QuantizeAbsmax(absmax, CPU)
	pending, settled := make([]Pending, len(absmax)), make([]BlockSum, StatBlock)
	for i := range pending {
		pending[i] = Pending{WW: 1, DD: 2, TT: 3, RD: 0.5, EE: 0.7, MaxE: 0.1, Codes: 3, VD: 1, EV: -1, VV: 20}
	}
	var sums Sums
	for _, step := range []struct {
		name string
		do   func()
	}{
		{"Mean", func() { Mean(absmax) }},
		{"Quantize", func() { n = QuantizeAbsmaxAt(absmax, n.Offset, CPU) }},
		{"OffsetUlp", func() { n.OffsetUlp(absmax, CPU) }},
		{"Dequantize", func() { n.Dequantize(stored) }},
		{"Settle", func() {
			for i := 0; i < len(absmax); i += len(settled) {
				Settle(settled, pending[i:], 64, absmax[i:], absmax[i:], stored[i:])
			}
		}},
		{"AddAll", func() {
			for i := 0; i < len(absmax); i += len(settled) {
				sums.AddAll(settled)
			}
		}},
	} {
		for _, level := range Levels() {
			b.Run(step.name+"/"+level.String(), func(b *testing.B) {
				at(b, level, func() {
					b.ReportMetric(float64(least(b, 1, step.do))/float64(len(absmax)), "ns/scale")
				})
			})
		}
	}
}
