package merge

import (
	"cmp"
	"math"
	"slices"

	"mergescope/quant"
)

// openGraLoRA adds a low-rank product to each of k*k blocks, and one to the whole
// weight (peft/tuners/gralora/layer.py). Outputs of block j take elements
// [n*r/k, (n+1)*r/k) of B [k, r, out/k] with elements [j*r/k, (j+1)*r/k) of A [k,
// in/k, r] for inputs of block n, zeros elsewhere.
func openGraLoRA(t *tunerStep) (update, error) {
	k, width, rank := t.size("gralora_A", 0), t.size("gralora_A", 1), t.size("gralora_A", 2)
	high, part := t.rows/k, rank/k // torch's product has high columns
	a, b := t.value["gralora_A"], t.value["gralora_B"]
	block := make([]lowRank, k)
	for j := range block {
		x := make([]float32, rank*t.cols)
		for i := range t.cols {
			n := i / width
			for s := range part {
				x[(n*part+s)*t.cols+i] = a[i*rank+j*part+s]
			}
		}
		y := transpose(b[j*rank*high:(j+1)*rank*high], rank, high)
		block[j] = newLowRank(x, y, rank, t.cols, high, false)
		block[j].unfused = high < narrow
	}
	var general *lowRank
	if x := t.value["gralora_A_general"]; x != nil {
		l := newLowRank(x, t.value["gralora_B_general"], t.size("gralora_A_general", 0), t.cols, t.rows, false)
		general = &l
	}
	scale, cols := float32(t.Scale), t.cols
	return t.newSum(func(d []float32, rows, r0 int) {
		for r := 0; r < rows; {
			j, first := (r0+r)/high, (r0+r)%high
			n := min(high-first, rows-r)
			block[j].fill(d[r*cols:(r+n)*cols], n, first, 1)
			r += n
		}
		if general != nil {
			other := make([]float32, len(d))
			general.fill(other, rows, r0, 1)
			addTo(d, other)
		}
		for i := range d {
			d[i] *= scale
		}
	}), nil
}

// openDeLoRA is delta = B @ diag(lambda / r / (|A_i| |B_i|)) @ A, columns scaled by
// the base's norms at the beginning of training (peft/tuners/delora/layer.py).
func openDeLoRA(t *tunerStep) (update, error) {
	const least = 1e-4 // of the norms
	r := t.size("delora_A", 0)
	a, b := t.value["delora_A"], t.value["delora_B"]
	high := make([]float32, r)
	for o := range t.rows {
		quant.AddSquares(high, b[o*r:(o+1)*r])
	}
	quant.Sqrt(high)
	diag := make([]float32, r)
	for i := range diag {
		wide := quant.RowNorm(a[i*t.cols : (i+1)*t.cols])
		diag[i] = t.value["delora_lambda"][0] / float32(r) / (max(wide, least) * max(high[i], least))
	}
	scaled := make([]float32, len(b))
	for i, v := range b {
		scaled[i] = v * diag[i%r]
	}
	l := newLowRank(a, scaled, r, t.cols, t.rows, false)
	norm, cols, scale := t.value["delora_w_norm"], t.cols, float32(t.Scale)
	s := t.newSum(func(d []float32, rows, r0 int) {
		l.fill(d, rows, r0, 1)
		for i, v := range d {
			d[i] = float32(v*norm[i%cols]) * scale
		}
	})
	s.round = t.w.Format
	return s, nil
}

// openVBLoRA is delta = B @ A, whose pieces are each a mix of the topk vectors
// of a shared bank with the largest logits, weighted by their softmax
// (peft/tuners/vblora/layer.py). The exponentials are rounded from float64;
// torch's vector versions can be an ulp off.
func openVBLoRA(t *tunerStep) (update, error) {
	r := t.size("vblora_logits_A", 0)
	a := t.mix("vblora_logits_A")     // [r, in/length, length]
	parts := t.mix("vblora_logits_B") // [out/length, r, length]
	length := t.size("vblora_vector_bank", 1)
	b := make([]float32, len(parts))
	for i, v := range parts {
		tile, k, e := i/length/r, i/length%r, i%length
		b[(tile*length+e)*r+k] = v
	}
	l := newLowRank(a, b, r, t.cols, t.rows, false)
	scale := float32(t.Scale)
	return t.newSum(func(d []float32, rows, r0 int) { l.fill(d, rows, r0, scale) }), nil
}

// mix replaces the last dimension of logits by vectors of the bank.
func (t *tunerStep) mix(role string) []float32 {
	bank, length := t.value["vblora_vector_bank"], t.size("vblora_vector_bank", 1)
	logits, n := t.value[role], t.size(role, 2)
	top := min(t.Adapter.Config.Tuner.TopK, n)
	out := make([]float32, len(logits)/n*length)
	order := make([]int, n)
	weight := make([]float32, top)
	for i := 0; i < len(logits)/n; i++ {
		row := logits[i*n : (i+1)*n]
		for j := range order {
			order[j] = j
		}
		slices.SortStableFunc(order, func(x, y int) int { return cmp.Compare(row[y], row[x]) })
		var sum float32
		for j := range weight {
			weight[j] = float32(math.Exp(float64(row[order[j]] - row[order[0]])))
			sum += weight[j]
		}
		for j, w := range weight {
			vector := bank[order[j]*length:][:length]
			for e, v := range vector {
				out[i*length+e] += float32(w / sum * v)
			}
		}
	}
	return out
}
