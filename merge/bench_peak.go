package merge

import (
	"sync"
	"time"

	"mergescope/quant"
)

// measurePeak runs each of two loops on some workers at once and keeps the best
// of some tries.
func measurePeak(workers int) BenchPeak {
	const (
		copied = 32 << 20 // bytes, more than a worker's share of most caches
		repeat = 4096     // of a delta of 4 by 64
		rank   = 64
	)
	p := BenchPeak{Workers: workers}
	from, to := make([][]byte, workers), make([][]byte, workers)
	deltas := make([][]float32, workers)
	for i := range workers {
		from[i], to[i] = make([]byte, copied), make([]byte, copied)
		for at := range from[i] { // pages that were never written share one page of zeros
			from[i][at] = byte(at)
		}
		deltas[i] = make([]float32, 4*64)
	}
	// A takes 16 KiB and B 1 KiB, half of a first-level cache.
	a, b := make([]float32, rank*64), make([]float32, 4*rank)
	for i := range a {
		a[i] = float32(i%7) - 3
	}
	for i := range b {
		b[i] = float32(i%5) - 2
	}
	f := quant.NewFactor(a, rank, 64)
	for start := time.Now(); p.FMA == 0 || time.Since(start) < benchTime/2; {
		took := together(workers, func(i int) { copy(to[i], from[i]) })
		p.Copy = max(p.Copy, float64(workers)*copied/took.Seconds())
		n := repeat
		if quant.Kernels() == quant.Go {
			n /= 32
		}
		took = together(workers, func(i int) {
			for range n {
				quant.Delta(deltas[i], b, f, 4, 1)
			}
		})
		p.FMA = max(p.FMA, float64(workers)*float64(n)*2*4*64*rank/took.Seconds())
	}
	return p
}

// together runs do for 0..n-1 at once and returns how long all of it took.
func together(n int, do func(i int)) time.Duration {
	start := time.Now()
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { do(i) })
	}
	wg.Wait()
	return time.Since(start)
}
