package model

import (
	"fmt"
	"slices"
)

// linear names a linear layer and where its outputs go.
type linear struct {
	module string
	out    int
	col    int // first column of the destination
	bias   bool
}

// opened is a linear layer of every source, with the adapters of every variant.
type opened struct {
	module  string
	adapter string // path under which adapters know it
	first   int    // weight rows [first, first+out) are computed
	out     int
	col     int
	in      int
	weights []Matrix    // by source
	reader  []int       // by source: the first one with the same matrix, which reads for all
	biases  [][]float32 // by source, nil without
	pairs   [][]applied // by variant
	made    []bool      // by variant: its products are there, but not the biases
}

// applied is an adapter pair with s*(x A^T) of its variant.
type applied struct {
	*Pair
	u tiles // tile 0 is the variant's first
}

// linears sets out to x W^T + b, adapters included, for several layers with
// the same input, r.in.
func (r *runner) linears(list []linear, out *matrix) error {
	early, err := r.observe(list, out)
	if err != nil {
		return err
	}
	var all []*opened
	for i, l := range list {
		m, err := r.open(l)
		if err != nil {
			return err
		}
		if err := r.lora(m); err != nil {
			return err
		}
		if early != nil {
			m.made = early.made[i]
		}
		all = append(all, m)
	}
	return r.run(all, out)
}

func (r *runner) open(l linear) (*opened, error) {
	m := &opened{module: l.module, adapter: l.module, out: l.out, col: l.col, in: r.in.cols}
	name := l.module + ".weight"
	for _, s := range r.sources {
		w, err := s.Matrix(name)
		if err != nil {
			return nil, err
		}
		if err := sized(name, w, l.out, m.in); err != nil {
			return nil, err
		}
		m.reader = append(m.reader, len(m.weights))
		if at := slices.Index(m.weights, w); at >= 0 {
			m.reader[len(m.weights)] = at
		}
		m.weights = append(m.weights, w)
	}
	if !l.bias {
		return m, nil
	}
	var err error
	m.biases, err = r.vectors(l.module+".bias", l.out)
	return m, err
}

// lora computes s*(x A^T) for the adapters of a layer.
func (r *runner) lora(m *opened) error {
	m.pairs = make([][]applied, len(r.variants))
	per := r.rows / tileRows
	for v := range r.variants {
		pairs := r.variants[v].LoRA[m.adapter]
		for i := range pairs {
			p := &pairs[i]
			if p.In != m.in || p.Out != m.out {
				return fmt.Errorf("adapter of %s is for [%d, %d], the weight is [%d, %d]", m.adapter, p.Out, p.In, m.out, m.in)
			}
			panels := roundUp(p.Rank, panelCols) / panelCols
			a := make([]float32, panels*panelCols*p.In)
			packPanels(a, p.A, p.Rank, p.In)
			var u matrix
			u.resize(r.rows, p.Rank)
			ap := applied{Pair: p}
			ap.u.resize(r.rows, p.Rank)
			err := parallel(r.ctx, r.workers, per, func(_, t int) error {
				x := &tiles{cols: r.in.cols, data: r.in.data[v*r.rows*r.in.cols:]}
				multiply(&u, 0, []product{{x, a}}, panels, t, t+1)
				rows := u.data[t*tileRows*u.stride : (t+1)*tileRows*u.stride]
				for k := range rows {
					rows[k] *= p.Scale
				}
				ap.u.put(t, rows, u.stride)
				return nil
			})
			if err != nil {
				return err
			}
			m.pairs[v] = append(m.pairs[v], ap)
		}
	}
	return nil
}

// run computes opened layers. A task is some output rows of one layer of one
// source: it alone reads them, and it alone writes those columns.
func (r *runner) run(list []*opened, out *matrix) error {
	return r.tasks(list, func(s *scratch, m *opened, source, r0, r1 int) error {
		if err := r.block(s, m, source, r0, r1, out); err != nil {
			return err
		}
		for _, v := range r.sharing(m, source) {
			r.addBias(m, v, r0, r1-r0, out)
		}
		return nil
	})
}

// tasks calls do for parts of all layers and sources that have matrices of their
// own.
func (r *runner) tasks(list []*opened, do func(s *scratch, m *opened, source, r0, r1 int) error) error {
	type task struct {
		m              *opened
		source, r0, r1 int
	}
	var tasks []task
	for _, m := range list {
		step := r.step(m)
		for s, reader := range m.reader {
			if reader != s {
				continue
			}
			for r0 := 0; r0 < m.out; r0 += step {
				tasks = append(tasks, task{m, s, r0, min(r0+step, m.out)})
			}
		}
	}
	return parallel(r.ctx, r.workers, len(tasks), func(w, i int) error {
		t := tasks[i]
		if err := do(&r.scratch[w], t.m, t.source, t.r0, t.r1); err != nil {
			return fmt.Errorf("%s: %w", t.m.module, err)
		}
		return nil
	})
}

// step is how many output rows make a task: enough for the tiles of x to be
// read seldom, few enough for every worker to get some. With one tile, as when
// texts are generated, rows should rather stay in the second-level cache until
// they are multiplied with.
func (r *runner) step(m *opened) int {
	const most = 256
	if r.rows == tileRows {
		return panelCols
	}
	return min(max(roundUp(m.out/(4*r.workers), panelCols), panelCols), most)
}

// sharing lists the variants that share a source's matrix.
func (r *runner) sharing(m *opened, source int) (list []int) {
	for v := range r.variants {
		if m.reader[r.source[v]] == source {
			list = append(list, v)
		}
	}
	return list
}

// block computes outputs [r0, r1), but for biases, for the variants that share a source's
// matrix, as far as they are not there.
func (r *runner) block(s *scratch, m *opened, source, r0, r1 int, out *matrix) error {
	variants := slices.DeleteFunc(r.sharing(m, source), func(v int) bool { return m.made != nil && m.made[v] })
	if len(variants) == 0 {
		return nil
	}
	n := r1 - r0
	panels := roundUp(n, panelCols) / panelCols
	s.rows = grow(s.rows, n*m.in)
	if err := m.weights[source].Rows(s.rows, m.first+r0); err != nil {
		return err
	}
	s.panels = grow(s.panels, panels*panelCols*m.in)
	packPanels(s.panels, s.rows, n, m.in)
	per := r.rows / tileRows
	for _, v := range variants {
		sum := []product{{&r.in, s.panels}}
		y := *out
		if pairs := m.pairs[v]; len(pairs) > 0 {
			s.lora = s.lora[:0]
			x := tiles{cols: m.in, data: r.in.data[v*r.rows*m.in:]}
			y.data = out.data[v*r.rows*out.stride:]
			sum[0].x = &x
			for i := range pairs {
				sum = append(sum, product{&pairs[i].u, s.packB(&pairs[i], m.first+r0, n)})
			}
			multiply(&y, m.col+r0, sum, panels, 0, per)
		} else {
			multiply(&y, m.col+r0, sum, panels, v*per, (v+1)*per)
		}
	}
	return nil
}

// packB returns panels of rows [r0, r0+n) of B. Slices it returned before stay
// valid: growing copies them.
func (s *scratch) packB(p *applied, r0, n int) []float32 {
	size := roundUp(n, panelCols) * p.Rank
	at := len(s.lora)
	s.lora = append(s.lora, make([]float32, size)...)
	panels := s.lora[at:]
	packPanels(panels, p.B[r0*p.Rank:], n, p.Rank)
	return panels
}

// addBias adds the layer's bias and those of adapters.
func (r *runner) addBias(m *opened, v, r0, n int, out *matrix) {
	var list [][]float32
	var scale []float32
	if m.biases != nil {
		list, scale = append(list, m.biases[r.source[v]]), append(scale, 1)
	}
	for i := range m.pairs[v] {
		if p := &m.pairs[v][i]; p.Bias != nil {
			list, scale = append(list, p.Bias), append(scale, p.Scale)
		}
	}
	for i, b := range list {
		b = b[m.first+r0 : m.first+r0+n]
		for row := v * r.rows; row < (v+1)*r.rows; row++ {
			y := out.row(row)[m.col+r0:]
			for j, x := range b {
				y[j] += float32(scale[i] * x)
			}
		}
	}
}
