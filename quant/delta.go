package quant

// deltaTile is how many columns are summed at a time, so that a tile of A and
// its accumulators stay in the first-level cache up to rank 16.
const deltaTile = 512

// Factor is one adapter's A [rank, cols] prepared for Delta. It is read only
// and safe for concurrent use.
type Factor struct {
	Rank int
	Cols int
	A    []float32

	tiles []float32 // A in the order the vector kernels read it, nil if none do
}

// NewFactor prepares A, row-major [rank, cols], for any number of panels. It
// keeps a, which must not change afterwards, and a second copy for the vector
// kernels in use. It panics if len(a) is not
// rank*cols.
func NewFactor(a []float32, rank, cols int) *Factor {
	if rank < 0 || cols < 0 || len(a) != rank*cols {
		panic(badLength)
	}
	f := &Factor{Rank: rank, Cols: cols, A: a}
	f.tiles = packFactor(f)
	return f
}

// Delta sets dst [rows, f.Cols] to scale * (B @ A) with B [rows, f.Rank]:
//
//	acc = +0; for k ascending: acc = fma(B[o,k], A[k,i], acc)
//	dst[o,i] = scale * acc
//
// Ranks above 192 are cut into chains that are summed apart and added in order;
// see chainLength. dst must not overlap b or f.A. Delta panics if the lengths
// do not fit.
func Delta(dst, b []float32, f *Factor, rows int, scale float32) {
	if len(dst) != rows*f.Cols || len(b) != rows*f.Rank {
		panic(badLength)
	}
	if !deltaVector(dst, b, f, rows, scale) {
		deltaPlain(dst, b, f, 0, rows, 0, f.Cols, scale)
	}
}

// deltaPlain is Delta for rows [r0, r1) and columns [c0, c1) of dst.
func deltaPlain(dst, b []float32, f *Factor, r0, r1, c0, c1 int, scale float32) {
	n := chainLength(f.Rank)
	var next [deltaTile]float32
	for lo := c0; lo < c1; lo += deltaTile {
		hi := min(lo+deltaTile, c1)
		for o := r0; o < r1; o++ {
			row := b[o*f.Rank : (o+1)*f.Rank]
			acc := dst[o*f.Cols+lo : o*f.Cols+hi]
			f.chain(acc, row, lo, 0, min(n, f.Rank))
			for k := n; k < f.Rank; k += n {
				sum := next[:hi-lo]
				f.chain(sum, row, lo, k, min(k+n, f.Rank))
				for i, v := range sum {
					acc[i] += v
				}
			}
			for i, v := range acc {
				acc[i] = scale * v
			}
		}
	}
}

// chainLength returns how many k one FMA chain covers in torch's CPU float32
// matrix product (MKL sgemm with AVX-512, at least 8 rows and columns): all of
// them up to 192, half of them up to 384 and 192 beyond; what is left over
// makes a last, shorter chain.
func chainLength(rank int) int {
	switch {
	case rank <= 192:
		return max(rank, 1)
	case rank <= 384:
		return rank / 2
	default:
		return 192
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

// axpy sets acc[i] = FMA32(b, a[i], acc[i]) over equal lengths, four at a time
// so that b is widened once and the rare second look is one branch.
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

// DeltaHalf is Delta for an adapter that PEFT leaves in float16 or bfloat16
// (autocast_adapter_dtype=False): B @ A is rounded to dtype, multiplied by scale
// and rounded again. b and f.A hold values of dtype, so that products are exact.
// Four float32 sums take every fourth k, the first also what is left over, and
// are added in order (ATen/native/cpu/BlasKernel.cpp, sum). DeltaHalf panics if
// the lengths do not fit or dtype is no float format.
func DeltaHalf(dst, b []float32, f *Factor, rows int, scale float32, dtype Format) {
	if len(dst) != rows*f.Cols || len(b) != rows*f.Rank {
		panic(badLength)
	}
	if !deltaHalfVector(dst, b, f, rows, scale, dtype) {
		deltaHalfPlain(dst, b, f, rows, scale, dtype, 0, f.Cols)
	}
}

// deltaHalfPlain is DeltaHalf for columns [c0, c1).
func deltaHalfPlain(dst, b []float32, f *Factor, rows int, scale float32, dtype Format, c0, c1 int) {
	var more [3][]float32
	for l := range more {
		more[l] = make([]float32, c1-c0)
	}
	for o := range rows {
		out := dst[o*f.Cols+c0 : o*f.Cols+c1]
		sums := [4][]float32{out, more[0], more[1], more[2]}
		for _, s := range sums {
			clear(s)
		}
		for k, v := range b[o*f.Rank : (o+1)*f.Rank] {
			s := sums[k%4]
			if k >= f.Rank/4*4 {
				s = out
			}
			for i, a := range f.A[k*f.Cols+c0 : k*f.Cols+c1] {
				s[i] += float32(v * a)
			}
		}
		for i := range out {
			out[i] = out[i] + more[0][i] + more[1][i] + more[2][i]
		}
		RoundTo(out, dtype)
		for i, v := range out {
			out[i] = scale * v
		}
		RoundTo(out, dtype)
	}
}
