package quant

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// figureCase is figures of some blocks before their scales are known; some of them are
// extreme, and some blocks have figures that are not finite once they are settled.
type figureCase struct {
	seed         uint64
	blocks       int
	extreme, nan bool
}

// same settles and adds up blocks at every level and compares all bits.
func (c figureCase) same(t *testing.T) {
	rng := rand.New(rand.NewPCG(c.seed, 71))
	positive := func() float32 {
		if c.extreme && rng.IntN(4) == 0 {
			v := abs(odd[rng.IntN(len(odd)-5)])
			return v
		}
		return float32(math.Exp(3 * rng.NormFloat64()))
	}
	either := func() float32 {
		v := positive()
		if v != 0 && rng.IntN(2) == 0 { // sums begin with +0, so none is -0
			return -v
		}
		return v
	}
	pending := make([]Pending, c.blocks)
	old, absmax, scales := make([]float32, c.blocks), make([]float32, c.blocks), make([]float32, c.blocks)
	for i := range pending {
		pending[i] = Pending{
			WW: positive(), DD: positive(), TT: positive(), RD: either(), EE: positive(), MaxE: positive(),
			Codes: rng.Uint32N(65), VD: either(), EV: either(), VV: positive(),
		}
		old[i], absmax[i], scales[i] = positive(), positive(), either()
		switch rng.IntN(4) {
		case 0:
			scales[i] = absmax[i]
		case 1:
			scales[i] = old[i]
		}
	}
	type results struct {
		settled []BlockSum
		largest float32
		sums    Sums
	}
	compute := func() (r results) {
		r.settled = make([]BlockSum, c.blocks)
		r.largest = Settle(r.settled, pending, 64, old, absmax, scales)
		blocks := append([]BlockSum(nil), r.settled...)
		if rng := rand.New(rand.NewPCG(c.seed, 72)); c.nan && c.blocks > 0 {
			for range 1 + c.blocks/500 {
				b := &blocks[rng.IntN(c.blocks)]
				x := odd[rng.IntN(len(odd))]
				switch rng.IntN(8) {
				case 0:
					b.Delta = 1
				case 1:
					b.Output = 1 << 31
				case 2:
					b.Ambiguous = 3
				case 3:
					b.MaxE = abs(x)
				case 4:
					b.EE = x
				case 5:
					b.RD = x
				case 6:
					b.NewAbsmax = x
				case 7:
					b.OldAbsmax = x
				}
			}
		}
		half := c.blocks / 2
		r.sums.AddAll(blocks[:half])
		r.sums.AddAll(blocks[half:])
		return r
	}
	var want results
	at(t, Go, func() { want = compute() })
	for _, l := range Levels()[1:] {
		var got results
		at(t, l, func() { got = compute() })
		name := fmt.Sprintf("%s %+v", l, c)
		for i, s := range want.settled {
			if fmt.Sprintf("%x", got.settled[i]) != fmt.Sprintf("%x", s) {
				t.Fatalf("%s: block %d: %+v, the Go twin has %+v", name, i, got.settled[i], s)
			}
		}
		identical(t, name+" largest", []float32{got.largest}, []float32{want.largest})
		if fmt.Sprintf("%x", got.sums) != fmt.Sprintf("%x", want.sums) {
			t.Fatalf("%s: %+v, the Go twin has %+v", name, got.sums, want.sums)
		}
	}
}

// Figures of blocks at odd counts, beyond those of one call, and where something is huge,
// subnormal, NaN or infinite.
func TestLevelsAgreeOnFigures(t *testing.T) {
	rng := rand.New(rand.NewPCG(69, 70))
	for i := range 400 {
		c := figureCase{rng.Uint64(), rng.IntN(300), i%2 == 1, i%3 == 1}
		if i%40 == 0 {
			c.blocks = 1000 + rng.IntN(3000)
		}
		c.same(t)
	}
}

func FuzzFigures(f *testing.F) {
	f.Add(uint64(1), uint16(70), false, false)
	f.Add(uint64(2), uint16(2100), true, true)
	f.Fuzz(func(t *testing.T, seed uint64, blocks uint16, extreme, nan bool) {
		figureCase{seed, int(blocks % 5000), extreme, nan}.same(t)
	})
}

// Sums over blocks are those of float64 additions one after the other.
func TestSumsInOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(73, 74))
	for _, l := range Levels() {
		blocks := make([]BlockSum, 1500)
		var ee, rd, growth float64
		var scales int64
		for i := range blocks {
			b := &blocks[i]
			*b = BlockSum{N: 64, EE: float32(math.Exp(9 * rng.NormFloat64())), RD: float32(math.Exp(9*rng.NormFloat64()) * (rng.Float64() - 0.5))}
			b.OldAbsmax, b.NewAbsmax = rng.Float32(), rng.Float32()
			if i%5 == 0 {
				b.NewAbsmax = b.OldAbsmax
			} else {
				scales++
			}
			ee, rd = ee+float64(b.EE), rd+float64(b.RD)
			growth = max(growth, float64(b.NewAbsmax)/float64(b.OldAbsmax))
		}
		at(t, l, func() {
			var s Sums
			s.AddAll(blocks)
			want := Sums{N: 64 * 1500, Finite: 64 * 1500, EE: ee, RD: rd, Blocks: 1500, Scales: scales, Growth: growth}
			if s != want {
				t.Errorf("%v: %+v, want %+v", l, s, want)
			}
		})
	}
}
