package merge

import (
	"fmt"
	"time"

	"mergescope/quant"
)

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

	Stage Stage // of what is done beside merging; the zero value if that is nothing

	Layers []LayerState // one per Project layer, indexed by Layer.Index
	Totals Metrics
	Alerts []Alert // newest first
}

// Stage is what a job does besides merging layers: of a calibration, the text
// it lets the model write and the blocks it runs over it.
type Stage struct {
	Name        string // "writing the text", "running the model"
	Done, Total int
	Unit        string // "token", "block"
}

// String returns "running the model, block 3 of 32".
func (s Stage) String() string {
	if s.Name == "" || s.Total == 0 {
		return s.Name
	}
	return fmt.Sprintf("%s, %s %d of %d", s.Name, s.Unit, s.Done, s.Total)
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

// Snapshot copies what a watcher needs. Its cost does not depend on the speed
// of the workers.
func (j *Job) Snapshot() Snapshot {
	s := Snapshot{
		Dry: j.opt.Out == "", LayersTotal: len(j.todo), Alerts: j.log.All(),
		WeightsDone: j.weights.Load(), WeightsTotal: j.weightsTotal,
		BytesDone: j.bytes.Load(), BytesTotal: j.bytesTotal,
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	s.State, s.Err, s.Workers, s.Stage = j.state, j.err, j.limit, j.stage
	if s.State == Done || s.BytesDone > s.BytesTotal {
		s.BytesDone = s.BytesTotal // what is copied counts tensors that belong to no weight too
	}
	s.LayersDone = len(j.sums)
	s.Layers = append(s.Layers, j.status...)
	for i, f := range j.flights {
		s.Layers[i].Fraction = f.fraction()
	}
	s.Totals = j.total()
	s.Elapsed = j.clock.elapsed(time.Now())
	s.Rate = j.speed.rate(s.Elapsed, s.WeightsDone)
	if s.State == Running && s.Rate > 0 {
		s.ETA = time.Duration(float64(s.WeightsTotal-s.WeightsDone) / s.Rate * float64(time.Second))
	}
	return s
}

// total returns the figures of all finished layers, added up in natural order.
// Callers hold mu.
func (j *Job) total() Metrics {
	if j.summed == len(j.sums) {
		return j.totals
	}
	var sums quant.Sums
	var seen onInputs
	for _, layer := range j.todo {
		sums.Merge(j.sums[layer])
		seen.add(j.seen[layer])
	}
	j.summed, j.totals = len(j.sums), MetricsOf(sums)
	j.totals.KeptOnInputs = ratio(seen.RD, seen.DD)
	j.totals.NonFinite.A, j.totals.NonFinite.B = j.factors.A, j.factors.B
	return j.totals
}

// Tile returns the heat tile of a layer as far as it is computed, or nil.
func (j *Job) Tile(layer int) *Tile {
	j.mu.Lock()
	f, t := j.flights[layer], j.tiles[layer]
	j.mu.Unlock()
	if t != nil || f == nil || f.result.heat == nil {
		return t
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.result.heat.tile()
}

// stopwatch measures the time a job runs, pauses left out.
type stopwatch struct {
	on    bool
	since time.Time
	total time.Duration
}

func (w *stopwatch) run(on bool, now time.Time) {
	w.total = w.elapsed(now)
	w.on, w.since = on, now
}

func (w *stopwatch) elapsed(now time.Time) time.Duration {
	if w.on {
		return w.total + now.Sub(w.since)
	}
	return w.total
}

// Times of a speed measurement.
const (
	speedEvery  = 250 * time.Millisecond // between two samples
	speedWindow = 4 * time.Second        // the rate covers about so much
)

// speed measures the rate of a job over its last seconds.
type speed struct{ samples []speedSample }

type speedSample struct {
	at   time.Duration
	done int64
}

// rate returns weights per second; 0 if unknown.
func (s *speed) rate(at time.Duration, done int64) float64 {
	if n := len(s.samples); n == 0 || at-s.samples[n-1].at >= speedEvery {
		s.samples = append(s.samples, speedSample{at, done})
	}
	for len(s.samples) > 2 && at-s.samples[1].at >= speedWindow {
		s.samples = s.samples[1:]
	}
	first := s.samples[0]
	if at-first.at < speedEvery {
		first = speedSample{}
	}
	if at <= first.at {
		return 0
	}
	return float64(done-first.done) / (at - first.at).Seconds()
}
