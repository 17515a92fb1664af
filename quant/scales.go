package quant

import "slices"

// scaleSteps are by which shares of itself a scale moves, one after the other, for
// as long as that is better.
var scaleSteps = [...]float32{0.04, 0.02, 0.01, 0.005}

// ChooseMoving is Choose where the scales of a 4-bit panel, one a block, may move:
// those given to Load, which it replaces. After codes on them it takes for each
// block the scale on which values come nearest to what its weights had best been,
// the errors before them given, and chooses codes once more. Rows whose sum that
// does not lower keep what they had, so that losses are never above those of
// Choose; rows that share a block stay together.
//
// Scales looked at are the old one, PEFT's new one, in fresh, and from the better
// of them on in steps of 4 to 0.5 %. stored says which scale of a block can be had
// nearest to another; nil: any. A scale that is not above 0 stays.
func (c *Chooser) ChooseMoving(codes []byte, p *Panel, scales, fresh []float32, stored func(block int, scale float32) float32) (losses []float64) {
	l := latticeOf(p.Spec.Format)
	c.aims = grow(c.aims, len(c.target))
	before := slices.Clone(c.pick(l, c.aims))
	first, old := slices.Clone(c.codes), slices.Clone(scales)
	c.moveScales(l, p, scales, fresh, stored)
	c.gatherScales(p, scales)
	c.pick(l, nil)
	size := p.Spec.Blocksize
	n := 1 // rows after which a block ends
	for n*p.Cols%size > 0 {
		n++
	}
	for r := 0; r < c.rows; r += n {
		end := min(r+n, c.rows)
		now, was := 0.0, 0.0
		for i := r; i < end; i++ {
			now, was = now+c.losses[i], was+before[i]
		}
		if now < was {
			continue
		}
		copy(c.losses[r:end], before[r:])
		for i := r; i < end; i++ {
			c.copyRow(first, i)
		}
		b0, b1 := r*p.Cols/size, (end*p.Cols+size-1)/size
		copy(scales[b0:b1], old[b0:])
	}
	c.gatherScales(p, scales)
	c.pack(codes, l)
	return c.losses[:c.rows]
}

// moveScales moves each scale to the best of those that ChooseMoving looks at.
func (c *Chooser) moveScales(l *lattice, p *Panel, scales, fresh []float32, stored func(block int, scale float32) float32) {
	f := c.f
	n := (p.Spec.Blocksize + missLanes - 1) / missLanes * missLanes
	aims, weights := make([]float32, n), make([]float32, n)
	for b, scale := range scales {
		if !(scale > 0) {
			continue
		}
		lo, hi := p.Block(b)
		for i := lo; i < hi; i++ {
			r, at := i/f.cols, int(c.places[i%f.cols])/ProductRows
			aims[i-lo] = c.aims[c.index(r, at)]
			weights[i-lo] = f.diag[at]
		}
		clear(aims[hi-lo:])
		clear(weights[hi-lo:])
		x := scaleSearch{lattice: l, aims: aims, weights: weights, best: scale}
		x.least = x.misses(scale)
		x.stored = func(s float32) float32 {
			if stored == nil {
				return s
			}
			return stored(b, s)
		}
		x.try(fresh[b])
		for _, step := range scaleSteps {
			for x.try(x.best * (1 + step)) {
			}
			for x.try(x.best * (1 - step)) {
			}
		}
		scales[b] = x.best
	}
}

// scaleSearch looks for the scale of a block.
type scaleSearch struct {
	lattice       *lattice
	aims, weights []float32 // whole groups of missLanes
	stored        func(float32) float32
	best          float32
	least         float64 // of best
	sums          [missLanes]float64
}

// try takes a scale if it is better.
func (x *scaleSearch) try(s float32) bool {
	s = x.stored(s)
	if !(s > 0) || s-s != 0 || s == x.best {
		return false
	}
	m := x.misses(s)
	if !(m < x.least) {
		return false
	}
	x.best, x.least = s, m
	return true
}

// missLanes are the sums that misses adds terms to in turn.
const missLanes = 16

// misses sums the terms that the nearest values on a scale leave.
func (x *scaleSearch) misses(scale float32) (sum float64) {
	inverse := x.lattice.inverse(scale)
	if !x.missesVector(scale, inverse) {
		x.missesPlain(scale, inverse)
	}
	for _, s := range x.sums {
		sum += s
	}
	return sum
}

// missesPlain fills sums.
func (x *scaleSearch) missesPlain(scale, inverse float32) {
	clear(x.sums[:])
	for i, aim := range x.aims {
		_, v := x.lattice.nearest(aim, scale, inverse)
		x.sums[i%missLanes] += float64(x.weights[i] * float32((v-aim)*(v-aim)))
	}
}

// NestedScales finds codes for scales under statistics that stay as they are. It is
// safe for concurrent use.
type NestedScales struct {
	n     Nested
	order [256]uint8 // codes by what the map has for them
}

// NewNestedScales keeps n, which must not change.
func NewNestedScales(n Nested) *NestedScales {
	s := &NestedScales{n: n}
	for i := range s.order {
		s.order[i] = uint8(i)
	}
	slices.SortStableFunc(s.order[:], func(a, b uint8) int {
		switch x, y := n.Map[a], n.Map[b]; {
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return 0
	})
	return s
}

// value decodes a code of block i.
func (s *NestedScales) value(i int, code uint8) float32 {
	return float32(s.n.Map[code]*s.n.Absmax[i/s.n.Blocksize]) + s.n.Offset
}

// Nearest returns the code of block i whose scale is nearest to one, and that
// scale: its own if that says it, else of two as near that of the lesser scale.
func (s *NestedScales) Nearest(i int, scale float32) (code uint8, value float32) {
	own := s.value(i, s.n.Codes[i])
	if own == scale || !(s.n.Absmax[i/s.n.Blocksize] > 0) { // below 0 nobody writes it, and values would fall
		return s.n.Codes[i], own
	}
	at, _ := slices.BinarySearchFunc(s.order[:], scale, func(c uint8, want float32) int {
		if s.value(i, c) < want {
			return -1
		}
		return 1
	})
	code = s.order[min(at, len(s.order)-1)]
	value = s.value(i, code)
	if at > 0 && at < len(s.order) {
		if below := s.value(i, s.order[at-1]); !(value-scale < scale-below) {
			code, value = s.order[at-1], below
		}
	}
	return code, value
}
