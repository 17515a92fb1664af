package quant

import (
	"math"
	"math/rand/v2"
	"testing"
)

// Rows that are set are read back, and products with moments are those with the
// square matrix.
func TestMomentsTimes(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for _, n := range []int{1, 12, 31, 32, 70, 130} {
		var memory Memory
		m := NewMoments(&memory, n, plainProduct, plainPairs)
		square := make([]float32, n*n)
		for i := range n {
			row := make([]float32, n-i)
			for k := range row {
				row[k] = float32(rng.NormFloat64())
				square[i*n+i+k], square[(i+k)*n+i] = row[k], row[k]
			}
			m.SetUpper(i, row)
		}
		const rank = 13
		a := make([]float32, rank*n)
		for i := range a {
			a[i] = float32(rng.NormFloat64())
		}
		got := m.Times(a, rank)
		for r := range rank {
			for j := range n {
				var want, size float64
				for i := range n {
					p := float64(a[r*n+i]) * float64(square[i*n+j])
					want, size = want+p, size+math.Abs(p)
				}
				if d := math.Abs(float64(got[r*n+j]) - want); d > 1e-6*size {
					t.Fatalf("%d columns: product at %d, %d is %v, want %v", n, r, j, got[r*n+j], want)
				}
			}
		}
		for i := range n {
			row := make([]float32, n-i)
			m.Upper(row, i)
			for k, v := range row {
				if v != square[i*n+i+k] {
					t.Fatalf("%d columns: element %d, %d is %v", n, i, i+k, v)
				}
			}
		}
	}
}

// What is known of the losses of values that are plainly worse is no more than
// the losses, and enough; of others it is all.
func TestLossUpTo(t *testing.T) {
	x := newShaped(NF4, 16, 130)
	fb, err := x.feedback(true, 0.01)
	if err != nil {
		t.Fatal(err)
	}
	var c Chooser
	c.Load(fb, &x.p, x.p.Absmax, 0)
	exact := append([]float64(nil), c.Loss(x.p.W)...)
	all := 0.0
	for _, l := range exact {
		all += l
	}
	for _, share := range []float64{0.1, 0.5, 0.99, 1.01} {
		sum := 0.0
		for r, l := range c.LossUpTo(x.p.W, share*all) {
			if sum += l; l > exact[r] || share > 1 && l != exact[r] {
				t.Errorf("up to %v: row %d has %v of %v", share, r, l, exact[r])
			}
		}
		if sum < min(share, 1-1e-9)*all || share == 0.1 && sum == all {
			t.Errorf("up to %v of %v: %v", share, all, sum)
		}
	}
}
