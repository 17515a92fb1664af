//go:build (amd64 || arm64) && gc && !noasm

package quant

// tileProducts is how much of A a tile holds: 16 KiB, half of a first-level
// cache, which all rows of a panel then share.
const tileProducts = 4096

// packFactor returns A as [ceil(cols/64)][rank][64], zeros behind the last
// column, so that a chain reads one stream of memory.
func packFactor(f *Factor) []float32 {
	if Kernels() == Go || f.Rank == 0 {
		return nil
	}
	blocks := (f.Cols + chunk - 1) / chunk
	t := make([]float32, blocks*f.Rank*chunk)
	for b := range blocks {
		lo, hi := b*chunk, min((b+1)*chunk, f.Cols)
		for k := range f.Rank {
			copy(t[(b*f.Rank+k)*chunk:], f.A[k*f.Cols+lo:k*f.Cols+hi])
		}
	}
	return t
}

// deltaVector is Delta; done is false if the level in use has no kernel.
func deltaVector(dst, b []float32, f *Factor, rows int, scale float32) (done bool) {
	level := Kernels()
	if level == Go || f.tiles == nil {
		return false
	}
	whole, blocks := f.Cols/chunk, max(tileProducts/chunk/f.Rank, 1)
	for at := 0; at < whole; at += blocks {
		n := min(blocks, whole-at)
		for o := 0; o < rows; {
			h := 1
			if rows-o >= 4 {
				h = 4
			}
			t := deltaTileOf{f: f, level: level, rows: h, block: at, blocks: n, scale: scale}
			if t.run(dst[o*f.Cols+at*chunk:], f.Cols, b[o*f.Rank:]) {
				deltaPlain(dst, b, f, o, o+h, at*chunk, (at+n)*chunk, scale)
			}
			o += h
		}
	}
	if whole*chunk < f.Cols {
		deltaRest(dst, b, f, rows, scale, level)
	}
	return true
}

// deltaRest does the columns behind the last whole block by way of a block of
// scratch memory.
func deltaRest(dst, b []float32, f *Factor, rows int, scale float32, level Level) {
	at := f.Cols / chunk
	lo := at * chunk
	var rest [chunk]float32
	for o := range rows {
		t := deltaTileOf{f: f, level: level, rows: 1, block: at, blocks: 1, scale: scale}
		if t.run(rest[:], chunk, b[o*f.Rank:]) {
			deltaPlain(dst, b, f, o, o+1, lo, f.Cols, scale)
			continue
		}
		copy(dst[o*f.Cols+lo:(o+1)*f.Cols], rest[:])
	}
}

// deltaTileOf is one or four rows of some blocks of 64 columns.
type deltaTileOf struct {
	f             *Factor
	level         Level
	rows          int
	block, blocks int
	scale         float32
}

// run computes the chains of the tile one after the other. It reports whether
// there is NaN in the result.
func (t *deltaTileOf) run(dst []float32, stride int, b []float32) (nan bool) {
	rank := t.f.Rank
	n := chainLength(rank)
	for k := 0; k < rank; k += n {
		m := min(n, rank-k)
		scale, add := float32(1), 0
		if k > 0 {
			add = 1
		}
		if k+m == rank {
			scale = t.scale
		}
		a := &t.f.tiles[(t.block*rank+k)*chunk]
		nan = t.kernel(&dst[0], stride, &b[k], a, m, scale, add) != 0 || nan
	}
	return nan
}
