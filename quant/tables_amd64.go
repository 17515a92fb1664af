//go:build amd64 && gc && !noasm

package quant

import "math"

// tables are what the vector kernels need to code a 4-bit format under the CPU
// profile. They cut [-1, 1] into cells, AVX-512 into 31 that hold one bound at most,
// AVX2 into 8 that hold two: the bounds below x are those of lower cells and those of
// its own that it exceeds. The generator knows the offsets.
type tables struct {
	bound [32]float32 // of a cell, +Inf if it has none
	rank  [32]int32   // bounds of lower cells
	near  [2]float32  // bounds left out of the cells

	few     [2][8]float32 // the bounds of one of the 8 cells, +Inf if it has fewer
	fewRank [8]int32
	least   [8]float32 // values are cut to [least, most] before they are
	most    [8]float32
	steps   [8]float32 // multiplied by steps and rounded to the number of a cell

	codes  [32]uint8   // by rank, twice
	values [16]float32 // by rank
}

var (
	nf4Tables = newTables(&nf4Rule, &nf4Values, few{-0.6, 0.7, 1 / 0.19})
	fp4Tables = newTables(&fp4Rule, &fp4Values, few{-0.55, 0.55, 1 / 0.17}, 6, 8) // the bounds next to 0 share its cell
)

// cellOf rounds 15x+16 to an integer, as adding 2^23 does.
func cellOf(x float32) uint32 { return math.Float32bits(FMA32(x, 15, 1<<23+16)) & 31 }

// few are the 8 cells of a format.
type few struct{ least, most, steps float32 }

func (f few) cellOf(x float32) uint32 {
	return math.Float32bits(FMA32(min(max(x, f.least), f.most), f.steps, fewMiddle)) & 7
}

// fewMiddle makes cells -3 to 4 the numbers 0 to 7.
const fewMiddle = 1<<23 + 3

// newTables derives the tables from a rule. apart are bounds that are compared
// one by one.
func newTables(r *rule, values *[16]float32, f few, apart ...int) tables {
	var t tables
	for c := range t.bound {
		t.bound[c] = inf
	}
	for i := range t.steps {
		t.few[0][i], t.few[1][i] = inf, inf
		t.least[i], t.most[i], t.steps[i] = f.least, f.most, f.steps
	}
	t.near = [2]float32{inf, inf}
	for i, b := range apart {
		t.near[i] = r.bound(b)
	}
	for i := range 15 {
		b := r.bound(i)
		if b == t.near[0] || b == t.near[1] {
			continue
		}
		t.bound[cellOf(b)] = b
		for c := cellOf(b) + 1; c < 32; c++ {
			t.rank[c]++
		}
		cell := f.cellOf(b)
		first := 0
		if t.few[0][cell] != inf {
			first = 1
		}
		t.few[first][cell] = b
		for c := cell + 1; c < 8; c++ {
			t.fewRank[c]++
		}
	}
	for i := range t.codes {
		t.codes[i] = r.codes[i%16]
	}
	for i, c := range r.codes {
		t.values[i] = values[c]
	}
	return t
}
