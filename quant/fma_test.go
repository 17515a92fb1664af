package quant

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
)

// bigFMA is a*b+c worked out exactly and rounded once.
func bigFMA(a, b, c float32) float32 {
	special := func(v float32) bool { return !finite(v) }
	if special(a) || special(b) || special(c) {
		// Infinities and NaN need no rounding, and the product of finite
		// float32 values is finite in float64.
		return float32(float64(a)*float64(b) + float64(c))
	}
	exact := func(v float32) *big.Float { return new(big.Float).SetPrec(700).SetFloat64(float64(v)) }
	p := new(big.Float).SetPrec(700).Mul(exact(a), exact(b))
	r, _ := new(big.Float).SetPrec(700).Add(p, exact(c)).Float32()
	return r
}

func checkFMA(t *testing.T, a, b, c float32) {
	t.Helper()
	got, want := FMA32(a, b, c), bigFMA(a, b, c)
	if math.Float32bits(got) != math.Float32bits(want) && (got == got || want == want) {
		t.Errorf("FMA32(%x, %x, %x) = %x, want %x", a, b, c, got, want)
	}
}

// specials are the values at which rounding and propagation change.
var specials = []float32{
	0, float32(math.Copysign(0, -1)), 1, -1, 1.5, -2,
	inf, -inf, float32(math.NaN()),
	math.MaxFloat32, -math.MaxFloat32, 0x1p127, 0x1p-126, -0x1p-126, 0x1.fffffcp-127,
	math.SmallestNonzeroFloat32, -math.SmallestNonzeroFloat32, 0x1p-75, 0x1p-74, 0x1.000002p-75,
	0x1.000002p0, 0x1.fffffep-1, 0x1p64, 0x1p-64, 0x1p-24, 0x1p-25, 0x1.8p-149,
}

func TestFMASpecials(t *testing.T) {
	for _, a := range specials {
		for _, b := range specials {
			for _, c := range specials {
				checkFMA(t, a, b, c)
			}
		}
	}
}

func TestFMARandom(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	bits := func() float32 { return math.Float32frombits(rng.Uint32()) }
	near := func() float32 { // a value of moderate size with few or many bits
		v := math.Float32frombits(uint32(127-12+rng.IntN(24))<<23 | rng.Uint32()&(1<<23-1)&^(1<<rng.IntN(24)-1))
		if rng.IntN(2) == 0 {
			return -v
		}
		return v
	}
	for range 100000 {
		checkFMA(t, bits(), bits(), bits())
		a, b := near(), near()
		checkFMA(t, a, b, near())
		checkFMA(t, a, b, float32(-float64(a)*float64(b))) // cancels but for the rounding
	}
}

// twiceRounded returns operands whose sum lies so close to a midpoint that a
// float64 sum hits it: a*b is half an ulp of c, a little less or more.
func twiceRounded(rng *rand.Rand) (a, b, c float32) {
	k := 15 + rng.IntN(9)
	e := rng.IntN(100) - 50
	c = float32(math.Ldexp(float64(1<<23+rng.IntN(1<<23)), e))
	a = float32((1 + math.Ldexp(1, -k)) * math.Ldexp(1, e/2))
	b = float32((1 - math.Ldexp(1, -k)) * math.Ldexp(1, e-e/2-1))
	if rng.IntN(2) == 0 {
		b = math.Nextafter32(b, inf)
	}
	if rng.IntN(2) == 0 {
		a = -a
	}
	if rng.IntN(2) == 0 {
		c = -c
	}
	return a, b, c
}

func TestFMAMidpoints(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	wrong := 0
	for range 20000 {
		a, b, c := twiceRounded(rng)
		checkFMA(t, a, b, c)
		if float32(float64(a)*float64(b)+float64(c)) != bigFMA(a, b, c) {
			wrong++
		}
		// The same among subnormal results.
		checkFMA(t, a*0x1p-70, b*0x1p-70, float32(math.Ldexp(float64(rng.IntN(1<<20)), -149)))
	}
	if wrong < 1000 {
		t.Errorf("rounding twice went wrong only %d times: the operands do not test what they should", wrong)
	}
}

// axpy works on four elements at once; one that needs a second look must not
// disturb its neighbours.
func TestAxpy(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	for n := range 40 {
		for range 200 {
			acc, a := make([]float32, n), make([]float32, n)
			_, b, _ := twiceRounded(rng)
			for i := range a {
				switch rng.IntN(4) {
				case 0:
					a[i], acc[i] = specials[rng.IntN(len(specials))], specials[rng.IntN(len(specials))]
				case 1:
					a[i], acc[i] = 1/b, float32(rng.IntN(1<<24))
				default:
					a[i], _, acc[i] = twiceRounded(rng)
				}
			}
			want := make([]float32, n)
			for i := range want {
				want[i] = bigFMA(b, a[i], acc[i])
			}
			axpy(acc, a, b)
			sameBits(t, "axpy", acc, want)
		}
	}
}
