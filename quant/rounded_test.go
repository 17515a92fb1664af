package quant

import (
	"math"
	"testing"
)

// sigmas is how many standard deviations of a sum of rounding errors none is beyond:
// one in 1.7 million would be.
const sigmas = 5

// variances are those of rounding n values, by span, the largest to limit.
func variances(n int, limit float64, x func(at int) float64) []float64 {
	v := make([]float64, spansOf(n))
	for s := range v {
		most := 0.0
		for k := s * span; k < min(n, (s+1)*span); k++ {
			most = max(most, math.Abs(x(k)))
		}
		v[s] = most / limit * most / limit / 12
	}
	return v
}

// upper returns U at two places.
func (f *Feedback) upper(k, at int) float64 {
	const n = ProductCols
	switch {
	case k > at:
		return 0
	case k == at:
		return 1
	case k/n == at/n:
		return float64(f.near[at/n][k%n*n+at%n])
	}
	return float64(f.above[at/n][k*n+at%n])
}

// answered returns G [rows, cols] that codes answer for: Y D U^T. It differs from
// T times the cross moments by rounding, see TestAnswer.
func (x *shaped) answered(f *Feedback) []float64 {
	var c Chooser
	c.Load(f, &x.p, x.p.Absmax, 0)
	g := make([]float64, x.p.Len())
	for r := range x.p.Rows {
		for at, j := range f.order {
			for k := at; k < f.cols; k++ {
				g[r*f.cols+j] += float64(c.pull[(r/ProductRows*f.width()+k)*ProductRows+r%ProductRows]) * float64(f.diag[k]) * f.upper(at, k)
			}
		}
	}
	return g
}

// What codes answer for is T times the cross moments, up to what rounding of both,
// and of Z = Y D and U in solving for it, must be expected to bring.
func TestAnswer(t *testing.T) {
	for _, cols := range []int{20, 130, 200, 400} {
		const damping = 0.01
		x := newShaped(NF4, 13, cols)
		f, err := x.feedback(true, damping)
		if err != nil {
			t.Fatal(err)
		}
		_, want := x.metric(damping)
		got := x.answered(f)
		var c Chooser
		c.Load(f, &x.p, x.p.Absmax, 0)
		for r := range x.p.Rows {
			for at, j := range f.order {
				if f.dead[j] {
					continue
				}
				v, size := x.answerNoise(&c, r, at)
				if d := math.Abs(got[r*cols+j] - want[r*cols+j]); d > sigmas*math.Sqrt(v)+1e-5*size {
					t.Errorf("%d columns, row %d, column %d: %v, want %v, rounding is %v", cols, r, j, got[r*cols+j], want[r*cols+j], math.Sqrt(v))
				}
			}
		}
	}
}

// answerNoise returns the variance of what rounding adds to G at a place where it is
// T times the cross moments, and the size of the terms of G there.
func (x *shaped) answerNoise(c *Chooser, r, at int) (v, size float64) {
	f, cols := c.f, x.p.Cols
	j := f.order[at]
	wanted := func(at int) float64 { return float64(x.p.T[r*cols+f.order[at]]) }
	off := func(k int) float64 { return float64(x.cross[f.order[k]*cols+j]) * float64(f.scale) }
	ofWanted, ofOff := variances(cols, wantedLimit, wanted), variances(cols, crossLimit, off)
	for k := range cols {
		v += off(k)*off(k)*ofWanted[k/span] + wanted(k)*wanted(k)*ofOff[k/span]
		size += math.Abs(off(k) * wanted(k))
	}
	u := func(k int) float64 { return f.upper(at, k) }
	z := func(at int) float64 {
		return float64(c.pull[(r/ProductRows*f.width()+at)*ProductRows+r%ProductRows]) * float64(f.diag[at])
	}
	ofZ, ofU := variances(cols, factorLimit, z), variances(cols, factorLimit, func(k int) float64 { return f.upper(at, k) })
	for k := at + 1; k < cols; k++ {
		if k/span > at/span {
			v += u(k)*u(k)*ofZ[k/span] + z(k)*z(k)*ofU[k/span]
		}
		size += math.Abs(u(k) * z(k))
	}
	return v, size
}

// lossNoise returns the mean square of what rounding of E and U adds to the terms of
// the loss of a row whose errors are e.
func lossNoise(f *Feedback, e func(at int) float64) (square float64) {
	ofE := variances(f.cols, factorLimit, e)
	for at := range f.cols {
		v := 0.0
		u := func(k int) float64 { return f.upper(k, at) }
		ofU := variances(at/span*span, factorLimit, u)
		for k := range at / span * span {
			v += u(k)*u(k)*ofE[k/span] + e(k)*e(k)*ofU[k/span]
		}
		square += float64(f.diag[at]) * v
	}
	return square
}

// Over several spans the loss is that of M and G, up to what rounding of E and U must be
// expected to bring. Where outputs are answered for E is the weight; of int8 nothing is
// rounded then.
func TestLossOverSpans(t *testing.T) {
	const cols, damping = 400, 0.01
	for _, c := range []struct {
		format  Format
		outputs bool
	}{{NF4, false}, {Int8, false}, {NF4, true}, {Int8, true}} {
		x := newShaped(c.format, 13, cols)
		m, g := x.metric(damping)
		var f *Feedback
		if c.outputs {
			f = x.feedbackOutputs(t, 0, damping, nil)
		} else {
			var err error
			if f, err = x.feedback(true, damping); err != nil {
				t.Fatal(err)
			}
			g = x.answered(f)
		}
		var chooser Chooser
		chooser.Load(f, &x.p, x.p.Absmax, 0)
		codes := make([]byte, len(x.p.Codes))
		chooser.Choose(codes, x.p.Spec)
		constant := append([]float64(nil), chooser.Loss(x.p.T)...)
		noise := func(r int, values []float32) float64 {
			if c.outputs && c.format == Int8 {
				return 0
			}
			return lossNoise(f, func(at int) float64 {
				i := r*cols + f.order[at]
				switch {
				case f.dead[f.order[at]]:
					return 0
				case c.outputs:
					return float64(values[i])
				}
				return float64(values[i]) - float64(x.p.T[i])
			})
		}
		for name, values := range map[string][]float32{"chosen": dequantized(&x.p, codes, x.p.Absmax), "base": x.p.W} {
			for r, got := range chooser.Loss(values) {
				want := constant[r] + x.sum(m, g, r, values[r*cols:(r+1)*cols])
				bound := 0.0
				for _, of := range []struct{ loss, square float64 }{{want, noise(r, values)}, {constant[r], noise(r, x.p.T)}} {
					bound += sigmas*2*math.Sqrt(of.loss*of.square) + sigmas*sigmas*of.square
				}
				if bound == 0 { // what float32 leaves of such differences of weights
					bound = 0.15 * want
				}
				if math.Abs(got-want) > bound+1e-3*want || bound > 0.2*want && c.format == NF4 && !c.outputs {
					t.Errorf("%s, outputs %t, %s, row %d: loss %v, want %v, rounding is %v", c.format, c.outputs, name, r, got, want, bound)
				}
			}
		}
	}
}
