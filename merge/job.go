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
