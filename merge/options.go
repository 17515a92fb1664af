package merge

import (
	"context"
	"sync/atomic"
	"time"

	"mergescope/loader"
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
	Workers    int                     // 0 means GOMAXPROCS
	Out        string                  // output directory; "" is a dry run
	Part       Part                    // of the output, to write; the zero value is all of it
	Join       int                     // complete the output that so many parts have written; see ErrParts
	Resume     bool                    // only go on with an unfinished run
	Unsafe     bool                    // merge non-finite values as PEFT does without safe_merge
	Tiles      bool                    // keep a heat tile per layer
	Only       func(layer string) bool // layers to run; nil means all (dry runs only)
	Reference  Reference
	LoRADtype  LoRADtype
	Unmerge    Unmerge
	NoiseFloor bool             // compute Metrics.NoiseFloor, at the price of merging each layer twice
	Calibrate  Calibration      // of layers whose method is calibrated
	keep       bool             // keep the results of a calibrated job in memory
	room       *atomic.Int64    // bytes that results of other jobs may take there; nil: none are kept
	Now        func() time.Time // clock for alerts; nil means time.Now

	// Check looks at the output when all weights are in place and config.json is
	// not, and may refuse it: then nothing loads the directory, and the same job
	// goes on from there. The checkpoint is closed afterwards.
	Check func(ctx context.Context, written *loader.Checkpoint) error
}
