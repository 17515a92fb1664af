package model

import (
	"fmt"
)

// normed fills in with the rows of x after a norm.
func (r *runner) normed(name string) error {
	w, err := r.vectors(name, r.c.Hidden)
	if err != nil {
		return err
	}
	r.in.resize(r.x.rows, r.c.Hidden)
	return r.eachTile(func(s *scratch, v, tile int) error {
		n := r.c.Hidden
		s.f = grow(s.f, tileRows*n)
		for i := range tileRows {
			norm(s.f[i*n:], r.x.row(tile*tileRows+i), w[r.source[v]], r.c.Eps, r.c.UnitOffset)
		}
		r.in.put(tile, s.f, n)
		return nil
	})
}

// residual adds thin to x, after a norm of it if the model has one there.
func (r *runner) residual(name string) (err error) {
	var w [][]float32
	if r.c.PostNorms {
		if w, err = r.vectors(name, r.c.Hidden); err != nil {
			return err
		}
	}
	return r.eachTile(func(s *scratch, v, tile int) error {
		for i := tile * tileRows; i < (tile+1)*tileRows; i++ {
			add := r.thin.row(i)[:r.c.Hidden]
			if w != nil {
				norm(add, add, w[r.source[v]], r.c.Eps, r.c.UnitOffset)
			}
			x := r.x.row(i)
			for j, v := range add {
				x[j] += v
			}
		}
		return nil
	})
}

// layer runs one block.
func (r *runner) layer(i int) error {
	name := fmt.Sprintf("model.layers.%d.", i)
	if err := r.normed(name + "input_layernorm.weight"); err != nil {
		return err
	}
	if err := r.attend(i, name+"self_attn."); err != nil {
		return err
	}
	before := name + "post_attention_layernorm.weight"
	if r.c.PostNorms {
		if err := r.residual(before); err != nil {
			return err
		}
		before = name + "pre_feedforward_layernorm.weight"
	} else if err := r.residual(""); err != nil {
		return err
	}
	if err := r.normed(before); err != nil {
		return err
	}
	if err := r.mlp(name + "mlp."); err != nil {
		return err
	}
	return r.residual(name + "post_feedforward_layernorm.weight")
}

// mlp sets thin to the gated MLP of in.
func (r *runner) mlp(name string) error {
	c := r.c
	n := c.Intermediate
	in, out, up := c.mlpLinears(name)
	r.wide.resize(r.x.rows, up+n)
	if err := r.linears(in, &r.wide); err != nil {
		return err
	}
	r.in.resize(r.x.rows, n)
	err := r.eachTile(func(s *scratch, _, tile int) error {
		s.f = grow(s.f, tileRows*n)
		for i := range tileRows {
			row := r.wide.row(tile*tileRows + i)
			c.Activation.gate(s.f[i*n:(i+1)*n], row[:n], row[up:up+n])
		}
		r.in.put(tile, s.f, n)
		return nil
	})
	if err != nil {
		return err
	}
	r.thin.resize(r.x.rows, c.Hidden)
	return r.linears([]linear{out}, &r.thin)
}

// mlpLinears returns the projections of the MLP; the factor of the gate goes to
// columns up on.
func (c *Config) mlpLinears(name string) (in []linear, out linear, up int) {
	n := c.Intermediate
	out = linear{name + "down_proj", c.Hidden, 0, c.MLPBias}
	if c.Fused {
		return []linear{{name + "gate_up_proj", 2 * n, 0, false}}, out, n
	}
	up = roundUp(n, panelCols)
	return []linear{{name + "gate_proj", n, 0, c.MLPBias}, {name + "up_proj", n, up, c.MLPBias}}, out, up
}
