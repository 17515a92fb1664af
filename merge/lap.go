package merge

import "time"

// stage is a part of computing a panel.
type stage int

const (
	stageRead    stage = iota // codes of the base
	stageKernels              // the merge and the sums of each block
	stageCollect              // sums by row, worst block, heat
	stageWrite                // codes and scales
	stageCount
)

var stageNames = [stageCount]string{"read", "kernels", "collect", "write"}

// laps is how long one worker spent in each stage and how many bytes it moved.
type laps struct {
	last  time.Time
	took  [stageCount]time.Duration
	bytes [stageCount]int64
}

// lap says that stage s has ended. It does nothing unless a benchmark watches.
func (w *work) lap(s stage, bytes int) {
	if w.laps == nil {
		return
	}
	now := time.Now()
	w.laps.took[s] += now.Sub(w.laps.last)
	w.laps.bytes[s] += int64(bytes)
	w.laps.last = now
}

func (l *laps) add(o *laps) {
	for s := range stageCount {
		l.took[s] += o.took[s]
		l.bytes[s] += o.bytes[s]
	}
}
