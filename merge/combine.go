package merge

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"mergescope/loader"
	"mergescope/quant"
)

// term is one adapter's part in a combined module.
type term struct {
	a, b   []float32 // [rank, in] and [out, rank]
	rank   int
	in     int
	out    int
	weight float64 // the user's
	scale  float64 // of the adapter on this module
	flip   bool    // PEFT holds the delta as [in, out]
}

// pair is a combined module: A [rank, in], B [out, rank].
type pair struct {
	a, b          []float32
	rank, in, out int
}

// Combine makes one adapter of several, held in memory, as PEFT's
// add_weighted_adapter does (peft/tuners/lora/model.py, utils/merge_utils.py):
//
//   - linear, ties, dare_* and magnitude_prune work on A and B apart, with
//     sign(w*s)*sqrt|w*s| for A and sqrt|w*s| for B, so B'A' has cross terms;
//   - cat stacks the factors, w*s on A, and is exact up to the dtype PEFT creates
//     the adapter in, which is the base's compute dtype;
//   - the svd types combine the deltas and cut the result to a rank. Only the
//     product is determined: singular vectors have a free sign.
//
// The result has scale 1, with rsLoRA sqrt(rank) as in PEFT. Random draws are
// seeded by c.Seed and do not reproduce torch's.
func Combine(model *loader.Checkpoint, adapters []*loader.Adapter, weights []float64, c Combination) (*loader.Adapter, error) {
	rank, err := c.check(adapters, weights)
	if err != nil {
		return nil, err
	}
	if len(adapters) == 1 {
		c = Combination{Type: "linear"}
	}
	rng := rand.New(rand.NewPCG(c.Seed, 0))
	file := tensorFile{}
	for _, key := range modulesOf(adapters) {
		terms, err := termsOf(model, adapters, weights, key)
		if err != nil {
			return nil, err
		}
		p, err := c.module(terms, rank, rng)
		if err != nil {
			return nil, fmt.Errorf("combination %s: %s: %w", c.Type, key, err)
		}
		dtype := quant.F32
		if c.Type == "cat" {
			dtype = createdIn(model, key)
		}
		file.add(key, p, dtype, adapters)
	}
	return file.adapter(c, adapters[0], rank)
}

// check returns the rank of the combined adapter, or why PEFT refuses.
func (c Combination) check(adapters []*loader.Adapter, weights []float64) (int, error) {
	if len(adapters) == 0 || len(weights) != len(adapters) {
		return 0, fmt.Errorf("combination %s: %d adapters and %d weights", c.Type, len(adapters), len(weights))
	}
	var ranks []int
	for _, a := range adapters {
		switch cfg := &a.Config; {
		case cfg.PeftType != "LORA":
			return 0, fmt.Errorf("combination %s: adapter %s is %s, only LoRA adapters can be combined", c.Type, a.Name, cfg.PeftType)
		case len(cfg.TargetParameters) > 0:
			return 0, fmt.Errorf("combination %s: adapter %s: add_weighted_adapter does not support targeting nn.Parameter", c.Type, a.Name)
		case cfg.UseDoRA || cfg.LoraBias || cfg.KaSA != nil:
			return 0, fmt.Errorf("combination %s: adapter %s: DoRA, lora_bias and KaSA parts would be lost silently in a combination", c.Type, a.Name)
		}
		r := a.Config.R
		for _, p := range a.Config.RankPattern {
			r = max(r, int(p.Value))
		}
		ranks = append(ranks, r)
	}
	switch {
	case c.Type == "cat" && len(adapters) > 1:
		sum := 0
		for _, r := range ranks {
			sum += r
		}
		return sum, nil
	case c.svd() && len(adapters) > 1:
		return cmp.Or(c.Rank, slices.Max(ranks)), nil
	case slices.Min(ranks) != slices.Max(ranks):
		return 0, fmt.Errorf("combination %s: all adapters must have the same rank, got %v", c.Type, ranks)
	}
	return ranks[0], nil
}

// modulesOf lists the module paths of the adapters, each once, in natural order.
func modulesOf(adapters []*loader.Adapter) []string {
	var paths []string
	seen := map[string]bool{}
	for _, a := range adapters {
		for _, m := range a.Modules {
			if !seen[m.Path] {
				seen[m.Path] = true
				paths = append(paths, m.Path)
			}
		}
	}
	return paths
}

func termsOf(model *loader.Checkpoint, adapters []*loader.Adapter, weights []float64, path string) ([]term, error) {
	w := model.Weight(path)
	conv1d := w != nil && w.Format.IsFloat() && conv1dModels[model.Config.ModelType]
	var terms []term
	for i, a := range adapters {
		m := a.Module(path)
		if m == nil {
			continue
		}
		if m.Problem != nil {
			return nil, m.Problem
		}
		t := term{rank: m.Rank, weight: weights[i], scale: m.Scale, in: int(m.A.Shape[1]), out: int(m.B.Shape[0])}
		t.flip = conv1d || m.Embedding
		var err error
		if t.a, err = readFloats(m.A); err != nil {
			return nil, err
		}
		if t.b, err = readFloats(m.B); err != nil {
			return nil, err
		}
		terms = append(terms, t)
	}
	return terms, nil
}

// module combines the terms of one module.
func (c Combination) module(terms []term, rank int, rng *rand.Rand) (pair, error) {
	first := terms[0]
	for _, t := range terms[1:] {
		if t.in != first.in || t.out != first.out {
			return pair{}, fmt.Errorf("shapes differ: [%d, %d] and [%d, %d]", first.out, first.in, t.out, t.in)
		}
		if t.rank != first.rank && c.Type != "cat" && !c.svd() {
			return pair{}, fmt.Errorf("ranks differ: %d and %d", first.rank, t.rank)
		}
	}
	p := pair{rank: rank, in: first.in, out: first.out}
	switch {
	case c.Type == "cat":
		p.stack(terms)
	case c.svd():
		return p, c.cut(&p, terms, rng)
	default:
		var as, bs [][]float32
		var wa, wb []float32
		for _, t := range terms {
			ws := t.weight * t.scale
			root := math.Sqrt(math.Abs(ws))
			as, bs = append(as, t.a), append(bs, t.b)
			wa, wb = append(wa, float32(math.Copysign(root, ws))), append(wb, float32(root))
		}
		p.rank = first.rank
		p.a = c.tasks(as, wa, rng)
		p.b = c.tasks(bs, wb, rng)
	}
	return p, nil
}

// stack lays A's rows and B's columns side by side; unused rank stays zero.
func (p *pair) stack(terms []term) {
	p.a, p.b = make([]float32, p.rank*p.in), make([]float32, p.out*p.rank)
	k := 0
	for _, t := range terms {
		w, s := float32(t.weight), float32(t.scale)
		for i, v := range t.a {
			p.a[k*p.in+i] = float32(v*w) * s
		}
		for o := range p.out {
			copy(p.b[o*p.rank+k:], t.b[o*t.rank:(o+1)*t.rank])
		}
		k += t.rank
	}
}

// tasks applies the combination's function to equally long tensors.
func (c Combination) tasks(tasks [][]float32, weights []float32, rng *rand.Rand) []float32 {
	if c.prunes() {
		pruned := make([][]float32, len(tasks))
		for i, t := range tasks {
			if c.random() {
				pruned[i] = pruneRandom(t, c.Density, rng)
			} else {
				pruned[i] = pruneMagnitude(t, c.Density)
			}
		}
		tasks = pruned
	}
	if c.ties() {
		return ties(tasks, weights, c.Frequency)
	}
	return weightedSum(tasks, weights)
}

// createdIn is the dtype PEFT creates a new adapter in.
func createdIn(model *loader.Checkpoint, path string) quant.Format {
	w := model.Weight(path)
	if w == nil {
		return quant.F32
	}
	return layerDtype(w, computeDtype(model))
}

// tensorFile gathers the tensors of a combined adapter.
type tensorFile struct {
	header map[string]any
	data   []byte
}

func (f *tensorFile) add(path string, p pair, dtype quant.Format, adapters []*loader.Adapter) {
	names := [2]string{".lora_A.weight", ".lora_B.weight"}
	for _, a := range adapters {
		if m := a.Module(path); m != nil && m.Embedding {
			names = [2]string{".lora_embedding_A", ".lora_embedding_B"}
		}
	}
	f.tensor("base_model.model."+path+names[0], p.a, p.rank, p.in, dtype)
	f.tensor("base_model.model."+path+names[1], p.b, p.out, p.rank, dtype)
}

func (f *tensorFile) tensor(name string, v []float32, rows, cols int, dtype quant.Format) {
	if f.header == nil {
		f.header = map[string]any{}
	}
	raw := make([]byte, dtype.Bytes(int64(len(v))))
	quant.EncodeFloats(raw, v, dtype)
	f.header[name] = map[string]any{
		"dtype": strings.ToUpper(dtype.String()), "shape": []int{rows, cols},
		"data_offsets": []int{len(f.data), len(f.data) + len(raw)},
	}
	f.data = append(f.data, raw...)
}

// adapter opens the gathered tensors as an adapter with the configuration PEFT
// gives it: that of the first adapter, r and lora_alpha the new rank, no
// patterns.
func (f *tensorFile) adapter(c Combination, first *loader.Adapter, rank int) (*loader.Adapter, error) {
	head, err := json.Marshal(f.header)
	if err != nil {
		return nil, err
	}
	raw := binary.LittleEndian.AppendUint64(nil, uint64(len(head)))
	raw = append(append(raw, head...), f.data...)
	file, err := loader.NewFile(bytes.NewReader(raw), int64(len(raw)), "combined by "+c.String())
	if err != nil {
		return nil, err
	}
	config := map[string]any{}
	for k, v := range first.Config.Raw {
		config[k] = v
	}
	config["r"], config["lora_alpha"] = rank, rank
	config["rank_pattern"], config["alpha_pattern"] = map[string]any{}, map[string]any{}
	text, err := json.Marshal(config)
	if err != nil {
		return nil, err
	}
	a, err := loader.NewAdapter("combined", text, file)
	if err == nil {
		a.Native = true // PEFT upcasts adapters when it loads them, not when it makes them
	}
	return a, err
}
