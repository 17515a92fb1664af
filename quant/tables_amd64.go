//go:build amd64 && gc && !noasm

package quant

// tables are what the vector kernels need to code a 4-bit format under the CPU
// profile. AVX-512 cuts [-1, 1] into 32 cells, cell(x) = trunc(x*15.5+16), that
// hold one bound at most: the bounds below x are those of lower cells and, if x
// exceeds it, that of its own. AVX2 searches a tree. The generator knows the
// offsets.
type tables struct {
	bound [32]float32 // of a cell, +Inf if it has none
	rank  [32]int32   // bounds of lower cells
	near  [2]float32  // bounds left out of the cells
	codes [16]int32   // by rank

	root float32
	tree [3][8]float32 // bounds of the second, third and fourth level of the tree
	code [32]uint8     // codes again, for each half of a register
}

var (
	nf4Tables = newTables(&nf4Rule)
	fp4Tables = newTables(&fp4Rule, 6, 8) // the bounds next to 0 share its cell
)

func cellOf(x float32) int { return int(float32(x*15.5) + 16) }

// newTables derives the tables from a rule. apart are bounds that are compared
// one by one.
func newTables(r *rule, apart ...int) tables {
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
		for c := cellOf(b) + 1; c < len(t.rank); c++ {
			t.rank[c]++
		}
	}
	t.root = r.bound(7)
	for level, step := range []int{8, 4, 2} {
		for i := range 16 / step {
			t.tree[level][i] = r.bound(i*step + step/2 - 1)
		}
	}
	for i := range t.code {
		t.code[i] = r.codes[i%16]
	}
	for i, c := range r.codes {
		t.codes[i] = int32(c)
	}
	return t
}
