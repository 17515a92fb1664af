package merge

import (
	"math"

	"mergescope/model"
	"mergescope/quant"
)

// directionCount is how many main directions of a layer's inputs its codes serve
// where they do not serve all second moments.
const directionCount = 64

// low reports whether a calibrated layer is served by a few directions.
func (l *Layer) low() bool { return l.Method.optimizer(l.Weight.Cols()) == OptimizerDirections }

// low reports whether no layer of a group needs all second moments.
func (c *calibration) low(group []int) bool {
	for _, i := range group {
		if l := &c.j.layers[i]; l.calibrated() && !l.low() {
			return false
		}
	}
	return true
}

// alongMoments gives products with moments.
func alongMoments(m *quant.Moments) func(x []float32) ([]float32, error) {
	return func(x []float32) ([]float32, error) { return m.Times(x, len(x)/m.Cols()), nil }
}

// directions finds the main directions z of the inputs. The second moments are
// taken to be theirs and, beside them, those of independent inputs with what is
// left of each one's square. Of how far the inputs are from what they should be,
// only what is along z counts. All of it is in units of the mean square, to which
// the damping is added. own, if it is not nil, adds its directions.
func (o *observed) directions(damping float64, own *quant.Own) (*quant.Feedback, error) {
	z, values, err := quant.Principal(directionCount, o.cols, o.along)
	if err != nil {
		return nil, err
	}
	d := &quant.Directions{Cols: o.cols, Squares: o.squares(), Rest: make([]float64, o.cols), V: z}
	sum, live := 0.0, 0
	for _, s := range d.Squares {
		if sum += s; s > 0 {
			live++
		}
	}
	scale := float64(live) / sum
	for j, s := range d.Squares {
		for i, v := range values {
			s -= float64(v * float64(float64(z[i*o.cols+j])*float64(z[i*o.cols+j])))
		}
		d.Rest[j] = float64(scale*max(s, 0)) + damping
	}
	if o.off != nil {
		if d.Cross, err = o.off(z); err != nil {
			return nil, err
		}
	}
	for i, v := range values {
		weight := math.Sqrt(v * scale)
		for j := range o.cols {
			z[i*o.cols+j] *= float32(weight)
			if d.Cross != nil {
				d.Cross[i*o.cols+j] *= float32(scale / weight)
			}
		}
	}
	if own != nil {
		d.V = append(d.V, own.Directions(o.cols)...)
		if d.Cross != nil {
			d.Cross = append(d.Cross, make([]float32, len(d.V)-len(d.Cross))...)
		}
	}
	return quant.NewDirections(d, model.Product)
}
