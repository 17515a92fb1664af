package quant

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// sum is E M E^T + 2 E G^T of a row of values, in float64. Column 5 has no part.
func (x *shaped) sum(m, g []float64, r int, values []float32) (total float64) {
	n := x.p.Cols
	for i := range n {
		ei := float64(values[i]) - float64(x.p.T[r*n+i])
		if i == 5 {
			continue
		}
		total += 2 * ei * g[r*n+i]
		for j := range n {
			if j != 5 {
				total += ei * m[i*n+j] * (float64(values[j]) - float64(x.p.T[r*n+j]))
			}
		}
	}
	return total
}

// starts are codes to begin with: those of the base, and at random, for int8
// near those.
func (x *shaped) starts() map[string][]byte {
	rng := rand.New(rand.NewPCG(3, 4))
	random := slices.Clone(x.p.Codes)
	for i := range random {
		if random[i] += byte(rng.IntN(7)) - 3; x.p.Spec.Format.Is4Bit() {
			random[i] = byte(rng.Uint32())
		}
	}
	return map[string][]byte{"base": x.p.Codes, "random": random}
}

// From any codes, no row's sum rises from one pass to the next, and where
// descent ends no other code of a single weight is better, both by the sum worked
// out in float64.
func TestDescendOnlyDescends(t *testing.T) {
	for _, f := range []Format{NF4, FP4, Int8} {
		for _, cols := range []int{20, 70, 130} {
			if f == Int8 && cols > 70 {
				continue // the way down is long in small steps
			}
			x := newShaped(f, 16, cols)
			const damping = 0.01
			fb, err := x.feedback(true, damping)
			if err != nil {
				t.Fatal(err)
			}
			m, _ := x.metric(damping)
			x.wantDescent(t, fb, m, x.answered(fb))
		}
		x, d, m, g := newDirected(f, 16, 70, 40)
		fb, err := NewDirections(d, plainProduct)
		if err != nil {
			t.Fatal(err)
		}
		x.wantDescent(t, fb, m, g)
	}
}

// wantDescent goes down from several starts.
func (x *shaped) wantDescent(t *testing.T, fb *Feedback, m, g []float64) {
	t.Helper()
	cols, name := x.p.Cols, fmt.Sprintf("%s, %d columns, low %t", x.p.Spec.Format, x.p.Cols, fb.low != nil)
	var c Chooser
	c.Load(fb, &x.p, x.p.Absmax, 0)
	starts := x.starts()
	starts["feedback"] = make([]byte, len(x.p.Codes))
	c.Choose(starts["feedback"], x.p.Spec)
	for from, start := range starts {
		last := slices.Repeat([]float64{math.Inf(1)}, x.p.Rows)
		var values []float32
		for _, passes := range []int{0, 1, 2, 50} {
			codes := slices.Clone(start)
			losses := c.Descend(codes, x.p.Spec, passes)
			for was := []byte(nil); passes > 2 && !slices.Equal(codes, was); { // to the end, also of rounding on the way
				was = slices.Clone(codes)
				losses = c.Descend(codes, x.p.Spec, passes)
			}
			values = dequantized(&x.p, codes, x.p.Absmax)
			for r, was := range last {
				row := values[r*cols : (r+1)*cols]
				if row[5] != x.p.W[r*cols+5] {
					t.Fatalf("%s, from %s: the weight of an input that is always 0 was changed", name, from)
				}
				now := x.sum(m, g, r, row)
				if now > was+1e-6*math.Abs(was) {
					t.Errorf("%s, from %s, row %d: sum %v after %d passes, %v before", name, from, r, now, passes, was)
				}
				last[r] = now
			}
			for r, l := range c.Loss(values) {
				if math.Abs(l-losses[r]) > 1e-6*l {
					t.Errorf("%s, from %s, row %d: Descend says %v, Loss %v", name, from, r, losses[r], l)
				}
			}
		}
		x.wantLocalOptimum(t, m, g, values, name+", from "+from)
	}
}

// wantLocalOptimum tries every other code of every weight: it changes the sum by
// s (2 (E M + G)_j + s M_jj).
func (x *shaped) wantLocalOptimum(t *testing.T, m, g []float64, values []float32, name string) {
	t.Helper()
	n := x.p.Cols
	var points []float64 // in units of the scale
	if x.p.Spec.Format == Int8 {
		for q := -127; q <= 127; q++ {
			points = append(points, float64(q)/127)
		}
	} else {
		for _, v := range valuesOf(x.p.Spec.Format) {
			points = append(points, float64(v))
		}
	}
	for r := range x.p.Rows {
		for j := range n {
			if j == 5 {
				continue
			}
			slope := g[r*n+j]
			for k := range n {
				if k != 5 {
					slope += (float64(values[r*n+k]) - float64(x.p.T[r*n+k])) * m[k*n+j]
				}
			}
			block := r
			if x.p.Spec.Format.Is4Bit() {
				block = (r*n + j) / x.p.Spec.Blocksize
			}
			for _, point := range points {
				s := point*float64(x.p.Absmax[block]) - float64(values[r*n+j])
				if change := s * (2*slope + s*m[j*n+j]); math.Abs(s) > 1e-6 && change < -1e-3*s*s*m[j*n+j] {
					t.Fatalf("%s, row %d, column %d: %v more changes the sum by %v", name, r, j, s, change)
				}
			}
		}
	}
}

// Over all choices of codes of a tiny layer, no single change away from where
// descent ends is better, the sum of the best is never above its own, and in
// most rows it finds that or comes near.
func TestDescendNearsTheBest(t *testing.T) {
	const cols, damping = 6, 0.01
	for _, f := range []Format{NF4, FP4} {
		x := newShaped(f, 12, cols)
		fb, err := x.feedback(true, damping)
		if err != nil {
			t.Fatal(err)
		}
		m, _ := x.metric(damping)
		g := x.answered(fb)
		var c Chooser
		c.Load(fb, &x.p, x.p.Absmax, 0)
		codes := make([]byte, len(x.p.Codes))
		c.Choose(codes, x.p.Spec)
		fed := dequantized(&x.p, codes, x.p.Absmax)
		c.Descend(codes, x.p.Spec, 50)
		got := dequantized(&x.p, codes, x.p.Absmax)
		found, better := 0, 0
		for r := range x.p.Rows {
			least := x.least(m, g, r, make([]float64, 0, cols), 0)
			was := x.sum(m, g, r, fed[r*cols:(r+1)*cols])
			now := x.sum(m, g, r, got[r*cols:(r+1)*cols])
			if now < least-1e-3*math.Abs(least) || now > was+1e-6*math.Abs(was) {
				t.Errorf("%s row %d: sum %v, of feedback %v, the least of all %v", f, r, now, was, least)
			}
			if now < least+1e-3*math.Abs(least) {
				found++
			}
			if now < was-1e-6*math.Abs(was) {
				better++
			}
		}
		t.Logf("%s: least of all in %d of 12 rows, less than feedback in %d", f, found, better)
		if found < 4 || better == 0 {
			t.Errorf("%s: least of all in %d of 12 rows, less than feedback in %d", f, found, better)
		}
	}
}

// least tries all code points from column j on, given the errors before it and
// what they add to the sum; column 5 is left as it is.
func (x *shaped) least(m, g []float64, r int, e []float64, sum float64) float64 {
	n, j := x.p.Cols, len(e)
	if j == 5 {
		return sum
	}
	slope := g[r*n+j]
	for i, v := range e {
		slope += v * m[i*n+j]
	}
	best := math.Inf(1)
	for _, point := range valuesOf(x.p.Spec.Format) {
		s := float64(point)*float64(x.p.Absmax[(r*n+j)/x.p.Spec.Blocksize]) - float64(x.p.T[r*n+j])
		best = min(best, x.least(m, g, r, append(e, s), sum+s*(2*slope+s*m[j*n+j])))
	}
	return best
}

// A row's codes have the same bits whatever rows are beside it, by descent and over
// directions.
func TestRowsAreAlone(t *testing.T) {
	for _, cols := range []int{128, 448} {
		wantRowsAlone(t, cols)
	}
}

func wantRowsAlone(t *testing.T, cols int) {
	t.Helper()
	const rows = 14
	x, d, _, _ := newDirected(NF4, rows, cols, 40)
	low, err := NewDirections(d, plainProduct)
	if err != nil {
		t.Fatal(err)
	}
	full, err := x.feedback(true, 0.01)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []*Feedback{full, low} {
		choose := func(p *Panel) []byte {
			var c Chooser
			codes := make([]byte, len(p.Codes))
			c.Load(f, p, p.Absmax, 0)
			c.Choose(codes, p.Spec)
			c.Descend(codes, p.Spec, 5)
			return codes
		}
		all := choose(&x.p)
		for r := range rows {
			one := Panel{
				Spec: x.p.Spec, Rows: 1, Cols: cols, Codes: x.p.Codes[r*cols/2 : (r+1)*cols/2], Absmax: x.p.Absmax[r*cols/64 : (r+1)*cols/64],
				W: x.p.W[r*cols : (r+1)*cols], T: x.p.T[r*cols : (r+1)*cols],
			}
			if !slices.Equal(choose(&one), all[r*cols/2:(r+1)*cols/2]) {
				t.Errorf("row %d, low %t: codes depend on the rows beside it", r, f.low != nil)
			}
		}
	}
}
