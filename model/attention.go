package model

import "mergescope/quant"

// attention is the scratch of one worker.
type attention struct {
	own         kept
	query, prob []float32 // tiles
	scores, out matrix
}

// kept are the keys and values of a head and sequence, in panels.
type kept struct {
	keys, values []float32
	capacity     int // tokens there is room for
}

// resize makes room for n tokens. What is behind the last panel of keys is 0.
func (k *kept) resize(n, dim int) {
	k.capacity = n
	k.keys = grow(k.keys, roundUp(n, panelCols)*dim)
	k.values = grow(k.values, n*roundUp(dim, panelCols))
	clear(k.keys[n/panelCols*panelCols*dim:])
}

// attend sets thin to the attention of in, output projection included.
func (r *runner) attend(layer int, name string) error {
	c, l := r.c, r.c.Layers[layer]
	in, out, k, v := c.attentionLinears(name)
	q, kv := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
	r.wide.resize(r.x.rows, v+kv)
	if err := r.linears(in, &r.wide); err != nil {
		return err
	}
	if err := r.turn(name, l, k); err != nil {
		return err
	}
	per := len(r.sequences) * c.KVHeads
	err := parallel(r.ctx, r.workers, per*len(r.variants), func(w, i int) error {
		seq, head := i%per/c.KVHeads, i%c.KVHeads
		h := heads{runner: r, attention: &r.scratch[w].att, first: r.past(), dim: c.HeadDim, window: l.Window}
		h.n, h.row = h.first+len(r.sequences[seq]), i/per*r.rows+r.starts[seq]
		if r.cache != nil {
			h.kept = r.cache.at(layer, i)
		} else {
			h.kept = &h.own
			h.resize(h.n, h.dim)
		}
		h.load(k+head*c.HeadDim, v+head*c.HeadDim)
		group := c.Heads / c.KVHeads
		for g := range group {
			h.attend((head*group + g) * c.HeadDim)
		}
		return nil
	})
	if err != nil {
		return err
	}
	r.in.resize(r.x.rows, q)
	err = r.eachTile(func(_ *scratch, _, tile int) error {
		r.in.put(tile, r.wide.data[tile*tileRows*r.wide.stride:], r.wide.stride)
		return nil
	})
	if err != nil {
		return err
	}
	r.thin.resize(r.x.rows, c.Hidden)
	return r.linears([]linear{out}, &r.thin)
}

// attentionLinears returns the projections of attention; keys and values go to
// columns k and v on.
func (c *Config) attentionLinears(name string) (in []linear, out linear, k, v int) {
	q, kv := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
	out = linear{name + "o_proj", c.Hidden, 0, c.OutputBias}
	if c.Fused {
		return []linear{{name + "qkv_proj", q + 2*kv, 0, c.QKVBias}}, out, q, q + kv
	}
	k, v = roundUp(q, panelCols), roundUp(q, panelCols)+roundUp(kv, panelCols)
	return []linear{{name + "q_proj", q, 0, c.QKVBias}, {name + "k_proj", kv, k, c.QKVBias}, {name + "v_proj", kv, v, c.QKVBias}}, out, k, v
}

// turn applies the norms of queries and keys, which begin at column k, and
// their rotation.
func (r *runner) turn(name string, l LayerConfig, k int) (err error) {
	c := r.c
	var qw, kw [][]float32
	if c.QKNorm {
		if qw, err = r.vectors(name+"q_norm.weight", c.HeadDim); err != nil {
			return err
		}
		if kw, err = r.vectors(name+"k_norm.weight", c.HeadDim); err != nil {
			return err
		}
	}
	return r.eachTile(func(_ *scratch, v, tile int) error {
		for i := tile * tileRows; i < (tile+1)*tileRows; i++ {
			t := i - v*r.rows
			if t >= r.tokens {
				break
			}
			seq := r.owner[t]
			rot, pos, row := r.rotations(l, seq), r.past()+t-r.starts[seq], r.wide.row(i)
			for h := range c.Heads + c.KVHeads {
				at, w := h*c.HeadDim, qw
				if h >= c.Heads {
					at, w = k+(h-c.Heads)*c.HeadDim, kw
				}
				x := row[at : at+c.HeadDim]
				if w != nil {
					norm(x, x, w[r.source[v]], c.Eps, c.UnitOffset)
				}
				rot.rotate(x, pos)
			}
		}
		return nil
	})
}

// heads is the attention of one key/value head over one sequence, of which the
// tokens from first on are at hand and those before are kept. Chains begin at
// multiples of chainLen keys and those a query does not see weigh 0, so a result
// does not depend on the tile it is in.
type heads struct {
	*runner
	*attention
	*kept
	row      int // of wide, that of the first token at hand
	first, n int // tokens
	dim      int // features
	window   int
}

// load packs keys and values, which begin at these columns.
func (h *heads) load(k, v int) {
	dims := roundUp(h.dim, panelCols)
	for t := h.first; t < h.n; t++ {
		row := h.wide.row(h.row + t - h.first)
		panel := h.keys[t/panelCols*panelCols*h.dim+t%panelCols:]
		for j, x := range row[k : k+h.dim] {
			panel[j*panelCols] = x
		}
		for p := 0; p < dims; p += panelCols {
			dst := h.values[p*h.capacity+t*panelCols:][:panelCols]
			clear(dst[copy(dst, row[v+p:v+min(p+panelCols, h.dim)]):])
		}
	}
}

// keyStep divides the place of the first key of a tile: whole panels of keys
// and whole chains over values.
const keyStep = 2 * chainLen // = 3 * panelCols

// attend replaces the queries at column q by what they attend to.
func (h *heads) attend(q int) {
	h.query = grow(h.query, h.dim*tileRows)
	h.scores.resize(tileRows, h.n)
	h.out.resize(tileRows, h.dim)
	h.prob = grow(h.prob, h.n*tileRows)
	for t0 := h.first; t0 < h.n; t0 += tileRows {
		rows, row := min(tileRows, h.n-t0), h.row+t0-h.first
		clear(h.query)
		for i := range rows {
			for j, x := range h.wide.row(row + i)[q : q+h.dim] {
				h.query[j*tileRows+i] = x
			}
		}
		lo, hi := h.from(t0)/keyStep*keyStep, t0+rows
		h.multiplyKeys(lo, hi)
		for i := range tileRows {
			h.softmax(i, min(t0+i, h.n-1), lo, hi)
		}
		quant.Interleave(h.prob, tileRows, h.scores.data[lo:], h.scores.stride, tileRows, hi-lo)
		h.multiplyValues(lo, hi)
		for i := range rows {
			copy(h.wide.row(row + i)[q:q+h.dim], h.out.row(i))
		}
	}
}

// from returns the first key the query at t sees.
func (h *heads) from(t int) int {
	if h.window == 0 {
		return 0
	}
	return max(t-h.window+1, 0)
}

// multiplyKeys fills scores of keys [lo, hi).
func (h *heads) multiplyKeys(lo, hi int) {
	for key := lo; key < hi; key += panelCols {
		dot(h.scores.data[key:], h.scores.stride, h.query, h.keys[key*h.dim:], h.dim, false)
	}
}

// softmax replaces the scores of the query at t, row i of the tile, by the
// weights of keys [lo, hi), 0 for those the query does not see.
func (h *heads) softmax(i, t, lo, hi int) {
	row, from := h.scores.row(i), max(h.from(t), lo)
	clear(row[lo:from])
	clear(row[t+1 : hi])
	s := row[from : t+1]
	most := scaleAll(s, h.c.AttentionScale)
	if h.c.AttentionSoftcap > 0 {
		cap32(s, h.c.AttentionSoftcap)
		most = scaleAll(s, 1)
	}
	expAll(s, most) // NaN stays NaN and makes the sum NaN
	var a, b, c, d float64
	rest := s
	for ; len(rest) >= 4; rest = rest[4:] {
		a, b, c, d = a+float64(rest[0]), b+float64(rest[1]), c+float64(rest[2]), d+float64(rest[3])
	}
	for _, v := range rest {
		a += float64(v)
	}
	divide(s, float32(a+b+c+d))
}

// multiplyValues sets out to the weighted sum of values [lo, hi); lo is a
// multiple of chainLen.
func (h *heads) multiplyValues(lo, hi int) {
	for p := 0; p < h.out.stride; p += panelCols {
		dot(h.out.data[p:], h.out.stride, h.prob, h.values[p*h.capacity+lo*panelCols:], hi-lo, false)
	}
}
