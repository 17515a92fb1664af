package merge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"sync"

	"mergescope/model"
	"mergescope/quant"
)

// Variants of the model that runs beside a job.
const (
	variantOriginal = iota
	variantMerged
)

// calibrationFits refuses what a calibrated layer cannot be part of: its codes
// depend on the layers before it.
func calibrationFits(plan Plan, opt Options) error {
	switch {
	case opt.Part.on() && plan.Statistics == "":
		return errors.New("method calibrated: layers depend on those before them, so parts cannot be merged by themselves, but from saved statistics (--statistics)")
	case opt.Unmerge != NoUnmerge:
		return errors.New("method calibrated: it cannot take adapters off")
	}
	return nil
}

// calibrated reports whether a layer is to be.
func (j *Job) calibrated() bool {
	for _, i := range j.todo {
		if l := &j.layers[i]; l.calibrated() {
			return true
		}
	}
	return false
}

// calibration is a model that runs beside a job, in two variants: with the
// adapters kept separate, and with what is merged so far. Before each group of
// layers that share an input it stops, the layers are merged for the inputs they
// will get, and it goes on with the result. So a layer makes up for what the
// ones before it did.
type calibration struct {
	j      *Job
	ctx    context.Context
	config *model.Config
	alone  model.Variant  // the base without adapters
	merged *mergedSoFar   // nil if no model runs beside the job
	lora   model.LoRA     // of the merged variant; changes only while the model waits
	left   map[string]int // layers to compute, by module
	memory [2]quant.Memory

	mu      sync.Mutex
	resumed map[int]json.RawMessage // verdicts of layers that an earlier run finished
}

// errSeen ends a forward pass of which nothing more is needed.
var errSeen = errors.New("all layers are seen")

// calibrate computes all layers in the order in which the model runs over them.
func (j *Job) calibrate(ctx context.Context) error {
	defer j.setStage(Stage{})
	c := &calibration{j: j, ctx: ctx, left: map[string]int{}, resumed: map[int]json.RawMessage{}}
	for _, i := range j.todo {
		c.left[j.layers[i].Weight.Name] = i
	}
	run := c.run
	if j.plan.Statistics != "" {
		run = c.fromStatistics
	}
	err := run()
	j.beside = nil
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, errStatistics):
		return err
	case errors.Is(err, errSeen):
		err = nil
	case err != nil && !errors.Is(err, quant.ErrMoments) && len(c.left) < len(j.todo):
		return err
	}
	c.giveUp(err)
	var rest []int
	for _, i := range j.todo {
		if _, ok := c.left[j.layers[i].Weight.Name]; ok {
			rest = append(rest, i)
		}
	}
	j.pool.refill(rest)
	return j.pool.run(ctx, j.workers)
}

// giveUp merges what is left as PEFT does, and says why.
func (c *calibration) giveUp(why error) {
	var left tally
	for _, i := range c.j.todo {
		l := &c.j.layers[i]
		if _, ok := c.left[l.Weight.Name]; ok && l.Method.Kind == MethodCalibrated {
			if l.calibrated() {
				left.add(l.Weight.Name, tensorPlace(l.Weight.Data))
			}
			l.Method = Method{Kind: MethodPeft}
		}
	}
	reason := "the model does not run over them"
	if why != nil {
		reason = why.Error()
	}
	c.j.log.Add(left.alert(Warning, CodeCalibration, "layers whose inputs are not known are merged as PEFT does: %d, first %s; "+reason)...)
}

// reference is the model with the adapters kept separate. It sets alone.
func (c *calibration) reference() (model.Variant, error) {
	cfg, err := runnable(c.j.model)
	if err != nil {
		return model.Variant{}, err
	}
	c.config = cfg
	original, lora, err := c.j.project.separate(model.Checkpoint(c.j.model), c.j.plan)
	if err != nil {
		return model.Variant{}, err
	}
	v := model.Variant{Weights: original.during(c.ctx), LoRA: lora}
	c.alone = model.Variant{Weights: v.Weights} // read together
	if len(original.layers)+len(original.tensors) > 0 {
		c.alone.Weights = model.Checkpoint(c.j.model)
	}
	return v, nil
}

// run runs the model until no layer that could be calibrated is left.
func (c *calibration) run() error {
	j := c.j
	reference, err := c.reference()
	if err != nil {
		return err
	}
	c.lora = maps.Clone(reference.LoRA)
	for name := range c.left {
		delete(c.lora, name)
	}
	c.merged = &mergedSoFar{Weights: reference.Weights, ready: map[string]model.Matrix{}}
	sequences, err := c.sequences(reference)
	if err != nil {
		return err
	}
	j.beside = c
	blocks := len(c.config.Layers)
	j.setStage(Stage{Name: "running the model", Total: blocks, Unit: "block"})
	sink := model.Sink{
		Inputs: c.observe,
		Layer:  func(done, _ int) { j.setStage(Stage{"running the model", done, blocks, "block"}) },
		Logits: func(int, int, [][]float32) {},
	}
	variants := []model.Variant{variantOriginal: reference, variantMerged: {Weights: c.merged, LoRA: c.lora}}
	return model.Forward(c.ctx, c.config, variants, sequences, sink, model.Options{Workers: c.workers()})
}

// workers is how many goroutines compute beside the pool's.
func (c *calibration) workers() int {
	c.j.mu.Lock()
	defer c.j.mu.Unlock()
	return c.j.limit
}

// observe merges the layers that are about to be multiplied with an input.
func (c *calibration) observe(modules []string, in model.Inputs) error {
	var group []int
	number := map[int]int{} // of a layer among those handed out
	for k, m := range modules {
		if i, ok := c.left[m]; ok {
			group = append(group, i)
			number[i] = k
		}
	}
	if len(group) == 0 {
		return nil
	}
	c.merged.clear()
	workers := c.workers()
	outputs := in.HasOutputs() && c.fewOutputs(group, in.Features(), in.Tokens())
	o := observed{
		cols: in.Features(),
		moments: func(m *quant.Memory) (*quant.Moments, error) {
			return in.Moments(c.ctx, variantMerged, workers, outputs, m)
		},
		cross: func(f *quant.Feedback) error {
			panels := f.Cross()
			if err := in.Cross(c.ctx, variantMerged, variantOriginal, workers, f.Order(), panels); err != nil {
				return err
			}
			return f.Answer(panels, c.parallel)
		},
		squares: func() []float64 { return in.Squares(variantMerged) },
		along: func(m []float32) ([]float32, error) {
			return in.Along(c.ctx, m, variantMerged, -1, workers)
		},
		off: func(m []float32) ([]float32, error) {
			return in.Along(c.ctx, m, variantMerged, variantOriginal, workers)
		},
	}
	if outputs {
		o.outputs = func(layer int, f *quant.Feedback) error {
			l := &c.j.layers[layer]
			means := f.Outputs(l.Weight.Rows())
			if err := in.Outputs(c.ctx, number[layer], variantOriginal, variantMerged, workers, f.Order(), means); err != nil {
				return err
			}
			return f.AnswerOutputs(means, l.Method.damping(), l.inputs.own, c.parallel)
		}
	}
	if err := c.merge(group, o); err != nil {
		return err
	}
	for _, i := range c.left {
		if l := &c.j.layers[i]; l.calibrated() {
			return nil
		}
	}
	return errSeen
}

// needs reports whether a layer that an earlier run finished is computed once more:
// for the model that goes on with it, or for its remainder, which is not written yet.
func (c *calibration) needs(layer int) bool {
	return c != nil && (c.merged != nil || c.j.layers[layer].remainder != nil)
}

// again notes that an earlier run finished a layer. What is computed once more is
// written nowhere.
func (c *calibration) again(layer int, note json.RawMessage) layerSink {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.resumed[layer] = note
	return nil
}

// land takes up a computed layer. One that is further from what it should be
// than PEFT's is replaced by that.
func (c *calibration) land(ctx context.Context, w *work, layer int, f *flight, v *verdict) (*flight, *verdict, error) {
	l := f.sub.layer
	// Of nearest codes that are plainly worse the loss is known in part, so this
	// may yet show PEFT's to be no better.
	if loss := f.result.loss; f.sub.choice != nil && !v.Stopped && !(loss[0] <= loss[1]) {
		peft, err := c.nearest(ctx, w, f, nil)
		if err != nil {
			return nil, nil, err
		}
		exact, err := f.lossOf(w, peft.result.codes)
		if err != nil {
			return nil, nil, err
		}
		if !(loss[0] <= exact) {
			if f.sink != nil {
				f.sink.revert()
				if peft, err = c.nearest(ctx, w, f, c.j.out.layer(l.Weight.Name)); err != nil {
					return nil, nil, err
				}
			}
			f, v = peft, peft.verdict(c.j.merge)
			v.Report.Alerts = append(v.Report.Alerts, newAlert(Info, CodeCalibration, l.Weight.Name, fmt.Sprintf(
				"PEFT's codes serve the layer's inputs better than those chosen for them (loss %.4g, %.4g): they are kept", exact, loss[0])))
		}
	}
	var values model.Matrix = f.result.codes
	if v.Stopped {
		var err error
		if values, err = model.Checkpoint(c.j.model).Matrix(l.Weight.Param); err != nil {
			return nil, nil, err
		}
	}
	if c.merged != nil {
		c.merged.add(l.Weight.Param, values)
	}
	if err := c.carry(w, layer, f, v); err != nil {
		return nil, nil, err
	}
	c.mu.Lock()
	note := c.resumed[layer]
	if c.j.opt.keep {
		c.j.kept[l.Weight.Param] = values
	}
	c.mu.Unlock()
	if note == nil {
		return f, v, nil
	}
	v, err := decodeVerdict(note)
	if err != nil {
		err = fmt.Errorf("the state of the earlier run: %w", err)
	}
	return f, v, err
}

// carry puts a layer's remainder beside it, for the layers after it to see.
func (c *calibration) carry(w *work, layer int, f *flight, v *verdict) (err error) {
	l := &c.j.layers[layer]
	if l.remainder == nil || v.Stopped || l.inputs == nil || l.inputs.feedback == nil {
		return nil
	}
	if v.Report.Residual, err = l.remainder.take(w, f, l.inputs.feedback); err != nil {
		return layerError(l, err)
	}
	if c.lora != nil {
		c.mu.Lock()
		c.lora[l.Weight.Name] = []model.Pair{l.remainder.pair}
		c.mu.Unlock()
	}
	return nil
}

// nearest computes a layer as PEFT does, into sink.
func (c *calibration) nearest(ctx context.Context, w *work, chosen *flight, sink layerSink) (*flight, error) {
	l := *chosen.sub.layer
	l.Method = Method{Kind: MethodPeft}
	s, err := openSubject(&l, c.j.merge)
	if err != nil {
		return nil, err
	}
	f := newFlight(s, sink, c.j.panel, nil)
	f.result.codes = newCoded(s)
	if c.j.opt.Tiles {
		f.result.heat = s.newHeat(0, s.rows, c.j.tile, TileCols)
	}
	return f, f.alone(ctx, w)
}

func (j *Job) setStage(s Stage) {
	j.mu.Lock()
	j.stage = s
	j.mu.Unlock()
}

// mergedSoFar gives merged weights where there are some, else those of a model
// with its adapters.
type mergedSoFar struct {
	model.Weights
	mu    sync.Mutex
	ready map[string]model.Matrix // by parameter
}

func (m *mergedSoFar) add(param string, values model.Matrix) {
	m.mu.Lock()
	m.ready[param] = values
	m.mu.Unlock()
}

// clear forgets weights that the model has been multiplied with.
func (m *mergedSoFar) clear() {
	m.mu.Lock()
	clear(m.ready)
	m.mu.Unlock()
}

// Matrix returns a weight as it is now.
func (m *mergedSoFar) Matrix(param string) (model.Matrix, error) {
	m.mu.Lock()
	w := m.ready[param]
	m.mu.Unlock()
	if w != nil {
		return w, nil
	}
	return m.Weights.Matrix(param)
}
