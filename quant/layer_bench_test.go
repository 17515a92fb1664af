package quant

import (
	"fmt"
	"hash"
	"hash/fnv"
	"math"
	"runtime"
	"sync"
	"testing"
	"time"
	"unsafe"
)

// layer is a weight and an adapter made of the numbers that testdata/perf/main.c
// makes too.
type layer struct {
	rows, cols, rank int
	spec             Spec
	codes            []byte
	absmax           []float32
	b                []float32
	factor           *Factor
}

// noise returns multiples of 2^-23 in [-1, 1).
type noise uint64

func (n *noise) next() float32 {
	*n = *n*6364136223846793005 + 1442695040888963407
	return float32(int32(*n>>40)-1<<23) / (1 << 23)
}

func newLayer(f Format, rows, cols, rank int) *layer {
	l := &layer{rows: rows, cols: cols, rank: rank, spec: Spec{Format: f, Dtype: F32}}
	n := noise(1)
	l.codes = make([]byte, f.Bytes(int64(rows*cols)))
	for i := range l.codes {
		n.next()
		l.codes[i] = byte(n >> 56)
	}
	scales := rows
	switch {
	case f.Is4Bit():
		l.spec.Blocksize, l.spec.Dtype = 64, BF16
		scales = rows * cols / 64
	case f.IsFloat():
		scales = 0
		x := make([]float32, rows*cols)
		for i := range x {
			x[i] = n.next()
		}
		EncodeFloats(l.codes, x, f)
	}
	l.absmax = make([]float32, scales)
	for i := range l.absmax {
		l.absmax[i] = (1 + abs(n.next())) * 0.01
	}
	a := make([]float32, rank*cols)
	for i := range a {
		a[i] = n.next()
	}
	l.b = make([]float32, rows*rank)
	for i := range l.b {
		l.b[i] = n.next() * 0.05
	}
	l.factor = NewFactor(a, rank, cols)
	return l
}

// merge merges every workers-th panel of about 96 Ki weights, from panel first on.
// sums, if not nil, gets the sums of every block.
func (l *layer) merge(p *Panel, first, workers int, h hash.Hash, sums *[]BlockSum) {
	height := min(max((96<<10)/l.cols/4*4, 4), l.rows)
	for r := first * height; r < l.rows; r += workers * height {
		n := min(height, l.rows-r)
		l.place(p, r, n)
		p.Merge(l.b[r*l.rank:(r+n)*l.rank], l.factor, 0.01)
		if h != nil {
			h.Write(p.NewCodes)
			*sums = append(*sums, p.Sums...)
		}
	}
}

// mergeNested is merge of a weight with nested scales: one pass over the panels,
// the scales, and the sums, of which the largest errors are bounds.
func (l *layer) mergeNested(p *Panel, pending []Pending, scales []float32) (s Sums) {
	height := min(max((96<<10)/l.cols/4*4, 4), l.rows)
	per := len(l.absmax) / l.rows
	for r := 0; r < l.rows; r += height {
		n := min(height, l.rows-r)
		l.place(p, r, n)
		if !p.MergePending(pending[r*per:(r+n)*per], l.b[r*l.rank:(r+n)*l.rank], l.factor, 0.01) {
			panic("not finite")
		}
		copy(scales[r*per:], p.NewAbsmax)
	}
	n := QuantizeAbsmax(scales, CPU)
	n.OffsetUlp(scales, CPU)
	stored := make([]float32, len(scales))
	n.Dequantize(stored)
	var row [StatBlock]BlockSum
	for i := 0; i < len(scales); i += len(row) {
		part := row[:min(len(row), len(scales)-i)]
		Settle(part, pending[i:], l.spec.Blocksize, l.absmax[i:], scales[i:], stored[i:])
		s.AddAll(part)
	}
	return s
}

// mergeSummed is merge with the sums over the weight.
func (l *layer) mergeSummed(p *Panel) (s Sums) {
	height := min(max((96<<10)/l.cols/4*4, 4), l.rows)
	for r := 0; r < l.rows; r += height {
		n := min(height, l.rows-r)
		l.place(p, r, n)
		p.Merge(l.b[r*l.rank:(r+n)*l.rank], l.factor, 0.01)
		s.AddAll(p.Sums)
	}
	return s
}

// place makes the panel one of rows [r, r+n).
func (l *layer) place(p *Panel, r, n int) {
	p.Spec, p.Rows, p.Cols = l.spec, n, l.cols
	p.Codes = l.codes[l.spec.Format.Bytes(int64(r*l.cols)):l.spec.Format.Bytes(int64((r+n)*l.cols))]
	per := len(l.absmax) / l.rows
	p.Absmax = l.absmax[r*per : (r+n)*per]
}

// BenchmarkNestedLayer compares whole weights with nested scales with plain ones,
// both in the best of the rounds by the time of the thread.
func BenchmarkNestedLayer(b *testing.B) {
	for _, size := range []struct{ rows, cols, rank int }{{512, 512, 8}, {4096, 4096, 16}, {4096, 11008, 64}} {
		for _, level := range Levels()[1:] { // the Go twin would take minutes
			b.Run(fmt.Sprintf("%dx%dr%d/%s", size.rows, size.cols, size.rank, level), func(b *testing.B) {
				at(b, level, func() { newLayer(NF4, size.rows, size.cols, size.rank).benchNested(b) })
			})
		}
	}
}

func (l *layer) benchNested(b *testing.B) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	p, pending, scales := new(Panel), make([]Pending, len(l.absmax)), make([]float32, len(l.absmax))
	best := [2]time.Duration{math.MaxInt64, math.MaxInt64}
	for b.Loop() {
		for i, do := range []func(){
			func() { l.mergeSummed(p) },
			func() { l.mergeNested(p, pending, scales) },
		} {
			start := threadTime()
			do()
			best[i] = min(best[i], threadTime()-start)
		}
	}
	b.ReportMetric(float64(l.rows*l.cols)/best[1].Seconds()/1e6, "Mw/cpu-s")
	b.ReportMetric(best[1].Seconds()/best[0].Seconds(), "nested/plain")
}

// least returns the time of a call of do in the best of the rounds of so many calls,
// by the time of the thread.
func least(b *testing.B, calls int, do func()) time.Duration {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	took := time.Duration(math.MaxInt64)
	for b.Loop() {
		start := threadTime()
		for range calls {
			do()
		}
		took = min(took, threadTime()-start)
	}
	return took / time.Duration(calls)
}

// digest is the hash that testdata/perf/main.c prints.
func (l *layer) digest() uint64 {
	h := fnv.New64a()
	var sums []BlockSum
	l.merge(new(Panel), 0, 1, h, &sums)
	h.Write(unsafe.Slice((*byte)(unsafe.Pointer(&sums[0])), len(sums)*int(unsafe.Sizeof(sums[0]))))
	return h.Sum64()
}

// BenchmarkLayer merges whole layers at each level. The custom figure is the best
// round by the time of the thread, which other processes do not disturb; with two
// goroutines, the best by the clock.
func BenchmarkLayer(b *testing.B) {
	for _, f := range []Format{NF4, FP4, Int8, BF16} {
		for _, size := range []struct{ rows, cols, rank int }{{512, 512, 8}, {4096, 4096, 16}, {4096, 11008, 64}} {
			for _, level := range Levels() {
				name := fmt.Sprintf("%s/%dx%dr%d/%s", f, size.rows, size.cols, size.rank, level)
				b.Run(name, func(b *testing.B) {
					at(b, level, func() { newLayer(f, size.rows, size.cols, size.rank).bench(b) })
				})
			}
		}
	}
}

func (l *layer) bench(b *testing.B) {
	if testing.Verbose() && l.spec.Format == NF4 {
		b.Logf("hash %016x", l.digest())
	}
	weights := float64(l.rows * l.cols)
	b.Run("1", func(b *testing.B) {
		p := new(Panel)
		took := least(b, 1, func() { l.merge(p, 0, 1, nil, nil) })
		b.ReportMetric(weights/took.Seconds()/1e6, "Mw/cpu-s")
	})
	b.Run("2", func(b *testing.B) {
		var panels [2]Panel
		best := time.Duration(math.MaxInt64)
		for b.Loop() {
			start := time.Now()
			var wg sync.WaitGroup
			for i := range panels {
				wg.Go(func() { l.merge(&panels[i], i, 2, nil, nil) })
			}
			wg.Wait()
			best = min(best, time.Since(start))
		}
		b.ReportMetric(weights/best.Seconds()/1e6, "Mw/s")
	})
}
