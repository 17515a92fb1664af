package model

import "math"

// Parts of exp (Cephes, expf.c): x = n ln 2 + r, exp(r) by a polynomial of
// relative error 2^-23 or so. Nothing is fused, so that vectors give the same.
const (
	expMax = 88.37 // larger x give +Inf
	expMin = -87.33
	log2E  = 1.44269504088896341
	ln2Hi  = 0.693359375
	ln2Lo  = -2.12194440e-4
	magic  = 3 << 22 // added and subtracted, rounds to an integer

	exp0 = 1.9875691500e-4
	exp1 = 1.3981999507e-3
	exp2 = 8.3334519073e-3
	exp3 = 4.1665795894e-2
	exp4 = 1.6666665459e-1
	exp5 = 5.0000001201e-1
)

// exp32 returns e^x: 0 below -87.33, where results would be subnormal, and +Inf
// above 88.37.
func exp32(x float32) float32 {
	switch {
	case x != x:
		return x
	case x > expMax:
		return float32(math.Inf(1))
	case x < expMin:
		return 0
	}
	n := float32(float32(x*log2E)+magic) - magic
	r := float32(x-float32(n*ln2Hi)) - float32(n*ln2Lo)
	y := float32(exp0)
	y = float32(y*r) + exp1
	y = float32(y*r) + exp2
	y = float32(y*r) + exp3
	y = float32(y*r) + exp4
	y = float32(y*r) + exp5
	y = float32(float32(y*float32(r*r))+r) + 1
	return y * math.Float32frombits(uint32(int32(n)+127)<<23)
}

// expGo sets x[i] to exp32(x[i]-shift).
func expGo(x []float32, shift float32) {
	for i, v := range x {
		x[i] = exp32(v - shift)
	}
}

// scaleGo multiplies x by a factor and returns the largest result, -Inf if there
// is none; NaN does not count.
func scaleGo(x []float32, by float32) float32 {
	most := float32(math.Inf(-1))
	for i := range x {
		v := x[i] * by
		if x[i] = v; v > most {
			most = v
		}
	}
	return most
}

// divideGo sets x[i] to x[i]/d.
func divideGo(x []float32, d float32) {
	for i := range x {
		x[i] /= d
	}
}

// tanh32 returns tanh x with a relative error of about 2^-23 (Cephes, tanhf.c).
func tanh32(x float32) float32 {
	a := float32(math.Abs(float64(x)))
	if a < 0.625 {
		z := float32(x * x)
		p := float32(-5.70498872745e-3)
		p = float32(p*z) + 2.06390887954e-2
		p = float32(p*z) - 5.37397155531e-2
		p = float32(p*z) + 1.33314422036e-1
		p = float32(p*z) - 3.33332819422e-1
		return float32(float32(p*z)*x) + x
	}
	v := 1 - 2/(exp32(2*a)+1)
	if x < 0 {
		return -v
	}
	return v
}

// cap32 sets x[i] to limit*tanh(x[i]/limit).
func cap32(x []float32, limit float32) {
	for i, v := range x {
		x[i] = limit * tanh32(v/limit)
	}
}

// gate sets dst[i] to f(g[i])*u[i]. g is used as scratch. Both functions are
// x/(1+exp(-s)): s is x for SiLU, and since (1+tanh z)/2 = 1/(1+exp(-2z)) twice
// the argument of tanh for GELU.
func (f Activation) gate(dst, g, u []float32) {
	u, g = u[:len(dst)], g[:len(dst)]
	if f == GELUTanh {
		const scale = 2 * 0.7978845608028654 // 2 sqrt(2/pi)
		for i, x := range g {
			cube := float32(float32(x*x) * x)
			dst[i] = -scale * (x + float32(0.044715*cube))
		}
	} else {
		for i, x := range g {
			dst[i] = -x
		}
	}
	expAll(dst, 0)
	for i, x := range g {
		dst[i] = x / (1 + dst[i]) * u[i]
	}
}

// norm sets dst to x scaled to rms 1 and times w, or 1+w.
func norm(dst, x, w []float32, eps float64, unitOffset bool) {
	var s0, s1, s2, s3 float64
	n := len(w)
	x = x[:n]
	i := 0
	for ; i+4 <= n; i += 4 {
		a, b, c, d := float64(x[i]), float64(x[i+1]), float64(x[i+2]), float64(x[i+3])
		s0, s1, s2, s3 = s0+float64(a*a), s1+float64(b*b), s2+float64(c*c), s3+float64(d*d)
	}
	for ; i < n; i++ {
		s0 += float64(float64(x[i]) * float64(x[i]))
	}
	scale := float32(1 / math.Sqrt((s0+s1+s2+s3)/float64(n)+eps))
	dst = dst[:n]
	if unitOffset {
		for i, v := range x {
			dst[i] = float32(v*scale) * (1 + w[i])
		}
		return
	}
	for i, v := range x {
		dst[i] = float32(v*scale) * w[i]
	}
}
