package merge

import (
	"context"
	"time"

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

// Reference is the base that W' is compared with in the figures.
type Reference uint8

// AsMerged compares with the base as PEFT's merge reads it, rounded to the
// quant state's dtype. AsInferred compares with the base as a float32 forward
// pass multiplies with it, not rounded. The merge itself is the same.
const (
	AsMerged Reference = iota
	AsInferred
)

// Options of a job.
type Options struct {
	Workers   int                     // 0 means GOMAXPROCS
	Out       string                  // output directory; "" is a dry run
	Unsafe    bool                    // merge non-finite values as PEFT does without safe_merge
	Tiles     bool                    // keep a heat tile per layer
	Only      func(layer string) bool // layers to run; nil means all (dry runs only)
	Reference Reference
	Now       func() time.Time // clock for alerts; nil means time.Now
}

// Job runs a plan once.
type Job struct{}

// NewJob resolves and validates the plan. It reads no weights. With an output
// directory it checks that the directory is new, empty or a resumable run of
// the same plan and that it is not the input.
func NewJob(p *Project, plan Plan, opt Options) (*Job, error) { return nil, nil }

// Run runs the job to its end and returns the report, which is complete for the
// layers that finished even if err is not nil. It returns ctx.Err() when
// cancelled. All goroutines it starts have ended when it returns. Call it once.
func (j *Job) Run(ctx context.Context) (*Report, error) { return nil, nil }

// Pause holds the workers before their next panel; Resume lets them go on.
// Safe for concurrent use, as are all methods below.
func (j *Job) Pause() {}

// Resume ends a pause.
func (j *Job) Resume() {}

// SetWorkers changes how many workers compute, from 1 to GOMAXPROCS*2.
func (j *Job) SetWorkers(n int) {}

// Snapshot copies what a watcher needs. Its cost does not depend on the speed
// of the workers.
func (j *Job) Snapshot() Snapshot { return Snapshot{} }

// Tile returns the heat tile of a layer as far as it is computed, or nil.
func (j *Job) Tile(layer int) *Tile { return nil }

// Snapshot is a job at one moment. Layers and Alerts must not be changed.
type Snapshot struct {
	State   State
	Dry     bool
	Workers int
	Err     error // why the job failed

	LayersDone, LayersTotal   int
	WeightsDone, WeightsTotal int64 // weights through the kernels
	BytesDone, BytesTotal     int64 // bytes read of the model
	Elapsed                   time.Duration
	Rate                      float64       // weights per second over the last seconds
	ETA                       time.Duration // 0 if unknown

	Layers []LayerState // one per Project layer, indexed by Layer.Index
	Totals Metrics
	Alerts []Alert // newest first
}

// LayerState is one layer in a snapshot.
type LayerState struct {
	State    LayerProgress
	Fraction float64 // 0..1 while running
	Result   *LayerReport
}

// LayerProgress is the life of a layer in a job.
type LayerProgress uint8

// Progress of a layer.
const (
	Untouched LayerProgress = iota // no adapter: copied
	Queued
	Active
	Finished
	Stopped // non-finite values under safe merge, or an error: original bytes kept
)

// Examination is a weight recomputed on demand.
type Examination struct {
	Layer Layer
	Tile  *Tile
	Rows  []quant.Sums // one a weight row of the span
	Sums  quant.Sums   // over the span
}

// Examine recomputes weight rows [r0, r1) of one layer under the plan, exactly
// as a job would, and returns them as a tile of at most rows by cols cells.
// r1 <= 0 means all rows. It allocates in proportion to the span's blocks.
func (p *Project) Examine(ctx context.Context, plan Plan, layer string, r0, r1, rows, cols int) (*Examination, error) {
	return nil, nil
}

// Explain recomputes the block that holds weight (row, col) of a layer under the plan and
// returns every step of it.
func (p *Project) Explain(ctx context.Context, plan Plan, layer string, row, col int) (*quant.Trace, error) {
	return nil, nil
}
