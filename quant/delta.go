package quant

// splitRank is the largest rank that torch's CPU GEMM sums in one chain. Above
// it two chains of half the rank each are added.
const splitRank = 192

// deltaTile is how many columns are summed at a time, so that a tile of A and
// its accumulators stay in the first-level cache up to rank 16.
const deltaTile = 512

// Factor is one adapter's A [rank, cols] prepared for Delta. It is read only
// and safe for concurrent use.
type Factor struct {
	Rank int
	Cols int
	A    []float32
}

// NewFactor prepares A, row-major [rank, cols], for any number of panels. It
// keeps a, which must not change afterwards. It panics if len(a) is not
// rank*cols.
func NewFactor(a []float32, rank, cols int) *Factor {
	if rank < 0 || cols < 0 || len(a) != rank*cols {
		panic(badLength)
	}
	return &Factor{Rank: rank, Cols: cols, A: a}
}

// Delta sets dst [rows, f.Cols] to scale * (B @ A) with B [rows, f.Rank]:
//
//	acc = +0; for k ascending: acc = fma(B[o,k], A[k,i], acc)
//	dst[o,i] = scale * acc
//
// Ranks above 192 sum k < rank/2 and the rest in two chains and add them. These
// are the bits of torch's CPU float32 matrix product with at least 8 rows and
// columns (kernels of 2025, AVX-512 and AVX2). dst must not overlap b or f.A.
// Delta panics if the lengths do not fit.
func Delta(dst, b []float32, f *Factor, rows int, scale float32) {
	if len(dst) != rows*f.Cols || len(b) != rows*f.Rank {
		panic(badLength)
	}
	half := f.Rank
	if f.Rank > splitRank {
		half = f.Rank / 2
	}
	var second [deltaTile]float32
	for lo := 0; lo < f.Cols; lo += deltaTile {
		hi := min(lo+deltaTile, f.Cols)
		for o := range rows {
			row := b[o*f.Rank : (o+1)*f.Rank]
			acc := dst[o*f.Cols+lo : o*f.Cols+hi]
			f.chain(acc, row, lo, 0, half)
			if half < f.Rank {
				more := second[:hi-lo]
				f.chain(more, row, lo, half, f.Rank)
				for i, v := range more {
					acc[i] += v
				}
			}
			for i, v := range acc {
				acc[i] = scale * v
			}
		}
	}
}

// chain sets acc[i] to the sum over k0 <= k < k1 of b[k]*A[k,lo+i].
func (f *Factor) chain(acc, b []float32, lo, k0, k1 int) {
	clear(acc)
	for k := k0; k < k1; k++ {
		at := k*f.Cols + lo
		axpy(acc, f.A[at:at+len(acc)], b[k])
	}
}

// axpy sets acc[i] = FMA32(b, a[i], acc[i]). The lengths must be equal.
func axpy(acc, a []float32, b float32) {
	b64 := float64(b)
	a = a[:len(acc)]
	for len(acc) >= 4 && len(a) >= 4 {
		p0 := float64(b64 * float64(a[0]))
		p1 := float64(b64 * float64(a[1]))
		p2 := float64(b64 * float64(a[2]))
		p3 := float64(b64 * float64(a[3]))
		s0 := p0 + float64(acc[0])
		s1 := p1 + float64(acc[1])
		s2 := p2 + float64(acc[2])
		s3 := p3 + float64(acc[3])
		if roundsTwice(s0) || roundsTwice(s1) || roundsTwice(s2) || roundsTwice(s3) {
			acc[0] = roundOnce(p0, float64(acc[0]))
			acc[1] = roundOnce(p1, float64(acc[1]))
			acc[2] = roundOnce(p2, float64(acc[2]))
			acc[3] = roundOnce(p3, float64(acc[3]))
		} else {
			acc[0], acc[1], acc[2], acc[3] = float32(s0), float32(s1), float32(s2), float32(s3)
		}
		acc, a = acc[4:], a[4:]
	}
	for i, v := range a {
		acc[i] = FMA32(b, v, acc[i])
	}
}
