package quant

// outputs is what codes answer for where it is given by the layer's own outputs: T is
// taken to be 0, so that E is the new weight, and G is minus what the outputs ask for.
type outputs struct {
	means   [][]float32 // E[y x'^T] in units of M, by block [rows][32]
	damping float32     // these terms of M are not of x': they ask for T
	rank    int
	a       [][]float32 // of an own metric, 32 of its rank at a time [width][32]
	ka      []float32   // by block [rank][32], negated
}

// Outputs returns memory for E[y x'^T], y the outputs of a layer of so many rows with
// the inputs it should get, by blocks of 32 places [rows][32] of rows rounded up to
// whole tiles. Once it is filled, AnswerOutputs makes codes answer for it. It says what
// Cross says, for one layer only; of one with fewer rows than columns it is less, and
// takes fewer products.
func (f *Feedback) Outputs(rows int) [][]float32 {
	n := rowsOf(rows) * ProductCols
	f.behind = len(f.near) * n
	f.memory.rest = grow(f.memory.rest, f.behind+placesBefore(len(f.near))*ProductCols/2)
	list := make([][]float32, len(f.near))
	x := f.memory.rest
	for b := range list {
		list[b], x = x[:n:n], x[n:]
	}
	return list
}

// AnswerOutputs takes up what Outputs returned. own and damping are those of
// NewFeedback.
func (f *Feedback) AnswerOutputs(means [][]float32, damping float64, own *Own, parallel Parallel) error {
	err := parallel(len(means), func(b int) {
		for i := range means[b] {
			if f.deadPlace(b*ProductCols + i%ProductCols) {
				means[b][i] = 0
			}
			means[b][i] *= f.scale
		}
	})
	if err != nil {
		return err
	}
	f.outputs = &outputs{means: means, damping: float32(damping)}
	if own != nil {
		f.outputs.take(f, own)
	}
	return f.roundFactor(false, parallel)
}

// take keeps an own metric.
func (o *outputs) take(f *Feedback, own *Own) {
	o.rank, o.ka = own.Rank, f.interleave(own.KA, own.Rank, ProductCols)
	for i, v := range o.ka {
		o.ka[i] = -v
	}
	for k0 := 0; k0 < own.Rank; k0 += ProductCols {
		a := make([]float32, f.width()*ProductCols)
		for at, j := range f.order {
			for k := k0; k < min(k0+ProductCols, own.Rank) && !f.dead[j]; k++ {
				a[at*ProductCols+k-k0] = own.A[k*f.cols+j]
			}
		}
		o.a = append(o.a, a)
	}
}

// loadOutputs puts 0 in T's place, and T in Y's, which is there until solvePull has
// taken it.
func (c *Chooser) loadOutputs() {
	f, o := c.f, c.f.outputs
	copy(c.pull, c.target)
	tile := f.width() * ProductRows
	for t := range c.tiles {
		for at, j := range f.order {
			if !f.dead[j] {
				clear(c.target[t*tile+at*ProductRows:][:ProductRows])
			}
		}
	}
	const size = ProductRows * ProductCols
	c.owned = grow(c.owned, c.tiles*len(o.a)*size)
	for g, a := range o.a {
		clear(c.sums)
		c.multiply(c.pull, a, 0, f.width())
		for t := range c.tiles {
			turnTile(c.owned[(t*len(o.a)+g)*size:], c.sums[t*size:])
		}
	}
}

// askOutputs sets the sums of a span's blocks to G, of rows from first on of the layer.
func (c *Chooser) askOutputs(s, first int) {
	for b := s * spanBlocks; b < min((s+1)*spanBlocks, len(c.f.near)); b++ {
		c.askBlock(c.sumsOf(b), b, first)
	}
}

func (c *Chooser) askBlock(sums []float32, b, first int) {
	const n = ProductCols
	f, o := c.f, c.f.outputs
	for t := range c.tiles {
		y := sums[t*ProductRows*n : (t+1)*ProductRows*n]
		at := (t*f.width() + b*n) * ProductRows
		for r := range ProductRows {
			row, i := y[r*n:(r+1)*n], t*ProductRows+r
			if i >= c.rows {
				clear(row)
				continue
			}
			for k, v := range o.means[b][(first+i)*n:][:n] {
				row[k] = -v - float32(o.damping*c.pull[at+k*ProductRows+r])
			}
		}
		if o.rank > 0 {
			f.product(y, n, c.owned[t*len(o.a)*n*ProductRows:], o.ka[b*n*o.rank:], o.rank, true)
		}
	}
}
