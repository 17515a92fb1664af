package merge

import (
	"errors"
	"fmt"
	"slices"

	"mergescope/quant"
)

// observed is what is known of the inputs of some layers.
type observed struct {
	cols    int
	moments func(*quant.Memory) (*quant.Moments, error)
	cross   func(*quant.Feedback) error              // nil: they are the inputs the layers should get
	outputs func(layer int, f *quant.Feedback) error // instead of cross, if not nil

	// What directions need, which is much less; nil: it follows from the moments.
	squares func() []float64                     // E[x^2] by input
	along   func(m []float32) ([]float32, error) // m E[x x^T]
	off     func(m []float32) ([]float32, error) // m E[x (x-y)^T], y the inputs the layers should get
}

// merge merges layers that share an input.
func (c *calibration) merge(group []int, o observed) error {
	j := c.j
	lists := c.alike(group)
	home, work := &c.memory[0], &c.memory[0]
	if len(lists) > 1 || slices.ContainsFunc(group, func(i int) bool { return c.j.layers[i].wholeSight() }) {
		work = &c.memory[1] // the moments are needed afterwards
	}
	var moments *quant.Moments
	var err error
	if o.along == nil || !c.low(group) {
		home.Reserve(o.cols, o.cross != nil && o.outputs == nil && home == work)
		if moments, err = o.moments(home); err != nil {
			return err
		}
		o.squares, o.along = moments.Squares, alongMoments(moments)
	}
	for _, i := range group {
		if j.layers[i].inputs, err = newLayerInputs(&j.layers[i], j.merge, moments, o.along); err != nil {
			return err
		}
	}
	var last *quant.Feedback
	for _, list := range lists {
		if last, err = c.feedback(list, moments, work, &o, last); err != nil {
			return err
		}
		if err := c.pass(list); err != nil {
			return err
		}
	}
	return nil
}

// pass computes layers of which everything is known.
func (c *calibration) pass(list []int) error {
	if len(list) == 0 {
		return nil
	}
	j := c.j
	j.pool.refill(list)
	err := j.pool.run(c.ctx, j.workers)
	for _, i := range list {
		j.layers[i].inputs = nil
		delete(c.left, j.layers[i].Weight.Name)
	}
	return err
}

// alike divides layers that share an input into those that share a metric.
func (c *calibration) alike(group []int) (lists [][]int) {
	type metric struct {
		damping float64
		low     bool
		layer   int // that it is of alone, -1 for any
	}
	at := map[metric]int{}
	lists = [][]int{nil}
	for _, i := range group {
		l := &c.j.layers[i]
		if !l.calibrated() {
			lists[0] = append(lists[0], i)
			continue
		}
		key := metric{l.Method.damping(), l.low(), -1}
		if l.Method.mu() > 0 {
			key.layer = i
		}
		k, ok := at[key]
		if !ok {
			if k = len(at); k == len(lists) {
				lists = append(lists, nil)
			}
			at[key] = k
		}
		lists[k] = append(lists[k], i)
	}
	return lists
}

// feedback gives layers that share a metric what their codes follow from. last is
// a full one of layers with the same input, if there is one, and so is what it
// returns.
func (c *calibration) feedback(list []int, moments *quant.Moments, memory *quant.Memory, o *observed, last *quant.Feedback) (*quant.Feedback, error) {
	var f *quant.Feedback
	for _, i := range list {
		l := &c.j.layers[i]
		if !l.calibrated() {
			continue
		}
		if f == nil {
			var err error
			if l.low() {
				f, err = o.directions(l.Method.damping(), l.inputs.own)
			} else {
				f, err = c.full(i, moments, memory, o, last)
				last = f
			}
			if errors.Is(err, quant.ErrMoments) {
				return nil, fmt.Errorf("%s: %w", l.Weight.Name, err)
			}
			if err != nil {
				return nil, err
			}
		}
		l.inputs.feedback = f
	}
	return last, nil
}

// full is the feedback of a layer in all second moments of its inputs.
func (c *calibration) full(layer int, moments *quant.Moments, memory *quant.Memory, o *observed, last *quant.Feedback) (*quant.Feedback, error) {
	l := &c.j.layers[layer]
	f, err := quant.NewFeedback(moments, memory, l.Method.damping(), l.inputs.own, c.parallel)
	switch {
	case err != nil:
	case o.outputs != nil:
		err = o.outputs(layer, f)
	case last != nil:
		err = f.AnswerAs(last, c.parallel)
	case o.cross != nil:
		err = o.cross(f)
	}
	return f, err
}

// fewOutputs reports whether layers that share an input answer for those before them
// by means of their outputs with the inputs. These take a multiply-add for each
// token and weight; cross moments one for each token and square of columns, and one for each
// row and square of columns. Each layer needs a metric of its own.
func (c *calibration) fewOutputs(group []int, cols, tokens int) bool {
	rows := 0
	for _, list := range c.alike(group) {
		sharing := 0
		for _, i := range list {
			if l := &c.j.layers[i]; l.calibrated() && !l.low() {
				rows += l.Weight.Rows()
				sharing++
			}
		}
		if sharing > 1 {
			return false
		}
	}
	return float64(tokens)*float64(rows) < float64(tokens+rows)*float64(cols)
}

// parallel is a quant.Parallel of the job's workers.
func (c *calibration) parallel(n int, do func(i int)) error {
	return eachOf(c.ctx, c.workers(), n, func(_ *work, i int) error { do(i); return nil })
}
