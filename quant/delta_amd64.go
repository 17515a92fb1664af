//go:build amd64 && gc && !noasm

package quant

func (t *deltaTileOf) kernel(dst *float32, stride int, b, a *float32, k int, scale float32, add int) (nan int) {
	rank, next := t.f.Rank, t.f.Rank*chunk
	switch {
	case t.level == AVX512 && t.rows == 4:
		return delta4AVX512(dst, stride, b, rank, a, next, k, t.blocks, scale, add)
	case t.level == AVX512:
		return delta1AVX512(dst, stride, b, rank, a, next, k, t.blocks, scale, add)
	case t.rows == 4:
		return delta4AVX2(dst, stride, b, rank, a, next, k, t.blocks, scale, add)
	default:
		return delta1AVX2(dst, stride, b, rank, a, next, k, t.blocks, scale, add)
	}
}

// deltaHalfVector is DeltaHalf; done is false if the level in use has no kernel.
// Rows with NaN are left to Go.
func deltaHalfVector(dst, b []float32, f *Factor, rows int, scale float32, dtype Format) (done bool) {
	level := Kernels()
	if level == Go || f.tiles == nil || dtype != F16 && dtype != BF16 {
		return false
	}
	whole, blocks := f.Cols/chunk, max(tileProducts/chunk/f.Rank, 1)
	for at := 0; at < whole; at += blocks {
		n := min(blocks, whole-at)
		for o := range rows {
			row := b[o*f.Rank : (o+1)*f.Rank]
			out := dst[o*f.Cols : (o+1)*f.Cols]
			if halfKernel(level, dtype, &out[at*chunk], &row[0], &f.tiles[at*f.Rank*chunk], f.Rank, n, scale) != 0 {
				deltaHalfPlain(out, row, f, 1, scale, dtype, at*chunk, (at+n)*chunk)
			}
		}
	}
	if whole*chunk < f.Cols {
		deltaHalfPlain(dst, b, f, rows, scale, dtype, whole*chunk, f.Cols)
	}
	return true
}

func halfKernel(level Level, dtype Format, dst, b, a *float32, k, blocks int, scale float32) (nan int) {
	switch {
	case level == AVX512 && dtype == F16:
		return deltaHalfF16AVX512(dst, b, a, k, blocks, scale)
	case level == AVX512:
		return deltaHalfBF16AVX512(dst, b, a, k, blocks, scale)
	case dtype == F16:
		return deltaHalfF16AVX2(dst, b, a, k, blocks, scale)
	default:
		return deltaHalfBF16AVX2(dst, b, a, k, blocks, scale)
	}
}
