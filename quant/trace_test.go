package quant

import (
	"math"
	"math/rand/v2"
	"testing"
)

// A block of 16 weights worked out by hand: scale 2, a delta that moves the
// extreme element and one that crosses a bound.
func TestTraceByHand(t *testing.T) {
	p := &Panel{
		Spec: Spec{Format: NF4, Blocksize: 4, Dtype: F32}, Rows: 2, Cols: 6, First: 60,
		Codes:  []byte{0x07, 0xf8, 0x77, 0x77, 0xf7, 0x07},
		Absmax: []float32{2, 1, 4},
	}
	p.D = make([]float32, 12)
	p.D[8] = 4   // 4 + 4: the scale doubles
	p.D[9] = 0.5 // 0 to 0.5/8 = 0.0625 of the new scale: code 8
	p.Dequantize()
	p.Add()
	p.Requantize()
	p.Measure(nil)
	tr := TraceBlock(p, 2, nil)
	if tr.Row != 11 || tr.Col != 2 || tr.First != 68 || tr.Extreme != 0 {
		t.Errorf("row %d, column %d, first %d, extreme %d", tr.Row, tr.Col, tr.First, tr.Extreme)
	}
	if tr.OldAbsmax != 4 || tr.NewAbsmax != 8 || tr.RawAbsmax != 8 {
		t.Errorf("scales %v %v %v", tr.OldAbsmax, tr.NewAbsmax, tr.RawAbsmax)
	}
	sameBytes(t, "old codes", tr.OldCode, []byte{15, 7, 0, 7})
	sameBytes(t, "new codes", tr.NewCode, []byte{15, 8, 2, 7}) // -4/8 lies nearest to -0.525
	sameBits(t, "W", tr.W, []float32{4, 0, -4, 0})
	sameBits(t, "Ref", tr.Ref, tr.W)
	sameBits(t, "D", tr.D, []float32{4, 0.5, 0, 0})
	sameBits(t, "T", tr.T, []float32{8, 0.5, -4, 0})
	sameBits(t, "X", tr.X, []float32{1, 0.0625, -0.5, 0})
	sameBits(t, "Out", tr.Out, []float32{8, 8 * nf4Values[8], 8 * nf4Values[2], 0})
	if tr.Sum.Codes != 2 || tr.Sum != p.Sums[2] {
		t.Errorf("sum %+v", tr.Sum)
	}
}

// Whatever the format: X lies between the bounds of the new code, Out follows
// from the code and the scale, the extreme element has the scale's magnitude.
func TestTraceConsistent(t *testing.T) {
	rng := rand.New(rand.NewPCG(53, 54))
	for _, f := range []Format{NF4, FP4, Int8} {
		for _, profile := range profiles {
			const rows, cols = 5, 100 // the last 4-bit block is partial
			p := newPanel(f, rows, cols, gauss(rng, rows*cols, 0.02))
			p.Profile = profile
			p.Merge(gauss(rng, rows, 0.01), NewFactor(gauss(rng, cols, 1), 1, cols), 1)
			scales := make([]float32, len(p.NewAbsmax))
			for i, v := range p.NewAbsmax {
				scales[i] = v * 1.01
			}
			p.Measure(scales)
			bounds := Boundaries(f, profile)
			for b := range p.Blocks() {
				tr := TraceBlock(p, b, scales)
				if f.Is4Bit() && (tr.Extreme < 0 || abs(tr.T[tr.Extreme]) != tr.RawAbsmax) {
					t.Errorf("%s %s block %d: extreme %d", f, profile, b, tr.Extreme)
				}
				for i, code := range tr.NewCode {
					below := 0
					for _, bound := range bounds {
						if tr.X[i] > bound {
							below++
						}
					}
					var value float32
					if f == Int8 {
						value = float32(below - 127)
					} else {
						value = sortedValues(f)[below]
					}
					if value != CodeValue(f, code) {
						t.Errorf("%s %s: X %v has code %d (%v), want %v", f, profile, tr.X[i], code, CodeValue(f, code), value)
					}
					unit := float64(Unit(f, tr.NewAbsmax))
					if out := float64(CodeValue(f, code)) * unit; math.Abs(out-float64(tr.Out[i])) > 1e-6*unit*127 {
						t.Errorf("%s %s: code %d decodes to %v, want %v", f, profile, code, tr.Out[i], out)
					}
				}
			}
		}
	}
}

// sortedValues returns the code points ascending; the two zeros of FP4 take a
// place each.
func sortedValues(f Format) (v [16]float32) {
	r := ruleOf(f, CPU)
	for i, c := range r.codes {
		v[i] = CodeValue(f, c)
	}
	return v
}

func TestTraceInt8Extreme(t *testing.T) {
	w := make([]float32, 130)
	w[70], w[129] = -3, 1
	p := newPanel(Int8, 1, 130, w)
	p.D = make([]float32, 130)
	p.Dequantize()
	p.Add()
	p.Requantize()
	p.Measure(nil)
	for b, want := range []int{-1, 6, -1} {
		if tr := TraceBlock(p, b, nil); tr.Extreme != want || tr.RawAbsmax != 3 || tr.Col != b*64 {
			t.Errorf("block %d: extreme %d of scale %v, column %d", b, tr.Extreme, tr.RawAbsmax, tr.Col)
		}
	}
}

func TestTraceSpecial(t *testing.T) {
	p := newPanel(NF4, 2, 64, make([]float32, 128))
	p.D = make([]float32, 128)
	p.D[70] = float32(math.NaN())
	p.Dequantize()
	p.Add()
	p.Requantize()
	p.Measure(nil)
	if tr := TraceBlock(p, 0, nil); tr.Extreme != -1 {
		t.Errorf("block of zeros: extreme %d", tr.Extreme)
	}
	if tr := TraceBlock(p, 1, nil); tr.Extreme != 6 || tr.RawAbsmax == tr.RawAbsmax {
		t.Errorf("block with NaN: extreme %d, scale %v", tr.Extreme, tr.RawAbsmax)
	}
}

func TestTraceFloat(t *testing.T) {
	p := newPanel(BF16, 1, 70, gauss(rand.New(rand.NewPCG(1, 1)), 70, 1))
	p.D = make([]float32, 70)
	p.Dequantize()
	p.Add()
	p.Requantize()
	p.Measure(nil)
	tr := TraceBlock(p, 1, nil)
	if tr.OldCode != nil || tr.NewCode != nil || tr.Extreme != -1 || tr.Col != 64 || len(tr.X) != 6 {
		t.Errorf("%+v", tr)
	}
	sameBits(t, "X", tr.X, tr.T)
	sameBits(t, "Out", tr.Out, tr.W)
}
