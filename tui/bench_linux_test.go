package tui

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"
	"golang.org/x/sys/unix"

	"mergescope/loader"
	"mergescope/merge"
)

// BenchmarkFramesWhileMerging draws what a user sees of 1000 layers of seven
// weights while real jobs take both processors: polls, cursor movements and
// sorting in turn. It reports the percentiles of a message and its frame in
// milliseconds, by the clock and of processor time; on a machine with other work
// only the latter says anything. 99 of 100 may take 50 at most.
func BenchmarkFramesWhileMerging(b *testing.B) {
	a, run := hugeApp(b)
	a.Update(keyPress("E"))
	ctx, stop := context.WithCancel(b.Context())
	done := make(chan struct{})
	project, plan := benchProject(b)
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			job, err := merge.NewJob(project, plan, merge.Options{Tiles: true})
			if err != nil {
				b.Error(err)
				return
			}
			_, _ = job.Run(ctx) // its end is that of the benchmark
		}
	}()
	runtime.LockOSThread() // whose processor time is read
	defer runtime.UnlockOSThread()
	keys := []string{"j", "k", "ctrl+d", "]", "o", "w", "n"}
	var took, worked []time.Duration
	for i := 0; b.Loop(); i++ {
		begun, work := time.Now(), threadTime(b)
		if i%2 == 0 {
			run.snap.LayersDone++
			a.Update(pollMsg{a.job.gen})
		} else {
			a.Update(keyPress(keys[i/2%len(keys)]))
		}
		a.View()
		took, worked = append(took, time.Since(begun)), append(worked, threadTime(b)-work)
	}
	stop()
	<-done
	for name, all := range map[string][]time.Duration{"ms": took, "cpu-ms": worked} {
		slices.Sort(all)
		for _, p := range []int{50, 99, 100} {
			b.ReportMetric(float64(all[(len(all)-1)*p/100].Microseconds())/1000, fmt.Sprintf("p%d-%s", p, name))
		}
	}
}

// BenchmarkShareWhileMerging runs the interface for some seconds beside a job of
// which only the snapshots are there, each with another layer finished, and
// reports the share of one processor it takes, terminal output included, in
// percent. It may be 3. A model of 80 layers has 560 weights.
func BenchmarkShareWhileMerging(b *testing.B) {
	for _, blocks := range []int{32, 80, 1000} {
		b.Run(fmt.Sprintf("%d weights", 7*blocks), func(b *testing.B) {
			const watched = 4 * time.Second
			var took, clock time.Duration
			for b.Loop() {
				a, run := appOfBlocks(b, blocks)
				a.after = func(d time.Duration, msg tea.Msg) tea.Cmd {
					return tea.Tick(d, func(time.Time) tea.Msg { return msg })
				}
				a.job.run = &advancing{run}
				ctx, stop := context.WithTimeout(b.Context(), watched)
				p := tea.NewProgram(a, append(programOptions(ctx, Options{Output: io.Discard}),
					tea.WithInput(nil), tea.WithWindowSize(120, 36), tea.WithColorProfile(colorprofile.TrueColor), tea.WithoutSignals())...)
				go p.Send(pollMsg{a.job.gen})
				begun, used := time.Now(), processTime(b)
				_, _ = p.Run() // ends with its context
				took, clock = took+processTime(b)-used, clock+time.Since(begun)
				stop()
				if least := int(watched/pollEvery) / 2; run.polls < least {
					b.Fatalf("%d looks at the job, want %d at least", run.polls, least)
				}
			}
			b.ReportMetric(100*took.Seconds()/clock.Seconds(), "%cpu")
		})
	}
}

// advancing finishes another layer at every look.
type advancing struct{ *fakeRunner }

func (r *advancing) Snapshot() merge.Snapshot {
	s := &r.snap
	if i := s.LayersDone; i < len(s.Layers) {
		s.Layers = slices.Clone(s.Layers)
		s.Layers[i] = merge.LayerState{State: merge.Finished, Fraction: 1, Result: s.Layers[0].Result}
		s.LayersDone++
		s.WeightsDone, s.WeightsTotal = int64(s.LayersDone), int64(s.LayersTotal)
	}
	s.Elapsed += pollEvery
	return r.fakeRunner.Snapshot()
}

// processTime is the processor time of the process.
func processTime(b *testing.B) time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t); err != nil {
		b.Fatal(err)
	}
	return time.Duration(t.Nano())
}

// threadTime is the processor time of this thread.
func threadTime(b *testing.B) time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		b.Fatal(err)
	}
	return time.Duration(t.Nano())
}

// benchProject is the demo with an adapter.
func benchProject(b *testing.B) (*merge.Project, merge.Plan) {
	b.Helper()
	src := loader.Source{Demo: os.DirFS("../testdata/demo")}
	model, err := src.Checkpoint("demo")
	if err != nil {
		b.Fatal(err)
	}
	ad, err := src.Adapter("demo:gocode-light")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_, _ = model.Close(), ad.Close()
	})
	return merge.NewProject(model, ad), merge.NewPlan("demo", merge.AdapterRef{Name: ad.Name, Path: ad.Path})
}
