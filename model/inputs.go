package model

import "fmt"

// Inputs are the activations that linear layers are about to be multiplied
// with: one matrix [Tokens, Features] of each variant. It is valid during the
// call that hands it out; until then its methods are safe for concurrent use, but
// for Outputs.
type Inputs struct {
	r     *runner
	early *early // nil for the head, whose outputs do not fit in memory
}

// early has outputs that were asked for before all are computed.
type early struct {
	list []linear
	out  *matrix
	made [][]bool // by layer and variant
}

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

// observe hands r.in to whoever wants the inputs of layers. It returns what of the
// outputs, which go to out, is computed.
func (r *runner) observe(list []linear, out *matrix) (*early, error) {
	if r.observer == nil {
		return nil, nil
	}
	in := Inputs{r: r}
	if out != nil {
		in.early = &early{list, out, make([][]bool, len(list))}
	}
	modules := make([]string, len(list))
	for i, l := range list {
		modules[i] = l.module
		if out != nil {
			in.early.made[i] = make([]bool, len(r.variants))
		}
	}
	return in.early, r.observer(modules, in)
}

// HasOutputs reports whether Outputs can be had.
func (in Inputs) HasOutputs() bool { return in.early != nil }

// output computes what layer i, one of those handed out, gives for variant v, its
// biases not included. The pass does not compute that again.
func (in Inputs) output(i, v int) error {
	r, e := in.r, in.early
	if e.made[i][v] {
		return nil
	}
	m, err := r.open(e.list[i])
	if err == nil {
		err = r.lora(m)
	}
	if err != nil {
		return err
	}
	m.made = make([]bool, len(r.variants))
	for k := range m.made {
		m.made[k] = k != v
	}
	e.made[i][v] = true
	return r.tasks([]*opened{m}, func(s *scratch, m *opened, source, r0, r1 int) error {
		return r.block(s, m, source, r0, r1, e.out)
	})
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
