package tui

import (
	"context"
	"sync"

	"mergescope/loader"
	"mergescope/merge"
	"mergescope/quant"
)

// engine is what the interface needs of package merge. Its methods may be
// called from commands at the same time; tests put a fake in its place.
type engine interface {
	layers(plan merge.Plan) ([]merge.Layer, []merge.Alert)
	newJob(plan merge.Plan, opt merge.Options) (runner, error)
	examine(ctx context.Context, plan merge.Plan, s span) (*merge.Examination, error)
	explain(ctx context.Context, plan merge.Plan, layer string, row, col int) (*quant.Trace, error)
	audit(ctx context.Context, plan merge.Plan, merged *loader.Checkpoint, progress func(merge.AuditProgress)) (*merge.AuditReport, error)
	generation(plan merge.Plan, opt merge.GenerateOptions) (generator, error)
	newEval(plan merge.Plan, opt merge.EvalOptions) (evaluator, error)
	newLadder(ctx context.Context, plan merge.Plan, opt merge.EvalOptions) (evaluator, error)
	adapters() []*loader.Adapter
	// onto returns an engine that can merge onto the original of that name.
	onto(name string, original *loader.Checkpoint) (engine, error)
	// with returns an engine that knows one more adapter.
	with(*loader.Adapter) engine
}

// runner is a job as the interface sees it.
type runner interface {
	Run(context.Context) (*merge.Report, error)
	Snapshot() merge.Snapshot
	Tile(layer int) *merge.Tile
	Pause()
	Resume()
	SetWorkers(n int)
}

// projectEngine is the real engine. The project it holds never changes, so
// commands that still use an older one are safe.
type projectEngine struct{ p *merge.Project }

func (e projectEngine) layers(plan merge.Plan) ([]merge.Layer, []merge.Alert) {
	return e.p.Layers(plan)
}

func (e projectEngine) newJob(plan merge.Plan, opt merge.Options) (runner, error) {
	j, err := merge.NewJob(e.p, plan, opt)
	if err != nil {
		return nil, err
	}
	return j, nil
}

func (e projectEngine) examine(ctx context.Context, plan merge.Plan, s span) (*merge.Examination, error) {
	return e.p.Examine(ctx, plan, s.layer, s.r0, s.r1, s.rows, s.cols)
}

func (e projectEngine) explain(ctx context.Context, plan merge.Plan, layer string, row, col int) (*quant.Trace, error) {
	return e.p.Explain(ctx, plan, layer, row, col)
}

func (e projectEngine) audit(ctx context.Context, plan merge.Plan, merged *loader.Checkpoint, progress func(merge.AuditProgress)) (*merge.AuditReport, error) {
	return e.p.Audit(ctx, plan, merged, progress)
}

func (e projectEngine) generation(plan merge.Plan, opt merge.GenerateOptions) (generator, error) {
	g, err := merge.NewGeneration(e.p, plan, opt)
	if err != nil {
		return nil, err
	}
	return g, nil
}

func (e projectEngine) newEval(plan merge.Plan, opt merge.EvalOptions) (evaluator, error) {
	v, err := merge.NewEval(e.p, plan, opt)
	if err != nil {
		return nil, err
	}
	return v, nil
}

func (e projectEngine) newLadder(ctx context.Context, plan merge.Plan, opt merge.EvalOptions) (evaluator, error) {
	r, err := merge.NewLadderRun(ctx, e.p, plan, opt)
	if err != nil {
		return nil, err
	}
	return r, nil
}

func (e projectEngine) adapters() []*loader.Adapter { return e.p.Adapters }

func (e projectEngine) with(ad *loader.Adapter) engine {
	return projectEngine{e.p.WithAdapter(ad)}
}

func (e projectEngine) onto(name string, original *loader.Checkpoint) (engine, error) {
	p, err := e.p.WithOriginal(name, original)
	if err != nil {
		return nil, err
	}
	return projectEngine{p}, nil
}

// crew counts the commands that must have ended before Run returns. Bubble Tea
// does not wait for commands, and does not start those it gets while it ends.
type crew struct {
	mu     sync.Mutex
	closed bool
	wg     sync.WaitGroup
}

// join reports whether a command may begin; if so it must call leave.
func (c *crew) join() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.wg.Add(1)
	return true
}

func (c *crew) leave() { c.wg.Done() }

// close lets no more commands begin and waits for the rest.
func (c *crew) close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.wg.Wait()
}
