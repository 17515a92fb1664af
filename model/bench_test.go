package model

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mergescope/quant"
)

// BenchmarkForward passes windows of 512 tokens through one variant: of the
// demo, and of a model with the sizes of a billion parameters but two layers.
// testdata/perf/forward.py does the same with torch.
func BenchmarkForward(b *testing.B) {
	c, nf4 := openModel(b, filepath.Join(demoDir, "base-nf4"))
	inputs, targets, _ := windows(b, "eval.txt", 8)
	run := func(b *testing.B, c *Config, w Weights, n int) {
		var tokens, best float64
		for b.Loop() {
			start := time.Now()
			s := NewScores(targets[:n*window], 1, 0)
			if err := Forward(context.Background(), c, []Variant{{Weights: w}}, inputs[:n], Sink{Logits: s.Logits}, Options{}); err != nil {
				b.Fatal(err)
			}
			tokens += float64(n * window)
			best = max(best, float64(n*window)/time.Since(start).Seconds())
		}
		b.ReportMetric(tokens/b.Elapsed().Seconds(), "tokens/s")
		b.ReportMetric(best, "best-tokens/s")
	}
	b.Run("demo", func(b *testing.B) { run(b, c, nf4, len(inputs)) })
	b.Run("wide", func(b *testing.B) {
		wide, w := wideModel(c)
		run(b, wide, w, 2)
	})
}

// noise gives every weight from the same random numbers.
type noise struct {
	c      *Config
	values []float32
}

func (n *noise) Vector(string) ([]float32, error) { return n.values[:n.c.Hidden], nil }

func (n *noise) Matrix(param string) (Matrix, error) {
	q, kv := n.c.Heads*n.c.HeadDim, n.c.KVHeads*n.c.HeadDim
	for part, size := range map[string][2]int{
		"q_proj": {q, n.c.Hidden}, "k_proj": {kv, n.c.Hidden}, "v_proj": {kv, n.c.Hidden}, "o_proj": {n.c.Hidden, q},
		"gate_proj": {n.c.Intermediate, n.c.Hidden}, "up_proj": {n.c.Intermediate, n.c.Hidden}, "down_proj": {n.c.Hidden, n.c.Intermediate},
		"lm_head": {n.c.Vocab, n.c.Hidden}, "embed_tokens": {n.c.Vocab, n.c.Hidden},
	} {
		if strings.Contains(param, part) {
			return &dense{n.values, size[0], size[1]}, nil
		}
	}
	return nil, fmt.Errorf("no weight %s", param)
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

// BenchmarkGenerate continues a prompt with one variant: of the demo, and of
// wideModel.
func BenchmarkGenerate(b *testing.B) {
	c, nf4 := openModel(b, filepath.Join(demoDir, "base-nf4"))
	run := func(b *testing.B, c *Config, w Weights, n int) {
		for b.Loop() {
			if _, err := Generate(context.Background(), c, []Variant{{Weights: w}}, []int32{0, 102}, GenerateOptions{Tokens: n}); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "tokens/s")
	}
	b.Run("demo", func(b *testing.B) { run(b, c, nf4, 100) })
	b.Run("wide", func(b *testing.B) {
		wide, w := wideModel(c)
		run(b, wide, w, 8)
	})
}

// wideModel has the sizes of a billion parameters but two layers, 153 million
// weights in all.
func wideModel(c *Config) (*Config, Weights) {
	wide := *c
	wide.Vocab, wide.Hidden, wide.Intermediate, wide.Heads, wide.KVHeads, wide.HeadDim = 32000, 2048, 5632, 32, 4, 64
	wide.Layers = []LayerConfig{{Rope: &Rope{Type: "default", Theta: 1e4, Dim: 64, AttentionFactor: 1}}}
	wide.Layers = append(wide.Layers, wide.Layers...)
	return &wide, &noise{&wide, random(wide.Vocab * wide.Hidden)}
}

// BenchmarkProducts measures one tile of a product over 384 tokens, of float32 and
// of rounded pairs and quads, and rounding them.
func BenchmarkProducts(b *testing.B) {
	y := make([]float32, tileRows*panelCols)
	perSecond := func(b *testing.B) {
		b.ReportMetric(float64(b.N)*tileRows*panelCols*runTokens/b.Elapsed().Seconds()/1e9, "1e9-products/s")
	}
	b.Run("float32", func(b *testing.B) {
		x, w := random(runTokens*tileRows), random(runTokens*panelCols)
		for b.Loop() {
			dot(y, panelCols, x, w, runTokens, true)
		}
		perSecond(b)
	})
	atPairs(b, quant.Best(), func(name string) {
		var units pairUnits
		b.Run("pairs/"+name, func(b *testing.B) {
			x, w := make([]int16, runTokens*tileRows), make([]int16, runTokens*panelCols)
			for b.Loop() {
				dotPairs(y, panelCols, x, w, &units, runTokens/2, true)
			}
			perSecond(b)
		})
		if !quadsAreFast() {
			return
		}
		b.Run("quads/"+name, func(b *testing.B) {
			x, w := make([]int8, runTokens*tileRows), make([]int8, runTokens*panelCols)
			for b.Loop() {
				dotQuads(y, panelCols, x, w, &units, runTokens/4, true)
			}
			perSecond(b)
		})
	})
	b.Run("round", func(b *testing.B) {
		x, dst := random(runTokens), make([]int8, runTokens)
		for b.Loop() {
			roundRun(dst, x, byteMax, roundBytes)
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*runTokens), "ns/value")
	})
}
