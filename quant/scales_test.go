package quant

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// On scales that may move no rows that share blocks have a higher sum, worked out
// in float64, than on the old ones; all together have a lower one; scales are those
// that can be stored; and rows do not depend on which others are in the panel.
func TestChooseMoving(t *testing.T) {
	const rows, damping = 48, 0.01
	stored := func(b int, s float32) float32 { return float32(math.Round(float64(s)*2e4)/2e4) + float32(b%3)*1e-7 }
	for _, f := range []Format{NF4, FP4} {
		for _, cols := range []int{48, 64, 192} {
			x := newShaped(f, rows, cols)
			fb, err := x.feedback(true, damping)
			if err != nil {
				t.Fatal(err)
			}
			m, _ := x.metric(damping)
			g := x.answered(fb)
			move := func(p *Panel) (codes []byte, scales []float32, losses []float64) {
				var c Chooser
				scales, codes = slices.Clone(p.Absmax), make([]byte, len(p.Codes))
				p.Requantize()
				c.Load(fb, p, scales, 0)
				return codes, scales, c.ChooseMoving(codes, p, scales, p.NewAbsmax, stored)
			}
			var c Chooser
			codes := make([]byte, len(x.p.Codes))
			c.Load(fb, &x.p, x.p.Absmax, 0)
			c.Choose(codes, x.p.Spec)
			kept := dequantized(&x.p, codes, x.p.Absmax)
			got, scales, losses := move(&x.p)
			moved := dequantized(&x.p, got, scales)
			again := c.Loss(moved)
			unit, all := 1, 0.0
			for unit*cols%64 > 0 {
				unit++
			}
			for r := 0; r < rows; r += unit {
				now, was := 0.0, 0.0
				for i := r; i < r+unit; i++ {
					now += x.sum(m, g, i, moved[i*cols:(i+1)*cols])
					was += x.sum(m, g, i, kept[i*cols:(i+1)*cols])
					if math.Abs(losses[i]-again[i]) > 1e-9*again[i] {
						t.Errorf("%s %d row %d: the loss is said to be %v, is %v", f, cols, i, losses[i], again[i])
					}
				}
				if now > was+1e-5*math.Abs(was) {
					t.Errorf("%s %d rows from %d: the sum rises from %v to %v", f, cols, r, was, now)
				}
				all += now - was
			}
			if !(all < 0) || slices.Equal(scales, x.p.Absmax) {
				t.Errorf("%s %d: nothing moves (%v)", f, cols, all)
			}
			for b, s := range scales {
				if s != x.p.Absmax[b] && s != stored(b, s) {
					t.Fatalf("%s %d block %d: scale %v cannot be stored", f, cols, b, s)
				}
			}
			half := x.p
			half.Rows = rows / 2
			half.T, half.W = x.p.T[:rows/2*cols], x.p.W[:rows/2*cols]
			half.Codes, half.Absmax = x.p.Codes[:len(codes)/2], x.p.Absmax[:len(scales)/2]
			half.NewCodes, half.NewAbsmax = nil, nil
			if c2, s2, _ := move(&half); !slices.Equal(c2, got[:len(c2)]) || !slices.Equal(s2, scales[:len(s2)]) {
				t.Errorf("%s %d: rows depend on those after them", f, cols)
			}
		}
	}
}

// Where the base is what is wanted it stays, scales and all.
func TestChooseMovingWithoutDelta(t *testing.T) {
	x := newShaped(NF4, 16, 70)
	fb, err := x.feedback(false, 0.01)
	if err != nil {
		t.Fatal(err)
	}
	copy(x.p.T, x.p.W)
	var c Chooser
	scales, codes := slices.Clone(x.p.Absmax), make([]byte, len(x.p.Codes))
	x.p.Requantize()
	c.Load(fb, &x.p, scales, 0)
	c.ChooseMoving(codes, &x.p, scales, x.p.NewAbsmax, nil)
	if !slices.Equal(scales, x.p.Absmax) || !slices.Equal(dequantized(&x.p, codes, scales), x.p.W) {
		t.Error("a weight without a delta changes")
	}
}

// The code found is the nearest of all 256 under the same statistics, whatever the
// order of the map, and that which is there if it says the scale.
func TestNestedScales(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	shuffled := DynamicMap()
	rng.Shuffle(256, func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	ordered := DynamicMap()
	for _, m := range []*[256]float32{&ordered, &shuffled} {
		n := Nested{Codes: make([]byte, 600), Absmax: []float32{0.01, 0.3, 0}, Map: m, Offset: 0.05, Blocksize: 256}
		for i := range n.Codes {
			n.Codes[i] = byte(rng.Uint32())
		}
		decoded := make([]float32, len(n.Codes))
		n.Dequantize(decoded)
		s := NewNestedScales(n)
		for i, v := range decoded {
			if code, value := s.Nearest(i, v); code != n.Codes[i] || value != v {
				t.Fatalf("block %d: code %d for its own scale, is %d", i, code, n.Codes[i])
			}
			want := float32(rng.NormFloat64()*0.1) + 0.05
			code, value := s.Nearest(i, want)
			one := Nested{Codes: []byte{code}, Absmax: n.Absmax[i/256 : i/256+1], Map: m, Offset: n.Offset, Blocksize: 256}
			var read [1]float32
			if one.Dequantize(read[:]); read[0] != value {
				t.Fatalf("block %d: code %d reads as %v, not %v", i, code, read[0], value)
			}
			for k := range 256 {
				one.Codes[0] = byte(k)
				if one.Dequantize(read[:]); math.Abs(float64(read[0])-float64(want)) < math.Abs(float64(value)-float64(want)) {
					t.Fatalf("block %d: %v is nearer to %v than %v", i, read[0], want, value)
				}
			}
		}
	}
}
