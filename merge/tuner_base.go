package merge

import (
	"gonum.org/v1/gonum/mat"

	"mergescope/quant"
)

// gatherer is an update that needs sums over all rows of the base before it can
// change any of them.
type gatherer interface {
	gather(p *quant.Panel, r0 int) // takes the dequantized rows from r0 on; called in order
	gathered()                     // follows the last row
}

// columnSums is x^T @ W with x [rows, rank], summed as torch's matrix product
// sums, while rows of W come by.
type columnSums struct {
	x          []float32
	rank       int
	unfused    bool      // see narrow
	chain      int       // see quant.ChainLength
	total, acc []float32 // [rank, cols]: the finished chains and the one at hand
}

func newColumnSums(x []float32, rank, rows, cols int) *columnSums {
	return &columnSums{
		x: x, rank: rank, chain: quant.ChainLength(rows), total: make([]float32, rank*cols), acc: make([]float32, rank*cols),
	}
}

// add takes rows of W from r0 on.
func (c *columnSums) add(w []float32, cols, r0 int) {
	for i := 0; i < len(w); i += cols {
		o := r0 + i/cols
		if o > 0 && o%c.chain == 0 && !c.unfused {
			c.flush()
		}
		for k := range c.rank {
			acc, x := c.acc[k*cols:(k+1)*cols], c.x[o*c.rank+k]
			for j, v := range w[i : i+cols] {
				if c.unfused {
					acc[j] += float32(x * v)
					continue
				}
				acc[j] = quant.FMA32(x, v, acc[j])
			}
		}
	}
}

func (c *columnSums) flush() {
	addTo(c.total, c.acc)
	clear(c.acc)
}

// projected is a delta B @ f(x^T @ W), which depends on the whole base. PEFT
// computes it in float32 and rounds it to the weight's dtype. Under
// reproduced defects the same is done over int8 codes.
type projected struct {
	*sum
	b             []float32 // [rows, rank]
	shape         func(m []float32)
	scale         float32
	weights       *columnSums
	codes         *columnSums // nil over floats
	delta, broken *quant.Factor
	row           []float32
}

func (t *tunerStep) newProjected(x, b []float32, rank int, unfused bool, shape func([]float32), scale float32) update {
	sums := func() *columnSums {
		c := newColumnSums(x, rank, t.rows, t.cols)
		c.unfused = unfused
		return c
	}
	u := &projected{b: b, shape: shape, scale: scale, weights: sums()}
	u.sum = t.newSum(func(d []float32, rows, r0 int) { quant.Delta(d, b[r0*rank:(r0+rows)*rank], u.delta, rows, scale) })
	if t.w.Format.IsFloat() {
		u.round = t.w.Format
		return u
	}
	u.codes = sums()
	return &overCodes{u, func(p *quant.Panel, r0 int) { u.addCodes(p, r0) }}
}

func (u *projected) gather(p *quant.Panel, r0 int) {
	u.weights.add(p.W, p.Cols, r0)
	if u.codes != nil {
		u.row = codeValues(u.row, p.Codes)
		u.codes.add(u.row, p.Cols, r0)
	}
}

func (u *projected) gathered() {
	factor := func(c *columnSums) *quant.Factor {
		c.flush()
		u.shape(c.total)
		return quant.NewFactor(c.total, c.rank, len(c.total)/c.rank)
	}
	u.delta = factor(u.weights)
	if u.codes != nil {
		u.broken = factor(u.codes)
	}
}

// addCodes adds to int8 codes what PEFT adds: the delta over codes, cut to
// int8.
func (u *projected) addCodes(p *quant.Panel, r0 int) {
	d := make([]float32, p.Len())
	rank := u.broken.Rank
	quant.Delta(d, u.b[r0*rank:(r0+p.Rows)*rank], u.broken, p.Rows, u.scale)
	for i, v := range d {
		p.NewCodes[i] = p.Codes[i] + toInt8(v)
	}
}

// openDEFT is delta = P @ (R*scaling - right^T @ W), where right is relu(P), or P
// made orthogonal, which then takes P's place (peft/tuners/deft/layer.py).
func openDEFT(t *tunerStep) (update, error) {
	p, rank := t.value["deft_P"], t.size("deft_P", 1)
	right := make([]float32, len(p))
	if t.Adapter.Config.Tuner.Decompose == "qr" {
		p = orthogonal(p, t.rows, rank)
		copy(right, p)
	} else {
		for i, v := range p {
			right[i] = max(v, 0)
		}
	}
	inject, scale := t.value["deft_R"], float32(t.Module.Scale)
	return t.newProjected(right, p, rank, false, func(m []float32) {
		for i, v := range m {
			m[i] = -v
			if inject != nil {
				m[i] = float32(inject[i]*scale) - v
			}
		}
	}, 1), nil
}

// orthogonal is the Q of x [rows, cols] = QR, by Householder reflections as
// LAPACK's, in float64.
func orthogonal(x []float32, rows, cols int) []float32 {
	d := mat.NewDense(rows, cols, nil)
	for i, v := range x {
		d.Set(i/cols, i%cols, float64(v))
	}
	var qr mat.QR
	qr.Factorize(d)
	var q mat.Dense
	qr.QTo(&q)
	out := make([]float32, len(x))
	for i := range out {
		out[i] = float32(q.At(i/cols, i%cols))
	}
	return out
}

// openPEANuT is delta = B @ relu(A @ W) * scaling (peft/tuners/peanut/layer.py).
func openPEANuT(t *tunerStep) (update, error) {
	rank := t.size("peanut_A", 0)
	a := transpose(t.value["peanut_A"], rank, t.rows)
	return t.newProjected(a, t.value["peanut_B"], rank, rank < narrow, func(m []float32) {
		for i, v := range m {
			m[i] = max(v, 0)
		}
	}, float32(t.Scale)), nil
}

// openHRA reflects the inputs: W' = W @ H, H the product of the reflections I -
// 2uu^T by the normalized columns of hra_u, or I - 2UU^T if apply_GS makes them
// orthogonal first (peft/tuners/hra/layer.py).
func openHRA(t *tunerStep) (update, error) {
	n, r := t.cols, t.size("hra_u", 1)
	var h []float32
	if u := transpose(t.value["hra_u"], n, r); t.Adapter.Config.Tuner.GramSchmidt {
		h = orthogonalReflections(u, n, r)
	} else {
		h = reflections(u, n, r)
	}
	f := quant.NewFactor(h, n, n)
	x := &rewrite{bad: t.bad, set: func(p *quant.Panel, _ int) { quant.Delta(p.T, p.W, f, p.Rows, 1) }}
	if t.w.Format.IsFloat() {
		return x, nil
	}
	return &overCodes{x, func(p *quant.Panel, _ int) {
		y := make([]float32, p.Len())
		quant.Delta(y, codeValues(nil, p.Codes), f, p.Rows, 1)
		for i, v := range y {
			p.NewCodes[i] = toInt8(v)
		}
	}}, nil
}

// reflections is the product of I - 2uu^T over rows u [r, n], normalized.
func reflections(u []float32, n, r int) []float32 {
	h := make([]float32, n*n)
	for i := range n {
		h[i*n+i] = 1
	}
	twice, unit := make([]float32, n*n), make([]float32, n)
	for k := range r {
		norm := make([]float32, 1)
		for i := range n {
			quant.AddSquares(norm, u[k*n+i:k*n+i+1])
		}
		quant.Sqrt(norm)
		for i := range unit {
			unit[i] = u[k*n+i] / norm[0]
		}
		for i, v := range h {
			twice[i] = 2 * v
		}
		along := multiply(twice, unit, n, 1)
		for i, v := range along {
			for j, x := range unit {
				h[i*n+j] -= float32(v * x)
			}
		}
	}
	return h
}

// orthogonalReflections is I - 2UU^T with the rows of u [r, n] made orthonormal
// one after the other.
func orthogonalReflections(u []float32, n, r int) []float32 {
	unit := make([]float32, r*n)
	for k := range r {
		x := unit[k*n : (k+1)*n]
		copy(x, u[k*n:])
		for j := range k {
			y := unit[j*n : (j+1)*n]
			along := multiply(y, x, n, 1)[0]
			for i, v := range y {
				x[i] -= float32(along * v)
			}
		}
		norm := quant.RowNorm(x)
		for i := range x {
			x[i] /= norm
		}
	}
	twice := transpose(unit, r, n)
	for i := range twice {
		twice[i] *= 2
	}
	h := multiply(twice, unit, r, n)
	for i, v := range h {
		h[i] = -v
	}
	for i := range n {
		h[i*n+i]++
	}
	return h
}
