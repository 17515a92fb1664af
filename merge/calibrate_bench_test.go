package merge

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"mergescope/model"
	"mergescope/quant"
)

// BenchmarkCalibrated measures one thread: ns a weight of choosing codes, the
// comparison with nearest ones that are plainly worse included, with and without
// cross moments, over few rows and many; and ns a column of a metric, with the
// bytes it takes for each of n^2. The last is the product those are made of, ns a
// weight for as many multiply-adds as choosing takes with cross moments at least.
func BenchmarkCalibrated(b *testing.B) {
	for _, cols := range []int{1024, 4096} {
		x := newBenchLayer(choiceRows, cols)
		var memory quant.Memory
		var f *quant.Feedback
		b.Run(fmt.Sprintf("metric/%d", cols), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				f = x.feedback(b, &memory)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*cols), "ns/column")
			b.ReportMetric(float64(memory.Bytes())/float64(cols*cols), "B/n^2")
		})
		if f == nil {
			f = x.feedback(b, &memory)
		}
		panels := f.Cross()
		for _, p := range panels {
			for i := range p {
				p[i] = float32(i%7) * 1e-6
			}
		}
		for _, name := range []string{"parallel", "sequential"} {
			if name == "sequential" {
				if err := f.Answer(panels, inOrder); err != nil {
					b.Fatal(err)
				}
			}
			for _, rows := range []int{choiceRows, 4 * choiceRows} {
				b.Run(fmt.Sprintf("%s/%d/rows-%d", name, cols, rows), func(b *testing.B) {
					y := newBenchLayer(rows, cols)
					var c quant.Chooser
					codes := make([]byte, len(y.p.Codes))
					for b.Loop() {
						c.Load(f, &y.p, y.p.Absmax, 0)
						enough := plainlyWorse * total(c.Choose(codes, y.p.Spec))
						c.LossUpTo(y.far, enough)
					}
					b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*y.p.Len()), "ns/weight")
				})
			}
		}
		b.Run(fmt.Sprintf("product/%d", cols), func(b *testing.B) {
			y := make([]float32, quant.ProductRows*quant.ProductCols)
			x, w := make([]int16, quant.ProductRows*192), make([]int16, quant.ProductCols*192)
			var units quant.PairUnits
			for b.Loop() {
				model.PairProduct(y, quant.ProductCols, x, w, &units, 192/2, true)
			}
			fma := float64(b.N * quant.ProductRows * quant.ProductCols * 192)
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/fma*float64(cols)*2, "ns/weight")
		})
	}
}

// inOrder is a quant.Parallel that is not.
func inOrder(n int, do func(i int)) error {
	for i := range n {
		do(i)
	}
	return nil
}

// benchLayer is a weight and moments of its inputs.
type benchLayer struct {
	p    quant.Panel
	far  []float32 // values further from T than the chosen ones will be
	rows [][]float32
}

func newBenchLayer(rows, cols int) *benchLayer {
	rng := rand.New(rand.NewPCG(1, 2))
	x := newBenchPanel(rng, rows, cols)
	for i := range cols {
		row := make([]float32, cols-i)
		for k := range row {
			row[k] = float32(rng.NormFloat64()) * 0.001
		}
		row[0] = 1 + rng.Float32()
		x.rows = append(x.rows, row)
	}
	return x
}

// newBenchPanel returns one without moments.
func newBenchPanel(rng *rand.Rand, rows, cols int) *benchLayer {
	x := &benchLayer{p: quant.Panel{Spec: quant.Spec{Format: quant.NF4, Blocksize: 64, Dtype: quant.F32}, Rows: rows, Cols: cols}}
	p := &x.p
	src := make([]float32, p.Len())
	for i := range src {
		src[i] = float32(rng.NormFloat64()) * 0.02
	}
	p.Codes, p.Absmax = make([]byte, len(src)/2), make([]float32, p.Blocks())
	quant.Quantize4(p.Codes, p.Absmax, src, p.Spec, quant.CPU)
	p.Dequantize()
	p.T = src
	x.far = make([]float32, len(src))
	for i, v := range src {
		x.far[i] = v + 0.01
	}
	return x
}

// feedback makes one in memory, moments included.
func (x *benchLayer) feedback(b *testing.B, memory *quant.Memory) *quant.Feedback {
	m := quant.NewMoments(memory, x.p.Cols, model.Product, model.PairProduct)
	for i, row := range x.rows {
		m.SetUpper(i, row)
	}
	f, err := quant.NewFeedback(m, memory, 0.01, nil, inOrder)
	if err != nil {
		b.Fatal(err)
	}
	return f
}
