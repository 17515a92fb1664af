package quant

import (
	"math"
	"slices"
)

// KeptCurve says which share of a delta survives requantization if weights and
// delta are Gaussian: what the dead zone of a format does to a delta of a given
// size, before any data. It is read only and safe for concurrent use.
//
// Given the largest magnitude M of a block of n weights of deviation 1, the
// others sit on code points M*c, and one of them crosses a boundary once its
// delta d exceeds t = M*|boundary-c|. Each crossing adds the step s between two
// code points, so with d of deviation rho
//
//	kept = E[R*d]/rho^2 = sum over codes and boundaries of P(c) * M*s * phi(t/rho)/rho
//
// with the density phi of the normal distribution. The largest weight itself
// defines the scale and keeps all of its delta, 1/n of the whole; it moves the
// boundaries of the others by boundary*d, which widens phi.
type KeptCurve struct {
	kept []float64 // at ratios of curveLow*curveStep^i
}

// The ratios a curve is tabulated at, and in how many parts distributions are
// cut.
const (
	curveLow   = 1e-4
	curveHigh  = 2
	curveSteps = 120
	curveHolds = 0.25 // above, the scale follows the largest sum, not the largest weight
	quantiles  = 24
)

// NewKeptCurve returns the curve of a format. n is how many weights share a
// scale: the blocksize, or the columns of an int8 weight. Float formats have no
// dead zone that matters here; the curve is 1.
func NewKeptCurve(f Format, p Profile, n int) *KeptCurve {
	c := &KeptCurve{kept: make([]float64, curveSteps)}
	crossings := crossingsOf(f, p, n)
	for i := range c.kept {
		rho := ratioAt(i)
		kept := 1 / float64(max(1, n))
		if f.IsFloat() {
			kept = 1
		}
		for _, x := range crossings {
			spread := math.Hypot(1, x.shift)
			if t := x.distance / (rho * spread); t < 9 {
				kept += x.weight * math.Exp(-t*t/2) / (rho * spread)
			}
		}
		if rho > curveHolds {
			kept = max(kept, c.kept[i-1])
		}
		c.kept[i] = kept
	}
	return c
}

func ratioAt(i int) float64 {
	return curveLow * math.Pow(curveHigh/curveLow, float64(i)/(curveSteps-1))
}

// Gauss returns what is kept of a delta of independent elements whose rms is
// ratio times that of the weights.
func (c *KeptCurve) Gauss(ratio float64) float64 {
	at := math.Log(ratio/curveLow) / math.Log(curveHigh/curveLow) * (curveSteps - 1)
	at = min(max(at, 0), curveSteps-1)
	i := min(int(at), curveSteps-2)
	f := at - float64(i)
	return c.kept[i]*(1-f) + c.kept[i+1]*f
}

// LowRank returns the same for a product of Gaussian factors of some rank. Its
// rows are Gaussian with a variance that is chi-squared with rank degrees of
// freedom, so large elements are more frequent, and more of it survives.
func (c *KeptCurve) LowRank(ratio float64, rank int) float64 {
	if rank < 1 {
		return c.Gauss(ratio)
	}
	var kept, total float64
	for i := range quantiles {
		// Wilson and Hilferty's approximation of the quantiles of chi-squared.
		h := 2 / (9 * float64(rank))
		v := math.Pow(max(0, 1-h+normalQuantile((float64(i)+0.5)/quantiles)*math.Sqrt(h)), 3)
		if v > 0 {
			kept, total = kept+v*c.Gauss(ratio*math.Sqrt(v)), total+v
		}
	}
	return kept / total
}

// crossing is a boundary that weights on one code point may cross.
type crossing struct {
	distance float64 // from the code point, in deviations of the weights
	shift    float64 // by how much of the largest weight's delta the boundary moves
	weight   float64 // probability times step, divided by sqrt(2 pi)
}

// crossingsOf lists all crossings for each of some sizes of the largest weight.
func crossingsOf(f Format, p Profile, n int) []crossing {
	if n < 2 || !f.Is4Bit() && f != Int8 {
		return nil
	}
	var out []crossing
	for q := range quantiles {
		// P(largest < m) = P(|w| < m)^n.
		inside := math.Pow((float64(q)+0.5)/quantiles, 1/float64(n))
		m := normalQuantile((1 + inside) / 2)
		others := float64(n-1) / float64(n) / quantiles
		if f == Int8 {
			out = appendSteps(out, m, others)
		} else {
			out = appendCodes(out, f, p, m, others/inside)
		}
	}
	return out
}

// appendCodes lists the crossings of a 4-bit block whose largest weight is m.
// share is the part of all weights that the others are, over their probability.
func appendCodes(out []crossing, f Format, p Profile, m, share float64) []crossing {
	points := codePoints(f)
	bounds := distinctBounds(f, p, points)
	for k, c := range points {
		lo, hi := -m, m
		if k > 0 {
			lo = max(lo, bounds[k-1]*m)
		}
		if k < len(bounds) {
			hi = min(hi, bounds[k]*m)
		}
		for j, b := range bounds {
			out = append(out, crossing{
				distance: m * math.Abs(b-c),
				shift:    b,
				weight:   share * (normalCDF(hi) - normalCDF(lo)) * m * (points[j+1] - points[j]) / math.Sqrt(2*math.Pi),
			})
		}
	}
	return out
}

// appendSteps lists the crossings of an int8 row: all its codes are as far
// apart, so that only the place of a weight within the row matters, for shift.
func appendSteps(out []crossing, m, others float64) []crossing {
	const places, steps = 8, 127
	inside := 2*normalCDF(m) - 1
	for i := range places {
		w := normalQuantile((1 + inside*(float64(i)+0.5)/places) / 2)
		for j := range steps {
			out = append(out, crossing{
				distance: m * (float64(j) + 0.5) / steps,
				shift:    w / m,
				weight:   2 * others / places * m / steps / math.Sqrt(2*math.Pi), // up and down
			})
		}
	}
	return out
}

// codePoints returns the distinct values of a 4-bit format's codes, ascending.
func codePoints(f Format) []float64 {
	points := make([]float64, 16)
	for code := range points {
		points[code] = float64(CodeValue(f, uint8(code)))
	}
	slices.Sort(points)
	return slices.Compact(points)
}

// distinctBounds returns the boundary above each code point but the last.
func distinctBounds(f Format, p Profile, points []float64) []float64 {
	all := Boundaries(f, p)
	bounds := make([]float64, len(points)-1)
	for k := range bounds {
		i := slices.IndexFunc(all, func(b float32) bool { return float64(b) > points[k] })
		bounds[k] = float64(all[i])
	}
	return bounds
}

func normalCDF(x float64) float64 { return 0.5 * math.Erfc(-x/math.Sqrt2) }

func normalQuantile(p float64) float64 { return math.Sqrt2 * math.Erfinv(2*p-1) }
