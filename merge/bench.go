package merge

import (
	"context"
	"errors"
	"math"
	"os"
	"runtime"
	"slices"
	"time"

	"mergescope/quant"
)

const (
	// benchWeights bounds how much of a model Bench merges in a round, and so
	// what it writes to the temporary directory.
	benchWeights = 256 << 20

	// On a busy machine the best of many rounds comes near to what a quiet one does.
	benchRounds = 50
	benchTime   = time.Second // no further round begins after so long
)

// BenchReport is how fast this machine merges.
type BenchReport struct {
	Version int         `json:"version"`
	Kernels string      `json:"kernels"`
	Cores   int         `json:"cores"` // GOMAXPROCS
	Peaks   []BenchPeak `json:"peaks"` // one for each number of workers
	Runs    []BenchRun  `json:"runs"`
}

// BenchPeak is what the machine can do at most, measured in the same run.
type BenchPeak struct {
	Workers int     `json:"workers"`
	Copy    float64 `json:"copy_bytes_per_second"` // memory to memory; a byte copied counts once
	FMA     float64 `json:"fma_flops_per_second"`  // the delta at rank 64 within the first-level cache; an FMA counts twice
}

// BenchRun is the best round of some layers of one format.
type BenchRun struct {
	Name      string       `json:"name"`
	Format    string       `json:"format"` // for example "nf4-dq", dq for double quantization
	Layers    int          `json:"layers"`
	Weights   int64        `json:"weights"`
	Workers   int          `json:"workers"`
	Rounds    int          `json:"rounds"`
	Seconds   float64      `json:"seconds"` // by the clock, reading and writing included
	WeightsPS float64      `json:"weights_per_second"`
	BytesPS   float64      `json:"bytes_per_second"` // read and written
	Share     Figure       `json:"share_of_roofline"`
	Stages    []BenchStage `json:"stages"`
}

// BenchStage is one stage of a run. Seconds are summed over the workers, rates
// are those of all workers together. The share compares with the copy rate for
// bytes and with the FMA rate for kernels; collecting has no roofline.
type BenchStage struct {
	Stage     string  `json:"stage"`
	Seconds   float64 `json:"seconds"`
	WeightsPS float64 `json:"weights_per_second"`
	Bytes     int64   `json:"bytes"`
	BytesPS   float64 `json:"bytes_per_second"`
	Share     Figure  `json:"share_of_roofline"`
}

// Bench measures the layers of a plan, or synthetic layers if p is nil: 4096 by
// 4096 at rank 16, NF4, NF4 with double quantization, int8 and bfloat16. Each is
// merged by one worker and by all, read, measured and written to a temporary
// directory as a job does, but for digests and syncing. Of a large model it
// takes the first layers only.
func Bench(ctx context.Context, p *Project, plan Plan) (*BenchReport, error) {
	var cases []benchCase
	if p == nil {
		cases = syntheticCases(4096, 16)
	} else {
		var err error
		if cases, err = modelCases(p, plan); err != nil {
			return nil, err
		}
	}
	return runBench(ctx, cases)
}

func runBench(ctx context.Context, cases []benchCase) (*BenchReport, error) {
	r := &BenchReport{Version: 1, Kernels: Kernels(), Cores: runtime.GOMAXPROCS(0)}
	for _, workers := range slices.Compact([]int{1, r.Cores}) {
		peak := measurePeak(workers)
		r.Peaks = append(r.Peaks, peak)
		for _, c := range cases {
			run, err := c.run(ctx, peak)
			if err != nil {
				return nil, err
			}
			r.Runs = append(r.Runs, run)
		}
	}
	return r, nil
}

// benchCase is some layers of one format.
type benchCase struct {
	name, format string
	layers       int
	weights      int64
	open         func(i int) (*subject, error)
}

// modelCases groups the first layers that a plan merges by format.
func modelCases(p *Project, plan Plan) ([]benchCase, error) {
	if err := p.Validate(plan); err != nil {
		return nil, err
	}
	opt := p.arithmetic(plan, Options{})
	all, _ := p.Layers(plan)
	groups := map[string][]*Layer{}
	var names []string
	var left int64 = benchWeights
	for i := range all {
		l := &all[i]
		if step, _ := l.refusal(opt); l.Copies() || step != nil || left <= 0 {
			continue
		}
		left -= l.Weight.Numel()
		name := benchFormat(l.Weight.Spec())
		if groups[name] == nil {
			names = append(names, name)
		}
		groups[name] = append(groups[name], l)
	}
	if len(names) == 0 {
		return nil, errors.New("the plan merges no layer")
	}
	var cases []benchCase
	for _, name := range names {
		list := groups[name]
		c := benchCase{name: p.Model.Name, format: name, layers: len(list)}
		for _, l := range list {
			c.weights += l.Weight.Numel()
		}
		c.open = func(i int) (*subject, error) {
			s, err := openSubject(list[i], opt)
			if err != nil {
				return nil, layerError(list[i], err)
			}
			return s, nil
		}
		cases = append(cases, c)
	}
	return cases, nil
}

// benchFormat names a format and whether its scales are nested.
func benchFormat(s quant.Spec) string {
	if s.Nested {
		return s.Format.String() + "-dq"
	}
	return s.Format.String()
}

// run merges the case for some rounds and keeps the fastest.
func (c *benchCase) run(ctx context.Context, peak BenchPeak) (BenchRun, error) {
	best := BenchRun{Seconds: math.Inf(1)}
	rounds := 0
	for start := time.Now(); rounds < benchRounds && (rounds == 0 || time.Since(start) < benchTime); rounds++ {
		run, err := c.round(ctx, peak)
		if err != nil {
			return best, err
		}
		if run.Seconds < best.Seconds {
			best = run
		}
	}
	best.Rounds = rounds
	return best, nil
}

// round merges the case once.
func (c *benchCase) round(ctx context.Context, peak BenchPeak) (BenchRun, error) {
	dir, err := os.MkdirTemp("", "mergescope-bench-")
	if err != nil {
		return BenchRun{}, err
	}
	defer os.RemoveAll(dir)
	r := benchRound{benchCase: c, dir: dir}
	r.pool.open, r.pool.panel, r.pool.end = r.begin, r.panel, r.end
	r.pool.place = func(_ int, err error) error { return err }
	r.pool.bytes = func(int) int64 { return 0 } // a benchmark is small
	layers := make([]int, c.layers)
	for i := range layers {
		layers[i] = i
	}
	r.pool.init(peak.Workers, layers)
	start := time.Now()
	if err := r.pool.run(ctx, peak.Workers); err != nil {
		return BenchRun{}, err
	}
	return r.figures(time.Since(start), peak), nil
}

// figures works out the rates of a round.
func (r *benchRound) figures(took time.Duration, peak BenchPeak) BenchRun {
	run := BenchRun{
		Name: r.name, Format: r.format, Layers: r.layers, Weights: r.weights, Workers: peak.Workers,
		Seconds: took.Seconds(), WeightsPS: float64(r.weights) / took.Seconds(),
	}
	var sum laps
	for _, l := range r.laps {
		sum.add(l)
	}
	var moved int64
	compute := float64(r.flops.Load()) / peak.FMA
	for i, name := range stageNames {
		s := BenchStage{Stage: name, Seconds: sum.took[i].Seconds(), Bytes: sum.bytes[i], Share: Figure(math.NaN())}
		clock := s.Seconds / float64(peak.Workers)
		s.WeightsPS, s.BytesPS = float64(r.weights)/clock, float64(s.Bytes)/clock
		switch stage(i) {
		case stageKernels:
			s.Share = Figure(compute / clock)
		case stageRead, stageWrite:
			moved += s.Bytes
			s.Share = Figure(s.BytesPS / peak.Copy)
		}
		run.Stages = append(run.Stages, s)
	}
	run.BytesPS = float64(moved) / run.Seconds
	// What binds: the arithmetic, or bytes that are copied in and out.
	run.Share = Figure(max(compute, float64(moved)/peak.Copy) / run.Seconds)
	return run
}
