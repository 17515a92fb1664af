package model

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
)

// Variant is one way to run the model: its weights, and adapters kept separate.
type Variant struct {
	Name    string
	Weights Weights
	LoRA    LoRA
}

// Sink receives what a forward pass computes. Its functions may be nil. They
// are called concurrently for different tokens; for one token in order. Slices
// are valid during the call only. Tokens count through the batch.
type Sink struct {
	// Hidden gets the hidden state of a token after block layer, one of each
	// variant.
	Hidden func(layer, token int, states [][]float32)

	// Logits gets the logits of vocabulary entries [first, first+len) of a
	// token, one slice of each variant, in ascending order of first.
	Logits func(token, first int, logits [][]float32)

	// Layer is called, by one goroutine, when a block is through.
	Layer func(done, layers int)

	// Inputs is called, by one goroutine, before linear layers are computed,
	// once for those that share an input: "model.layers.0.self_attn.q_proj" and
	// its siblings. An error of it ends the pass.
	Inputs func(modules []string, in Inputs) error
}

// Options of a forward pass. The zero value has one worker for each processor.
type Options struct {
	Workers int
}

// Forward runs all sequences through all variants, layer by layer. Variants
// with equal Weights share every read of them. Token ids outside the
// vocabulary, empty sequences and weights that are missing or of another shape
// than c says are errors.
func Forward(ctx context.Context, c *Config, variants []Variant, sequences [][]int32, sink Sink, opt Options) error {
	r, err := newRunner(ctx, c, variants, opt)
	if err != nil {
		return err
	}
	if err := r.load(sequences); err != nil {
		return err
	}
	r.observer = sink.Inputs
	if err := r.blocks(sink); err != nil {
		return err
	}
	return r.head(sink.Logits)
}

// blocks runs the embedding and all blocks.
func (r *runner) blocks(sink Sink) error {
	if err := r.embed(); err != nil {
		return err
	}
	for i := range r.c.Layers {
		if err := r.layer(i); err != nil {
			return fmt.Errorf("layer %d: %w", i, err)
		}
		if err := r.hidden(i, sink.Hidden); err != nil {
			return err
		}
		if sink.Layer != nil {
			sink.Layer(i+1, len(r.c.Layers))
		}
	}
	return nil
}

// runner is one forward pass. Activations of variant v begin at row v*rows.
type runner struct {
	ctx      context.Context
	c        *Config
	variants []Variant
	sources  []Weights // distinct ones
	source   []int     // of each variant
	workers  int

	sequences [][]int32
	starts    []int // first token of each sequence
	owner     []int // sequence of each token
	tokens    int
	rows      int // tokens rounded up to whole tiles

	cache *cache // of a Session, nil otherwise

	rope map[ropeKey]*rotations

	x    matrix // residual stream
	wide matrix // q, k, v; gate, up; logits
	thin matrix // what a block adds to x
	in   tiles  // input of a product

	observer func(modules []string, in Inputs) error // of Sink.Inputs

	scratch []scratch // by worker
}

type ropeKey struct {
	rope   *Rope
	regime int
}

// scratch is the memory of one worker.
type scratch struct {
	rows   []float32 // of a weight as read
	panels []float32
	lora   []float32 // panels of B
	f      []float32 // a tile's rows
	att    attention
	states [][]float32
}

func newRunner(ctx context.Context, c *Config, variants []Variant, opt Options) (*runner, error) {
	r := &runner{ctx: ctx, c: c, variants: variants, workers: opt.Workers, rope: map[ropeKey]*rotations{}}
	if r.workers < 1 {
		r.workers = runtime.GOMAXPROCS(0)
	}
	if len(variants) == 0 {
		return nil, errors.New("nothing to run: no variants")
	}
	for _, v := range variants {
		at := 0
		for at < len(r.sources) && r.sources[at] != v.Weights {
			at++
		}
		if at == len(r.sources) {
			r.sources = append(r.sources, v.Weights)
		}
		r.source = append(r.source, at)
	}
	r.scratch = make([]scratch, r.workers)
	for i := range r.scratch {
		r.scratch[i].states = make([][]float32, len(variants))
	}
	return r, r.fits()
}

// load makes room for a batch.
func (r *runner) load(sequences [][]int32) error {
	if len(sequences) == 0 {
		return errors.New("nothing to run: no sequences")
	}
	r.sequences, r.starts, r.owner, r.tokens = sequences, r.starts[:0], r.owner[:0], 0
	for i, s := range sequences {
		if len(s) == 0 {
			return fmt.Errorf("sequence %d is empty", i)
		}
		if err := r.c.known(s); err != nil {
			return fmt.Errorf("sequence %d: %w", i, err)
		}
		r.owner = append(r.owner, slices.Repeat([]int{i}, len(s))...)
		r.starts = append(r.starts, r.tokens)
		r.tokens += len(s)
		r.rotate(r.past() + len(s))
	}
	r.rows = roundUp(r.tokens, tileRows)
	r.x.resize(r.rows*len(r.variants), r.c.Hidden)
	clear(r.x.data)
	return nil
}

// known checks that tokens are in the vocabulary.
func (c *Config) known(ids []int32) error {
	for at, id := range ids {
		if id < 0 || int(id) >= c.Vocab {
			return fmt.Errorf("token %d at position %d is outside the vocabulary of %d", id, at, c.Vocab)
		}
	}
	return nil
}

// past is how many tokens went before those of the sequence at hand.
func (r *runner) past() int {
	if r.cache == nil {
		return 0
	}
	return r.cache.filled
}

// rotate makes tables for every embedding and a sequence of length n.
func (r *runner) rotate(n int) {
	for _, l := range r.c.Layers {
		k := ropeKey{l.Rope, l.Rope.regime(n)}
		if t := r.rope[k]; t == nil || t.positions() < n {
			positions := n
			if r.cache != nil {
				positions = max(n, r.cache.capacity)
			}
			r.rope[k] = l.Rope.table(n, positions)
		}
	}
}

// rotations returns the table of a layer for a sequence.
func (r *runner) rotations(l LayerConfig, sequence int) *rotations {
	return r.rope[ropeKey{l.Rope, l.Rope.regime(r.past() + len(r.sequences[sequence]))}]
}

// embed fills x with the embeddings of the tokens.
func (r *runner) embed() error {
	tables := make([]Matrix, len(r.sources))
	for i, s := range r.sources {
		m, err := s.Matrix("model.embed_tokens.weight")
		if err != nil {
			return err
		}
		tables[i] = m
	}
	return parallel(r.ctx, r.workers, r.tokens, func(_, t int) error {
		for v := range r.variants {
			row := r.x.row(v*r.rows + t)[:r.c.Hidden]
			seq := r.owner[t]
			id := r.sequences[seq][t-r.starts[seq]]
			if r.cache != nil {
				id = r.cache.tokens[v*len(r.sequences)+seq][t-r.starts[seq]]
			}
			if err := tables[r.source[v]].Rows(row, int(id)); err != nil {
				return err
			}
			if r.c.EmbedScale != 1 {
				for i := range row {
					row[i] *= r.c.EmbedScale
				}
			}
		}
		return nil
	})
}

func sized(name string, m Matrix, rows, cols int) error {
	if n, k := m.Size(); n != rows || k != cols {
		return fmt.Errorf("weight %s is [%d, %d], config.json asks for [%d, %d]", name, n, k, rows, cols)
	}
	return nil
}

// vectors reads a vector of every source.
func (r *runner) vectors(name string, n int) ([][]float32, error) {
	list := make([][]float32, len(r.sources))
	for i, s := range r.sources {
		v, err := s.Vector(name)
		if err != nil {
			return nil, err
		}
		if len(v) != n {
			return nil, fmt.Errorf("tensor %s has %d elements, config.json asks for %d", name, len(v), n)
		}
		list[i] = v
	}
	return list, nil
}

// eachTile calls do for every tile of rows of every variant.
func (r *runner) eachTile(do func(s *scratch, v, tile int) error) error {
	per := r.rows / tileRows
	return parallel(r.ctx, r.workers, per*len(r.variants), func(w, i int) error {
		return do(&r.scratch[w], i/per, i)
	})
}

// fits checks sizes against weights, before anything of these sizes is
// allocated: the first layer has all of them.
func (r *runner) fits() error {
	c := r.c
	qkv, o, _, _ := c.attentionLinears("model.layers.0.self_attn.")
	gate, down, _ := c.mlpLinears("model.layers.0.mlp.")
	for _, s := range r.sources {
		check := func(name string, rows, cols int) error {
			m, err := s.Matrix(name + ".weight")
			if err != nil {
				return err
			}
			return sized(name+".weight", m, rows, cols)
		}
		err := check("model.embed_tokens", c.Vocab, c.Hidden)
		for _, l := range append(qkv, gate...) {
			if err == nil {
				err = check(l.module, l.out, c.Hidden)
			}
		}
		if err == nil {
			err = check(o.module, c.Hidden, c.Heads*c.HeadDim)
		}
		if err == nil {
			err = check(down.module, c.Hidden, c.Intermediate)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// hidden hands x to the sink.
func (r *runner) hidden(layer int, sink func(layer, token int, states [][]float32)) error {
	if sink == nil {
		return nil
	}
	return parallel(r.ctx, r.workers, r.tokens, func(w, t int) error {
		states := r.scratch[w].states
		for v := range states {
			states[v] = r.x.row(v*r.rows + t)[:r.c.Hidden]
		}
		sink(layer, t, states)
		return nil
	})
}

// slab is how many vocabulary entries are computed before the sink gets them.
const slab = 1024

// head computes the logits, a slab of the vocabulary at a time.
func (r *runner) head(sink func(token, first int, logits [][]float32)) error {
	if sink == nil {
		return nil
	}
	if err := r.normed("model.norm.weight"); err != nil {
		return err
	}
	l := linear{"lm_head", r.c.Vocab, 0, false}
	if r.c.Tied {
		l.module = "model.embed_tokens"
	}
	m, err := r.open(l)
	if err != nil {
		return err
	}
	m.adapter = "lm_head"
	if _, err := r.observe([]linear{l}, nil); err != nil {
		return err
	}
	if err := r.lora(m); err != nil {
		return err
	}
	for first := 0; first < r.c.Vocab; first += slab {
		n := min(slab, r.c.Vocab-first)
		r.wide.resize(r.x.rows, n)
		m.first, m.out = first, n
		if err := r.run([]*opened{m}, &r.wide); err != nil {
			return err
		}
		err := parallel(r.ctx, r.workers, r.tokens, func(w, t int) error {
			logits := r.scratch[w].states
			for v := range logits {
				logits[v] = r.wide.row(v*r.rows + t)[:n]
				if r.c.LogitSoftcap > 0 {
					cap32(logits[v], r.c.LogitSoftcap)
				}
			}
			sink(t, first, logits)
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
