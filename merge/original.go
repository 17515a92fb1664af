package merge

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"mergescope/loader"
	"mergescope/quant"
)

// Limits above which an original is no longer explained by what its quantized
// copy lost: about three times the relative distance of weights drawn from a
// normal distribution (0.09 for NF4 and 0.12 for FP4 in blocks of 64, 0.16 in
// blocks of 4096, 0.01 for int8, 0.004 between bfloat16 and float16).
const (
	distant4     = 0.4
	distant8     = 0.05
	distantFloat = 0.02
)

// SetOriginal gives the project the 16-bit checkpoint that plans with Onto set
// to name are merged onto. It must hold the weights of the model, by name and
// shape, as floats; the error names the first file and tensor that does not
// fit. The project does not close it.
func (p *Project) SetOriginal(name string, c *loader.Checkpoint) error {
	if err := checkOriginal(p.Model, c); err != nil {
		return err
	}
	p.Original, p.originalName = c, name
	return nil
}

// WithOriginal returns a project with that original, see SetOriginal; p stays as
// it is.
func (p *Project) WithOriginal(name string, c *loader.Checkpoint) (*Project, error) {
	q := NewProject(p.Model, slices.Clone(p.Adapters)...)
	q.known = p.known
	return q, q.SetOriginal(name, c)
}

// WithAdapter returns a project with one more adapter; p stays as it is.
func (p *Project) WithAdapter(a *loader.Adapter) *Project {
	q := NewProject(p.Model, append(slices.Clone(p.Adapters), a)...)
	q.Original, q.originalName, q.known = p.Original, p.originalName, p.known
	return q
}

// checkOriginal compares names and shapes both ways. An output embedding that
// is tied to the input's may be stored in one and not in the other.
func checkOriginal(model, original *loader.Checkpoint) error {
	tied := func(c *loader.Checkpoint, w *loader.Weight) bool {
		return w.Name == outputEmbedding && c.Config.TieEmbeddings
	}
	for _, w := range model.Weights {
		o := original.Weight(w.Param)
		switch {
		case o == nil && tied(original, w):
		case o == nil:
			return fmt.Errorf("original %s: tensor %s is missing, %s has it: is it the model this one was quantized from?",
				original.Name, w.Param, w.Data.File().Name)
		case o.Problem != nil:
			return fmt.Errorf("original: %w", o.Problem)
		case !o.Format.IsFloat():
			return fmt.Errorf("original: %s: tensor %s is %s: the deltas can be added to float weights only",
				o.Data.File().Name, o.Data.Name, o.Format)
		case w.Problem != nil:
			return fmt.Errorf("model: %w", w.Problem)
		case !slices.Equal(o.Shape, w.Shape):
			return fmt.Errorf("original: %s: tensor %s is %v, but %v in %s%s",
				o.Data.File().Name, o.Data.Name, o.Shape, w.Shape, w.Data.File().Name, turned(o, w))
		}
	}
	for _, o := range original.Weights {
		if model.Weight(o.Param) == nil && !tied(model, o) {
			return fmt.Errorf("original: %s: tensor %s is not in the model %s: is that quantized from this one?",
				o.Data.File().Name, o.Data.Name, model.Name)
		}
	}
	return nil
}

// turned explains a transposed shape.
func turned(o, w *loader.Weight) string {
	if len(o.Shape) == 2 && len(w.Shape) == 2 && o.Shape[0] == w.Shape[1] && o.Shape[1] == w.Shape[0] {
		return ": Conv1D layers, which store [in, out], are transposed when they are quantized and cannot be merged onto their original"
	}
	return ""
}

// written returns the project whose model a plan is merged into: the original
// under a plan with Onto, else p itself.
func (p *Project) written(plan Plan) *Project {
	if plan.Onto == "" || p.Original == nil {
		return p
	}
	return &Project{Model: p.Original, Adapters: p.Adapters, against: p.Model, known: p.known}
}

// face sets what a plan with Onto compares a layer of the original with, and
// what it is quantized to.
func (l *Layer) face(model *loader.Checkpoint, q Quantization) {
	l.against = model.Weight(l.Weight.Param)
	if l.against == nil { // a tied output embedding
		return
	}
	quantized := !l.against.Format.IsFloat()
	if l.Output.Dequantized() && !quantized {
		l.Output = Same
	}
	if q.Format != quant.Unknown && !l.Output.Dequantized() && (quantized || !anyQuantized(model) && isLinear(l.Weight)) {
		blocksize := defaultBlocksize
		if l.against.State != nil {
			blocksize = l.against.State.Blocksize
		}
		l.into = q.apply(l.Weight, blocksize)
	}
}

func anyQuantized(c *loader.Checkpoint) bool {
	return slices.ContainsFunc(c.Weights, func(w *loader.Weight) bool { return !w.Format.IsFloat() })
}

// target is the weight as it is written: itself, or what it is quantized to.
func (l *Layer) target() *loader.Weight { return cmp.Or(l.into, l.Weight) }

// yardstick is the quantized weight that the figures of a merge onto the
// original compare with.
type yardstick struct {
	data   content
	spec   quant.Spec
	absmax []float32
}

func openYardstick(w *loader.Weight, opt mergeOptions) (*yardstick, error) {
	c := &yardstick{data: w.Data, spec: w.Spec()}
	if opt.reference == AsInferred && !c.spec.Format.IsFloat() {
		c.spec.Dtype = quant.F32
	}
	var err error
	c.absmax, err = readScales(w)
	return c, err
}

// unit is the fewest rows of that many columns that end on a block boundary.
func unitOf(spec quant.Spec, rows, cols int) int {
	if !spec.Format.Is4Bit() {
		return 1
	}
	return min(spec.Blocksize/gcd(spec.Blocksize, cols), rows)
}

// read fills w.other with rows [r0, r0+n) of the quantized weight.
func (c *yardstick) read(w *work, r0, n, cols int) error {
	f, p := c.spec.Format, &w.other
	lo, hi := f.Bytes(int64(r0)*int64(cols)), f.Bytes(int64(r0+n)*int64(cols))
	p.Codes = resize(p.Codes, int(hi-lo))
	if err := c.data.ReadFull(p.Codes, lo); err != nil {
		return err
	}
	b0, b1 := scaleRange(c.spec, r0, n, cols)
	p.Spec, p.Profile, p.Rows, p.Cols = c.spec, w.p.Profile, n, cols
	p.Absmax = c.absmax[b0:b1]
	return nil
}

// recast turns a panel of the original, merged into floats, into one of the
// form in which it is written: W becomes the quantized model's weight, codes
// and scales what that weight has in this form, T what is stored. How far the
// two bases are apart is left in w.apart.
func (s *subject) recast(w *work, r0 int) {
	p, c := &w.p, &w.other
	c.Dequantize()
	w.apart = apartness{}
	w.apart.add(c.W, p.W)
	p.W, c.W = c.W, p.W
	if s.into == nil {
		w.codes = resize(w.codes, int(p.Spec.Format.Bytes(int64(p.Len()))))
		quant.EncodeFloats(w.codes, p.W, p.Spec.Format)
		p.Codes, p.Absmax = w.codes, nil
		return
	}
	quant.DecodeFloats(p.T, p.NewCodes, p.Spec.Format)
	to := s.into.Spec()
	if from := c.Spec; from.Format == to.Format && from.Blocksize == to.Blocksize {
		p.Codes, p.Absmax = c.Codes, c.Absmax
	} else {
		c.Spec, c.T = to, append(c.T[:0], p.W...)
		c.Requantize()
		p.Codes, p.Absmax = c.NewCodes, c.NewAbsmax
	}
	p.Spec = to
	p.Requantize()
	if s.choice != nil && (!s.nested() || len(s.scales) > 0) {
		s.choose(w, r0)
	}
}

// apartness is how far the original lies from the dequantized base: sums of
// squares of the difference and of the original.
type apartness struct{ diff, orig float64 }

// add takes the finite elements of some weights.
func (a *apartness) add(base, orig []float32) {
	for i, o := range orig {
		if b := base[i]; isFinite(b) && isFinite(o) {
			d := float64(o) - float64(b)
			a.diff += float64(d * d)
			a.orig += float64(float64(o) * float64(o))
		}
	}
}

func (a *apartness) merge(o apartness) { a.diff, a.orig = a.diff+o.diff, a.orig+o.orig }

// relative is rms(original - base) / rms(original); NaN if the original is 0.
func (a apartness) relative() Figure { return Figure(math.Sqrt(float64(ratio(a.diff, a.orig)))) }

// judgeDistance warns of a base that its original does not explain.
func judgeDistance(l *Layer, distance float64) (a Alert, ok bool) {
	f, limit := l.against.Format, distantFloat
	switch {
	case f.Is4Bit():
		limit = distant4
	case f == quant.Int8:
		limit = distant8
	}
	if !(distance > limit) {
		return a, false
	}
	return newAlert(Warning, CodeOtherOriginal, l.Weight.Name, fmt.Sprintf(
		"the original's weights are %s of their own size away from the %s base, more than quantization explains (up to %s): it looks like another model",
		Percent(distance), f, Percent(limit))).at(tensorPlace(l.Weight.Data)), true
}

// blocks is how many scales the result has.
func (s *subject) blocks() int {
	if s.into != nil && s.into.State != nil {
		return int(s.into.State.Blocks())
	}
	return len(s.absmax)
}

// judged is the format whose dead zone a layer's figures are judged by: none
// where the original lies between the codes, which spreads what survives.
func (s *subject) judged() quant.Format {
	if s.onto != nil {
		return s.form
	}
	return s.layer.Weight.Format
}

// written is the form of a layer as its report says it: that of the plan, or
// the format in which a merge onto the original stores it.
func (l *Layer) written() Output {
	if l.against == nil || l.Output == Keep || l.Output == Separate {
		return l.Output
	}
	if f, ok := outputFormats[l.Output]; ok && l.into == nil {
		return Output(f.String())
	}
	return Output(l.target().Format.String())
}

// rounds reports whether the error of the figures is one of rounding. In a merge
// onto the original that is stored in another form it is mostly what the base
// had lost and what comes back.
func (s *subject) rounds() bool {
	return s.onto == nil || s.into != nil && s.into.Format == s.onto.spec.Format
}
