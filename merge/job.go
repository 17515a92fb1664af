package merge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"mergescope/loader"
	"mergescope/model"
	"mergescope/quant"
)

// State is the life of a job.
type State uint8

// States of a job.
const (
	Idle State = iota
	Running
	Paused
	Done
	Failed
	Cancelled
)

// maxWorkers bounds Options.Workers.
const maxWorkers = 256

// Job runs a plan once.
type Job struct {
	project  *Project           // with the adapters it had
	model    *loader.Checkpoint // merged into: the original under a plan with Onto
	against  *loader.Checkpoint // then the quantized model, else nil
	used     []*loader.Adapter  // those of the plan, in merge order
	plan     Plan
	opt      Options
	merge    mergeOptions
	layers   []Layer
	extra    []outTensor // written beside the layers
	replaced []newcomer  // of adapters, in place of the model's
	untied   bool
	mine     map[string]bool // tensors of the part; nil: all
	todo     []int           // indices of the layers that are computed, natural order
	out      sink            // nil in a dry run; set by Run before any worker starts
	log      Log
	pool     pool
	spare    spares
	beside   *calibration   // the model that is run beside the job, nil if none is
	keys     map[int]string // of what is to be known, by layer; nil unless the job is calibrated
	observed string         // text of the saved statistics the codes follow from, "" if there are none
	blind    error          // why there are none, though the plan names some
	workers  int            // goroutines
	tile     int            // rows of a tile
	panel    int            // weights of a panel

	weights, bytes           atomic.Int64 // done
	weightsTotal, bytesTotal int64

	mu      sync.Mutex // guards the fields below
	state   State
	err     error
	clock   stopwatch
	status  []LayerState // Fraction is not kept up
	flights map[int]*flight
	tiles   map[int]*Tile
	sums    map[int]quant.Sums // of finished layers
	seen    map[int]onInputs   // the same
	factors NonFinite          // of A and B
	totals  Metrics            // of summed finished layers
	summed  int
	speed   speed
	limit   int
	inputs  []FileDigest
	stage   Stage
	kept    map[string]model.Matrix // under Options.keep or room: results by parameter
}

// NewJob resolves and validates the plan. It reads no weights. With an output
// directory it checks that the directory is new, empty or a resumable run of
// the same plan and that it is not the input.
func NewJob(p *Project, plan Plan, opt Options) (*Job, error) {
	if err := p.Validate(plan); err != nil {
		return nil, err
	}
	if opt.Unmerge != NoUnmerge && plan.Method == (Method{Kind: MethodPeft, Defects: true}).String() {
		return nil, fmt.Errorf("method %s: PEFT's wrong merges are not taken back", plan.Method)
	}
	if opt.Unmerge == RoundTrip && plan.Method != MethodPeft {
		return nil, fmt.Errorf("method %s: only PEFT's own merge can be taken back as PEFT does", plan.Method)
	}
	if opt.Unmerge != NoUnmerge && plan.Onto != "" {
		return nil, errors.New("a merge onto the original is not taken back: the original is there")
	}
	p = p.written(plan)
	if opt.Out != "" && opt.Only != nil {
		return nil, errors.New("only dry runs can leave out layers")
	}
	if err := opt.Part.check(); err != nil {
		return nil, err
	}
	j := &Job{
		project: NewProject(p.Model, slices.Clone(p.Adapters)...), model: p.Model, against: p.against,
		plan: plan, opt: opt, merge: p.arithmetic(plan, opt), panel: panelWeights,
	}
	j.project.known = p.known
	for _, ref := range plan.Adapters {
		j.used = append(j.used, p.Adapter(ref.Name))
	}
	layers, replaced, alerts := p.layers(plan)
	j.layers = layers
	for i := range layers {
		layers[i].remainder = newRemainder(&layers[i])
	}
	if plan.Statistics != "" {
		if s, err := openStatistics(statisticsPath(plan.Statistics)); err == nil {
			j.observed = s.Text
			s.Close()
		} // else it is written, or the run says what is wrong with it
	}
	j.log.Now = opt.Now
	if err := j.replace(p, replaced); err != nil {
		return nil, err
	}
	if opt.Out != "" {
		if err := checkOutput(j.output()); err != nil {
			return nil, err
		}
	}
	if slices.ContainsFunc(layers, func(l Layer) bool { return l.Method.Kind == MethodCalibrated }) {
		if err := calibrationFits(plan, opt); err != nil {
			return nil, err
		}
	}
	if opt.Part.on() {
		var err error
		if j.mine, err = partTensors(j.output()); err != nil {
			return nil, err
		}
	}
	j.log.Add(alerts...)
	j.status = make([]LayerState, len(layers))
	j.flights, j.tiles, j.sums, j.seen = map[int]*flight{}, map[int]*Tile{}, map[int]quant.Sums{}, map[int]onInputs{}
	j.kept = map[string]model.Matrix{}
	j.totals = MetricsOf(quant.Sums{})
	for i := range layers {
		j.enlist(&layers[i])
	}
	j.tile = tileRows(len(j.todo))
	j.limit = min(opt.Workers, maxWorkers)
	if j.limit <= 0 {
		j.limit = runtime.GOMAXPROCS(0)
	}
	j.workers = max(2*runtime.GOMAXPROCS(0), j.limit)
	j.pool.open, j.pool.panel, j.pool.end, j.pool.place = j.open, j.count, j.end, j.place
	j.pool.bytes = func(layer int) int64 { return flightBytes(j.layers[layer].Weight) }
	j.pool.init(j.limit, j.sequence())
	return j, nil
}

// sequence is the order in which layers are computed: the smallest first, so
// that figures appear soon whatever the size of the model, then as they come.
func (j *Job) sequence() []int {
	order := slices.Clone(j.todo)
	if len(order) == 0 {
		return order
	}
	first := slices.MinFunc(order, func(a, b int) int { return cmp.Compare(j.layers[a].Weight.Numel(), j.layers[b].Weight.Numel()) })
	i := slices.Index(order, first)
	copy(order[1:i+1], order[:i])
	order[0] = first
	return order
}

// replace lists what is written beside the weights of the layers: their biases,
// and tensors that adapters replace. What was replaced cannot be taken off.
func (j *Job) replace(p *Project, list []replacement) error {
	if j.opt.Unmerge == Subtract {
		list = j.unreplaced(list)
	}
	j.untied = p.unties(list)
	j.newcomers(list)
	for i := range j.layers {
		if t, ok := j.layers[i].biasTensor(j.merge); ok {
			j.extra = append(j.extra, t)
		}
	}
	for _, r := range list {
		if j.opt.Unmerge == RoundTrip {
			r.tokens = nil // PEFT puts the rows back
		}
		t, err := r.tensor(j.merge)
		if err != nil {
			return err
		}
		j.extra = append(j.extra, t)
	}
	return nil
}

// unreplaced leaves every tensor as the model has it, and says so.
func (j *Job) unreplaced(list []replacement) []replacement {
	var left tally
	for _, r := range list {
		left.add(r.name, tensorPlace(r.whole))
	}
	for i := range j.layers {
		l := &j.layers[i]
		for _, t := range [...]*loader.Tensor{l.base, l.bias} {
			if t != nil {
				left.add(t.Name, tensorPlace(t))
			}
		}
		l.base, l.bias = nil, nil
	}
	j.log.Add(left.alert(Warning, CodeReplaced, "tensors that the adapter replaced cannot be taken off, since what they were is not known: %d, first %s; they stay")...)
	return nil
}

// arithmetic is what of the plan and the options decides bytes and figures.
func (p *Project) arithmetic(plan Plan, opt Options) mergeOptions {
	m := mergeOptions{
		unsafe: opt.Unsafe, reference: opt.Reference, lora: opt.LoRADtype, unmerge: opt.Unmerge,
		compute: computeDtype(p.Model),
	}
	if plan.Profile == ProfileCUDA {
		m.profile = quant.CUDA
	}
	return m
}

// enlist takes a layer on if it is to be computed.
func (j *Job) enlist(l *Layer) {
	i := l.Index
	switch {
	case j.opt.Only != nil && !j.opt.Only(l.Weight.Name):
	case j.mine != nil && !j.mine[l.Weight.Data.Name]:
	case l.Copies():
		if len(l.Steps) > 0 {
			j.status[i].Result = newLayerReport(l, MetricsOf(quant.Sums{}))
		}
	default:
		j.todo = append(j.todo, i)
		j.status[i].State = Queued
		j.weightsTotal += l.Weight.Numel()
		j.bytesTotal += l.Weight.Bytes()
		return
	}
	if j.opt.Out != "" {
		j.bytesTotal += l.Weight.Bytes()
	}
}

// Run runs the job to its end and returns the report, which is complete for the
// layers that finished even if err is not nil. It returns ctx.Err() when
// cancelled. All goroutines it starts have ended when it returns. Call it once.
func (j *Job) Run(ctx context.Context) (*Report, error) {
	j.mu.Lock()
	if j.state != Idle {
		j.mu.Unlock()
		return nil, errors.New("a job runs only once")
	}
	j.state = Running
	j.clock.run(true, time.Now())
	j.mu.Unlock()
	err := j.run(ctx)
	j.log.Add(diskAlert(err)...)
	j.mu.Lock()
	j.clock.run(false, time.Now())
	j.err = err
	switch {
	case err == nil:
		j.state = Done
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		j.state = Cancelled
	default:
		j.state = Failed
	}
	j.abandon()
	j.mu.Unlock()
	return j.report(), err
}

func (j *Job) run(ctx context.Context) (err error) {
	if err := j.checkReplaced(ctx); err != nil {
		return err
	}
	if err := j.prepareStatistics(ctx); err != nil {
		return err
	}
	if j.opt.Out == "" {
		return j.compute(ctx)
	}
	out, err := openOutput(ctx, j.output())
	if err != nil {
		return err
	}
	defer func() {
		if e := out.close(); err == nil {
			err = e
		}
	}()
	j.out = diskSink{out}
	return j.writeTo(ctx)
}

// output says what the job's output directory becomes.
func (j *Job) output() outputSpec {
	return outputSpec{
		dir: j.opt.Out, model: j.model, against: j.against, adapters: j.used, layers: j.layers, extra: j.extra, untied: j.untied,
		plan: j.digest(), quantize: j.plan.Quantize, part: j.opt.Part, join: j.opt.Join, resume: j.opt.Resume,
		progress: func(n int64) { j.bytes.Add(n) },
	}
}

// writeTo computes everything into j.out and completes it.
func (j *Job) writeTo(ctx context.Context) error {
	if j.opt.Part.on() {
		if err := j.fill(ctx); err != nil {
			return err
		}
		return j.out.finish(ctx, nil)
	}
	if err := j.fillAndDigest(ctx); err != nil {
		return err
	}
	if err := j.check(ctx); err != nil {
		return err
	}
	text, err := j.reportText()
	if err != nil {
		return err
	}
	return j.out.finish(ctx, text)
}

// fill writes all tensors.
func (j *Job) fill(ctx context.Context) error {
	if err := j.compute(ctx); err != nil {
		return err
	}
	return j.out.copyRest(ctx)
}

// fillAndDigest does so while the digests of the inputs, which only the report
// needs, are computed beside it.
func (j *Job) fillAndDigest(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		inputs, err := digestInputs(ctx, j.inputFiles(), j.workers)
		if err == nil {
			j.mu.Lock()
			j.inputs = inputs
			j.mu.Unlock()
		}
		return err
	})
	g.Go(func() error { return j.fill(ctx) })
	return g.Wait()
}

// check lets Options.Check look at what is written.
func (j *Job) check(ctx context.Context) error {
	if j.opt.Check == nil {
		return nil
	}
	c, err := j.out.written()
	if err != nil {
		return err
	}
	err = j.opt.Check(ctx, c)
	if e := c.Close(); err == nil {
		err = e
	}
	return err
}

// open begins a layer: reads what it needs besides its codes, or takes over
// what an earlier run left.
func (j *Job) open(ctx context.Context, layer int) (*flight, error) {
	l := &j.layers[layer]
	var sink layerSink
	if j.out != nil {
		sink = j.out.layer(l.Weight.Name)
		if sink.done() {
			if !j.beside.needs(layer) {
				return nil, j.resume(l, sink.note())
			}
			sink = j.beside.again(layer, sink.note())
		}
	}
	if step, why := l.refusal(j.merge); step != nil {
		return nil, j.refuse(ctx, l, step, why, sink)
	}
	s, err := openSubject(l, j.merge)
	if err != nil {
		return nil, err
	}
	j.bytes.Add(l.Weight.Bytes() - l.Weight.Data.Size)
	f := newFlight(s, sink, j.panel, &j.spare)
	if j.beside != nil || j.room(l) {
		f.result.codes = newCoded(s)
	}
	if j.opt.Tiles && !l.packedDefect() {
		f.result.heat = s.newHeat(0, s.rows, j.tile, TileCols)
	}
	j.mu.Lock()
	j.status[layer].State = Active
	j.flights[layer] = f
	j.mu.Unlock()
	return f, nil
}

// room takes memory for the result of a layer, if there is some for it.
func (j *Job) room(l *Layer) bool {
	if j.opt.room == nil || j.keys != nil {
		return false
	}
	n := l.OutBytes()
	if j.opt.room.Add(-n) >= 0 {
		return true
	}
	j.opt.room.Add(n)
	return false
}

// compute computes all layers: in the order in which a model runs over them if
// one of them is calibrated, else in their own.
func (j *Job) compute(ctx context.Context) error {
	if j.calibrated() {
		j.keys = j.knownKeys()
		return j.calibrate(ctx)
	}
	return j.pool.run(ctx, j.workers)
}

// count does one panel and counts it.
func (j *Job) count(w *work, t task) error {
	if err := t.f.compute(w, t.pass, t.panel); err != nil {
		return err
	}
	t.f.done.Add(1)
	if t.pass == 0 {
		j.bytes.Add(int64(len(w.raw)))
	}
	// Each pass counts for its share; the last takes what division leaves over.
	n, passes := int64(w.p.Len()), int64(t.f.sub.passes())
	if share := n / passes; int64(t.pass) < passes-1 {
		n = share
	} else {
		n -= share * (passes - 1)
	}
	j.weights.Add(n)
	return nil
}

// end judges a layer, lets its bytes be committed or dropped, and publishes it.
func (j *Job) end(ctx context.Context, w *work, layer int, f *flight) error {
	v := f.verdict(j.merge)
	if j.beside != nil {
		var err error
		if f, v, err = j.beside.land(ctx, w, layer, f, v); err != nil {
			return err
		}
	}
	if j.beside == nil && f.result.codes != nil && !v.Stopped {
		j.mu.Lock()
		j.kept[f.sub.layer.Weight.Param] = f.result.codes
		j.mu.Unlock()
	}
	if err := j.keepKnown(ctx, w, layer, f, v); err != nil {
		return err
	}
	if j.opt.NoiseFloor {
		noise, err := f.sub.noiseFloor(ctx, w)
		if err != nil {
			return err
		}
		v.Report.NoiseFloor = noise
	}
	if err := f.finish(ctx, v.Stopped, v.encode()); err != nil {
		return err
	}
	var tile *Tile
	if f.result.heat != nil {
		tile = f.result.heat.tile()
	}
	j.publish(layer, v, tile)
	f.release()
	return nil
}

// refuse keeps the bytes of a layer of which a step cannot be merged.
func (j *Job) refuse(ctx context.Context, l *Layer, step *Step, why string, sink layerSink) error {
	v := newVerdict(l, MetricsOf(quant.Sums{}), quant.Sums{})
	v.Stopped = true
	m := step.Module
	alert := newAlert(Error, CodeUnmergeable, l.Weight.Name, step.Adapter.Name+": "+why)
	if trainsBias(step.Adapter, m) {
		alert.Hint = HintFor(CodeLoraBias)
	}
	v.Report.Alerts = append(v.Report.Alerts, alert.at(tensorPlace(cmp.Or(m.BiasB, m.A))))
	if sink != nil {
		sink.revert()
		if err := sink.commit(ctx, v.encode()); err != nil {
			return err
		}
	}
	j.skip(l, v)
	return nil
}

// resume publishes a layer that an earlier run finished.
func (j *Job) resume(l *Layer, note []byte) error {
	v, err := decodeVerdict(note)
	if err != nil {
		return fmt.Errorf("the state of the earlier run: %w", err)
	}
	j.skip(l, v)
	return nil
}

// skip publishes a layer that is not computed.
func (j *Job) skip(l *Layer, v *verdict) {
	j.weights.Add(l.Weight.Numel())
	j.bytes.Add(l.Weight.Bytes())
	j.publish(l.Index, v, nil)
}

func (j *Job) publish(layer int, v *verdict, tile *Tile) {
	j.log.Add(v.Report.Alerts...)
	j.log.Add(v.Rounding...)
	j.mu.Lock()
	defer j.mu.Unlock()
	j.status[layer] = LayerState{State: Finished, Fraction: 1, Result: v.Report}
	if v.Stopped {
		j.status[layer].State = Stopped
	}
	j.sums[layer], j.seen[layer] = v.sums(), v.Seen
	j.factors.A += v.Report.NonFinite.A
	j.factors.B += v.Report.NonFinite.B
	delete(j.flights, layer)
	if tile != nil {
		j.tiles[layer] = tile
	}
}

// abandon marks the layers that were in flight when the job ended early.
// Callers hold mu.
func (j *Job) abandon() {
	for layer, f := range j.flights {
		j.status[layer] = LayerState{State: Stopped, Fraction: f.fraction()}
		delete(j.flights, layer)
	}
}

func (j *Job) place(layer int, err error) error { return layerError(&j.layers[layer], err) }

// Pause holds the workers before their next panel; Resume lets them go on.
// Safe for concurrent use, as are all methods below.
func (j *Job) Pause() { j.setPaused(true, Running, Paused) }

// Resume ends a pause.
func (j *Job) Resume() { j.setPaused(false, Paused, Running) }

func (j *Job) setPaused(on bool, from, to State) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.state == from {
		j.state = to
		j.clock.run(!on, time.Now())
		j.pool.pause(on)
	}
}

// SetWorkers changes how many workers compute, from 1 to GOMAXPROCS*2.
func (j *Job) SetWorkers(n int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.limit = max(1, min(n, j.workers))
	j.pool.setLimit(j.limit)
}
