package tui

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

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
