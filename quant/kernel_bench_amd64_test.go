//go:build gc && !noasm

package quant

import (
	"math/rand/v2"
	"testing"
	"unsafe"
)

// BenchmarkKernels runs the kernels of a 4-bit merge over one row of a tile, which
// stays in the first-level cache.
func BenchmarkKernels(b *testing.B) {
	const blocks, rank = 16, 16
	rng := rand.New(rand.NewPCG(1, 2))
	w, d, t := gauss(rng, blocks*chunk, 0.02), gauss(rng, 4*blocks*chunk, 0.002), make([]float32, blocks*chunk)
	codes, old := make([]byte, blocks*chunk/2), make([]byte, blocks*chunk/2)
	for i := range old {
		old[i] = byte(rng.Uint32())
	}
	absmax, next, inverse := gauss(rng, blocks, 0.02), make([]float32, blocks), make([]float32, blocks)
	pending := make([]Pending, blocks)
	sums, step := &pending[0].WW, int(unsafe.Sizeof(pending[0]))
	f := NewFactor(gauss(rng, rank*blocks*chunk, 1), rank, blocks*chunk)
	bb := gauss(rng, 4*rank, 1)
	for _, level := range Levels()[1:] {
		k := &mergeAVX2
		if level == AVX512 {
			k = &mergeAVX512
		}
		tables := &nf4Tables.bound[0]
		tile := deltaTileOf{f: f, level: level, rows: 4, blocks: blocks, scale: 1}
		for _, kernel := range []struct {
			name string
			rows int
			do   func()
		}{
			{"delta", 4, func() { tile.run(d, blocks*chunk, bb) }},
			{"target", 1, func() {
				k.target[2](&t[0], &w[0], &d[0], &old[0], &absmax[0], &nf4Values, &next[0], &inverse[0], sums, step, blocks, 1)
			}},
			{"target+code", 1, func() {
				k.target[2](&t[0], &w[0], &d[0], &old[0], &absmax[0], &nf4Values, &next[0], &inverse[0], sums, step, blocks, 1)
				k.code[0](&codes[0], &old[0], &t[0], &w[0], &d[0], &next[0], &inverse[0], tables, sums, step, blocks, 1)
			}},
			{"target+both", 1, func() {
				k.target[2](&t[0], &w[0], &d[0], &old[0], &absmax[0], &nf4Values, &next[0], &inverse[0], sums, step, blocks, 1)
				k.both[0](&codes[0], &old[0], &t[0], &w[0], &d[0], &next[0], &inverse[0], tables, sums, &pending[0].VD, step, blocks, 1)
			}},
			{"drift", 1, func() {
				k.drift(&pending[0].VD, step, &w[0], &d[0], &codes[0], &next[0], &next[0], &nf4Values, blocks, 1)
			}},
		} {
			b.Run(level.String()+"/"+kernel.name, func(b *testing.B) {
				took := least(b, 100, kernel.do)
				b.ReportMetric(float64(took)/blocks/float64(kernel.rows), "ns/block")
			})
		}
	}
}
