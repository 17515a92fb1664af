//go:build amd64 && gc && !noasm

package quant

// runVector is runPlain by the kernels in use, if there are any. AVX2 goes through
// rows 0 to 7 and then 4 to 11: what it does of the middle ones twice is the same.
func (s *strip) runVector() bool {
	switch Kernels() {
	case AVX512:
		s.runAVX512()
	case AVX2:
		s.runAVX2(0, &s.losses[0])
		var losses [8]float64
		copy(losses[4:], s.losses[8:ProductRows])
		s.runAVX2(4, &losses[0])
		copy(s.losses[8:ProductRows], losses[4:])
	default:
		return false
	}
	return true
}

func (s *strip) runAVX512() {
	sums, near, diag, target, pull := &s.sums[0], &s.near[0], &s.diag[0], &s.target[0], &s.pull[0]
	errs, aims, losses := &s.errs[0], &s.aims[0], &s.losses[0]
	if s.lattice == nil {
		sweepGivenAVX512(sums, near, diag, target, pull, &s.given[0], errs, aims, losses)
		return
	}
	scales, where, points, codes := &s.scales[0], &s.where[0], &s.lattice.points.bound[0], &s.codes[0]
	switch s.lattice.format {
	case NF4:
		sweepNF4AVX512(sums, near, diag, target, pull, scales, where, points, codes, errs, aims, losses)
	case FP4:
		sweepFP4AVX512(sums, near, diag, target, pull, scales, where, points, codes, errs, aims, losses)
	case Int8:
		sweepInt8AVX512(sums, near, diag, target, pull, scales, where, points, codes, errs, aims, losses)
	}
}

// runAVX2 goes through 8 rows from one on.
func (s *strip) runAVX2(r int, losses *float64) {
	sums, near, diag, target, pull := &s.sums[r*ProductCols], &s.near[0], &s.diag[0], &s.target[r], &s.pull[r]
	errs, aims := &s.errs[r], &s.aims[r]
	if s.lattice == nil {
		sweepGivenAVX2(sums, near, diag, target, pull, &s.given[r], errs, aims, losses)
		return
	}
	scales, where, points, codes := &s.scales[r], &s.where[0], &s.lattice.points.bound[0], &s.codes[r]
	switch s.lattice.format {
	case NF4:
		sweepNF4AVX2(sums, near, diag, target, pull, scales, where, points, codes, errs, aims, losses)
	case FP4:
		sweepFP4AVX2(sums, near, diag, target, pull, scales, where, points, codes, errs, aims, losses)
	case Int8:
		sweepInt8AVX2(sums, near, diag, target, pull, scales, where, points, codes, errs, aims, losses)
	}
}

// missesVector is missesPlain by the kernels in use, if there are any.
func (x *scaleSearch) missesVector(scale, inverse float32) bool {
	level := Kernels()
	if level == Go {
		return false
	}
	clear(x.sums[:])
	sums, aims, weights, groups := &x.sums[0], &x.aims[0], &x.weights[0], len(x.aims)/missLanes
	points := &x.lattice.points.bound[0]
	switch {
	case level == AVX512 && x.lattice.format == NF4:
		missesNF4AVX512(sums, aims, weights, groups, scale, inverse, points)
	case level == AVX512:
		missesFP4AVX512(sums, aims, weights, groups, scale, inverse, points)
	case x.lattice.format == NF4:
		missesNF4AVX2(sums, aims, weights, groups, scale, inverse, points)
	default:
		missesFP4AVX2(sums, aims, weights, groups, scale, inverse, points)
	}
	return true
}
