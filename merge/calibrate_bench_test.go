package merge

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"mergescope/model"
	"mergescope/quant"
)

// BenchmarkCalibrated measures one thread: ns a weight of choosing codes, the
// comparison with the nearest ones included, with and without cross moments;
// and ns a column of a metric. The last is the product those are made of, ns a
// weight for as many multiply-adds as choosing takes at least.
func BenchmarkCalibrated(b *testing.B) {
	alone := func(n int, do func(i int)) error {
		for i := range n {
			do(i)
		}
		return nil
	}
	for _, cols := range []int{1024, 4096} {
		rng := rand.New(rand.NewPCG(1, 2))
		h, cross := make([]float32, cols*cols), make([]float32, cols*cols)
		for i := range cols {
			for j := range i + 1 {
				v := float32(rng.NormFloat64()) * 0.001
				h[i*cols+j], h[j*cols+i], cross[i*cols+j] = v, v, v
			}
			h[i*cols+i] = 1 + rng.Float32()
		}
		p := quant.Panel{Spec: quant.Spec{Format: quant.NF4, Blocksize: 64, Dtype: quant.F32}, Rows: choiceRows, Cols: cols}
		src := make([]float32, p.Len())
		for i := range src {
			src[i] = float32(rng.NormFloat64()) * 0.02
		}
		p.Codes, p.Absmax = make([]byte, len(src)/2), make([]float32, p.Blocks())
		quant.Quantize4(p.Codes, p.Absmax, src, p.Spec, quant.CPU)
		p.Dequantize()
		p.T = src
		var f *quant.Feedback
		b.Run(fmt.Sprintf("metric/%d", cols), func(b *testing.B) {
			for b.Loop() {
				var err error
				if f, err = quant.NewFeedback(h, cross, cols, 0.01, model.Product, alone); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*cols), "ns/column")
		})
		plain, err := quant.NewFeedback(h, nil, cols, 0.01, model.Product, alone)
		if err != nil {
			b.Fatal(err)
		}
		for name, f := range map[string]*quant.Feedback{"parallel": plain, "sequential": f} {
			if f == nil {
				continue
			}
			b.Run(fmt.Sprintf("%s/%d", name, cols), func(b *testing.B) {
				var c quant.Chooser
				codes := make([]byte, len(p.Codes))
				for b.Loop() {
					c.Load(f, &p, p.Absmax)
					c.Loss(p.W)
					c.Choose(codes, p.Spec)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*p.Len()), "ns/weight")
			})
		}
		b.Run(fmt.Sprintf("product/%d", cols), func(b *testing.B) {
			y := make([]float32, quant.ProductRows*quant.ProductCols)
			x, w := make([]float32, quant.ProductRows*192), make([]float32, quant.ProductCols*192)
			for b.Loop() {
				model.Product(y, quant.ProductCols, x, w, 192, true)
			}
			fma := float64(b.N * quant.ProductRows * quant.ProductCols * 192)
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/fma*float64(cols)*2.5, "ns/weight")
		})
	}
}
