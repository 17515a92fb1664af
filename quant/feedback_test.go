package quant

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// plainProduct is a Product without a vector kernel.
func plainProduct(y []float32, stride int, x, w []float32, k int, add bool) {
	for r := range ProductRows {
		row := y[r*stride : r*stride+ProductCols]
		if !add {
			clear(row)
		}
		for i := range k {
			axpyPlain(row, w[i*ProductCols:], x[i*ProductRows+r])
		}
	}
}

// plainPairs is a PairProduct without a vector kernel.
func plainPairs(y []float32, stride int, x, w []int16, units *PairUnits, k int, add bool) {
	for r := range ProductRows {
		for c := range ProductCols {
			sum := int32(0)
			for i := range 2 * k {
				sum += int32(x[i/2*2*ProductRows+2*r+i%2]) * int32(w[i/2*2*ProductCols+2*c+i%2])
			}
			z := float32(float32(float32(sum)*units[r]) * units[ProductRows+c])
			if add {
				z += y[r*stride+c]
			}
			y[r*stride+c] = z
		}
	}
}

func axpyPlain(acc, a []float32, b float32) {
	for i := range acc {
		acc[i] = FMA32(b, a[i], acc[i])
	}
}

func inOrder(n int, do func(i int)) error {
	for i := range n {
		do(i)
	}
	return nil
}

// shaped is a weight with the moments of its inputs.
type shaped struct {
	p        Panel
	h, cross []float32 // [cols, cols]
}

// newShaped makes inputs of a few strong directions, and others that are a
// little off. Column 5 gets none.
func newShaped(f Format, rows, cols int) *shaped {
	rng := rand.New(rand.NewPCG(uint64(rows), uint64(cols)))
	x := &shaped{h: make([]float32, cols*cols), cross: make([]float32, cols*cols)}
	const tokens = 300
	for range tokens {
		in, off := make([]float64, cols), make([]float64, cols)
		a, b := rng.NormFloat64(), rng.NormFloat64()
		for j := range in {
			in[j] = rng.NormFloat64()*0.3 + a*math.Sin(float64(j)) + b + float64(j%7)*0.1
			off[j] = 0.1*a*math.Cos(float64(j)) + 0.05*rng.NormFloat64()
		}
		in[5], off[5] = 0, 0
		for i := range in {
			for j := range in {
				x.h[i*cols+j] += float32(in[i] * in[j] / tokens)
				x.cross[i*cols+j] += float32(off[i] * in[j] / tokens)
			}
		}
	}
	x.p = Panel{Spec: Spec{Format: f, Blocksize: 64, Dtype: F32}, Rows: rows, Cols: cols}
	p := &x.p
	src := make([]float32, rows*cols)
	for i := range src {
		src[i] = float32(rng.NormFloat64()) * 0.02
	}
	p.Codes = make([]byte, f.Bytes(int64(len(src))))
	if f == Int8 {
		p.Absmax = make([]float32, rows)
		QuantizeInt8(p.Codes, p.Absmax, src, CPU)
	} else {
		p.Absmax = make([]float32, p.Blocks())
		Quantize4(p.Codes, p.Absmax, src, p.Spec, CPU)
	}
	p.Dequantize()
	p.D = make([]float32, len(src))
	for i := range p.D {
		p.D[i] = float32(rng.NormFloat64()) * 0.001
	}
	p.Add()
	return x
}

// feedback makes one of the moments.
func (x *shaped) feedback(cross bool, damping float64) (*Feedback, error) {
	return x.feedbackOf(cross, damping, nil)
}

func (x *shaped) feedbackOf(cross bool, damping float64, own *Own) (*Feedback, error) {
	n := x.p.Cols
	var memory Memory
	m := NewMoments(&memory, n, plainProduct, plainPairs)
	for i := range n {
		m.SetUpper(i, x.h[i*n+i:(i+1)*n])
	}
	f, err := NewFeedback(m, &memory, damping, own, inOrder)
	if err != nil || !cross {
		return f, err
	}
	panels := f.Cross()
	x.fillCross(f, panels)
	return f, f.Answer(panels, inOrder)
}

func (x *shaped) fillCross(f *Feedback, panels [][]float32) {
	n := x.p.Cols
	for b, p := range panels {
		clear(p)
		for k, i := range f.Order() {
			for c, j := range f.Order()[b*ProductCols : min((b+1)*ProductCols, n)] {
				p[k*ProductCols+c] = x.cross[i*n+j]
			}
		}
	}
}

// metric returns M and G in float64, with the normalization of NewFeedback.
func (x *shaped) metric(damping float64) (m, g []float64) {
	n := x.p.Cols
	mean, live := 0.0, 0.0
	for j := range n {
		if d := float64(x.h[j*n+j]); d > 0 {
			mean, live = mean+d, live+1
		}
	}
	mean /= live
	m, q := make([]float64, n*n), make([]float64, n*n)
	for i := range m {
		m[i], q[i] = float64(x.h[i])/mean, float64(x.cross[i])/mean
	}
	for j := range n {
		if m[j*n+j] > 0 {
			m[j*n+j] += damping
		}
	}
	g = make([]float64, x.p.Len())
	for r := range x.p.Rows {
		for i := range n {
			for j := range n {
				g[r*n+j] += float64(x.p.T[r*n+i]) * q[i*n+j]
			}
		}
	}
	return m, g
}

func dequantized(p *Panel, codes []byte, scales []float32) []float32 {
	q := Panel{Spec: p.Spec, Rows: p.Rows, Cols: p.Cols, Codes: codes, Absmax: scales}
	q.Dequantize()
	return q.W
}

// The loss is the sum worked out from M and G, whatever the codes, blocks that
// straddle rows included.
func TestFeedbackLoss(t *testing.T) {
	for _, f := range []Format{NF4, FP4, Int8} {
		for _, cols := range []int{20, 64, 70, 130} {
			x := newShaped(f, 16, cols)
			const damping = 0.01
			fb, err := x.feedback(true, damping)
			if err != nil {
				t.Fatal(err)
			}
			var c Chooser
			c.Load(fb, &x.p, x.p.Absmax, 0)
			codes := make([]byte, len(x.p.Codes))
			chosen := append([]float64(nil), c.Choose(codes, x.p.Spec)...)
			m, _ := x.metric(damping)
			g := x.answered(fb)
			constant := append([]float64(nil), c.Loss(x.p.T)...)
			for name, values := range map[string][]float32{
				"chosen": dequantized(&x.p, codes, x.p.Absmax), "base": x.p.W,
			} {
				got := c.Loss(values)
				for r, l := range got {
					if name == "chosen" && l != chosen[r] {
						t.Fatalf("%s %d row %d: Choose says %v, Loss %v", f, cols, r, chosen[r], l)
					}
					want := constant[r] + x.sum(m, g, r, values[r*cols:(r+1)*cols])
					if math.Abs(l-want) > 2e-4*math.Abs(want)+1e-9 {
						t.Fatalf("%s %d %s row %d: loss %v, want %v", f, cols, name, r, l, want)
					}
				}
			}
		}
	}
}

// An own metric counts for the loss as it is.
func TestFeedbackOwn(t *testing.T) {
	for _, cols := range []int{20, 70} {
		x := newShaped(NF4, 16, cols)
		rng := rand.New(rand.NewPCG(9, 9))
		const rank = 3
		own := &Own{Rank: rank, A: make([]float32, rank*cols), KA: make([]float32, rank*cols)}
		for i := range own.A {
			own.A[i] = float32(rng.NormFloat64())
			own.KA[i] = 2 * own.A[i]
		}
		fb, err := x.feedbackOf(false, 0.01, own)
		if err != nil {
			t.Fatal(err)
		}
		var c Chooser
		c.Load(fb, &x.p, x.p.Absmax, 0)
		m, _ := x.metric(0.01)
		for r, got := range c.Loss(x.p.W) {
			want := 0.0
			e := func(j int) float64 { return float64(x.p.W[r*cols+j]) - float64(x.p.T[r*cols+j]) }
			for i := range cols {
				for j := range cols {
					if i == 5 || j == 5 {
						continue // no input
					}
					v := m[i*cols+j]
					for k := range rank {
						v += float64(own.A[k*cols+i]) * float64(own.KA[k*cols+j])
					}
					want += e(i) * v * e(j)
				}
			}
			if math.Abs(got-want) > 1e-4*want {
				t.Fatalf("%d columns, row %d: loss %v, want %v", cols, r, got, want)
			}
		}
	}
}

// A Feedback that takes over another's cross moments is one that was given its own.
func TestFeedbackAnswerAs(t *testing.T) {
	const cols = 70
	x := newShaped(NF4, 16, cols)
	own := &Own{Rank: 1, A: slices.Repeat([]float32{0.5}, cols), KA: slices.Repeat([]float32{0.5}, cols)}
	alone, err := x.feedbackOf(true, 0.01, own)
	if err != nil {
		t.Fatal(err)
	}
	var home, work Memory
	m := NewMoments(&home, cols, plainProduct, plainPairs)
	for i := range cols {
		m.SetUpper(i, x.h[i*cols+i:(i+1)*cols])
	}
	first, err := NewFeedback(m, &work, 0.01, nil, inOrder)
	if err != nil {
		t.Fatal(err)
	}
	panels := first.Cross()
	x.fillCross(first, panels)
	if err := first.Answer(panels, inOrder); err != nil {
		t.Fatal(err)
	}
	second, err := NewFeedback(m, &work, 0.01, own, inOrder)
	if err != nil {
		t.Fatal(err)
	}
	if err := second.AnswerAs(first, inOrder); err != nil {
		t.Fatal(err)
	}
	var a, b Chooser
	a.Load(alone, &x.p, x.p.Absmax, 0)
	b.Load(second, &x.p, x.p.Absmax, 0)
	if want, got := a.Loss(x.p.W), b.Loss(x.p.W); !slices.Equal(want, got) {
		t.Errorf("losses %v, want %v", got, want)
	}
}

// Each code is the one nearest to where the weight had to be if all weights
// after it could still take any value.
func TestFeedbackChoosesTheNearest(t *testing.T) {
	const cols, damping = 40, 0.02
	x := newShaped(NF4, 13, cols)
	fb, err := x.feedback(true, damping)
	if err != nil {
		t.Fatal(err)
	}
	m, _ := x.metric(damping)
	x.wantNearest(t, fb, m, x.answered(fb))
}

// wantNearest checks the codes a Feedback chooses against M and G.
func (x *shaped) wantNearest(t *testing.T, fb *Feedback, m, g []float64) {
	t.Helper()
	cols := x.p.Cols
	var c Chooser
	c.Load(fb, &x.p, x.p.Absmax, 0)
	codes := make([]byte, len(x.p.Codes))
	c.Choose(codes, x.p.Spec)
	got := dequantized(&x.p, codes, x.p.Absmax)
	for r := range x.p.Rows {
		e := make([]float64, cols)
		for at, j := range fb.order {
			v := got[r*cols+j]
			if j == 5 {
				if v != x.p.W[r*cols+j] {
					t.Errorf("row %d: the weight of an input that is always 0 was changed", r)
				}
				continue
			}
			rest := make([]int, 0, cols)
			for _, k := range fb.order[at:] {
				if k != 5 {
					rest = append(rest, k)
				}
			}
			target := float64(x.p.T[r*cols+j])
			aim := target + free(m, g[r*cols:(r+1)*cols], e, rest, cols)
			e[j] = float64(v) - target
			scale := float64(x.p.Absmax[(r*cols+j)/64])
			best := math.Inf(1)
			for _, p := range nf4Values {
				best = min(best, math.Abs(float64(p)*scale-aim))
			}
			if d := math.Abs(float64(v) - aim); d > best+1e-6 {
				t.Fatalf("row %d column %d: %v is %v from %v, another code only %v", r, j, v, d, aim, best)
			}
		}
	}
}

// free returns e of rest[0] where e M e^T + 2 e g is least, e given at columns
// that are not in rest.
func free(m, g, e []float64, rest []int, n int) float64 {
	k := len(rest)
	a := make([][]float64, k)
	for i, p := range rest {
		a[i] = make([]float64, k+1)
		for j, q := range rest {
			a[i][j] = m[p*n+q]
		}
		a[i][k] = -g[p]
		for q, v := range e {
			a[i][k] -= m[p*n+q] * v
		}
	}
	for i := k - 1; i >= 0; i-- { // eliminate from the last on, so that row 0 is solved
		for j := range i {
			f := a[j][i] / a[i][i]
			for c := range a[j] {
				a[j][c] -= f * a[i][c]
			}
		}
	}
	return a[0][k] / a[0][0]
}

// Without a delta, and with the inputs a layer should get, every weight keeps
// its code.
func TestFeedbackWithoutDelta(t *testing.T) {
	for _, f := range []Format{NF4, FP4, Int8} {
		x := newShaped(f, 12, 64)
		clear(x.p.D)
		x.p.Add()
		fb, err := x.feedback(false, 0.01)
		if err != nil {
			t.Fatal(err)
		}
		var c Chooser
		c.Load(fb, &x.p, x.p.Absmax, 0)
		codes := make([]byte, len(x.p.Codes))
		for r, l := range c.Choose(codes, x.p.Spec) {
			if l != 0 {
				t.Errorf("%s row %d: loss %v", f, r, l)
			}
		}
		if !slices.Equal(dequantized(&x.p, codes, x.p.Absmax), x.p.W) {
			t.Errorf("%s: weights changed", f)
		}
	}
}

func TestFeedbackRefusesMoments(t *testing.T) {
	for name, spoil := range map[string]func(h []float32){
		"zero":     func(h []float32) { clear(h) },
		"NaN":      func(h []float32) { h[0] = float32(math.NaN()) },
		"infinite": func(h []float32) { h[65] = float32(math.Inf(1)) },
		"negative": func(h []float32) { h[65] = -1 },
		"beside":   func(h []float32) { h[1], h[64] = float32(math.NaN()), float32(math.NaN()) },
	} {
		x := newShaped(NF4, 12, 64)
		spoil(x.h)
		if _, err := x.feedback(false, 0.01); !errors.Is(err, ErrMoments) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The nearest point is found as by trying all.
func TestLatticeNearest(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	for _, f := range []Format{NF4, FP4, Int8} {
		l := latticeOf(f)
		known := map[uint8]bool{}
		for c := range 256 {
			if f == Int8 || c < 16 {
				known[l.known(uint8(c))] = true
			}
		}
		nearest := func(x, scale float32) (uint8, float32) { return l.nearest(x, scale, l.inverse(scale)) }
		for range 20000 {
			scale := float32(math.Exp(rng.NormFloat64()))
			if rng.IntN(8) == 0 {
				scale = -scale
			}
			x := float32(rng.NormFloat64()) * scale
			code, v := nearest(x, scale)
			if v != l.value(code, scale) || !known[code] {
				t.Fatalf("%s: code %d stands for %v, not %v", f, code, l.value(code, scale), v)
			}
			for k := range known {
				if d, best := math.Abs(float64(l.value(k, scale)-x)), math.Abs(float64(v-x)); d < best-1e-6*math.Abs(float64(scale)) {
					t.Fatalf("%s: %v on scale %v gives %v, %v is nearer", f, x, scale, v, l.value(k, scale))
				}
			}
		}
		nan := float32(math.NaN())
		for _, c := range [][2]float32{{1, 0}, {nan, 1}, {1, nan}, {1, inf}, {-1, 1e-45}} {
			if code, v := nearest(c[0], c[1]); code != l.zero || v != 0 {
				t.Errorf("%s: %v on scale %v gives code %d, %v", f, c[0], c[1], code, v)
			}
		}
		if code, v := nearest(inf, 1); v != 1 || l.value(code, 1) != 1 {
			t.Errorf("%s: infinity gives code %d, %v", f, code, v)
		}
	}
}

// Near every bound, and at the ends of the cells it is looked for in, as many bounds are below a
// value as the rank of its point says.
func TestLatticeCells(t *testing.T) {
	for _, f := range []Format{NF4, FP4} {
		l := latticeOf(f)
		var points []float32
		for c := range uint8(16) {
			if l.known(c) == c {
				points = append(points, l.value(c, 1))
			}
		}
		slices.Sort(points)
		at := []float32{-1, 1}
		for k, p := range points[1:] {
			at = append(at, (points[k]+p)/2)
		}
		for k := range 65 {
			at = append(at, float32(k-32)/32)
		}
		for _, x := range at {
			for q, n := math.Nextafter32(x, -2), 0; n < 3; n++ {
				rank := 0
				for k, p := range points[1:] {
					if q > (points[k]+p)/2 {
						rank++
					}
				}
				if _, v := l.nearest(q, 1, 1); v != points[rank] {
					t.Errorf("%s: %v gives %v, want %v", f, q, v, points[rank])
				}
				q = math.Nextafter32(q, 2)
			}
		}
	}
}
