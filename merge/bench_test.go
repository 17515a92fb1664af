package merge

import (
	"path/filepath"
	"testing"

	"mergescope/loader"
)

// BenchmarkDryRun merges the demo without writing. The rate is in weights.
func BenchmarkDryRun(b *testing.B) {
	for _, base := range []string{"base-nf4", "base-int8"} {
		for _, tiles := range []bool{false, true} {
			name := base
			if tiles {
				name += " with tiles"
			}
			b.Run(name, func(b *testing.B) { dryRun(b, base, Options{Tiles: tiles}) })
		}
	}
}

func dryRun(b *testing.B, base string, opt Options) {
	model, err := loader.Source{}.Checkpoint(filepath.Join(demoDir, base))
	if err != nil {
		b.Fatal(err)
	}
	defer model.Close()
	adapter, err := loader.Source{}.Adapter(filepath.Join(demoDir, "adapter-gocode"))
	if err != nil {
		b.Fatal(err)
	}
	defer adapter.Close()
	p := NewProject(model, adapter)
	var weights int64
	for b.Loop() {
		j, err := NewJob(p, p.NewPlan(), opt)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := j.Run(b.Context()); err != nil {
			b.Fatal(err)
		}
		weights += j.weightsTotal
	}
	b.ReportMetric(float64(weights)/b.Elapsed().Seconds()/1e6, "Mw/s")
}
