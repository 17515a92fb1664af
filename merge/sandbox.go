package merge

import (
	"context"
	"fmt"
	"math"
	"slices"

	"mergescope/quant"
)

// Sandbox is one layer with the LoRA adapter a plan puts on it, in memory, to be
// merged again and again with other settings. It reads no files once made, and
// is safe for concurrent use.
type Sandbox struct {
	Layer      string
	Rows, Cols int
	Rank       int
	Spec       quant.Spec // as the layer is stored

	codes  []byte
	absmax []float32
	origin []float32 // weights that other formats are quantized from
	a, b   []float32 // [Rank, Cols] and [Rows, Rank]
	scale  float32
}

// Setting is what may be tried with a sandbox.
type Setting struct {
	Format    quant.Format // NF4, FP4 or Int8
	Blocksize int          // of 4-bit formats
	Rank      int          // how many of the adapter's components, at most all
	Factor    float64      // multiplies the adapter's own scale
	Profile   quant.Profile
}

// Trial is what a setting leads to.
type Trial struct {
	Metrics
	Panel  *quant.Panel // of the whole layer
	Scales []float32    // effective new scales
	Reach  []float64    // of each weight that is asked to move: its delta over what it takes to reach another code
	Off    float64      // what quantization alone costs: |base - origin| / |origin|
}

// sandboxWeights bounds the size of a layer that can be tried.
const sandboxWeights = 1 << 22

// Sandbox loads a layer of a plan that merges one LoRA adapter into it. origin
// are the weights that other formats than the stored one are quantized from, nil
// for those that the stored ones decode to.
func (p *Project) Sandbox(ctx context.Context, plan Plan, layer string, origin []float32) (*Sandbox, error) {
	s, err := p.subject(ctx, plan, layer)
	if err != nil {
		return nil, err
	}
	if len(s.layer.Steps) != 1 || s.layer.Steps[0].Module.A == nil || s.layer.Steps[0].Module.Tuner != "" || s.rows*s.cols > sandboxWeights {
		return nil, fmt.Errorf("layer %s: a sandbox needs one LoRA adapter and at most %d weights", layer, sandboxWeights)
	}
	step := s.layer.Steps[0]
	box := &Sandbox{Layer: layer, Rows: s.rows, Cols: s.cols, Rank: step.Module.Rank, Spec: s.spec, scale: float32(step.Scale), origin: origin}
	if box.a, err = step.Module.A.Float32s(); err == nil {
		box.b, err = step.Module.B.Float32s()
	}
	if err != nil {
		return nil, layerError(s.layer, err)
	}
	err = each(ctx, 1, func(w *work, _ int) error {
		if err := s.read(w, 0, s.rows); err != nil {
			return err
		}
		w.p.Dequantize()
		box.codes, box.absmax = w.p.Codes, w.p.Absmax
		if box.origin == nil {
			box.origin = w.p.W
		}
		return nil
	})
	if err == nil && len(box.origin) != s.rows*s.cols {
		err = fmt.Errorf("layer %s: %d original weights for %d", layer, len(box.origin), s.rows*s.cols)
	}
	return box, err
}

// Origin returns the weights that other formats are quantized from.
func (s *Sandbox) Origin() []float32 { return s.origin }

// Stored is the setting of the layer as it is.
func (s *Sandbox) Stored() Setting {
	return Setting{Format: s.Spec.Format, Blocksize: s.Spec.Blocksize, Rank: s.Rank, Factor: 1}
}

// Try merges the layer under a setting.
func (s *Sandbox) Try(set Setting) *Trial {
	p := s.base(set)
	p.Dequantize()
	t := &Trial{Panel: p, Off: distance(p.W, s.origin)}
	p.D = s.delta(set)
	p.Add()
	p.Requantize()
	if p.Spec.Nested {
		n := quant.QuantizeAbsmax(slices.Clone(p.NewAbsmax), p.Profile)
		t.Scales = make([]float32, len(p.NewAbsmax))
		n.Dequantize(t.Scales)
	} else {
		t.Scales = p.NewAbsmax
	}
	p.Measure(t.Scales)
	var sums quant.Sums
	for _, b := range p.Sums {
		sums.Add(b)
	}
	t.Metrics = MetricsOf(sums)
	t.Reach = reach(p)
	return t
}

// base is the layer as it is stored, or quantized anew for another format.
func (s *Sandbox) base(set Setting) *quant.Panel {
	p := &quant.Panel{Spec: s.Spec, Profile: set.Profile, Rows: s.Rows, Cols: s.Cols}
	if set.Format == s.Spec.Format && (set.Blocksize == s.Spec.Blocksize || !set.Format.Is4Bit()) {
		p.Codes, p.Absmax = s.codes, s.absmax
		return p
	}
	p.Spec = quant.Spec{Format: set.Format, Dtype: quant.F32}
	if set.Format.Is4Bit() {
		p.Spec.Blocksize, p.Spec.Dtype, p.Spec.Nested = set.Blocksize, quant.BF16, s.Spec.Nested
	}
	p.T = slices.Clone(s.origin)
	p.Requantize()
	p.Codes, p.Absmax, p.NewCodes, p.NewAbsmax = p.NewCodes, p.NewAbsmax, nil, nil
	return p
}

// delta is the product of the first components of the factors.
func (s *Sandbox) delta(set Setting) []float32 {
	k := min(max(set.Rank, 1), s.Rank)
	b := make([]float32, 0, s.Rows*k)
	for r := range s.Rows {
		b = append(b, s.b[r*s.Rank:r*s.Rank+k]...)
	}
	d := make([]float32, s.Rows*s.Cols)
	quant.Delta(d, b, quant.NewFactor(s.a[:k*s.Cols], k, s.Cols), s.Rows, s.scale*float32(set.Factor))
	return d
}

// reach compares each delta with half the step it would have to take.
func reach(p *quant.Panel) []float64 {
	var zones [256][2]float64 // down and up, by code
	for code := range zones {
		if p.Spec.Format.Is4Bit() && code > 15 {
			break
		}
		down, up := quant.DeadZone(p.Spec.Format, p.Profile, uint8(code))
		zones[code] = [2]float64{float64(down), float64(up)}
	}
	out := make([]float64, 0, p.Len())
	for b := range p.Blocks() {
		lo, hi := p.Block(b)
		unit := float64(quant.Unit(p.Spec.Format, p.Absmax[b*len(p.Absmax)/p.Blocks()]))
		for i := lo; i < hi; i++ {
			code := p.Codes[i/2] >> 4
			switch {
			case !p.Spec.Format.Is4Bit():
				code = p.Codes[i]
			case i%2 == 1:
				code = p.Codes[i/2] & 15
			}
			half := zones[code][1]
			if p.D[i] < 0 {
				half = zones[code][0]
			}
			half *= unit
			if p.D[i] != 0 && half > 0 && !math.IsInf(half, 0) {
				out = append(out, math.Abs(float64(p.D[i]))/half)
			}
		}
	}
	return out
}

// distance is |x - y| / |y|.
func distance(x, y []float32) float64 {
	var e, n float64
	for i, v := range y {
		d := float64(x[i]) - float64(v)
		e, n = e+d*d, n+float64(v)*float64(v)
	}
	return math.Sqrt(e / n)
}

// OnInputs is what is kept of the delta's outputs, <Rx,Dx>/<Dx,Dx> over some
// columns x [n, Cols] of inputs, and how far they are off, |Rx-Dx|/|Dx|.
func (t *Trial) OnInputs(x []float32) (kept, off float64) {
	p := t.Panel
	out := &quant.Panel{Spec: p.Spec, Profile: p.Profile, Rows: p.Rows, Cols: p.Cols, Codes: p.NewCodes, Absmax: t.Scales}
	out.Spec.Dtype = quant.F32
	out.Dequantize()
	var rd, dd, ee float64
	for from := 0; from+p.Cols <= len(x); from += p.Cols {
		in := x[from : from+p.Cols]
		for row := range p.Rows {
			var r, d float64
			for i, v := range in {
				at := row*p.Cols + i
				r += (float64(out.W[at]) - float64(p.W[at])) * float64(v)
				d += float64(p.D[at]) * float64(v)
			}
			rd, dd, ee = rd+r*d, dd+d*d, ee+(r-d)*(r-d)
		}
	}
	return rd / dd, math.Sqrt(ee / dd)
}
