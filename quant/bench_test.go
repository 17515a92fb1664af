package quant

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// sizes are layers of a toy, a small and a 7B model.
var sizes = []struct {
	name             string
	rows, cols, rank int
}{
	{"Small", 128, 512, 8},
	{"Medium", 64, 4096, 16},
	{"Large", 64, 11008, 64},
}

// Adapters stored in bfloat16 have short products, whose sums need a second
// look more often.
func BenchmarkDelta(b *testing.B) {
	for _, dtype := range []Format{F32, BF16} {
		for _, size := range sizes {
			b.Run(dtype.String()+"/"+size.name, func(b *testing.B) {
				rng := rand.New(rand.NewPCG(1, 2))
				a, bb := gauss(rng, size.rank*size.cols, 1), gauss(rng, size.rows*size.rank, 1)
				RoundTo(a, dtype)
				RoundTo(bb, dtype)
				f := NewFactor(a, size.rank, size.cols)
				dst := make([]float32, size.rows*size.cols)
				for b.Loop() {
					Delta(dst, bb, f, size.rows, 0.5)
				}
				fmas := float64(len(dst)*size.rank) * float64(b.N)
				b.ReportMetric(fmas/b.Elapsed().Seconds()/1e6, "Mfma/s")
			})
		}
	}
}

func BenchmarkMerge(b *testing.B) {
	for _, f := range []Format{NF4, FP4, Int8} {
		for _, size := range sizes {
			b.Run(fmt.Sprintf("%s/%s", f, size.name), func(b *testing.B) {
				rng := rand.New(rand.NewPCG(1, 2))
				p := newPanel(f, size.rows, size.cols, gauss(rng, size.rows*size.cols, 0.02))
				factor := NewFactor(gauss(rng, size.rank*size.cols, 1), size.rank, size.cols)
				bb := gauss(rng, size.rows*size.rank, 1)
				for b.Loop() {
					p.Merge(bb, factor, 1e-4)
				}
				b.ReportMetric(float64(p.Len())*float64(b.N)/b.Elapsed().Seconds()/1e6, "Mw/s")
			})
		}
	}
}

func BenchmarkSteps(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, f := range []Format{NF4, FP4, Int8, BF16} {
		p := newPanel(f, 64, 4096, gauss(rng, 64*4096, 0.02))
		p.D = gauss(rng, p.Len(), 0.002)
		p.Dequantize()
		p.Add()
		p.Requantize()
		for _, step := range []struct {
			name string
			do   func()
		}{
			{"Dequantize", p.Dequantize},
			{"Add", p.Add},
			{"Requantize", p.Requantize},
			{"Measure", func() { p.Measure(nil) }},
		} {
			b.Run(fmt.Sprintf("%s/%s", f, step.name), func(b *testing.B) {
				for b.Loop() {
					step.do()
				}
				b.ReportMetric(float64(p.Len())*float64(b.N)/b.Elapsed().Seconds()/1e6, "Mw/s")
			})
		}
	}
}

// gauss returns n normal values of standard deviation sigma.
func gauss(rng *rand.Rand, n int, sigma float64) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(sigma * rng.NormFloat64())
	}
	return x
}

// newPanel quantizes w into the base of a panel with blocksize 64 and a
// bfloat16 state.
func newPanel(f Format, rows, cols int, w []float32) *Panel {
	p := &Panel{Spec: Spec{Format: f, Dtype: F32}, Rows: rows, Cols: cols}
	if f.Is4Bit() {
		p.Spec.Blocksize, p.Spec.Dtype = 64, BF16
	}
	p.T = w
	p.Requantize()
	p.Codes, p.NewCodes = p.NewCodes, nil
	p.Absmax, p.NewAbsmax = p.NewAbsmax, nil
	p.T = nil
	return p
}

// BenchmarkFigures is what is done for each block besides the kernels: figures
// under scales that became known, and sums over a row of 4096 weights.
func BenchmarkFigures(b *testing.B) {
	const blocks = 1536 // of a panel
	pending, sums := make([]Pending, blocks), make([]BlockSum, blocks)
	old, absmax, scales := make([]float32, blocks), make([]float32, blocks), make([]float32, blocks)
	for i := range pending {
		x := float32(i%97) + 1
		pending[i] = Pending{WW: x, DD: x / 4, TT: x, RD: x / 8, EE: x / 4, MaxE: x / 100, Codes: uint32(i % 7), VD: x / 9, EV: -x / 11, VV: x}
		old[i], absmax[i], scales[i] = x, x+0.125, x+0.1251
	}
	b.Run("settle", func(b *testing.B) {
		for b.Loop() {
			Settle(sums, pending, 64, old, absmax, scales)
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/blocks, "ns/block")
	})
	b.Run("sums", func(b *testing.B) {
		for b.Loop() {
			for lo := 0; lo < blocks; lo += 64 {
				var s Sums
				s.AddAll(sums[lo : lo+64])
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/blocks, "ns/block")
	})
}
