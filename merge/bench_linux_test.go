package merge

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// processorTime is what the process has used so far.
func processorTime(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// measured runs do, and reports the processor time of the mean round, which
// other processes disturb less than the clock.
func measured(b *testing.B, do func() error) {
	start := processorTime(b)
	for b.Loop() {
		if err := do(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(processorTime(b)-start)/float64(time.Microsecond)/float64(b.N), "cpu-us/op")
}

// BenchmarkExamine computes what the heat map of a 4096x4096 weight shows after a
// change of its plan, nested scales included, and one block of it.
func BenchmarkExamine(b *testing.B) {
	const size, rank = 4096, 16
	for _, c := range syntheticCases(size, rank) {
		b.Run(c.format+"/tensor", func(b *testing.B) {
			measured(b, func() error {
				s, err := c.open(0)
				if err == nil {
					err = s.settleAll(b.Context())
				}
				if err == nil {
					_, err = s.examine(b.Context(), 0, size, TileRows, TileCols)
				}
				return err
			})
		})
		b.Run(c.format+"/block", func(b *testing.B) {
			s, err := c.open(0)
			if err == nil {
				err = s.settleAll(b.Context())
			}
			if err != nil {
				b.Fatal(err)
			}
			measured(b, func() error {
				_, err := s.explain(b.Context(), 1234, 1234)
				return err
			})
		})
	}
}

// BenchmarkPass merges 4096x4096 weights of each kind without writing, with all
// that a job does for a weight but for opening it.
func BenchmarkPass(b *testing.B) {
	for _, rank := range []int{16, 64} {
		for _, c := range syntheticCases(4096, rank) {
			for _, tiles := range []string{"plain", "tiles"} {
				b.Run(c.format+"/"+c.name+"/"+tiles, func(b *testing.B) {
					s, err := c.open(0)
					if err != nil {
						b.Fatal(err)
					}
					rows := 0
					if tiles == "tiles" {
						rows = TileRows
					}
					measured(b, func() error {
						fly(b, s, false, panelWeights, rows, TileCols)
						return nil
					})
				})
			}
		}
	}
}
