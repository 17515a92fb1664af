//go:build amd64 && gc && !noasm

package quant

// gatherVector puts the first columns of 12 rows x into a tile and returns how
// many.
func gatherVector(tile, x []float32, places []int32) (n int) {
	const columns = 16
	if Kernels() == Go {
		return 0
	}
	for len(places)-n >= columns {
		m := min((len(places)-n)/columns, callChunks)
		gatherAVX2(&tile[0], &x[n], len(places), &places[n], m)
		n += m * columns
	}
	return n
}

// packVector stores the first codes of 12 rows of a tile, where those of each begin
// with a byte, and returns how many columns.
func packVector(dst []byte, first int, tile []byte, places []int32, f Format) (n int) {
	kernel, each := packInt8AVX2, 1
	if f.Is4Bit() {
		kernel, each = pack4BitAVX2, 2
	}
	columns := 8 * each
	if Kernels() == Go || len(places)%each > 0 {
		return 0
	}
	for len(places)-n >= columns {
		m := min((len(places)-n)/columns, callChunks)
		kernel(&dst[(first+n)/each], len(places)/each, &tile[0], &places[n], m)
		n += m * columns
	}
	return n
}

// addTurnedVector is addTurnedPlain, if there is a kernel.
func addTurnedVector(z, y, d []float32) bool {
	if Kernels() == Go {
		return false
	}
	addTurnedAVX2(&z[0], &y[0], &d[0])
	return true
}
