package merge

import (
	"context"
	"errors"
	"slices"

	"mergescope/model"
	"mergescope/quant"
)

// prepareStatistics makes sure that the statistics a plan names are there, and
// those of this run, before anything else is done. Where the model cannot be run
// over a text it remembers why.
func (j *Job) prepareStatistics(ctx context.Context) error {
	if j.plan.Statistics == "" || !j.calibrated() {
		return nil
	}
	defer j.setStage(Stage{})
	c := &calibration{j: j, ctx: ctx}
	s, err := c.statistics()
	switch {
	case err == nil:
		j.observed = s.Text
		return s.Close()
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, errStatistics):
		return err
	}
	j.blind = err
	return nil
}

// statistics opens those of the plan, and gathers them if there is no such file.
func (c *calibration) statistics() (*statistics, error) {
	j := c.j
	if j.blind != nil {
		return nil, j.blind
	}
	name := statisticsPath(j.plan.Statistics)
	s, err := openStatistics(name)
	if notThere(err) {
		if err := c.gather(name); err != nil {
			return nil, err
		}
		s, err = openStatistics(name)
	}
	if err != nil {
		if !errors.Is(err, errStatistics) {
			err = statisticsError(name, "%w", err)
		}
		return nil, err
	}
	want, _, err := c.identify(len(j.opt.Calibrate.Texts) > 0)
	if err == nil {
		err = s.check(want)
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// identify says of what the statistics of the run are, and over which sequences, if
// they are asked for.
func (c *calibration) identify(text bool) (of identity, sequences [][]int32, err error) {
	j := c.j
	if of.Model, err = modelDigest(j.model); err != nil {
		return of, nil, err
	}
	if of.Adapters, err = adaptersDigest(c.ctx, j.used, c.observable()); err != nil || !text {
		return of, nil, err
	}
	reference, err := c.reference()
	if err == nil {
		sequences, err = c.sequences(reference)
	}
	of.Text, of.Tokens = textDigest(sequences)
	return of, sequences, err
}

// observable are the layers as adapters are on them, whatever becomes of them.
func (c *calibration) observable() []Layer {
	plan := c.j.plan
	plan.Onto, plan.Quantize = "", ""
	layers, _, _ := c.j.project.layers(plan.SetOutputAll(Same))
	return layers
}

// gather runs the model with its adapters separate and writes the statistics of
// all layers that have one.
func (c *calibration) gather(name string) error {
	of, sequences, err := c.identify(true)
	if err != nil {
		return err
	}
	inputs := map[string]int{} // in_features by module
	for _, l := range c.observable() {
		if l.Merges() && len(l.Weight.Shape) == 2 {
			inputs[l.Weight.Name] = l.Weight.Cols()
		}
	}
	var groups [][]string
	var cols []int
	for _, g := range c.config.SharedInputs() {
		g = slices.DeleteFunc(g, func(m string) bool { return inputs[m] == 0 })
		if len(g) > 0 {
			groups, cols = append(groups, g), append(cols, inputs[g[0]])
		}
	}
	w, err := newStatisticsWriter(name, of, groups, cols)
	if err != nil {
		return statisticsError(name, "%w", err)
	}
	reference, err := c.reference()
	if err == nil {
		err = c.watch(reference, sequences, groups, w)
	}
	if err != nil {
		w.drop()
		return err
	}
	if err := w.finish(); err != nil {
		return statisticsError(name, "%w", err)
	}
	return nil
}

// watch runs the model until all groups are written.
func (c *calibration) watch(reference model.Variant, sequences [][]int32, groups [][]string, w *statisticsWriter) error {
	const stage = "observing the layers"
	blocks, left := len(c.config.Layers), len(groups)
	c.j.setStage(Stage{stage, 0, blocks, "block"})
	sink := model.Sink{
		Layer: func(done, _ int) { c.j.setStage(Stage{stage, done, blocks, "block"}) },
		Inputs: func(modules []string, in model.Inputs) error {
			at := slices.IndexFunc(groups, func(g []string) bool { return slices.Contains(modules, g[0]) })
			if at < 0 {
				return nil
			}
			m, err := in.Moments(c.ctx, 0, c.workers(), true, &c.memory[0])
			if err != nil {
				return err
			}
			if err := w.put(groups[at][0], m); err != nil {
				return err
			}
			if left--; left == 0 {
				return errSeen
			}
			return nil
		},
		Logits: func(int, int, [][]float32) {},
	}
	err := model.Forward(c.ctx, c.config, []model.Variant{reference}, sequences, sink, model.Options{Workers: c.workers()})
	if errors.Is(err, errSeen) {
		return nil
	}
	if err == nil {
		err = errors.New("the model did not run over all of its layers")
	}
	return err
}

// fromStatistics merges the layers for inputs that an earlier run observed. Each
// gets the inputs it should get, so they do not depend on each other.
func (c *calibration) fromStatistics() error {
	s, err := c.statistics()
	if err != nil {
		return err
	}
	defer s.Close()
	c.j.beside = c
	byTensor := map[string][]int{}
	var order []string
	var done []int
	for _, i := range c.j.todo {
		l := &c.j.layers[i]
		t, err := s.tensor(l.Weight.Name, l.Weight.Cols())
		switch {
		case c.j.out != nil && !c.needs(i) && c.j.out.layer(l.Weight.Name).done():
			done = append(done, i)
			continue
		case err == nil && l.Merges():
		case l.calibrated():
			return err
		default: // figures of what its inputs see are all that it would get
			continue
		}
		if byTensor[t.Name] == nil {
			order = append(order, t.Name)
		}
		byTensor[t.Name] = append(byTensor[t.Name], i)
	}
	if err := c.pass(done); err != nil {
		return err
	}
	var dead error
	for done, name := range order {
		c.j.setStage(Stage{"choosing codes", done, len(order), "input"})
		group := byTensor[name]
		cols := c.j.layers[group[0]].Weight.Cols()
		err := c.merge(group, observed{cols: cols, moments: func(memory *quant.Memory) (*quant.Moments, error) {
			m := quant.NewMoments(memory, cols, model.Product, model.PairProduct)
			return m, s.moments(s.file.Tensor(name), cols, m)
		}})
		switch {
		case errors.Is(err, quant.ErrMoments):
			dead = err // of these layers alone
		case err != nil:
			return err
		}
	}
	return dead
}
