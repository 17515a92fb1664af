package merge

import (
	"context"
	"errors"
	"testing"
)

// TestAloft: large layers are opened one after the other, small ones as many as
// there are workers, and one that is larger than all that may be in flight alone.
func TestAloft(t *testing.T) {
	for name, tt := range map[string]struct {
		bytes, most int64
		workers     int
	}{
		"small":  {1 << 10, 5, 4},
		"middle": {50 << 20, 2, 4},
		"huge":   {1 << 30, 1, 4},
	} {
		var p pool
		p.bytes = func(int) int64 { return tt.bytes }
		p.init(tt.workers, []int{0, 1, 2, 3, 4, 5, 6, 7})
		taken := int64(0)
		for {
			if _, ok := p.take(); !ok {
				break
			}
			taken++
		}
		if taken != tt.most {
			t.Errorf("%s: %d layers are opened at once, want %d", name, taken, tt.most)
		}
	}
	// What was opened and had nothing to compute makes room again.
	var p pool
	p.bytes = func(int) int64 { return 1 << 30 }
	p.open = func(context.Context, int) (*flight, error) { return nil, nil }
	p.place = func(int, error) error { return errors.New("unexpected") }
	p.init(2, []int{0, 1, 2})
	if err := p.run(t.Context(), 2); err != nil || p.aloft != 0 || len(p.queue) != 0 {
		t.Errorf("%d bytes in flight, %d layers left: %v", p.aloft, len(p.queue), err)
	}
}

// TestPendingInPart: a weight of which only a part is merged in one pass gives
// what it gives in two.
func TestPendingInPart(t *testing.T) {
	p := openDemo(t, "base-nf4", "gocode")
	whole, err := NewJob(p, p.NewPlan(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	want, err := whole.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	part, err := NewJob(p, p.NewPlan(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	part.panel = 4096
	open := part.pool.open
	part.pool.open = func(ctx context.Context, layer int) (*flight, error) {
		f, err := open(ctx, layer)
		if f != nil && f.pending != nil {
			f.pending = f.pending[:len(f.pending)/2]
		}
		return f, err
	}
	got, err := part.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Layers) != len(want.Layers) {
		t.Fatalf("%d layers, want %d", len(got.Layers), len(want.Layers))
	}
	for i, l := range got.Layers {
		w := want.Layers[i]
		within(t, l.Name+" kept", float64(l.Kept), float64(w.Kept), 2e-6)
		within(t, l.Name+" snr", float64(l.SNR), float64(w.SNR), 1e-4)
		within(t, l.Name+" codes", float64(l.CodesChanged), float64(w.CodesChanged), 0)
	}
}
