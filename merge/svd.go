package merge

import (
	"math/rand/v2"

	"gonum.org/v1/gonum/mat"

	"mergescope/quant"
)

// cut combines the deltas of the terms and keeps the rank largest singular
// values: B' = U diag(S), A' = V^T. PEFT 0.21 applies each adapter's scale once,
// inside its delta.
func (c Combination) cut(p *pair, terms []term, rng *rand.Rand) error {
	deltas := make([][]float32, len(terms))
	weights := make([]float32, len(terms))
	for i, t := range terms {
		deltas[i] = make([]float32, t.out*t.in)
		quant.Delta(deltas[i], t.b, quant.NewFactor(t.a, t.rank, t.in), t.out, float32(t.scale))
		if t.flip { // the order decides between equal magnitudes
			deltas[i] = transpose(deltas[i], t.out, t.in)
		}
		weights[i] = float32(t.weight)
	}
	sum := c.tasks(deltas, weights, rng)
	if terms[0].flip {
		sum = transpose(sum, p.in, p.out)
	}
	d := mat.NewDense(p.out, p.in, nil)
	for i, v := range sum {
		d.Set(i/p.in, i%p.in, float64(v))
	}
	var svd mat.SVD
	if !svd.Factorize(d, mat.SVDThin) {
		return errDecomposition
	}
	var u, v mat.Dense
	svd.UTo(&u)
	svd.VTo(&v)
	s := svd.Values(nil)
	p.a, p.b = make([]float32, p.rank*p.in), make([]float32, p.out*p.rank)
	for k := range min(p.rank, len(s)) {
		for i := range p.in {
			p.a[k*p.in+i] = float32(v.At(i, k))
		}
		for o := range p.out {
			p.b[o*p.rank+k] = float32(u.At(o, k)) * float32(s[k])
		}
	}
	return nil
}
