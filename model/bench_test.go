package model

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"mergescope/quant"
)

// BenchmarkForward passes eight windows of the demo through one variant.
func BenchmarkForward(b *testing.B) {
	c, nf4 := openModel(b, filepath.Join(demoDir, "base-nf4"))
	inputs, targets, _ := windows(b, "eval.txt", 8)
	tokens := 0
	for b.Loop() {
		s := NewScores(targets, 1, 0)
		if err := Forward(context.Background(), c, []Variant{{Weights: nf4}}, inputs, Sink{Logits: s.Logits}, Options{}); err != nil {
			b.Fatal(err)
		}
		tokens += len(targets)
	}
	b.ReportMetric(float64(tokens)/b.Elapsed().Seconds(), "tokens/s")
}

// BenchmarkGEMM multiplies on one thread, panels packed beforehand.
func BenchmarkGEMM(b *testing.B) {
	for _, size := range [][3]int{{384, 2048, 640}, {512, 4096, 4096}} {
		m, k, n := size[0], size[1], size[2]
		x, panels := tiles{}, random(roundUp(n, panelCols)*k)
		x.resize(roundUp(m, tileRows), k)
		copy(x.data, random(len(x.data)))
		var y matrix
		y.resize(roundUp(m, tileRows), n)
		for l := quant.AVX2; l <= quant.Best(); l++ {
			b.Run(fmt.Sprintf("%dx%dx%d/%v", m, k, n, l), func(b *testing.B) {
				at(b, l, func() {
					for b.Loop() {
						for p := 0; p < n; p += 256 { // as a task of run does
							w := min(256, n-p)
							multiply(&y, p, []product{{&x, panels[p*k:]}}, w/panelCols, 0, y.rows/tileRows)
						}
					}
					b.ReportMetric(2*float64(m)*float64(k)*float64(n)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOPS")
				})
			})
		}
	}
}

// at runs do with the kernels of a level.
func at(t testing.TB, l quant.Level, do func()) {
	t.Helper()
	before := quant.Kernels()
	if err := quant.Use(l); err != nil {
		t.Fatal(err)
	}
	do()
	if err := quant.Use(before); err != nil {
		t.Fatal(err)
	}
}

func random(n int) []float32 {
	rng := rand.New(rand.NewPCG(1, uint64(n)))
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	return x
}
