package quant

import (
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
)

// spread are moments of inputs whose squares are up to 10^6 times each other's,
// fewer of them than inputs, and what they are with an own metric of a few rows.
func spread(n int) (m *Moments, memory *Memory, own *Own, want []float64) {
	rng := rand.New(rand.NewPCG(uint64(n), 1))
	tokens, scale := n/2+1, make([]float64, n)
	for j := range scale {
		scale[j] = math.Pow(10, 3*rng.Float64())
	}
	x := make([]float64, tokens*n)
	for t := range tokens {
		common := rng.NormFloat64()
		for j := range n {
			x[t*n+j] = scale[j] * (rng.NormFloat64() + common)
		}
	}
	memory = &Memory{}
	m = NewMoments(memory, n, plainProduct, plainPairs)
	mean := 0.0
	row := make([]float32, n)
	want = make([]float64, n*n)
	for i := range n {
		for j := i; j < n; j++ {
			sum := 0.0
			for t := range tokens {
				sum += x[t*n+i] * x[t*n+j]
			}
			row[j] = float32(sum / float64(tokens))
			want[i*n+j] = float64(row[j])
		}
		m.SetUpper(i, row[i:])
		mean += want[i*n+i] / float64(n)
	}
	own = &Own{Rank: 3, A: make([]float32, 3*n), KA: make([]float32, 3*n)}
	for i := range own.A {
		own.A[i] = float32(rng.NormFloat64())
		own.KA[i] = own.A[i] / 4
	}
	for i := range n {
		for j := i; j < n; j++ {
			v := want[i*n+j] / mean
			for k := range own.Rank {
				v += float64(own.A[k*n+i]) * float64(own.KA[k*n+j])
			}
			want[i*n+j], want[j*n+i] = v, v
		}
		want[i*n+i] += factorDamping
	}
	return m, memory, own, want
}

const factorDamping = 0.01

// U D U^T is M, to the precision of float32 and what its sizes are, at any width
// and in every part of it.
func TestFactor(t *testing.T) {
	for _, n := range []int{5, 32, 70, 192, 200, 224, 470, 580} {
		m, memory, own, want := spread(n)
		f, err := NewFeedback(m, memory, factorDamping, own, inOrder)
		if err != nil {
			t.Fatal(err)
		}
		u := make([][]float64, f.width())
		for k := range u {
			u[k] = make([]float64, f.width())
			u[k][k] = 1
			for c := k + 1; c < f.width(); c++ {
				b := c / ProductCols
				u[k][c] = float64(f.above[b][k*ProductCols+c%ProductCols])
				if k/ProductCols != b {
					continue
				}
				near := f.near[b][k%ProductCols*ProductCols+c%ProductCols]
				if turned := f.nearT[b][c%ProductCols*ProductCols+k%ProductCols]; float64(near) != u[k][c] || near != turned {
					t.Fatalf("%d columns: U at %d, %d is %v, %v and %v", n, k, c, u[k][c], near, turned)
				}
			}
		}
		for k, i := range f.order {
			for c, j := range f.order {
				sum := 0.0
				for l := max(k, c); l < f.width(); l++ {
					sum += u[k][l] * float64(f.diag[l]) * u[c][l]
				}
				size := math.Sqrt(want[i*n+i] * want[j*n+j])
				if d := math.Abs(sum - want[i*n+j]); d > 3e-6*size {
					t.Fatalf("%d columns: M at %d, %d is %v, want %v, off by %.1e of its size", n, k, c, sum, want[i*n+j], d/size)
				}
			}
		}
	}
}

// A metric is the same bits however many take part.
func TestFactorParallel(t *testing.T) {
	const n = 470
	var last *Feedback
	for _, workers := range []int{1, 3} {
		m, memory, own, _ := spread(n)
		f, err := NewFeedback(m, memory, factorDamping, own, func(n int, do func(int)) error {
			var wg sync.WaitGroup
			for w := range workers {
				wg.Go(func() {
					for i := n - 1 - w; i >= 0; i -= workers {
						do(i)
					}
				})
			}
			wg.Wait()
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if last == nil {
			last = f
			continue
		}
		if !slices.Equal(f.diag, last.diag) {
			t.Error("D depends on the number of workers")
		}
		for b := range f.above {
			k := (b + 1) * ProductCols * ProductCols
			for name, equal := range map[string]bool{
				"above": slices.Equal(f.above[b][:k], last.above[b][:k]), "own": slices.Equal(f.own[b], last.own[b]),
			} {
				if !equal {
					t.Errorf("block %d: %s depends on the number of workers", b, name)
				}
			}
		}
	}
}
