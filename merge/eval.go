package merge

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"mergescope/loader"
	"mergescope/model"
)

// Names of the variants that every evaluation has.
const (
	VariantBase     = "base"
	VariantSeparate = "separate"
	VariantMerged   = "merged"
	VariantPlan     = "plan"
)

// EvalOptions say what an evaluation runs, and for how long.
type EvalOptions struct {
	Texts   []EvalText
	Window  int // tokens of a sequence; 0 means DefaultWindow, or what the model takes
	Workers int // 0 means GOMAXPROCS

	// MaxTokens and Time are budgets; 0 means none. An evaluation that ends early has
	// run windows from all over the texts, and one at least.
	MaxTokens int
	Time      time.Duration

	// Merged are checkpoints to run as they are. The first is called VariantMerged
	// and held to be what the plan writes: layers of form Separate have their
	// adapters beside them.
	Merged []*loader.Checkpoint
	Plans  []NamedPlan // to run without writing
	Bases  []*Project  // other bases to run the adapters on, kept separate
	Unsafe bool        // plans merge non-finite values

	Calibrate Calibration // of plans

	// Sensitivity is how many tokens are run with one layer merged at a time, by
	// the first of Plans; 0 for none.
	Sensitivity int

	// MaxKL is the mean KL, in nats per token, above which a merged variant raises
	// an error; 0 means none.
	MaxKL float64

	Now func() time.Time // clock for alerts; nil means time.Now
}

// NamedPlan is a plan among others.
type NamedPlan struct {
	Name string
	Plan Plan
}

// DefaultWindow is how many tokens a sequence has unless asked otherwise.
const DefaultWindow = 512

// Eval runs a model over texts in several variants at once: the base, the base
// with the adapters of a plan kept separate, and what is to be held against
// that. Run it once; Snapshot may be called at any time.
type Eval struct {
	p       *Project
	plan    Plan
	opt     EvalOptions
	cfg     *model.Config
	base    model.Weights
	room    *atomic.Int64 // of weights that plans make, to keep in memory; nil: none
	length  int
	windows []window
	order   []int // in which windows are run
	names   []variantName
	log     Log

	mu       sync.Mutex // guards the fields below
	state    State
	err      error
	phase    string
	clock    stopwatch
	dry      *Job               // of the plan being merged
	cheap    map[string]*Report // what dry runs said, by plan
	share    float64
	variants []model.Variant // known once Run has merged the plans
	tokens   [][]model.Token // by variant, in the order of running
	depth    [][]model.Estimate
	run      []int // windows that were run
	report   *EvalReport
}

type variantName struct{ name, what string }

// reference is the index of the variant others are held against.
const reference = 1

// NewEval checks everything that can be checked without reading weights. plan
// says which adapters are kept separate in the reference, and at which scale.
func NewEval(p *Project, plan Plan, opt EvalOptions) (*Eval, error) {
	e, err := newEval(p, plan, opt)
	if err != nil {
		return nil, err
	}
	e.length = opt.Window
	if most := min(DefaultWindow, e.cfg.MaxPositions); e.length <= 0 {
		e.length = most
	}
	if e.length < 2 {
		return nil, fmt.Errorf("a window of %s predicts nothing", count(e.length, "token"))
	}
	if e.windows, err = windowsOf(opt.Texts, e.length); err != nil {
		return nil, err
	}
	e.order = spread(len(e.windows))
	if n := e.budget(); n < len(e.order) {
		e.order = e.order[:n]
	}
	e.look(opt.Texts)
	return e, nil
}

// newEval checks what concerns the variants.
func newEval(p *Project, plan Plan, opt EvalOptions) (*Eval, error) {
	for _, n := range append([]NamedPlan{{Plan: plan}}, opt.Plans...) {
		if err := p.Validate(n.Plan); err != nil {
			return nil, err
		}
	}
	e := &Eval{p: p, plan: plan, opt: opt, base: model.Checkpoint(p.Model), cheap: map[string]*Report{}}
	e.log.Now = opt.Now
	var err error
	if e.cfg, err = runnable(p.Model); err != nil {
		return nil, err
	}
	e.name()
	return e, e.alike()
}

// budget is how many windows MaxTokens allows.
func (e *Eval) budget() int {
	if e.opt.MaxTokens <= 0 {
		return len(e.order)
	}
	left := e.opt.MaxTokens
	for i, w := range e.order {
		if left -= len(e.windows[w].targets); left < 0 {
			return max(i, 1)
		}
	}
	return len(e.order)
}

// look raises alerts about the texts.
func (e *Eval) look(texts []EvalText) {
	for _, x := range texts {
		if x.Unknown > 0 {
			e.log.Add(newAlert(Warning, CodeUnknownTokens, "", fmt.Sprintf("text %s: %s of it not in the vocabulary, first token %d: figures are about another text there",
				x.Name, count(x.Unknown, "token"), x.First)))
		}
	}
	if e.length > e.cfg.MaxPositions {
		e.log.Add(newAlert(Warning, CodeLongWindow, "", fmt.Sprintf("windows of %d tokens are longer than the %d positions of config.json", e.length, e.cfg.MaxPositions)))
	}
}

// name lists the variants.
func (e *Eval) name() {
	e.names = []variantName{{VariantBase, "the model without adapters"}, {VariantSeparate, "the adapters kept separate"}}
	for i, m := range e.opt.Merged {
		name := m.Name
		if i == 0 {
			name = VariantMerged
		}
		e.names = append(e.names, variantName{name, "the checkpoint " + m.Name})
	}
	for _, n := range e.opt.Plans {
		e.names = append(e.names, variantName{n.Name, "the plan's merge, worked out and not written"})
	}
	for _, b := range e.opt.Bases {
		e.names = append(e.names, variantName{"on " + b.Model.Name, "the adapters kept separate on " + b.Model.Name})
	}
}

// alike checks that other checkpoints are of the same architecture and sizes.
func (e *Eval) alike() error {
	list := slices.Clone(e.opt.Merged)
	for _, b := range e.opt.Bases {
		list = append(list, b.Model)
	}
	for _, c := range list {
		if c.Config.Raw == nil {
			continue // weights alone: sizes are checked when they are read
		}
		cfg, err := runnable(c)
		if err != nil {
			return err
		}
		if cfg.Architecture != e.cfg.Architecture || cfg.Vocab != e.cfg.Vocab || len(cfg.Layers) != len(e.cfg.Layers) {
			return fmt.Errorf("%s is a %s of %d layers with %d tokens, %s a %s of %d layers with %d tokens: they cannot be compared", c.Name,
				cfg.Architecture, len(cfg.Layers), cfg.Vocab, e.p.Model.Name, e.cfg.Architecture, len(e.cfg.Layers), e.cfg.Vocab)
		}
	}
	return nil
}

// Run runs the evaluation to its end and returns the report. Ended by ctx it returns
// what it has, nil if that is nothing, and ctx.Err(). All goroutines it starts
// have ended when it returns.
func (e *Eval) Run(ctx context.Context) (*EvalReport, error) {
	e.mu.Lock()
	if e.state != Idle {
		e.mu.Unlock()
		return nil, errors.New("an evaluation runs only once")
	}
	e.state = Running
	e.clock.run(true, time.Now())
	e.mu.Unlock()
	err := e.work(ctx)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.clock.run(false, time.Now())
	e.state, e.err = stateAfter(ctx, err), err
	return e.report, err
}

func (e *Eval) work(ctx context.Context) error {
	if err := e.prepare(ctx); err != nil {
		return err
	}
	for at := 0; at < len(e.order); {
		n := e.next(at)
		if n == 0 {
			break
		}
		if err := e.pass(ctx, e.order[at:at+n]); err != nil {
			return err
		}
		at += n
		e.publish()
	}
	if err := e.findBroken(ctx); err != nil {
		return err
	}
	e.judge()
	return e.sensitivity(ctx)
}

// prepare merges the plans without writing and opens the variants.
func (e *Eval) prepare(ctx context.Context) error {
	separate, lora, err := e.p.separate(e.base, e.plan)
	if err != nil {
		return err
	}
	list := []model.Variant{{Weights: e.base}, {Weights: separate, LoRA: lora}}
	if len(separate.layers)+len(separate.tensors) == 0 {
		list[reference].Weights = e.base // one read serves both
	}
	for i, m := range e.opt.Merged {
		v := model.Variant{Weights: model.Checkpoint(m)}
		if i == 0 {
			if v.LoRA, err = e.p.residualLoRA(e.plan); err != nil {
				return err
			}
		}
		beside, err := openRemainders(m)
		if err != nil {
			return err
		}
		if v.LoRA == nil {
			v.LoRA = beside
		}
		maps.Copy(v.LoRA, beside)
		list = append(list, v)
	}
	for _, n := range e.opt.Plans {
		w, err := e.merged(ctx, n)
		if err != nil {
			return err
		}
		lora, err := e.p.residualLoRA(n.Plan)
		if err != nil {
			return err
		}
		maps.Copy(lora, w.beside)
		list = append(list, model.Variant{Weights: w, LoRA: lora})
	}
	for _, b := range e.opt.Bases {
		w, lora, err := b.separate(model.Checkpoint(b.Model), e.plan)
		if err != nil {
			return fmt.Errorf("on %s: %w", b.Model.Name, err)
		}
		list = append(list, model.Variant{Weights: w, LoRA: lora})
	}
	e.untie(list)
	for i := range list {
		list[i].Name = e.names[i].name
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.variants = list
	e.tokens, e.depth = make([][]model.Token, len(list)), make([][]model.Estimate, len(list))
	return nil
}

// merged runs a plan without writing, to know which layers a merge stops, and
// returns the weights it makes.
func (e *Eval) merged(ctx context.Context, n NamedPlan) (*planWeights, error) {
	opt := Options{Workers: e.opt.Workers, Unsafe: e.opt.Unsafe, Now: e.opt.Now, Calibrate: e.opt.Calibrate, keep: true, room: e.room}
	job, err := NewJob(e.p, n.Plan, opt)
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	e.dry, e.phase = job, "merging "+n.Name
	e.mu.Unlock()
	defer func() {
		e.mu.Lock()
		e.dry, e.phase = nil, ""
		e.mu.Unlock()
	}()
	report, err := job.Run(ctx)
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	e.cheap[n.Name] = report
	e.mu.Unlock()
	s := job.Snapshot()
	stopped := map[string]bool{}
	for i, l := range s.Layers {
		if l.State == Stopped {
			stopped[job.layers[i].Weight.Name] = true
		}
	}
	for _, a := range s.Alerts {
		if a.Level == Error {
			e.log.Add(a)
		}
	}
	w, err := newPlanWeights(e.p, e.base, n.Plan, opt, stopped)
	if err == nil {
		w.ready, w.beside = job.kept, remaindersOf(job.layers)
	}
	return w, err
}

// untie gives every variant an output embedding of its own if one has it.
func (e *Eval) untie(list []model.Variant) {
	if !e.cfg.Tied {
		return
	}
	own := slices.ContainsFunc(e.opt.Merged, func(c *loader.Checkpoint) bool { return c.Config.Raw != nil && !c.Config.TieEmbeddings })
	for _, v := range list {
		if w, ok := v.Weights.(*planWeights); ok {
			_, has := w.tensors[outputEmbedding]
			own = own || has
		}
	}
	if !own {
		return
	}
	c := *e.cfg
	c.Tied = false
	e.cfg = &c
	for i := range list {
		list[i].Weights = tiedHead{list[i].Weights}
	}
}

// Limits of one pass over the weights.
const (
	passBytes = 1 << 30 // of activations
	passCount = 8       // passes that an evaluation has at least, to show how it goes
)
