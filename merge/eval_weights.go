package merge

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"mergescope/loader"
	"mergescope/model"
	"mergescope/quant"
)

// planWeights are the weights that a plan makes of a model. Nothing is written:
// rows of merged weights are worked out when they are asked for, by the code of
// a merge. It is safe for concurrent use.
type planWeights struct {
	ctx     context.Context // of the pass that reads
	base    model.Weights
	layers  map[string]*Layer // that are merged or dequantized, by parameter
	tensors map[string]outTensor
	opt     mergeOptions
	exact   bool                    // in float32, requantized to nothing
	ready   map[string]model.Matrix // merged already, by parameter
	beside  model.LoRA              // what the codes of calibrated layers leave

	mu   sync.Mutex
	last *mergedMatrix // opened last
}

// newPlanWeights resolves a plan. Layers that the merge stopped, by name, keep
// the base's weights.
func newPlanWeights(p *Project, base model.Weights, plan Plan, opt Options, stopped map[string]bool) (*planWeights, error) {
	if q := p.written(plan); q != p {
		p, base = q, model.Checkpoint(q.Model)
	}
	layers, replaced, _ := p.layers(plan)
	w := &planWeights{base: base, layers: map[string]*Layer{}, tensors: map[string]outTensor{}, opt: p.arithmetic(plan, opt)}
	for i := range layers {
		if l := &layers[i]; !l.Copies() && !stopped[l.Weight.Name] {
			w.layers[l.Weight.Param] = l
		}
	}
	return w, w.replace(replaced)
}

// residualLoRA are the adapters that a plan keeps beside its output, on layers
// of form Separate. One that cannot be added to a layer's output is an error.
func (p *Project) residualLoRA(plan Plan) (model.LoRA, error) {
	layers, _ := p.Layers(plan)
	lora := model.LoRA{}
	for i := range layers {
		l := &layers[i]
		if l.Output != Separate || len(l.Steps) == 0 {
			continue
		}
		if !separable(l) {
			return nil, layerError(l, errors.New("its adapter is kept separate, and is of a kind that cannot be run so"))
		}
		pairs, err := openPairs(l)
		if err != nil {
			return nil, layerError(l, err)
		}
		lora[l.Weight.Name] = pairs
	}
	return lora, nil
}

// replace takes up the tensors that adapters bring whole.
func (w *planWeights) replace(list []replacement) error {
	for i := range list {
		t, err := list[i].tensor(w.opt)
		if err != nil {
			return err
		}
		w.tensors[t.name] = t
	}
	return nil
}

// during returns the same weights for a pass that ends with ctx.
func (w *planWeights) during(ctx context.Context) *planWeights {
	return &planWeights{ctx: ctx, base: w.base, layers: w.layers, tensors: w.tensors, opt: w.opt, exact: w.exact, ready: w.ready}
}

// Matrix opens a weight as the plan makes it.
func (w *planWeights) Matrix(param string) (model.Matrix, error) {
	if m := w.ready[param]; m != nil {
		return m, nil
	}
	if l := w.layers[param]; l != nil {
		return w.merged(l)
	}
	if t, ok := w.tensors[param]; ok {
		if len(t.shape) != 2 {
			return nil, fmt.Errorf("tensor %s has shape %v, want a matrix", param, t.shape)
		}
		return &replacedMatrix{t.content(), tensorFormats[t.dtype], int(t.shape[0]), int(t.shape[1])}, nil
	}
	return w.base.Matrix(param)
}

// merged computes scales once for whoever opens the weight in a row.
func (w *planWeights) merged(l *Layer) (model.Matrix, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.last != nil && w.last.s.layer.Weight == l.Weight {
		return w.last, nil
	}
	if step, why := l.refusal(w.opt); step != nil {
		return nil, layerError(l, errors.New(why))
	}
	s, err := openSubject(l, w.opt)
	if err == nil {
		if w.exact {
			s.spec.Dtype, s.dtypes[0] = quant.F32, quant.F32
		}
		err = s.settleAll(w.ctx)
	}
	if err != nil {
		return nil, layerError(l, err)
	}
	w.last = &mergedMatrix{s: s}
	return w.last, nil
}

// Vector reads a norm's weight or a bias as the plan makes it.
func (w *planWeights) Vector(param string) ([]float32, error) {
	for _, l := range w.layers {
		if b := l.Weight.Bias; b != nil && b.Name == param {
			return w.bias(l, param)
		}
	}
	if t, ok := w.tensors[param]; ok {
		v := make([]float32, t.size/max(1, t.dtype.Bits()/8))
		return v, decodeInto(v, t.content(), tensorFormats[t.dtype], 0)
	}
	return w.base.Vector(param)
}

func (w *planWeights) bias(l *Layer, param string) ([]float32, error) {
	raw, err := newBias(l, w.opt)
	if err != nil {
		return nil, layerError(l, err)
	}
	if raw == nil {
		return w.base.Vector(param)
	}
	t, _ := l.biasTensor(w.opt)
	v := make([]float32, t.from.Numel())
	quant.DecodeFloats(v, raw, tensorFormats[t.dtype])
	return v, nil
}

// mergedMatrix is a weight after a merge, as inference multiplies with it.
type mergedMatrix struct {
	s    *subject
	pool sync.Pool // *work
}

func (m *mergedMatrix) Size() (rows, cols int) { return m.s.rows, m.s.cols }

func (m *mergedMatrix) Rows(dst []float32, first int) error {
	s := m.s
	if end := first + len(dst)/s.cols; first < 0 || end > s.rows || len(dst)%s.cols != 0 {
		return fmt.Errorf("weight %s: rows %d to %d are outside of %d", s.layer.Weight.Param, first, end, s.rows)
	}
	w, _ := m.pool.Get().(*work)
	if w == nil {
		w = new(work)
	}
	defer m.pool.Put(w)
	for len(dst) > 0 {
		r0 := first / s.unit * s.unit
		need := (first - r0 + len(dst)/s.cols + s.unit - 1) / s.unit * s.unit
		n := min(need, s.panelRows(panelWeights), s.rows-r0)
		if err := s.read(w, r0, n); err != nil {
			return err
		}
		values := s.merged(w, r0)
		done := copy(dst, values[(first-r0)*s.cols:])
		dst, first = dst[done:], first+done/s.cols
	}
	return nil
}

// merged merges the panel and reads the result back in float32, not rounded to
// the dtype of a quant state. It is valid until the work is used again.
func (s *subject) merged(w *work, r0 int) []float32 {
	s.apply(w, r0, len(s.updates)-1)
	return s.values(w, s.stored(&w.p, r0, s.scalePasses()-1))
}

// content is where the bytes of a tensor that no weight owns come from.
func (t *outTensor) content() content {
	if t.through != nil {
		return t.through
	}
	return t.from
}

// replacedMatrix is a matrix of plain floats.
type replacedMatrix struct {
	from       content
	format     quant.Format
	rows, cols int
}

func (m *replacedMatrix) Size() (rows, cols int) { return m.rows, m.cols }

func (m *replacedMatrix) Rows(dst []float32, first int) error {
	return decodeInto(dst, m.from, m.format, int64(first)*int64(m.cols))
}

// decodeInto reads elements from first on.
func decodeInto(dst []float32, from content, f quant.Format, first int64) error {
	raw := make([]byte, f.Bytes(int64(len(dst))))
	if err := from.ReadFull(raw, f.Bytes(first)); err != nil {
		return err
	}
	quant.DecodeFloats(dst, raw, f)
	return nil
}

// tiedHead gives the embedding where a checkpoint has no output embedding of its
// own but is run beside one that has.
type tiedHead struct{ model.Weights }

func (t tiedHead) Matrix(param string) (model.Matrix, error) {
	m, err := t.Weights.Matrix(param)
	if err != nil && param == outputEmbedding {
		return t.Weights.Matrix(embeddingParam)
	}
	return m, err
}

// embeddingParam is what package model calls the embedding.
const embeddingParam = "model.embed_tokens.weight"

// separate is a model with the adapters of a plan beside it: what a merge is
// held against. Output forms of the plan play no part, only which adapter is on
// which layer at which scale, and on the model itself.
func (p *Project) separate(base model.Weights, plan Plan) (*planWeights, model.LoRA, error) {
	plan.Onto, plan.Quantize = "", ""
	layers, replaced, _ := p.layers(plan.SetOutputAll(Same))
	opt := p.arithmetic(plan, Options{Unsafe: true})
	w := &planWeights{base: base, layers: map[string]*Layer{}, tensors: map[string]outTensor{}, opt: opt, exact: true}
	lora := model.LoRA{}
	for i := range layers {
		l := &layers[i]
		if !l.Merges() {
			continue
		}
		if separable(l) {
			pairs, err := openPairs(l)
			if err != nil {
				return nil, nil, layerError(l, err)
			}
			if len(pairs) > 0 {
				lora[l.Weight.Name] = pairs
			}
			continue
		}
		// PEFT's forward of these tuners is that of the summed weight.
		l.Output = AsF32
		l.Method = Method{Kind: MethodSum}
		if len(l.Steps) == 1 {
			l.Method.Kind = MethodPeft
		}
		w.layers[l.Weight.Param] = l
	}
	return w, lora, w.replace(replaced)
}

// separable reports whether a layer's adapters can be added to its outputs.
func separable(l *Layer) bool {
	if l.base != nil || l.bias != nil {
		return false
	}
	for _, s := range l.Steps {
		m := s.Module
		if m.Tuner != "" || m.Magnitude != nil || m.Embedding || m.Parameter != "" || s.Transpose || s.Share != nil {
			return false
		}
	}
	return true
}

// openPairs reads the factors of a layer's adapters at the plan's scales. An
// adapter without tensors for the layer adds nothing.
func openPairs(l *Layer) ([]model.Pair, error) {
	var pairs []model.Pair
	for i := range l.Steps {
		s := &l.Steps[i]
		if s.Module.A == nil {
			continue
		}
		pair, err := model.OpenPair(s.Module)
		if err != nil {
			return nil, err
		}
		pair.Scale = float32(s.Scale)
		if !trainsBias(s.Adapter, s.Module) {
			pair.Bias = nil
		}
		pairs = append(pairs, pair)
	}
	return pairs, nil
}

// runnable returns what package model needs of a checkpoint to run it.
func runnable(c *loader.Checkpoint) (*model.Config, error) {
	cfg, err := model.ParseConfig(c.Config.Raw)
	if err != nil {
		return nil, fmt.Errorf("%s cannot be run: %w", c.Name, err)
	}
	return cfg, nil
}
