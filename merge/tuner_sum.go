package merge

import (
	"fmt"

	"mergescope/loader"
	"mergescope/quant"
)

// openVeRA is delta = (lambda_b * B) @ (lambda_d * A) with the first rows of the
// shared B and the first columns of the shared A (peft/tuners/vera/layer.py).
// PVeRA merges the mean, the first half of A and lambda_d (pvera/layer.py).
func openVeRA(t *tunerStep) (update, error) {
	name := map[string]string{"VERA": "vera_", "PVERA": "pvera_"}[t.Module.Tuner]
	out, in := t.outIn()
	rank, width := t.size(name+"B", 1), t.size(name+"A", 1)
	a := make([]float32, 0, rank*in)
	for k := range rank {
		a = append(a, t.value[name+"A"][k*width:k*width+in]...)
	}
	a = scaleRows(a, t.value[name+"lambda_d"], in)
	b := scaleRows(t.value[name+"B"][:out*rank], t.value[name+"lambda_b"], rank)
	l := newLowRank(a, b, rank, in, out, t.Transpose)
	scale := float32(t.Scale)
	return t.newSum(func(d []float32, rows, r0 int) { l.fill(d, rows, r0, scale) }), nil
}

// openRandLoRA is delta = scale * (second @ first), where A [r, 1 or n, min] times
// lambda [r, n] and gamma [n, min], flattened to [r*n, min], is the factor on the
// layer's smaller side and B [max, n, r] the other (randlora/layer.py). The
// unsafe merge of a float layer rounds the delta to the weight's dtype.
func openRandLoRA(t *tunerStep) (update, error) {
	out, in := t.outIn()
	small, large := min(out, in), max(out, in)
	r, n := t.size("randlora_lambda", 0), t.size("randlora_lambda", 1)
	bases, width := t.size("randlora_A", 1), t.size("randlora_A", 2)
	lambda, gamma, shared := t.value["randlora_lambda"], t.value["randlora_gamma"], t.value["randlora_A"]
	a := make([]float32, 0, r*n*small)
	for i := range r {
		for j := range n {
			row := (i*bases + min(j, bases-1)) * width
			for k := range small {
				a = append(a, float32(lambda[i*n+j]*shared[row+k])*gamma[j*small+k])
			}
		}
	}
	stored := t.size("randlora_B", 1) * t.size("randlora_B", 2)
	b := make([]float32, 0, large*r*n)
	for o := range large {
		b = append(b, t.value["randlora_B"][o*stored:o*stored+r*n]...)
	}
	if small != in {
		a, b = transpose(b, large, r*n), transpose(a, r*n, small)
	}
	l := newLowRank(a, b, r*n, in, out, t.Transpose)
	if t.Defect != "" { // the factors in the wrong order, which fits if out = in = r*n
		l = newLowRank(b, a, in, r*n, out, false)
	}
	scale := float32(t.Scale)
	s := t.newSum(func(d []float32, rows, r0 int) { l.fill(d, rows, r0, scale) })
	if t.w.Format.IsFloat() && (t.opt.unsafe || s.minus) {
		s.round = t.w.Format
	}
	return s, nil
}

// openLoHa is delta = ((w1_a @ w1_b) * (w2_a @ w2_b)) * scale (loha/layer.py).
func openLoHa(t *tunerStep) (update, error) {
	rank := t.size("hada_w1_b", 0)
	x := newLowRank(t.value["hada_w1_b"], t.value["hada_w1_a"], rank, t.cols, t.rows, false)
	y := newLowRank(t.value["hada_w2_b"], t.value["hada_w2_a"], rank, t.cols, t.rows, false)
	scale := float32(t.Scale)
	return t.newSum(func(d []float32, rows, r0 int) {
		other := make([]float32, len(d))
		x.fill(d, rows, r0, 1)
		y.fill(other, rows, r0, 1)
		for i, v := range other {
			d[i] = float32(d[i]*v) * scale
		}
	}), nil
}

// openLoKr is delta = kron(w1, w2) * scale, where either factor may be a product
// of two (lokr/layer.py).
func openLoKr(t *tunerStep) (update, error) {
	w1, _, c1 := t.kronecker("lokr_w1")
	w2, r2, c2 := t.kronecker("lokr_w2")
	cols, scale := t.cols, float32(t.Scale)
	return t.newSum(func(d []float32, rows, r0 int) {
		for i := range d {
			o, k := r0+i/cols, i%cols
			d[i] = float32(w1[o/r2*c1+k/c2]*w2[o%r2*c2+k%c2]) * scale
		}
	}), nil
}

// kronecker returns a factor of LoKr, multiplied out, and its shape.
func (t *tunerStep) kronecker(role string) (x []float32, rows, cols int) {
	if x := t.value[role]; x != nil {
		return x, t.size(role, 0), t.size(role, 1)
	}
	a, b := role+"_a", role+"_b"
	rows, cols = t.size(a, 0), t.size(b, 1)
	return multiply(t.value[a], t.value[b], t.size(b, 0), cols), rows, cols
}

// openAdaLoRA is delta = B @ (A*E) * lora_alpha / (init_r + 1e-5)
// (adalora/layer.py). The pruned rank does not enter: loading keeps ranknum. But
// it creates pruned factors anew, in the dtype of the weight, and reads the file
// into them before they become float32 (adalora/model.py,
// resize_modules_by_rank_pattern).
func openAdaLoRA(t *tunerStep) (update, error) {
	rank := t.Module.Rank
	out, in := t.outIn()
	a, b, e := t.value["lora_A"], t.value["lora_B"], t.value["lora_E"]
	if t.pruned() {
		for _, x := range [...][]float32{a, b, e} {
			quant.RoundTo(x, t.w.Format)
		}
	}
	l := newLowRank(scaleRows(a, e, in), b, rank, in, out, t.Transpose)
	scale, by := float32(t.Scale), float32(t.Adapter.Config.R)+1e-5
	return t.newSum(func(d []float32, rows, r0 int) {
		l.fill(d, rows, r0, scale)
		for i, v := range d {
			d[i] = v / by
		}
	}), nil
}

// pruned reports whether rank_pattern names the module of an AdaLoRA adapter.
func (t *tunerStep) pruned() bool {
	patterns, _ := t.Adapter.Config.Raw["rank_pattern"].(map[string]any)
	_, ok := patterns[t.Module.Path+".lora_E"]
	return ok
}

// openSHiRA adds single values at the places shira_indices [2, n] names
// (shira/layer.py).
func openSHiRA(t *tunerStep) (update, error) {
	at, err := readIndices(t.Module.Params["shira_indices"])
	if err != nil {
		return nil, err
	}
	n := len(t.value["shira_weight"])
	return t.scatter("shira_weight", "shira_indices", func(i int) (row, col int) { return at[i], at[n+i] })
}

// openSuperTuning adds single values, rounded to the weight's dtype, at flat
// places of the weight (supertuning/layer.py).
func openSuperTuning(t *tunerStep) (update, error) {
	const role = "supertuning_indices"
	at, err := readIndices(t.Module.Params[role])
	if err != nil {
		return nil, err
	}
	if !t.w.Format.IsFloat() {
		return t.scatterBytes(at)
	}
	quant.RoundTo(t.value["supertuning_values"], t.w.Format)
	return t.scatter("supertuning_values", role, func(i int) (row, col int) {
		if at[i] < 0 {
			return at[i], 0
		}
		return at[i] / t.cols, at[i] % t.cols
	})
}

// scatter adds the values of a parameter at the places that the indices of
// another give.
func (t *tunerStep) scatter(values, indices string, place func(i int) (row, col int)) (update, error) {
	value, scale, cols := t.value[values], float32(t.Scale), t.cols
	byRow := make([][]int, t.rows) // indices into value
	column := make([]int, len(value))
	for i := range value {
		row, col := place(i)
		if row < 0 || row >= t.rows || col < 0 || col >= cols {
			return nil, fmt.Errorf("%s: element %d names weight %d, %d of a layer of %d by %d", t.Module.Params[indices].Name, i, row, col, t.rows, cols)
		}
		byRow[row] = append(byRow[row], i)
		column[i] = col
	}
	return t.newSum(func(d []float32, rows, r0 int) {
		clear(d)
		for r := range rows {
			for _, i := range byRow[r0+r] {
				d[r*cols+column[i]] += value[i] * scale
			}
		}
	}), nil
}

// scatterBytes adds values at flat places to what stores the codes: cut to whole
// numbers to int8 codes and packed bytes, and rounded to packed bytes that are
// stored as floats (bnb_4bit_quant_storage).
func (t *tunerStep) scatterBytes(at []int) (update, error) {
	value := t.value["supertuning_values"]
	storage, size := tensorFormats[t.w.Data.DType], 1
	if storage != quant.Unknown {
		size = int(storage.Bytes(1))
		quant.RoundTo(value, storage)
	}
	n := int(t.w.Format.Bytes(int64(t.rows)*int64(t.cols))) / size
	for i, a := range at {
		if a < 0 || a >= n {
			return nil, fmt.Errorf("%s: element %d names code %d of %d", t.Module.Params["supertuning_indices"].Name, i, a, n)
		}
	}
	asked, err := t.scatter("supertuning_values", "supertuning_indices", func(i int) (row, col int) {
		a := min(at[i], t.rows*t.cols-1)
		return a / t.cols, a % t.cols
	})
	if err != nil {
		return nil, err
	}
	return &overCodes{asked, func(p *quant.Panel, _ int) {
		copy(p.NewCodes, p.Codes)
		first := int(t.w.Format.Bytes(p.First))
		for i, a := range at {
			a = a*size - first
			if a < 0 || a >= len(p.NewCodes) {
				continue
			}
			if storage == quant.Unknown {
				p.NewCodes[a] += toInt8(value[i])
				continue
			}
			var x [1]float32
			quant.DecodeFloats(x[:], p.NewCodes[a:a+size], storage)
			x[0] += value[i]
			quant.EncodeFloats(p.NewCodes[a:a+size], x[:], storage)
		}
	}}, nil
}

// readIndices reads integers that are stored as I32, I64 or, by PEFT on Windows,
// as F32.
func readIndices(t *loader.Tensor) ([]int, error) {
	out := make([]int, t.Numel())
	if _, ok := tensorFormats[t.DType]; ok {
		x, err := readFloats(t)
		for i, v := range x {
			if v != float32(int32(v)) {
				return nil, fmt.Errorf("%s: tensor %s: element %d is %g, want an index", t.File().Name, t.Name, i, v)
			}
			out[i] = int(v)
		}
		return out, err
	}
	raw, err := t.Bytes()
	if err != nil {
		return nil, err
	}
	size := len(raw) / max(len(out), 1)
	for i := range out {
		var v int64
		for b := size - 1; b >= 0; b-- {
			v = v<<8 | int64(raw[i*size+b])
		}
		if size == 4 {
			v = int64(int32(v))
		}
		out[i] = int(v)
	}
	return out, nil
}

// openMiSS adds to weight (o, i) element (i mod r, o) of the block [r, out], whose
// columns repeat where the variant mini has fewer. The variant bat has a block
// [r, r] for every r rows and adds W @ block + block (miss/layer.py).
func openMiSS(t *tunerStep) (update, error) {
	block, cols := t.value["miss_block"], t.cols
	if t.Adapter.Config.Tuner.Init == "bat" {
		r := t.size("miss_block", 2)
		return &rewrite{bad: t.bad, set: func(p *quant.Panel, r0 int) { batMiSS(p, block, r0, r) }}, nil
	}
	r, width := t.size("miss_block", 0), t.size("miss_block", 1)
	return t.newSum(func(d []float32, _, r0 int) {
		for i := range d {
			d[i] = block[i%cols%r*width+(r0+i/cols)%width]
		}
	}), nil
}

func batMiSS(p *quant.Panel, block []float32, r0, r int) {
	for i := range p.T {
		row, col := i/p.Cols, i%p.Cols
		o := r0 + row
		own := block[o/r*r*r : (o/r+1)*r*r]
		w := p.W[i-col%r : i-col%r+r]
		var acc float32
		for k, v := range w {
			if r < narrow {
				acc += float32(v * own[k*r+col%r])
			} else {
				acc = quant.FMA32(v, own[k*r+col%r], acc)
			}
		}
		p.T[i] = p.W[i] + (acc + own[o%r*r+col%r])
	}
}
