package merge

import (
	"math"

	"mergescope/quant"
)

// road rotates and stretches pairs of outputs: W' = R @ W, and the bias alike
// (peft/tuners/road/layer.py). Output o of a group pairs with the one half a
// group further. cos and sin are rounded from float64; torch's vector versions
// can be an ulp off.
type road struct {
	own, other []float32 // R[o, o] and R[o, pair of o]
	group      int
	chain      int // see quant.ChainLength
}

func newRoAd(t *tunerStep) *road {
	c := t.Adapter.Config.Tuner
	r := &road{group: c.GroupSize, chain: quant.ChainLength(t.rows), own: make([]float32, t.rows), other: make([]float32, t.rows)}
	theta, alpha := t.value["road_theta"], t.value["road_alpha"]
	half := r.group / 2
	for o := range r.own {
		g, j := o/r.group, o%r.group
		i, k := o, o // of the angle for cos and for sin
		switch c.Variant {
		case "road_1":
			i = g*half + j%half
			k = i
		case "road_4":
			i = g*2*r.group + j
			k = i + r.group
		}
		r.own[o] = alpha[i] * float32(math.Cos(float64(theta[i])))
		r.other[o] = alpha[k] * float32(math.Sin(float64(theta[k])))
		if j < half {
			r.other[o] = -r.other[o]
		}
	}
	if t.w.Format.IsFloat() {
		quant.RoundTo(r.own, t.w.Format)
		quant.RoundTo(r.other, t.w.Format)
	}
	return r
}

func openRoAd(t *tunerStep) (update, error) {
	r := newRoAd(t)
	return &rewrite{bad: t.bad, wide: !t.w.Format.IsFloat(), unit: r.group, set: func(p *quant.Panel, r0 int) {
		for i, w := range p.W {
			o := r0 + i/p.Cols
			p.T[i] = r.pair(o, w, p.W[i+(r.partner(o)-o)*p.Cols])
		}
	}}, nil
}

// partner is the output that o is paired with.
func (r *road) partner(o int) int {
	if o%r.group < r.group/2 {
		return o + r.group/2
	}
	return o - r.group/2
}

// pair is element o of R @ x, from x[o] and x[partner of o]: a chain in the order
// of the inputs.
func (r *road) pair(o int, x, y float32) float32 {
	a, b := r.own[o], r.other[o]
	q := r.partner(o)
	if q < o {
		a, b, x, y = b, a, y, x
	}
	if o/r.chain != q/r.chain {
		return float32(a*x) + float32(b*y)
	}
	return quant.FMA32(b, y, float32(a*x))
}

// tunerBias changes a bias as the tuner of a step does, before it is rounded to
// its dtype.
func tunerBias(t *tunerStep, bias []float32) {
	switch t.Module.Tuner {
	case "IA3":
		for i, l := range t.value["ia3_l"] {
			bias[i] *= l
		}
	case "ROAD":
		r := newRoAd(t)
		old := append([]float32(nil), bias...)
		if t.w.Format.IsFloat() {
			quant.RoundTo(old, t.w.Format)
		}
		for o := range bias {
			bias[o] = r.pair(o, old[o], old[r.partner(o)])
		}
	}
}
