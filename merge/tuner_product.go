package merge

import (
	"math"

	"mergescope/quant"
)

// hira multiplies: W' = W * (1 + B@A) (peft/tuners/hira). The three kinds of
// layers round differently.
type hira struct {
	delta lowRank
	scale float32
	form  quant.Format
	minus bool
	bad   factorFaults
}

func openHiRA(t *tunerStep) (update, error) {
	m := t.Module
	rank, in, out := int(m.A.Shape[0]), int(m.A.Shape[1]), int(m.B.Shape[0])
	prefix := "hira_"
	if m.Embedding {
		prefix += "embedding_"
	}
	return &hira{
		delta: newLowRank(t.value[prefix+"A"], t.value[prefix+"B"], rank, in, out, t.Transpose),
		scale: float32(t.Scale), form: t.w.Format, minus: t.opt.unmerge == Subtract, bad: t.bad,
	}, nil
}

func (h *hira) faults() factorFaults { return h.bad }

func (h *hira) dtype(base quant.Format) quant.Format {
	if h.form.IsFloat() {
		return base
	}
	return promote(base, quant.F32)
}

func (h *hira) add(p *quant.Panel, r0 int) {
	p.D, p.T = resize(p.D, p.Len()), resize(p.T, p.Len())
	h.delta.fill(p.D, p.Rows, r0, h.scale)
	if h.form.IsFloat() {
		quant.RoundTo(p.D, p.Spec.Dtype)
	}
	for i, d := range p.D {
		w := p.W[i]
		switch {
		case h.minus:
			p.T[i] = w / (1 + d)
			p.D[i] = p.T[i] - w
			continue
		case h.form.Is4Bit():
			p.T[i] = w * (1 + d)
		}
		p.D[i] = w * d
	}
	if !h.minus && !h.form.Is4Bit() {
		if h.form.IsFloat() {
			quant.RoundTo(p.D, p.Spec.Dtype)
		}
		p.Add()
	}
	quant.RoundTo(p.T, h.dtype(p.Spec.Dtype))
}

// openIA3 multiplies rows, or for feedforward layers columns, by a vector
// (ia3/layer.py).
func openIA3(t *tunerStep) (update, error) {
	l := t.value["ia3_l"]
	byColumn := t.size("ia3_l", 0) == 1
	if t.Transpose {
		byColumn = !byColumn
	}
	return &rewrite{bad: t.bad, set: func(p *quant.Panel, r0 int) {
		for i, w := range p.W {
			if byColumn {
				p.T[i] = w * l[i%p.Cols]
			} else {
				p.T[i] = w * l[r0+i/p.Cols]
			}
		}
	}}, nil
}

// rotation is a block-diagonal matrix over the inputs: W' = (R @ W^T)^T.
type rotation struct {
	blocks []float32 // [n, size, size]; n is 1 if all are the same
	size   int
	chain  int // terms of one FMA chain of torch's product over all inputs
}

func (r *rotation) set(p *quant.Panel) {
	n := len(r.blocks) / (r.size * r.size)
	for i := range p.T {
		col := i % p.Cols
		b, first := col/r.size%n, col-col%r.size
		row := r.blocks[(b*r.size+col%r.size)*r.size:][:r.size]
		w := p.W[i-col%r.size:][:r.size]
		var total, acc float32
		for k, v := range w {
			if k > 0 && (first+k)%r.chain == 0 {
				total, acc = total+acc, 0
			}
			acc = quant.FMA32(row[k], v, acc)
		}
		p.T[i] = total + acc
	}
}

// openOFT rotates the inputs by blocks that follow from skew-symmetric matrices
// (oft/layer.py, OFTRotationModule).
func openOFT(t *tunerStep) (update, error) {
	c := t.Adapter.Config.Tuner
	n := t.size("oft_R", 0)
	elements := t.size("oft_R", 1)
	size := oftBlock(elements)
	r := &rotation{size: size, chain: quant.ChainLength(t.cols), blocks: make([]float32, 0, n*size*size)}
	for i := range n {
		q := skew(t.value["oft_R"][i*elements:(i+1)*elements], size)
		if c.Cayley {
			r.blocks = append(r.blocks, neumann(q, size, c.CayleyTerms)...)
		} else {
			r.blocks = append(r.blocks, cayley(q, size)...)
		}
	}
	return &rewrite{bad: t.bad, set: func(p *quant.Panel, _ int) { r.set(p) }}, nil
}

// oftBlock is the block size b with b*(b-1)/2 elements above the diagonal, 0 if
// there is none.
func oftBlock(elements int) int {
	b := int(math.Round((1 + math.Sqrt(1+8*float64(elements))) / 2))
	if b*(b-1)/2 != elements {
		return 0
	}
	return b
}

// skew returns the skew-symmetric matrix with the given elements above its
// diagonal, row by row.
func skew(upper []float32, size int) []float32 {
	q := make([]float32, size*size)
	at := 0
	for i := range size {
		for j := i + 1; j < size; j++ {
			q[i*size+j], q[j*size+i] = upper[at], -upper[at]
			at++
		}
	}
	return q
}

// neumann is I + 2(Q + Q^2 + ...) + Q^terms, the Cayley transform's series cut
// off (OFTRotationModule._cayley_batch).
func neumann(q []float32, size, terms int) []float32 {
	r := make([]float32, len(q))
	for i := range size {
		r[i*size+i] = 1
	}
	add := func(x []float32, times float32) {
		for i, v := range x {
			r[i] += times * v
		}
	}
	if terms > 1 {
		add(q, 2)
	}
	if terms > 2 {
		power := multiply(q, q, size, size)
		add(power, 2)
		for range terms - 4 {
			power = multiply(power, q, size, size)
			add(power, 2)
		}
		add(multiply(power, q, size, size), 1)
	}
	return r
}

// cayley is (I-S) @ inverse(I+S), solved in float64 and rounded once. torch
// solves it in float32 by LAPACK, whose last bits differ between libraries.
func cayley(s []float32, n int) []float32 {
	// X(I+S) = I-S transposed: (I-S) X^T = I+S, since S^T = -S.
	m := make([][]float64, n)
	for i := range m {
		m[i] = make([]float64, 2*n)
		for j := range n {
			v := float64(s[i*n+j])
			m[i][j], m[i][n+j] = -v, v
		}
		m[i][i]++
		m[i][n+i]++
	}
	for c := range n {
		best := c
		for i := c + 1; i < n; i++ {
			if math.Abs(m[i][c]) > math.Abs(m[best][c]) {
				best = i
			}
		}
		m[c], m[best] = m[best], m[c]
		for i := range n {
			if i == c || m[i][c] == 0 {
				continue
			}
			f := m[i][c] / m[c][c]
			for j := c; j < 2*n; j++ {
				m[i][j] -= f * m[c][j]
			}
		}
	}
	out := make([]float32, n*n)
	for i := range n {
		for j := range n {
			out[j*n+i] = float32(m[i][n+j] / m[i][i])
		}
	}
	return out
}

// openBOFT rotates the inputs and scales the outputs: W' = (Q @ W^T)^T * s, with
// one level of butterflies, all that PEFT has without its CUDA extension
// (boft/layer.py).
func openBOFT(t *tunerStep) (update, error) {
	n, size := t.size("boft_R", 1), t.size("boft_R", 2)
	r := &rotation{size: size, chain: quant.ChainLength(t.cols), blocks: make([]float32, 0, n*size*size)}
	half := make([]float32, size*size)
	for b := range n {
		x := t.value["boft_R"][b*size*size : (b+1)*size*size]
		for i := range half {
			half[i] = 0.5 * (x[i] - x[i%size*size+i/size])
		}
		r.blocks = append(r.blocks, cayley(half, size)...)
	}
	s := t.value["boft_s"]
	return &rewrite{bad: t.bad, set: func(p *quant.Panel, r0 int) {
		r.set(p)
		for i := range p.T {
			p.T[i] *= s[r0+i/p.Cols]
		}
	}}, nil
}
