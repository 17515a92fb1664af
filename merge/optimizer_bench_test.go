package merge

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"mergescope/model"
	"mergescope/quant"
)

// BenchmarkOptimizers measures one thread: ns a weight of choosing codes by each
// optimizer, the inputs' metric given;
// and ns a column for the metric of directions.
func BenchmarkOptimizers(b *testing.B) {
	const cols = 4096
	x := newBenchLayer(choiceRows, cols)
	draws := rand.New(rand.NewPCG(3, 4))
	d := &quant.Directions{
		Cols: cols, Squares: make([]float64, cols), Rest: make([]float64, cols),
		V: make([]float32, directionCount*cols), Cross: make([]float32, directionCount*cols),
	}
	for i := range d.V {
		d.V[i], d.Cross[i] = float32(draws.NormFloat64())*0.1, float32(draws.NormFloat64())*1e-3
	}
	for j := range cols {
		d.Squares[j], d.Rest[j] = draws.Float64()+0.5, 0.3
	}
	var low *quant.Feedback
	b.Run("metric/"+OptimizerDirections, func(b *testing.B) {
		for b.Loop() {
			var err error
			if low, err = quant.NewDirections(d, model.Product); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*cols), "ns/column")
	})
	if low == nil {
		low, _ = quant.NewDirections(d, model.Product)
	}
	var memory quant.Memory
	full := x.feedback(b, &memory)
	if err := full.Answer(full.Cross(), inOrder); err != nil {
		b.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		f      *quant.Feedback
		passes int
	}{{OptimizerFeedback, full, 0}, {OptimizerDescent, full, descentPasses}, {OptimizerDirections, low, 0}} {
		for _, rows := range []int{choiceRows, 4 * choiceRows} {
			b.Run(fmt.Sprintf("%s/%d/rows-%d", c.name, cols, rows), func(b *testing.B) {
				y := newBenchLayer(rows, cols)
				var chooser quant.Chooser
				codes := make([]byte, len(y.p.Codes))
				for b.Loop() {
					chooser.Load(c.f, &y.p, y.p.Absmax, 0)
					chooser.Choose(codes, y.p.Spec)
					if c.passes > 0 {
						chooser.Descend(codes, y.p.Spec, c.passes)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*y.p.Len()), "ns/weight")
			})
		}
	}
}
