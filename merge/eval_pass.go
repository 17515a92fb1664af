package merge

import (
	"context"
	"time"

	"mergescope/model"
)

// next is how many windows the next pass takes, 0 if the time is up.
func (e *Eval) next(at int) int {
	n := passBytes / max(1, e.windowBytes()*len(e.variants))
	n = between(n, 1, max(1, (len(e.order)+passCount-1)/passCount))
	if e.opt.Time <= 0 {
		return min(n, len(e.order)-at)
	}
	if at == 0 {
		return 1
	}
	e.mu.Lock()
	took := e.clock.elapsed(time.Now())
	e.mu.Unlock()
	left := int(float64(e.opt.Time-took) / (float64(took) / float64(at)))
	return min(max(left, 0), n, len(e.order)-at)
}

// windowBytes is what the activations of one window and variant take.
func (e *Eval) windowBytes() int {
	c := e.cfg
	wide := max(2*c.Intermediate, (c.Heads+2*c.KVHeads)*c.HeadDim)
	return 4 * e.length * (2*c.Hidden + wide + max(c.Intermediate, c.Hidden, c.Heads*c.HeadDim))
}

func between(v, low, high int) int { return min(max(v, low), high) }

// pass runs some windows through all variants.
func (e *Eval) pass(ctx context.Context, list []int) error {
	var inputs [][]int32
	var targets []int32
	for _, i := range list {
		inputs = append(inputs, e.windows[i].input)
		targets = append(targets, e.windows[i].targets...)
	}
	variants := e.variantsDuring(ctx)
	scores := model.NewScores(targets, len(variants), reference)
	depth := model.NewDepth(len(e.cfg.Layers), len(variants), len(targets), reference)
	sink := model.Sink{Logits: scores.Logits, Hidden: depth.Hidden, Layer: func(done, layers int) {
		e.through(depth, done-1, float64(done)/float64(layers), len(list))
	}}
	if err := model.Forward(ctx, e.cfg, variants, inputs, sink, model.Options{Workers: e.opt.Workers}); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for v := range variants {
		e.tokens[v] = append(e.tokens[v], scores.Tokens(v)...)
	}
	e.run = append(e.run, list...)
	e.share = 0
	return nil
}

// variantsDuring returns the variants for one pass.
func (e *Eval) variantsDuring(ctx context.Context) []model.Variant {
	list := append([]model.Variant(nil), e.variants...)
	during := func(w model.Weights) model.Weights {
		if p, ok := w.(*planWeights); ok {
			return p.during(ctx)
		}
		return w
	}
	for i := range list {
		if h, ok := list[i].Weights.(tiedHead); ok {
			list[i].Weights = tiedHead{during(h.Weights)}
			continue
		}
		list[i].Weights = during(list[i].Weights)
	}
	return list
}

// through takes up the hidden states after a block of the pass at hand.
func (e *Eval) through(d *model.Depth, layer int, share float64, windows int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for v := range e.depth {
		if layer >= len(e.depth[v]) {
			e.depth[v] = append(e.depth[v], model.Estimate{})
		}
		diff, norm := d.Squares(layer, v)
		s := &e.depth[v][layer] // sums of squares of difference and reference
		s.Value, s.Err = s.Value+diff, s.Err+norm
	}
	e.share = share * float64(windows)
}
