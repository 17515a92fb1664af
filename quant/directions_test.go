package quant

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"
)

// newDirected makes a weight with a metric of k directions, and returns that
// metric as well: M and G as metric does. Column 5 gets no input.
func newDirected(f Format, rows, cols, k int) (x *shaped, d *Directions, m, g []float64) {
	x = newShaped(f, rows, cols)
	rng := rand.New(rand.NewPCG(uint64(cols), uint64(k)))
	d = &Directions{
		Cols: cols, Squares: make([]float64, cols), Rest: make([]float64, cols),
		V: make([]float32, k*cols), Cross: make([]float32, k*cols),
	}
	for i := range d.V {
		d.V[i], d.Cross[i] = float32(rng.NormFloat64()), float32(rng.NormFloat64())*0.1
	}
	for j := range cols {
		d.Squares[j], d.Rest[j] = rng.Float64()+0.1, rng.Float64()+0.05
	}
	d.Squares[5] = 0
	m, g = make([]float64, cols*cols), make([]float64, rows*cols)
	for i := range cols {
		for j := range cols {
			for l := range k {
				m[i*cols+j] += float64(d.V[l*cols+i]) * float64(d.V[l*cols+j])
			}
		}
		m[i*cols+i] += d.Rest[i]
	}
	for l := range k {
		for r := range rows {
			q := 0.0
			for j := range cols {
				if j != 5 {
					q += float64(x.p.T[r*cols+j]) * float64(d.Cross[l*cols+j])
				}
			}
			for j := range cols {
				g[r*cols+j] += q * float64(d.V[l*cols+j])
			}
		}
	}
	return x, d, m, g
}

// The loss over a few directions is the sum worked out from their M and G.
func TestDirectionsLoss(t *testing.T) {
	for _, f := range []Format{NF4, FP4, Int8} {
		for _, size := range [][2]int{{20, 3}, {70, 32}, {130, 40}} {
			cols := size[0]
			x, d, m, g := newDirected(f, 16, cols, size[1])
			fb, err := NewDirections(d, plainProduct)
			if err != nil {
				t.Fatal(err)
			}
			var c Chooser
			c.Load(fb, &x.p, x.p.Absmax, 0)
			codes := make([]byte, len(x.p.Codes))
			chosen := append([]float64(nil), c.Choose(codes, x.p.Spec)...)
			constant := append([]float64(nil), c.Loss(x.p.T)...)
			values := dequantized(&x.p, codes, x.p.Absmax)
			for r, l := range c.Loss(values) {
				if l != chosen[r] {
					t.Fatalf("%s %d row %d: Choose says %v, Loss %v", f, cols, r, chosen[r], l)
				}
			}
			for name, v := range map[string][]float32{"chosen": values, "base": x.p.W} {
				for r, l := range c.Loss(v) {
					want := constant[r] + x.sum(m, g, r, v[r*cols:(r+1)*cols])
					if math.Abs(l-want) > 2e-4*math.Abs(want)+1e-5*constant[r] {
						t.Fatalf("%s %d %s row %d: loss %v, want %v", f, cols, name, r, l, want)
					}
				}
			}
		}
	}
}

// Each code is the one nearest to where the weight had to be if all weights
// after it could still take any value.
func TestDirectionsChooseTheNearest(t *testing.T) {
	x, d, m, g := newDirected(NF4, 13, 40, 7)
	fb, err := NewDirections(d, plainProduct)
	if err != nil {
		t.Fatal(err)
	}
	x.wantNearest(t, fb, m, g)
}

// Directions that are all of M choose what the full metric chooses, but for
// ties.
func TestDirectionsAreTheFullMetric(t *testing.T) {
	const cols, damping = 64, 0.01
	x := newShaped(NF4, 24, cols)
	full, err := x.feedback(false, damping)
	if err != nil {
		t.Fatal(err)
	}
	m, _ := x.metric(damping)
	z, values, err := Principal(cols, cols, func(q []float32) ([]float32, error) {
		y := make([]float32, len(q))
		for i := range q {
			for k := range cols {
				y[i] += q[i/cols*cols+k] * float32(m[k*cols+i%cols])
			}
		}
		return y, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	d := &Directions{Cols: cols, Squares: make([]float64, cols), Rest: make([]float64, cols), V: z}
	for j := range cols {
		d.Squares[j], d.Rest[j] = float64(x.h[j*cols+j]), damping
	}
	for i, v := range values {
		for j := range cols {
			z[i*cols+j] *= float32(math.Sqrt(max(0, v-damping)))
		}
	}
	low, err := NewDirections(d, plainProduct)
	if err != nil {
		t.Fatal(err)
	}
	var a, b Chooser
	a.Load(full, &x.p, x.p.Absmax, 0)
	b.Load(low, &x.p, x.p.Absmax, 0)
	one, two := make([]byte, len(x.p.Codes)), make([]byte, len(x.p.Codes))
	a.Choose(one, x.p.Spec)
	b.Choose(two, x.p.Spec)
	differ := 0
	for i := range one {
		if one[i] != two[i] {
			differ++
		}
	}
	if differ > len(one)/50 {
		t.Errorf("%d of %d bytes differ from the full metric's", differ, len(one))
	}
}

// Principal finds the directions of a matrix made from known ones.
func TestPrincipal(t *testing.T) {
	const cols, count = 50, 4
	rng := rand.New(rand.NewPCG(5, 5))
	axes := make([]float64, 6*cols)
	for i := range axes {
		axes[i] = rng.NormFloat64()
	}
	orthonormal(axes, cols)
	values := []float64{9, 5, 2, 1, 0.01, 0.001}
	got, at, err := Principal(count, cols, func(m []float32) ([]float32, error) {
		y := make([]float32, len(m))
		for i := 0; i < len(m); i += cols {
			for l, v := range values {
				along := v * inner(axes[l*cols:(l+1)*cols], m[i:])
				for c := range cols {
					y[i+c] += float32(along * axes[l*cols+c])
				}
			}
		}
		return y, nil
	})
	if err != nil || len(at) != count {
		t.Fatalf("%d directions, %v", len(at), err)
	}
	for i, v := range at {
		if math.Abs(v-values[i]) > 1e-5*values[i] {
			t.Errorf("value %d is %v, want %v", i, v, values[i])
		}
		if c := math.Abs(inner(axes[i*cols:(i+1)*cols], got[i*cols:])); math.Abs(c-1) > 1e-5 {
			t.Errorf("direction %d is off by a cosine of %v", i, c)
		}
	}
	failed := errors.New("no")
	if _, _, err := Principal(2, cols, func([]float32) ([]float32, error) { return nil, failed }); !errors.Is(err, failed) {
		t.Errorf("an error is lost: %v", err)
	}
}

// The directions of a delta's own metric are that metric.
func TestOwnDirections(t *testing.T) {
	const cols, rank = 30, 3
	rng := rand.New(rand.NewPCG(6, 6))
	a, b := make([]float32, rank*cols), make([]float64, 20*rank)
	for i := range a {
		a[i] = float32(rng.NormFloat64())
	}
	for i := range b {
		b[i] = rng.NormFloat64()
	}
	own := &Own{Rank: rank, A: a, KA: make([]float32, len(a))}
	for k := range rank {
		for l := range rank {
			for i := 0; i < len(b); i += rank {
				for j := range cols {
					own.KA[k*cols+j] += float32(b[i+k] * b[i+l] * float64(a[l*cols+j]))
				}
			}
		}
	}
	v := own.Directions(cols)
	if len(v) != rank*cols {
		t.Fatalf("%d directions, want %d", len(v)/cols, rank)
	}
	for i := range cols {
		for j := range cols {
			want, got := 0.0, 0.0
			for k := range rank {
				want += float64(a[k*cols+i]) * float64(own.KA[k*cols+j])
				got += float64(v[k*cols+i]) * float64(v[k*cols+j])
			}
			if math.Abs(got-want) > 1e-3 {
				t.Fatalf("[%d, %d] is %v, want %v", i, j, got, want)
			}
		}
	}
}
