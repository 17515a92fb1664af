package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"mergescope/merge"
)

// progress shows a running job on stderr.
type progress interface {
	update(s merge.Snapshot)
	done(err error) // of the job
}

// newProgress returns the printer that --progress names; "" means a bar on a
// terminal and nothing elsewhere.
func newProgress(kind string, w io.Writer) (progress, error) {
	if kind == "" {
		kind = "none"
		if isTerminal(w) {
			kind = "bar"
		}
	}
	switch kind {
	case "bar":
		return &bar{w: w}, nil
	case "json":
		return &jsonLines{enc: json.NewEncoder(w)}, nil
	case "none":
		return silent{}, nil
	}
	return nil, usagef("known values: bar, json, none", "--progress: %q is not known", kind)
}

// isTerminal reports whether w is a file that is a terminal.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// watch runs a job and shows its snapshots ten times a second until it ends.
func watch(ctx context.Context, job *merge.Job, p progress) (report *merge.Report, err error) {
	polling(func() { p.update(job.Snapshot()) }, func() { report, err = job.Run(ctx) })
	p.update(job.Snapshot())
	p.done(err)
	return report, err
}

// polling calls show ten times a second until run returns, and not after.
func polling(show, run func()) {
	stop := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				show()
			case <-stop:
				return
			}
		}
	}()
	defer func() {
		close(stop)
		<-ended
	}()
	run()
}

type silent struct{}

func (silent) update(merge.Snapshot) {}
func (silent) done(error)            {}

// bar redraws one line of a terminal.
type bar struct {
	w io.Writer
}

func (b *bar) update(s merge.Snapshot) {
	const width = 24
	share := fraction(s)
	filled := int(share * width)
	line := fmt.Sprintf("[%s%s] %3.0f %%  %d/%d layers  %s/s", strings.Repeat("#", filled), strings.Repeat(".", width-filled),
		100*share, s.LayersDone, s.LayersTotal, count(s.Rate))
	if s.Stage.Name != "" {
		line += "  " + s.Stage.String()
	}
	if s.ETA > 0 {
		line += "  " + s.ETA.Round(time.Second).String() + " left"
	}
	if n := len(s.Alerts); n > 0 {
		line += "  " + plural(n, "alert")
	}
	fmt.Fprintf(b.w, "\r%s\x1b[K", b.cut(line))
}

// cut shortens a line of ASCII to the terminal's width: a line that wraps
// could not be drawn over.
func (b *bar) cut(line string) string {
	f, ok := b.w.(*os.File)
	if !ok {
		return line
	}
	if w, _, err := term.GetSize(int(f.Fd())); err == nil && 0 < w && w <= len(line) {
		return line[:w-1]
	}
	return line
}

// done clears the line, so that what follows stands alone.
func (b *bar) done(error) { fmt.Fprint(b.w, "\r\x1b[K") }

// jsonLines prints one object a line for other programs.
type jsonLines struct {
	enc  *json.Encoder
	last time.Time
	seen merge.Snapshot
}

// statusLine is one line of --progress json.
type statusLine struct {
	Type         string  `json:"message_type"` // "status", at last "finished", "interrupted" or "failed"
	Fraction     float64 `json:"fraction"`
	LayersDone   int     `json:"layers_done"`
	LayersTotal  int     `json:"layers_total"`
	WeightsDone  int64   `json:"weights_done"`
	WeightsTotal int64   `json:"weights_total"`
	Rate         float64 `json:"weights_per_second"`
	Stage        string  `json:"stage,omitempty"` // what is done beside merging
	Elapsed      float64 `json:"seconds"`
	Remaining    float64 `json:"seconds_left"` // 0 if unknown
	Alerts       int     `json:"alerts"`

	Kept merge.Figure `json:"kept"` // over the finished layers; null before the first
}

func (j *jsonLines) update(s merge.Snapshot) {
	j.seen = s
	if s.Elapsed > 0 && time.Since(j.last) < 500*time.Millisecond {
		return
	}
	j.last = time.Now()
	j.print("status")
}

func (j *jsonLines) done(err error) {
	switch {
	case err == nil:
		j.print("finished")
	case errors.Is(err, context.Canceled):
		j.print("interrupted")
	default:
		j.print("failed")
	}
}

func (j *jsonLines) print(kind string) {
	s := j.seen
	// If stderr is gone there is nobody to tell.
	_ = j.enc.Encode(statusLine{
		Type: kind, Fraction: fraction(s),
		LayersDone: s.LayersDone, LayersTotal: s.LayersTotal,
		WeightsDone: s.WeightsDone, WeightsTotal: s.WeightsTotal, Rate: s.Rate,
		Elapsed: s.Elapsed.Seconds(), Remaining: s.ETA.Seconds(), Alerts: len(s.Alerts), Stage: s.Stage.String(),
		Kept: s.Totals.Kept,
	})
}

// fraction is how much of the work is done, 0..1.
func fraction(s merge.Snapshot) float64 {
	if s.WeightsTotal > 0 {
		return float64(s.WeightsDone) / float64(s.WeightsTotal)
	}
	if s.LayersTotal > 0 {
		return float64(s.LayersDone) / float64(s.LayersTotal)
	}
	return 0
}

// count formats a number of weights.
func count(v float64) string {
	switch {
	case v >= 1e9:
		return fmt.Sprintf("%.2f G weights", v/1e9)
	case v >= 1e6:
		return fmt.Sprintf("%.0f M weights", v/1e6)
	case v >= 1e3:
		return fmt.Sprintf("%.0f k weights", v/1e3)
	}
	return fmt.Sprintf("%.0f weights", v)
}
