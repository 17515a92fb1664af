//go:build amd64 && gc && !noasm

package quant

// pairLanes is how many columns the kernels do.
const pairLanes = 8

// largestOf is largestOfGo by the kernel in use.
func largestOf(largest []uint32, x []float32) {
	width := len(largest)
	if Kernels() == Go {
		largestOfGo(largest, x)
		return
	}
	for c := 0; c < width; c += pairLanes {
		c := min(c, width-pairLanes)
		largestAVX2(&largest[c], &x[c], width, len(x)/width)
	}
}

// pairsOf is pairsOfGo by the kernel in use.
func pairsOf(dst []int16, x, per []float32) {
	width := len(per)
	if Kernels() == Go {
		pairsOfGo(dst, x, per)
		return
	}
	_ = dst[len(x)-1]
	for c := 0; c < width; c += pairLanes {
		c := min(c, width-pairLanes)
		pairsAVX2(&dst[2*c], &x[c], &per[c], width, len(x)/(2*width))
	}
}
