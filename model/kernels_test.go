package model

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"mergescope/quant"
)

func sameBits(t *testing.T, what string, got, want []float32) {
	t.Helper()
	for i := range want {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) && (got[i] == got[i] || want[i] == want[i]) {
			t.Fatalf("%s: element %d is %x, want %x", what, i, got[i], want[i])
		}
	}
}

// vectorLevels are those with kernels, of this machine and build.
func vectorLevels() (l []quant.Level) {
	for v := quant.AVX2; v <= quant.Best(); v++ {
		l = append(l, v)
	}
	return l
}

// mixed returns numbers of many sizes, with some that are special.
func mixed(rng *rand.Rand, n int, special bool) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(rng.NormFloat64() * math.Exp2(float64(rng.IntN(40)-20)))
		if special && rng.IntN(50) == 0 {
			x[i] = []float32{0, float32(math.Copysign(0, -1)), float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN()), 0x1p-140, math.MaxFloat32}[rng.IntN(7)]
		}
	}
	return x
}

func TestDotKernels(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, k := range []int{1, 2, 7, 47, 48, 49, 96, 97, 192, 200} {
		for _, special := range []bool{false, true} {
			x, w := mixed(rng, k*tileRows, special), mixed(rng, k*panelCols, special)
			stride := panelCols + rng.IntN(3)*panelCols
			y := mixed(rng, tileRows*stride, false)
			for _, add := range []bool{false, true} {
				want := append([]float32{}, y...)
				dotGo(want, stride, x, w, k, add)
				for _, l := range vectorLevels() {
					got := append([]float32{}, y...)
					at(t, l, func() { dot(got, stride, x, w, k, add) })
					sameBits(t, l.String(), got, want) // what is not written stays
				}
			}
		}
	}
}

// atPairs runs do with the kernels of a level, with VNNI and without.
func atPairs(t testing.TB, l quant.Level, do func(name string)) {
	t.Helper()
	at(t, l, func() {
		if has := useVNNI; has && l == quant.AVX512 {
			do("vnni")
			useVNNI = false
			defer func() { useVNNI = has }()
		}
		do(l.String())
	})
}

func TestDotPairsKernels(t *testing.T) { checkIntegers(t, 2, shortMax, dotPairs, dotPairsGo) }

func TestDotQuadsKernels(t *testing.T) { checkIntegers(t, 4, byteMax, dotQuads, dotQuadsGo) }

// checkIntegers compares products of integers up to top, n in 4 bytes, with their twin.
func checkIntegers[T int8 | int16](t *testing.T, n, top int, dot, twin func(y []float32, stride int, x, w []T, units *pairUnits, k int, add bool)) {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	for _, k := range []int{1, 2, 7, 47, runTokens/n - 1, runTokens / n} {
		for _, special := range []bool{false, true} {
			x, w := make([]T, n*k*tileRows), make([]T, n*k*panelCols)
			for _, v := range [][]T{x, w} {
				for i := range v {
					if v[i] = T(rng.IntN(2*top+1) - top); k == runTokens/n && special {
						v[i] = T(top) // the largest sum there is
					}
				}
			}
			var units pairUnits
			copy(units[:], mixed(rng, len(units), special))
			stride := panelCols + rng.IntN(3)*panelCols
			y := mixed(rng, tileRows*stride, false)
			for _, add := range []bool{false, true} {
				want := append([]float32{}, y...)
				twin(want, stride, x, w, &units, k, add)
				for _, l := range vectorLevels() {
					atPairs(t, l, func(name string) {
						got := append([]float32{}, y...)
						dot(got, stride, x, w, &units, k, add)
						sameBits(t, name, got, want)
					})
				}
			}
		}
	}
}

// Rounded values are within half a unit, of which the largest has byteMax or shortMax.
func TestRoundRun(t *testing.T) {
	checkRoundRun(t, byteMax, roundBytes)
	checkRoundRun(t, shortMax, roundShorts)
}

func checkRoundRun[T int8 | int16](t *testing.T, top float64, all func(dst []T, x []float32, per float32)) {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{1, 2, 7, runTokens} {
		x := mixed(rng, n, false)
		if n == 7 {
			x[3] = -1e10
		}
		dst := make([]T, roundUp(n, 4))
		dst[len(dst)-1] = 1
		unit := float64(roundRun(dst, x, float32(top), all))
		most := 0.0
		for i, v := range x {
			most = max(most, math.Abs(float64(v)))
			if got := unit * float64(dst[i]); math.Abs(got-float64(v)) > 0.5001*unit {
				t.Errorf("%d values: %v is %v in units of %v", n, v, got, unit)
			}
		}
		if n%4 != 0 && dst[len(dst)-1] != 0 {
			t.Errorf("%d behind %d values", dst[len(dst)-1], n)
		}
		if math.Abs(unit*top-most) > 1e-6*most {
			t.Errorf("%d values: unit %v of up to %v", n, unit, most)
		}
	}
	dst := make([]T, 4)
	for _, odd := range []float64{math.Inf(1), math.Inf(-1), math.NaN()} {
		if unit := roundRun(dst, []float32{1, float32(odd)}, float32(top), all); unit == unit && !math.IsInf(float64(unit), 0) {
			t.Errorf("unit of %v is %v", odd, unit)
		}
	}
	if unit := roundRun(dst, []float32{0, 1e-40}, float32(top), all); unit != 0 || dst[0] != 0 || dst[1] != 0 {
		t.Errorf("nothing is %v of %v", dst, unit)
	}
}

func TestRoundKernels(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{0, 1, 7, 8, 15, 16, 17, 40, runTokens} {
		for i := range 20 {
			x := mixed(rng, n, i%2 == 0)
			top := topBitsGo(x)
			for _, l := range vectorLevels() {
				at(t, l, func() {
					if got := topBits(x); got != top {
						t.Errorf("%v: top bits of %d are %x, want %x", l, n, got, top)
					}
					if _, per := quant.RoundingUnit(top, byteMax); per > 0 {
						checkRoundKernel(t, l, x, per, roundBytes)
					}
					if _, per := quant.RoundingUnit(top, shortMax); per > 0 {
						checkRoundKernel(t, l, x, per, roundShorts)
					}
				})
			}
		}
	}
}

func checkRoundKernel[T int8 | int16](t *testing.T, l quant.Level, x []float32, per float32, all func(dst []T, x []float32, per float32)) {
	t.Helper()
	got, want := make([]T, len(x)), make([]T, len(x))
	all(got, x, per)
	roundAllGo(want, x, per)
	if !slices.Equal(got, want) {
		t.Errorf("%v: %d are %v, want %v", l, len(x), got, want)
	}
}

// A chain is what quant's FMA says, one term after the other.
func TestDotIsChains(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	const k = 100
	x, w := mixed(rng, k*tileRows, false), mixed(rng, k*panelCols, false)
	got := make([]float32, tileRows*panelCols)
	dot(got, panelCols, x, w, k, false)
	want := make([]float32, len(got))
	for i := range want {
		r, c := i/panelCols, i%panelCols
		var sums []float32
		for j := range k {
			if j%48 == 0 {
				sums = append(sums, 0)
			}
			s := &sums[len(sums)-1]
			*s = quant.FMA32(x[j*tileRows+r], w[j*panelCols+c], *s)
		}
		want[i] = float32(sums[0]+sums[1]) + sums[2]
	}
	sameBits(t, "chains", got, want)
}

func TestExp(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	x := []float32{
		0, float32(math.Copysign(0, -1)), 1, -1, 88.36, 88.37, 88.38, 100, -87.32, -87.33, -87.34, -1000,
		float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN()), math.MaxFloat32, 0x1p-149,
	}
	for range 20000 {
		x = append(x, float32(rng.Float64()*180-90))
	}
	worst := 0.0
	for _, v := range x {
		got, want := float64(exp32(v)), math.Exp(float64(v))
		switch {
		case v != v:
			if got == got {
				t.Errorf("exp32(NaN) = %v", got)
			}
		case v > 88.37:
			if !math.IsInf(got, 1) {
				t.Errorf("exp32(%v) = %v", v, got)
			}
		case v < -87.33:
			if got != 0 {
				t.Errorf("exp32(%v) = %v", v, got)
			}
		default:
			worst = max(worst, math.Abs(got/want-1))
		}
	}
	if worst > 1.5*0x1p-23 {
		t.Errorf("relative error %.3g", worst)
	}
	for _, n := range []int{0, 1, 7, 8, 15, 16, 17, 100, len(x)} {
		want := append([]float32{}, x[:n]...)
		expGo(want, 0.5)
		quot := append([]float32{}, x[:n]...)
		divideGo(quot, 3)
		for _, l := range vectorLevels() {
			at(t, l, func() {
				got := append([]float32{}, x[:n]...)
				expAll(got, 0.5)
				sameBits(t, l.String()+" exp", got, want)
				got = append(got[:0], x[:n]...)
				divide(got, 3)
				sameBits(t, l.String()+" divide", got, quot)
				got, scaled := append(got[:0], x[:n]...), append([]float32{}, x[:n]...)
				if m, want := scaleAll(got, -1.5), scaleGo(scaled, -1.5); m != want {
					t.Errorf("%v: largest of %d is %v, want %v", l, n, m, want)
				}
				sameBits(t, l.String()+" scale", got, scaled)
			})
		}
	}
}

func TestActivations(t *testing.T) {
	var g, u []float32
	for x := float32(-30); x < 30; x += 0.0371 {
		g, u = append(g, x), append(u, 1+x/100)
	}
	for f, exact := range map[Activation]func(x float64) float64{
		SiLU: func(x float64) float64 { return x / (1 + math.Exp(-x)) },
		GELUTanh: func(x float64) float64 {
			return 0.5 * x * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
		},
	} {
		got := make([]float32, len(g))
		f.gate(got, g, u)
		for i, x := range g {
			want := exact(float64(x)) * float64(u[i])
			// Left of -5 the tanh form loses digits to cancellation itself.
			if d := math.Abs(float64(got[i]) - want); d > 1e-6*math.Abs(want)+1e-9 {
				t.Fatalf("activation %d of %v: %v, want %v", f, x, got[i], want)
			}
		}
	}
	for x := -12.0; x < 12; x += 0.0173 {
		if got, want := float64(tanh32(float32(x))), math.Tanh(float64(float32(x))); math.Abs(got-want) > 2e-7*math.Abs(want) {
			t.Fatalf("tanh32(%v) = %v, want %v", x, got, want)
		}
	}
}
