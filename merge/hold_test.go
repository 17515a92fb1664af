package merge

import (
	"context"
	"runtime"
	"sync"
	"testing"
	"weak"
)

// TestReportHoldsNoScales: neither a report nor a job keeps the scales and
// factors of finished layers, which for a large model are gigabytes.
func TestReportHoldsNoScales(t *testing.T) {
	p := openDemo(t, "base-nf4", "gocode")
	j, err := NewJob(p, p.NewPlan(), Options{Tiles: true})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var opened []weak.Pointer[subject]
	open := j.pool.open
	j.pool.open = func(ctx context.Context, layer int) (*flight, error) {
		f, err := open(ctx, layer)
		if f != nil {
			mu.Lock()
			opened = append(opened, weak.Make(f.sub))
			mu.Unlock()
		}
		return f, err
	}
	r, err := j.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	held := 0
	for _, w := range opened {
		if w.Value() != nil {
			held++
		}
	}
	if held > 0 || len(opened) != 28 {
		t.Errorf("%d of %d layers are still in memory", held, len(opened))
	}
	runtime.KeepAlive(r)
	runtime.KeepAlive(j)
}
