package quant

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func totals(p *Panel) (s Sums) {
	for _, b := range p.Sums {
		s.Add(b)
	}
	return s
}

// Without a delta nothing moves: NF4 codes sit on code points, int8 values on
// integers, and each scale is kept by the element that set it.
func TestZeroDeltaIsIdentity(t *testing.T) {
	rng := rand.New(rand.NewPCG(43, 44))
	for _, f := range []Format{NF4, Int8, F32, F16, BF16} {
		for _, cols := range []int{64, 100, 33} {
			w := gauss(rng, 24*cols, 0.02)
			RoundTo(w, BF16)
			p := newPanel(f, 24, cols, w)
			if p.Spec.Format.Is4Bit() && 24*cols%64 != 0 {
				p.Rows = 16
				p = newPanel(f, 16, cols, w[:16*cols])
			}
			p.Merge(make([]float32, p.Rows*2), NewFactor(make([]float32, 2*cols), 2, cols), 1)
			name := fmt.Sprintf("%s x%d", f, cols)
			sameBytes(t, name, p.NewCodes, p.Codes)
			sameBits(t, name, p.NewAbsmax, p.Absmax)
			s := totals(p)
			if s.Codes != 0 || s.Scales != 0 || s.DD != 0 || s.N != int64(p.Len()) {
				t.Errorf("%s: %+v", name, s)
			}
			// 4-bit results are no longer rounded to bfloat16, so they may differ by that.
			if f != NF4 && s.EE != 0 || s.MaxE > 0.1*0x1p-8 {
				t.Errorf("%s: error %v, largest %v", name, s.EE, s.MaxE)
			}
		}
	}
}

// OutDtype is the dtype a later reader rounds to: with the base's own, a zero
// delta leaves no error at all.
func TestOutDtype(t *testing.T) {
	rng := rand.New(rand.NewPCG(45, 46))
	w := gauss(rng, 64*64, 0.02)
	RoundTo(w, BF16)
	p := newPanel(NF4, 64, 64, w)
	p.OutDtype = BF16
	p.D = make([]float32, p.Len())
	p.Dequantize()
	p.Add()
	p.Requantize()
	p.Measure(nil)
	if s := totals(p); s.EE != 0 || s.WW == 0 {
		t.Errorf("%+v", s)
	}
	p.OutDtype = Unknown
	p.Measure(nil)
	if s := totals(p); s.EE == 0 {
		t.Error("a float32 result shows no rounding of the base")
	}
}

// Ref replaces W in the figures, not in the merge.
func TestReference(t *testing.T) {
	rng := rand.New(rand.NewPCG(47, 48))
	p := newPanel(NF4, 4, 64, gauss(rng, 256, 0.02))
	p.D = gauss(rng, 256, 0.01)
	p.Dequantize()
	p.Add()
	p.Requantize()
	p.Measure(nil)
	plain := slices.Clone(p.Sums)
	codes := slices.Clone(p.NewCodes)

	ref := make([]float32, 256)
	Dequantize4(ref, p.Codes, p.Absmax, Spec{Format: NF4, Blocksize: 64, Dtype: F32})
	p.Ref = ref
	p.Requantize()
	p.Measure(nil)
	sameBytes(t, "codes", p.NewCodes, codes)
	for b, s := range p.Sums {
		lo, hi := p.Block(b)
		if want := slowSum(ref[lo:hi], ref[lo:hi]); s.WW != want {
			t.Errorf("block %d: WW %v, want that of Ref, %v", b, s.WW, want)
		}
		if s.RD == plain[b].RD || s.TT != plain[b].TT || s.DD != plain[b].DD {
			t.Errorf("block %d: %+v, without Ref %+v", b, s, plain[b])
		}
	}
}

// Effective scales, as double quantization leaves them, decode W'.
func TestMeasureScales(t *testing.T) {
	rng := rand.New(rand.NewPCG(49, 50))
	w := gauss(rng, 256, 0.02)
	RoundTo(w, BF16) // so that the scales survive the base's dtype
	p := newPanel(NF4, 4, 64, w)
	p.D = make([]float32, 256)
	p.Dequantize()
	p.Add()
	p.Requantize()
	scales := slices.Clone(p.NewAbsmax)
	for i := range scales {
		scales[i] *= 1.5
	}
	p.Measure(scales)
	s := totals(p)
	if s.Growth != 1.5 || s.Scales != 4 {
		t.Errorf("growth %v, %d scales changed", s.Growth, s.Scales)
	}
	if got := s.EE / s.WW; math.Abs(got-0.25) > 0.01 { // every weight is off by half of itself
		t.Errorf("error %v of the weights' energy, want 0.25", got)
	}
}

func TestPanelReuse(t *testing.T) {
	rng := rand.New(rand.NewPCG(51, 52))
	var reused Panel
	for _, f := range []Format{NF4, Int8, BF16, FP4, F32, NF4} {
		for _, rows := range []int{8, 32, 4} {
			fresh := newPanel(f, rows, 80, gauss(rng, rows*80, 0.02))
			if f.Is4Bit() {
				fresh.Spec.Blocksize = 80
				fresh.T = gauss(rng, rows*80, 0.02)
				fresh.Requantize()
				fresh.Codes, fresh.NewCodes, fresh.Absmax, fresh.NewAbsmax = fresh.NewCodes, nil, fresh.NewAbsmax, nil
			}
			factor := NewFactor(gauss(rng, 3*80, 1), 3, 80)
			b := gauss(rng, rows*3, 0.01)
			reused.Spec, reused.Rows, reused.Cols = fresh.Spec, rows, 80
			reused.Codes, reused.Absmax = fresh.Codes, fresh.Absmax
			reused.Merge(b, factor, 0.5)
			fresh.Merge(b, factor, 0.5)
			sameBytes(t, "codes", reused.NewCodes, fresh.NewCodes)
			sameBits(t, "scales", reused.NewAbsmax, fresh.NewAbsmax)
			if !slices.EqualFunc(reused.Sums, fresh.Sums, sameSum) {
				t.Errorf("%s, %d rows: sums differ in a reused panel", f, rows)
			}
		}
	}
	if n := testing.AllocsPerRun(5, func() { reused.Dequantize(); reused.Add(); reused.Requantize(); reused.Measure(nil) }); n != 0 {
		t.Errorf("%v allocations in a panel that has grown", n)
	}
}

// Statistics blocks of formats without blocks are pieces of rows.
func TestBlocks(t *testing.T) {
	p := &Panel{Spec: Spec{Format: Int8}, Rows: 3, Cols: 150}
	if p.Blocks() != 9 {
		t.Fatalf("%d blocks, want 9", p.Blocks())
	}
	for b, want := range [][2]int{{0, 64}, {64, 128}, {128, 150}, {150, 214}} {
		if lo, hi := p.Block(b); lo != want[0] || hi != want[1] {
			t.Errorf("block %d is [%d, %d), want %v", b, lo, hi, want)
		}
	}
	p = &Panel{Spec: Spec{Format: NF4, Blocksize: 64}, Rows: 3, Cols: 50}
	if lo, hi := p.Block(2); p.Blocks() != 3 || lo != 128 || hi != 150 {
		t.Errorf("%d blocks, the last [%d, %d)", p.Blocks(), lo, hi)
	}
}

// Codes counts stored elements that differ, found by hand here.
func TestChangedCodes(t *testing.T) {
	half := func(x ...float32) []byte {
		b := make([]byte, 2*len(x))
		EncodeFloats(b, x, F16)
		return b
	}
	nan, negZero := float32(math.NaN()), float32(math.Copysign(0, -1))
	for _, c := range []struct {
		f        Format
		cols     int
		old, now []byte
		want     uint32
	}{
		{NF4, 6, []byte{0x12, 0x34, 0x56}, []byte{0x12, 0x35, 0x65}, 3},
		{NF4, 5, []byte{0x12, 0x34, 0x57}, []byte{0x02, 0x34, 0x58}, 1}, // the last nibble is padding
		{FP4, 2, []byte{0x08}, []byte{0x80}, 2},                         // zeros of either sign are two codes
		{NF4, 3, []byte{0x12, 0x37}, []byte{0x12, 0x47}, 1},
		{Int8, 3, []byte{1, 2, 0xff}, []byte{1, 3, 0xfe}, 2},
		{F16, 5, half(1, 0, nan, nan, 2), half(1, negZero, nan, 1, 3), 2},
	} {
		p := &Panel{Spec: Spec{Format: c.f, Blocksize: 64}, Rows: 1, Cols: c.cols, Codes: c.old, NewCodes: c.now}
		if got := p.changed(0, c.cols); got != c.want {
			t.Errorf("%s %x to %x: %d differ, want %d", c.f, c.old, c.now, got, c.want)
		}
	}
}

// Under the CUDA profile blocks count what depends on the device.
func TestPanelAmbiguous(t *testing.T) {
	for _, f := range []Format{NF4, Int8} {
		p := newPanel(f, 2, 64, make([]float32, 128))
		p.Profile = CUDA
		p.T = make([]float32, 128)
		p.T[64] = 0.7
		for i := 65; i < 128; i++ {
			if f == NF4 {
				p.T[i] = nf4Rule.bound(i%15) * 0.7
			} else {
				p.T[i] = half(0.7) * (float32(i-64) + 0.5) / 127
			}
		}
		p.W, p.D = make([]float32, 128), p.T
		p.Requantize()
		p.Measure(nil)
		var total int
		if f == NF4 {
			total = Quantize4(make([]byte, 64), make([]float32, 2), p.T, p.Spec, CUDA)
		} else {
			total = QuantizeInt8(make([]byte, 128), make([]float32, 2), p.T, CUDA)
		}
		if p.Sums[0].Ambiguous != 0 || int(p.Sums[1].Ambiguous) != total || total == 0 {
			t.Errorf("%s: %d and %d ambiguous, want 0 and %d", f, p.Sums[0].Ambiguous, p.Sums[1].Ambiguous, total)
		}
	}
}
