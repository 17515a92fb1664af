package model

import "fmt"

// Parameter names a tensor that a model reads.
type Parameter struct {
	Name   string // "model.layers.0.mlp.up_proj.weight"
	Module string // of a matrix, as adapters name it
	Vector bool   // a norm's weight or a bias
}

// Parameters lists what block i reads, in order; -1 stands for the embedding,
// the last norm and the head. Block 0 has the embedding too, which it reads
// first.
func (c *Config) Parameters(i int) (list []Parameter) {
	vector := func(name string) { list = append(list, Parameter{Name: name, Vector: true}) }
	matrix := func(module string) { list = append(list, Parameter{Name: module + ".weight", Module: module}) }
	if i <= 0 {
		matrix("model.embed_tokens")
	}
	if i < 0 {
		vector("model.norm.weight")
		if !c.Tied {
			matrix("lm_head")
		}
		return list
	}
	name := fmt.Sprintf("model.layers.%d.", i)
	vector(name + "input_layernorm.weight")
	qkv, o, _, _ := c.attentionLinears(name + "self_attn.")
	gate, down, _ := c.mlpLinears(name + "mlp.")
	if c.QKNorm {
		vector(name + "self_attn.q_norm.weight")
		vector(name + "self_attn.k_norm.weight")
	}
	for _, l := range append(append(qkv, o), append(gate, down)...) {
		matrix(l.module)
		if l.bias {
			vector(l.module + ".bias")
		}
	}
	vector(name + "post_attention_layernorm.weight")
	if c.PostNorms {
		vector(name + "pre_feedforward_layernorm.weight")
		vector(name + "post_feedforward_layernorm.weight")
	}
	return list
}
