//go:build amd64 && gc && !noasm

package quant

import "math"

// tables are what the vector kernels need to code a 4-bit format under the CPU
// profile. AVX-512 cuts [-1, 1] into 31 cells that hold one bound at most: the
// bounds below x are those of lower cells and, if x exceeds it, that of its own. AVX2 searches a tree. The generator knows the
// offsets.
type tables struct {
	bound [32]float32 // of a cell, +Inf if it has none
	rank  [32]int32   // bounds of lower cells
	near  [2]float32  // bounds left out of the cells

	root [8]float32    // the middle bound
	tree [3][8]float32 // bounds of the second, third and fourth level of the tree

	codes  [32]uint8   // by rank, twice
	values [16]float32 // by rank
}

var (
	nf4Tables = newTables(&nf4Rule, &nf4Values)
	fp4Tables = newTables(&fp4Rule, &fp4Values, 6, 8) // the bounds next to 0 share its cell
)

// cellOf rounds 15x+16 to an integer, as adding 2^23 does.
func cellOf(x float32) uint32 { return math.Float32bits(FMA32(x, 15, 1<<23+16)) & 31 }

// newTables derives the tables from a rule. apart are bounds that are compared
// one by one.
func newTables(r *rule, values *[16]float32, apart ...int) tables {
	var t tables
	for c := range t.bound {
		t.bound[c] = inf
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
	}
	for i := range t.root {
		t.root[i] = r.bound(7)
	}
	for level, step := range []int{8, 4, 2} {
		for i := range 16 / step {
			t.tree[level][i] = r.bound(i*step + step/2 - 1)
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
