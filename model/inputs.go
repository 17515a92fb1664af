package model

import "fmt"

// Inputs are the activations that linear layers are about to be multiplied
// with: one matrix [Tokens, Features] of each variant. It is valid during the
// call that hands it out; until then its methods are safe for concurrent use.
type Inputs struct{ r *runner }

// Tokens returns how many tokens the batch has.
func (in Inputs) Tokens() int { return in.r.tokens }

// Features returns in_features of the layers.
func (in Inputs) Features() int { return in.r.in.cols }

// Rows fills dst, row-major, with the inputs of len(dst)/Features tokens of a
// variant from token first on.
func (in Inputs) Rows(dst []float32, variant, first int) {
	n := in.r.in.cols
	for i := range len(dst) / n {
		row := variant*in.r.rows + first + i
		tile := in.r.in.tile(row / tileRows)
		for k := range n {
			dst[i*n+k] = tile[k*tileRows+row%tileRows]
		}
	}
}

// observe hands r.in to whoever wants the inputs of layers.
func (r *runner) observe(list []linear) error {
	if r.observer == nil {
		return nil
	}
	modules := make([]string, len(list))
	for i, l := range list {
		modules[i] = l.module
	}
	return r.observer(modules, Inputs{r})
}

// SharedInputs lists the modules of linear layers that share an input, in the order
// in which a forward pass comes to them.
func (c *Config) SharedInputs() (groups [][]string) {
	names := func(list ...linear) {
		g := make([]string, len(list))
		for i, l := range list {
			g[i] = l.module
		}
		groups = append(groups, g)
	}
	for i := range c.Layers {
		name := fmt.Sprintf("model.layers.%d.", i)
		qkv, o, _, _ := c.attentionLinears(name + "self_attn.")
		gate, down, _ := c.mlpLinears(name + "mlp.")
		names(qkv...)
		names(o)
		names(gate...)
		names(down)
	}
	if c.Tied {
		return append(groups, []string{"model.embed_tokens"})
	}
	return append(groups, []string{"lm_head"})
}
