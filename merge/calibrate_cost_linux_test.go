package merge

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"mergescope/model"
	"mergescope/quant"
)

// BenchmarkCalibratedBlock measures the processor time of all that a calibrated
// merge of one block does beside the forward pass, over 8192 tokens, in ns a weight
// by what it is spent on, and from that what a billion weights take on two cores.
// Choosing is measured over 192 rows of each group and grows with rows; PEFT's
// merge, which is done beside it, is left out. From saved statistics there are no
// cross moments; the moments are those of the run that writes them.
func BenchmarkCalibratedBlock(b *testing.B) {
	for _, c := range []struct {
		name   string
		groups []benchGroup
	}{
		{"1B", []benchGroup{{2048, []int{2048, 512, 512}}, {2048, []int{2048}}, {2048, []int{8192, 8192}}, {8192, []int{2048}}}},
		{"7B", []benchGroup{{4096, []int{4096, 4096, 4096}}, {4096, []int{4096}}, {4096, []int{11008, 11008}}, {11008, []int{4096}}}},
	} {
		for _, t := range []benchCost{{name: "beside"}, {name: "saved", saved: true}, {name: "saved-move-descent", saved: true, best: true}} {
			b.Run(c.name+"/"+t.name, func(b *testing.B) {
				for b.Loop() {
					for _, g := range c.groups {
						t.group(b, g)
					}
				}
				t.report(b)
			})
		}
	}
}

// benchGroup are layers of so many rows that share an input.
type benchGroup struct {
	cols int
	rows []int
}

// benchCost is time by what it was spent on.
type benchCost struct {
	name                             string
	saved                            bool // from saved statistics
	best                             bool // scales move, and descent follows
	weights                          int
	moments, factor, cross, choosing time.Duration
	memory                           quant.Memory
}

func (t *benchCost) group(b *testing.B, g benchGroup) {
	x := newBenchPanel(rand.New(rand.NewPCG(1, 2)), choiceRows, g.cols)
	own := &quant.Own{Rank: 16, A: make([]float32, 16*g.cols), KA: make([]float32, 16*g.cols)}
	for i := range own.A {
		own.A[i] = float32(i%13-6) * 1e-3
		own.KA[i] = own.A[i]
	}
	ctx := b.Context()
	narrow := len(g.rows) == 1 && !t.saved
	first := repeated{benchInner, g.cols, x.p.T}
	if narrow {
		first.rows = g.rows[0]
	}
	observeBench(b, first, 8192, func(in model.Inputs) error {
		start := processorTime(b)
		lap := func(d *time.Duration, times float64) {
			now := processorTime(b)
			*d += time.Duration(times * float64(now-start))
			start = now
		}
		m, err := in.Moments(ctx, 1, 1, narrow || t.saved, &t.memory)
		lap(&t.moments, 1)
		if err != nil {
			return err
		}
		f, err := quant.NewFeedback(m, &t.memory, 0.01, own, inOrder)
		lap(&t.factor, float64(len(g.rows)))
		if err != nil {
			return err
		}
		switch {
		case narrow:
			means := f.Outputs(first.rows)
			for n := range 2 { // the first computes the outputs too, which is the forward pass's
				start = processorTime(b)
				if err := in.Outputs(ctx, 0, 0, 1, 1, f.Order(), means); err != nil {
					return err
				}
				if err := f.AnswerOutputs(means, 0.01, own, inOrder); err != nil {
					return err
				}
				lap(&t.cross, float64(n))
			}
		case !t.saved:
			cross := f.Cross()
			if err := in.Cross(ctx, 1, 0, 1, f.Order(), cross); err != nil {
				return err
			}
			if err := f.Answer(cross, inOrder); err != nil {
				return err
			}
			lap(&t.cross, 1)
		}
		rows := 0
		for _, r := range g.rows {
			rows += r
		}
		t.weights += rows * g.cols
		var c quant.Chooser
		codes := make([]byte, len(x.p.Codes))
		for n := range 2 { // the first fills caches and memory
			start = processorTime(b)
			c.Load(f, &x.p, x.p.Absmax, 0)
			c.LossUpTo(x.far, plainlyWorse*t.choose(&c, &x.p, codes))
			lap(&t.choosing, float64(n*rows)/choiceRows)
		}
		return nil
	})
}

// choose returns the loss of the codes it chooses.
func (t *benchCost) choose(c *quant.Chooser, p *quant.Panel, codes []byte) float64 {
	if !t.best {
		return total(c.Choose(codes, p.Spec))
	}
	c.ChooseMoving(codes, p, slices.Clone(p.Absmax), p.Absmax, nil)
	return total(c.Descend(codes, p.Spec, descentPasses))
}

func (t *benchCost) report(b *testing.B) {
	sum := 0.0
	for _, p := range []struct {
		name string
		took time.Duration
	}{{"moments", t.moments}, {"cross", t.cross}, {"factor", t.factor}, {"choosing", t.choosing}} {
		ns := float64(p.took.Nanoseconds()) / float64(t.weights)
		sum += ns
		b.ReportMetric(ns, p.name+"-ns/weight")
	}
	b.ReportMetric(sum, "all-ns/weight")
	b.ReportMetric(sum/2, "s/1e9-weights-on-2-cores")
}

// benchInner is a width that plays no part.
const benchInner = 32

// observeBench hands out inputs of so many features in two variants that differ a
// little: those of a model's first layers, whose weight first is, and it is run no further.
func observeBench(b *testing.B, first repeated, tokens int, see func(in model.Inputs) error) {
	const window = 512
	rows, cols := first.rows, first.cols
	c := &model.Config{
		Architecture: "LlamaForCausalLM", Vocab: 4096, Hidden: cols, Intermediate: benchInner,
		Heads: 1, KVHeads: 1, HeadDim: rows, MaxPositions: window, Eps: 1e-6, EmbedScale: 1, AttentionScale: 1,
		Layers: []model.LayerConfig{{Rope: &model.Rope{Type: "default", Theta: 1e4, Dim: rows, AttentionFactor: 1}}},
	}
	rng := rand.New(rand.NewPCG(1, 2))
	sequences := make([][]int32, tokens/window)
	for i := range sequences {
		for range window {
			sequences[i] = append(sequences[i], rng.Int32N(int32(c.Vocab)))
		}
	}
	variants := []model.Variant{{Weights: &drawn{c.Vocab, cols, 0, first}}, {Weights: &drawn{c.Vocab, cols, 0.01, first}}}
	err := model.Forward(b.Context(), c, variants, sequences, model.Sink{
		Inputs: func(_ []string, in model.Inputs) error {
			if err := see(in); err != nil {
				return err
			}
			return errSeen
		},
		Logits: func(int, int, [][]float32) {},
	}, model.Options{Workers: 1})
	if !errors.Is(err, errSeen) {
		b.Fatal(err)
	}
}

// drawn has random embeddings, moved a little, and norms of 1.
type drawn struct {
	rows, cols int
	away       float32
	first      repeated
}

func (d *drawn) Vector(string) ([]float32, error) {
	v := make([]float32, d.cols)
	for i := range v {
		v[i] = 1
	}
	return v, nil
}

func (d *drawn) Matrix(param string) (model.Matrix, error) {
	switch {
	case strings.Contains(param, "o_proj"):
		return &drawn{rows: d.cols, cols: d.first.rows}, nil
	case strings.Contains(param, "down_proj"):
		return &drawn{rows: d.cols, cols: benchInner}, nil
	case strings.Contains(param, "mlp."):
		return &drawn{rows: benchInner, cols: d.cols}, nil
	case strings.Contains(param, "_proj"):
		return &d.first, nil
	}
	return d, nil
}

func (d *drawn) Size() (rows, cols int) { return d.rows, d.cols }

func (d *drawn) Rows(dst []float32, first int) error {
	for r := range len(dst) / d.cols {
		rng := rand.New(rand.NewPCG(1, uint64(first+r)))
		for j := range d.cols {
			v := float32(rng.NormFloat64())
			dst[r*d.cols+j] = v + float32(d.away*float32(rng.NormFloat64()))
		}
	}
	return nil
}

// repeated is a weight of the same rows again and again.
type repeated struct {
	rows, cols int
	values     []float32
}

func (m *repeated) Size() (rows, cols int) { return m.rows, m.cols }

func (m *repeated) Rows(dst []float32, first int) error {
	for r := range len(dst) / m.cols {
		copy(dst[r*m.cols:(r+1)*m.cols], m.values[(first+r)*m.cols%len(m.values):])
	}
	return nil
}
