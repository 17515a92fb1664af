package model

import (
	"context"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
)

// noisiest is the Gumbel-max rule as written down: the token whose logit and
// noise sum to most.
func noisiest(logits []float32, temperature float64, seed uint64, step int) int32 {
	best, most := int32(0), math.Inf(-1)
	for id, l := range logits {
		r := rand.NewPCG(seed, uint64(step)<<32|uint64(id))
		u := (float64(r.Uint64()>>11) + 0.5) / (1 << 53)
		if v := float64(l)/temperature - math.Log(-math.Log(u)); v > most {
			best, most = int32(id), v
		}
	}
	return best
}

// Noise that is not worked out would not have been enough, however far logits
// lie apart and in whatever parts they come.
func TestDrawLeavesOutNothing(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for step := range 4000 {
		logits := make([]float32, 1+r.IntN(300))
		width := math.Exp2(float64(r.IntN(9) - 2))
		for i := range logits {
			if logits[i] = float32(r.NormFloat64() * width); r.IntN(50) == 0 {
				logits[i] = float32(math.Inf(-1))
			}
		}
		s := Sampling{Temperature: 0.5 + r.Float64(), Seed: r.Uint64()}
		d := s.draw(step)
		cut := r.IntN(len(logits) + 1)
		d.add(0, logits[:cut])
		d.add(cut, logits[cut:])
		if want := noisiest(logits, s.Temperature, s.Seed, step); d.id != want || s.choose(logits, step) != want {
			t.Fatalf("step %d of %d logits: %d, in one part %d, want %d", step, len(logits), d.id, s.choose(logits, step), want)
		}
	}
}

// Texts that a variant writes are what its logits over them, those of the base if
// they guide it, and the noise of each sequence say, for any number of workers.
func TestComposeFollowsLogits(t *testing.T) {
	for _, guide := range []float32{0, 1.5} {
		composeFollows(t, guide)
	}
}

func composeFollows(t *testing.T, guide float32) {
	t.Helper()
	c, nf4 := openModel(t, filepath.Join(demoDir, "base-nf4"))
	v := Variant{Weights: nf4, LoRA: openLoRA(t, filepath.Join(demoDir, "adapter-gocode"))}
	const n, length, begin, seed = 14, 40, 10, 5
	base := Variant{Weights: nf4}
	w := Writing{N: n, Length: length, Begin: begin, Seed: seed, Guide: float64(guide), Base: base}
	var steps []int
	texts, err := Compose(context.Background(), c, v, w, Options{Workers: 1}, func(done int) { steps = append(steps, done) })
	if err != nil {
		t.Fatal(err)
	}
	if len(texts) != n || len(steps) != length-1 || steps[length-2] != length {
		t.Fatalf("%d texts in steps %v", len(texts), steps)
	}
	both := logitsOf(t, c, []Variant{v, base}, texts, Options{})
	logits := both[0]
	for i, x := range logits {
		logits[i] = x + float32(guide*(x-both[1][i]))
	}
	for i, ids := range texts {
		if len(ids) != length || ids[0] != begin {
			t.Fatalf("text %d has %d tokens from %d on", i, len(ids), ids[0])
		}
		for at := 1; at < length; at++ {
			l := logits[(i*length+at-1)*c.Vocab:][:c.Vocab]
			if want := noisiest(l, 1, seed+uint64(i), at); ids[at] != want {
				t.Fatalf("text %d, token %d: %d, want %d", i, at, ids[at], want)
			}
		}
	}
	again, err := Compose(context.Background(), c, v, w, Options{Workers: 3}, nil)
	if err != nil || !slices.EqualFunc(texts, again, slices.Equal) {
		t.Errorf("three workers write something else (%v)", err)
	}
}

func TestComposeErrors(t *testing.T) {
	a := archNamed(t, "llama")
	v := Variant{Weights: a.weights}
	if _, err := Compose(context.Background(), a.c, v, Writing{Length: 5}, Options{}, nil); err == nil {
		t.Error("no sequences are no error")
	}
	ctx, cancel := context.WithCancel(context.Background())
	_, err := Compose(ctx, a.c, v, Writing{N: 3, Length: 30, Begin: 1}, Options{}, func(done int) {
		if done == 4 {
			cancel()
		}
	})
	if err != context.Canceled {
		t.Errorf("%v", err)
	}
}
