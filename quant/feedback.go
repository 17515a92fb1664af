package quant

import (
	"cmp"
	"errors"
	"math"
	"slices"
)

// Sizes of what a Product multiplies.
const (
	ProductRows = 12
	ProductCols = 32
)

// Product is a kernel for matrix products: it sets y [12, 32], rows stride
// apart, to the product of x [k][12] and w [k][32], or adds it. model.Product
// is one. Results are the same on any machine if its are.
type Product func(y []float32, stride int, x, w []float32, k int, add bool)

// Parallel calls do for every i in [0, n), in any order and perhaps several at
// a time, and returns when all have returned. An error says that some were left
// out.
type Parallel func(n int, do func(i int)) error

// Feedback chooses codes one column after the other so that errors cancel in
// what a layer's inputs see. With E = W'-T it lowers tr(E M E^T) + 2 tr(E G^T),
// which is, up to a constant and the damping, the mean square of
// W' x' - T x over the inputs x' the layer gets and those x it should get, if
// M = E[x' x'^T] and G = T E[(x'-x) x'^T].
//
// M = U D U^T with U unit upper triangular, its columns by falling diagonal,
// turns the sum into D_j ((E U)_j + Y_j)^2 with Y = G U^-T D^-1, and each code
// is the nearest to what makes its own term 0, the errors before it given.
// This is the order of GPTQ (Frantar et al., 2022) in the form of LDLQ (Chee et
// al., QuIP, 2023), which needs no inverse; G is the asymmetry of GPTAQ (Li et
// al., 2025). Blocks of 32 columns take the errors of all earlier ones by
// Product, so nearly all of the work is matrix products: half of the columns
// per weight, twice that with G.
//
// A Feedback is read only once made, and safe for concurrent use.
type Feedback struct {
	cols  int
	order []int     // column by place; places from len(order) on are padding
	dead  []bool    // by column: no input reaches it
	diag  []float32 // D by place, 0 at dead columns
	scale float32   // of M

	// By block of places: U above the block [32*b][32], and within [32][32], and
	// within by columns.
	above, near, nearT [][]float32
	inverse            [][]float32 // U^-T D^-1 of what is within a block [32][32]
	own                [][]float32 // M within a block [32][32]

	// In integers, by block: U before the block's span, U^T after it, and
	// E[(x'-x) x'^T], nil if there is none.
	before, after, cross []roundedPanel
	outputs              *outputs // instead of cross
	behind               int      // floats of memory that outputs take

	low     *lowRank // instead of above and what is of integers, see NewDirections
	memory  *Memory
	product Product
	pairs   PairProduct
}

// ErrMoments says that second moments are not finite or all zero.
var ErrMoments = errors.New("the inputs' second moments are not finite or all zero")

// Own is a term A^T KA of a metric, both [Rank, cols] row-major: with
// K = B^T B it is D^T D of D = B A, what the layer's own delta sees.
type Own struct {
	Rank  int
	A, KA []float32
}

// NewFeedback factors M, which is m over its mean diagonal with damping added
// to the diagonal, and own if that is not nil. It is made in memory;
// if that is where m is, m is used up. Columns whose diagonal is 0 get no part in
// it: their weights stay those of the base.
func NewFeedback(m *Moments, memory *Memory, damping float64, own *Own, parallel Parallel) (*Feedback, error) {
	mean, err := m.mean()
	if err != nil {
		return nil, err
	}
	f := &Feedback{
		cols: m.cols, order: make([]int, m.cols), dead: make([]bool, m.cols),
		scale: float32(1 / mean), memory: memory, product: m.product, pairs: m.pairs,
	}
	for j := range f.order {
		f.order[j], f.dead[j] = j, m.at(j, j) == 0
	}
	slices.SortStableFunc(f.order, func(a, b int) int { return cmp.Compare(m.at(b, b), m.at(a, a)) })
	f.diag = make([]float32, f.width())
	f.memory.Reserve(f.cols, false)
	f.above = upperPanels(f.memory.half, f.cols)
	if err := f.arrange(m, float32(damping), own, parallel); err != nil {
		return nil, err
	}
	if memory == m.memory {
		m.panels = nil
	}
	spare := m.memory.half // what is there is no Feedback's as long as there are moments
	if memory == m.memory {
		spare = memory.rest
	}
	if err := f.factor(spare, float32(damping), parallel); err != nil {
		return nil, err
	}
	for at, j := range f.order {
		if f.dead[j] {
			f.diag[at] = 0
		}
	}
	clear(f.diag[f.cols:])
	for _, d := range f.diag {
		if !(d-d == 0) {
			return nil, ErrMoments
		}
	}
	return f, f.roundFactor(false, parallel)
}

// Order returns the columns by place.
func (f *Feedback) Order() []int { return f.order }

// Cross returns memory for E[(x'-x) x'^T] by places, in blocks of 32 columns
// [rows][32] of rows rounded up to whole tiles. Once it is filled, Answer makes
// codes answer for it. Layers that get the inputs they should get need neither.
func (f *Feedback) Cross() [][]float32 {
	f.memory.Reserve(f.cols, true)
	list := make([][]float32, len(f.near))
	x, n := f.memory.rest, rowsOf(f.width())*ProductCols
	for b := range list {
		list[b], x = x[:n:n], x[n:]
	}
	return list
}

// AnswerAs makes codes answer for what those of another Feedback of the same
// moments in the same memory do. The other is of no use any more.
func (f *Feedback) AnswerAs(other *Feedback, parallel Parallel) error {
	f.cross = other.cross
	return f.roundFactor(true, parallel)
}

// Answer takes up what Cross returned.
func (f *Feedback) Answer(cross [][]float32, parallel Parallel) error {
	if err := f.roundCross(cross, parallel); err != nil {
		return err
	}
	return f.roundFactor(true, parallel) // Cross was where that is kept
}

// width is cols rounded up to whole blocks.
func (f *Feedback) width() int { return blocksOf(f.cols) * ProductCols }

// arrange sets above to the upper half of M in the order of places.
func (f *Feedback) arrange(m *Moments, damping float32, own *Own, parallel Parallel) error {
	const n = ProductCols
	if err := f.permute(m, parallel); err != nil {
		return err
	}
	var a, ka []float32
	if own != nil {
		a, ka = f.interleave(own.A, own.Rank, ProductRows), f.interleave(own.KA, own.Rank, n)
	}
	f.own = make([][]float32, len(f.above))
	return parallel(len(f.above), func(b int) {
		p := f.above[b]
		if own != nil {
			for t := range len(p) / (ProductRows * n) {
				f.product(p[t*ProductRows*n:], n, a[t*ProductRows*own.Rank:], ka[b*n*own.Rank:], own.Rank, true)
			}
		}
		for c := range n {
			if at := b*n + c; at < f.cols {
				p[at*n+c] += damping
			} else {
				p[at*n+c] = 1
			}
		}
		f.own[b] = slices.Clone(p[b*n*n:][:n*n])
	})
}

// permute sets above to the moments over their mean diagonal in the order of
// places, 32 rows at a time, which are gathered as the columns they are too.
func (f *Feedback) permute(m *Moments, parallel Parallel) error {
	const n = ProductCols
	live := f.cols // dead columns are the last
	for live > 0 && f.dead[f.order[live-1]] {
		live--
	}
	place := make([]int, f.cols)
	for at, j := range f.order {
		place[j] = at
	}
	spare := make(chan []float32, len(m.panels)) // memory of calls that have returned
	return parallel(len(m.panels), func(source int) {
		var columns []float32
		select {
		case columns = <-spare:
		default:
			columns = make([]float32, (f.width()+2*n)*n)
		}
		defer func() { spare <- columns }()
		square, turned := columns[f.width()*n:][:n*n], columns[(f.width()+n)*n:]
		places := place[source*n : min((source+1)*n, f.cols)]
		copy(columns, m.panels[source][:(source+1)*n*n])
		for b := source + 1; b < len(m.panels); b++ {
			turn(columns[b*n*n:], m.panels[b][source*n*n:])
		}
		for b := range f.above {
			used := min(max(live-b*n, 0), n)
			for c, j := range f.order[b*n : b*n+used] {
				copy(square[c*n:(c+1)*n], columns[j*n:])
			}
			clear(square[used*n:])
			f.touch(turned, b, places)
			turn(turned, square)
			for i, k := range places {
				if k >= (b+1)*n {
					continue
				}
				row := (*[n]float32)(turned[i*n:])
				for c := range row {
					row[c] *= f.scale
				}
				if k >= live {
					clear(row[:])
				}
				copy(f.above[b][k*n:(k+1)*n], row[:])
			}
		}
		p := f.above[source]
		clear(p[min((source+1)*n, f.cols)*n:])
	})
}

// touch reads the rows of block b at places, so that their lines come from memory
// at the same time and not each when it is written. What it reads ends up in spoiled[0].
func (f *Feedback) touch(spoiled []float32, b int, places []int) {
	const n = ProductCols
	bits := uint32(0)
	for _, k := range places {
		if k < (b+1)*n {
			bits |= math.Float32bits(f.above[b][k*n]) | math.Float32bits(f.above[b][k*n+n/2])
		}
	}
	spoiled[0] = math.Float32frombits(bits)
}

// interleave puts x [rank, cols] into groups of size places, each [rank][size].
// Dead columns are 0.
func (f *Feedback) interleave(x []float32, rank, size int) []float32 {
	dst := make([]float32, (f.width()+size-1)/size*size*rank)
	for at, j := range f.order {
		if f.dead[j] {
			continue
		}
		for k := range rank {
			dst[(at/size*rank+k)*size+at%size] = x[k*f.cols+j]
		}
	}
	return dst
}
