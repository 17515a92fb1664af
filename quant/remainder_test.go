package quant

import (
	"math"
	"testing"
)

// The squares of a remainder are the loss, and all of it added to the values
// leaves none.
func TestRemainder(t *testing.T) {
	for _, cols := range []int{20, 64, 70, 130} {
		x := newShaped(NF4, 16, cols)
		fb, err := x.feedback(true, 0.01)
		if err != nil {
			t.Fatal(err)
		}
		x.wantRemainder(t, fb)
		x, d, _, _ := newDirected(NF4, 16, cols, 12)
		if fb, err = NewDirections(d, plainProduct); err != nil {
			t.Fatal(err)
		}
		x.wantRemainder(t, fb)
	}
}

func (x *shaped) wantRemainder(t *testing.T, fb *Feedback) {
	t.Helper()
	cols := x.p.Cols
	var c Chooser
	c.Load(fb, &x.p, x.p.Absmax, 0)
	w := fb.Width()
	z := make([]float32, x.p.Rows*w)
	c.Remainder(z, x.p.W)
	losses := append([]float64(nil), c.Loss(x.p.W)...)
	values := append([]float32(nil), x.p.W...)
	for r := range x.p.Rows {
		sum := 0.0
		row := make([]float64, w)
		for i, v := range z[r*w : (r+1)*w] {
			row[i] = float64(v)
			sum += row[i] * row[i]
		}
		if math.Abs(sum-losses[r]) > 1e-5*losses[r] {
			t.Errorf("%d columns, row %d: squares %v, loss %v", cols, r, sum, losses[r])
		}
		for j, v := range fb.Unweigh(row) {
			if fb.dead[j] && v != 0 {
				t.Errorf("column %d, which no input reaches, gets %v", j, v)
			}
			values[r*cols+j] += v
		}
	}
	for r, l := range c.Loss(values) {
		if l > 1e-6*losses[r] {
			t.Errorf("%d columns, row %d: %v of %v is left", cols, r, l, losses[r])
		}
	}
}
