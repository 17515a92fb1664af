package merge

import (
	"context"
	"fmt"
	"math"

	"mergescope/loader"
	"mergescope/quant"
)

// subject is one weight and what is merged into it, read as far as it must be
// in memory: scales and adapter factors, but not the codes. It is read only and
// safe for concurrent use, except that settle fills scales between two passes.
type subject struct {
	layer    *Layer
	data     content        // codes of the base
	spec     quant.Spec     // of the base
	form     quant.Format   // of the result
	onto     *yardstick     // what the figures compare with under a merge onto the original; nil: the base
	into     *loader.Weight // what the result is quantized to after that; nil: it is not
	profile  quant.Profile
	inferred bool // figures compare with the base not rounded to the state's dtype

	rows, cols int
	unit       int                 // fewest rows that end on a block boundary
	absmax     []float32           // effective scale of each block, SCB of each row, nil for floats
	nest       *quant.NestedScales // of scales that move and are nested, else nil
	updates    []update
	dither     *dither        // nil: nearest codes
	choice     *choice        // nil: not calibrated
	sight      *sight         // nil: nothing is known of the layer's inputs
	seen       []onInputs     // by row, of a layer that is recomputed; nil: not known
	dtypes     []quant.Format // of the weight before each update and after the last

	// scales are the effective new scales after each update of a weight with
	// nested scales, which depend on the whole weight; nil for others.
	scales [][]float32

	// unsure is how many scale codes one ulp of their mean would change, after
	// the last update so far.
	unsure int

	bias []byte // of the layer as it is written, nil if it stays
}

// openSubject reads the scales of a layer's weight and the factors of its
// steps.
func openSubject(l *Layer, opt mergeOptions) (*subject, error) {
	w := l.Weight
	if w.Problem != nil {
		return nil, w.Problem
	}
	s := &subject{
		layer: l, data: w.Data, spec: w.Spec(), form: w.Format, profile: opt.profile,
		rows: w.Rows(), cols: w.Cols(), unit: 1,
	}
	if f, ok := outputFormats[l.Output]; ok {
		s.form = f
	}
	if l.unreset() {
		s.form = quant.F32
	}
	if l.base != nil {
		if err := s.replace(l.base); err != nil {
			return nil, err
		}
	}
	s.dither, s.choice = newDither(l), newChoice(l)
	if s.dither != nil || s.choice != nil {
		s.spec.Dtype = quant.F32
		s.profile = quant.CPU // no device's rounding plays a part
	}
	s.inferred = opt.reference == AsInferred && s.spec.Format.Is4Bit() && s.spec.Dtype != quant.F32
	s.unit = unitOf(s.spec, s.rows, s.cols)
	var err error
	if l.against != nil {
		if s.onto, err = openYardstick(l.against, opt); err != nil {
			return nil, err
		}
		s.into = l.into
		s.align(unitOf(s.onto.spec, s.rows, s.cols))
		s.align(unitOf(s.outSpec(), s.rows, s.cols))
	}
	if !s.spec.Format.IsFloat() {
		if s.absmax, err = readScales(w); err != nil {
			return nil, err
		}
	}
	if s.movesScales() && w.State.Nested {
		n, err := readNested(w.State)
		if err != nil {
			return nil, err
		}
		s.nest = quant.NewNestedScales(n)
	}
	if l.Merges() {
		if s.updates, err = openUpdates(l, opt); err != nil {
			return nil, err
		}
	}
	if once := l.Method.Kind != MethodCalibrated || s.choice != nil; once && l.Method.Kind != MethodPeft && len(s.updates) > 1 {
		s.updates = []update{summed(s.updates)}
	}
	if l.inputs != nil {
		s.sight = l.inputs.sight
	}
	s.dtypes = []quant.Format{s.spec.Dtype}
	for _, u := range s.updates {
		s.dtypes = append(s.dtypes, u.dtype(s.dtypes[len(s.dtypes)-1]))
		if x, ok := u.(*rewrite); ok && x.unit > 1 {
			s.align(x.unit)
		}
	}
	if s.bias, err = newBias(l, opt); err != nil {
		return nil, err
	}
	return s, s.prepare()
}

// align makes panels end where those of so many rows do, too.
func (s *subject) align(unit int) { s.unit = min(s.unit/gcd(s.unit, unit)*unit, s.rows) }

// replace makes a tensor of an adapter the base. Over a quantized weight that is
// written as floats it is read in that form.
func (s *subject) replace(t *loader.Tensor) (err error) {
	to := s.form
	if s.spec.Format.IsFloat() {
		to = s.spec.Format
	} else {
		s.spec = quant.Spec{Format: to, Dtype: to}
		s.unit = 1
	}
	s.data, err = contentIn(t, to)
	return err
}

// outputFormats are the element types of the output forms that dequantize.
var outputFormats = map[Output]quant.Format{AsBF16: quant.BF16, AsF16: quant.F16, AsF32: quant.F32}

// passes is how often every panel is computed. Nested scales follow from those
// of the whole weight, so each update needs a pass to collect them before
// anything after it can be computed.
func (s *subject) passes() int {
	if s.nested() {
		return s.scalePasses() + 1
	}
	return 1
}

// scalePasses is how many of the passes over a weight with nested scales
// collect scales: one for each time it is quantized.
func (s *subject) scalePasses() int {
	if s.into != nil {
		return 1
	}
	return len(s.updates)
}

// nested reports whether the result is stored with nested scales.
func (s *subject) nested() bool {
	if s.into != nil {
		return s.outSpec().Nested
	}
	return s.spec.Nested && s.form == s.spec.Format && len(s.updates) > 0 && !s.baseScales()
}

// work is the memory of one worker: a panel and what does not fit into it. It
// grows to what the largest panel needs.
type work struct {
	p      quant.Panel
	raw    []byte    // codes of the base
	codes  []byte    // codes before the update at hand
	absmax []float32 // scales before the update at hand
	base   []float32 // W of the base
	sum    []float32 // sum of the deltas
	ref    []float32
	out    []byte      // scales as stored
	other  quant.Panel // the quantized model's weight, under a merge onto the original
	apart  apartness   // between the two
	laps   *laps       // nil unless a benchmark watches

	chooser quant.Chooser
	moved   []float32  // scales of the panel
	losses  [2]float64 // of the panel: of the codes chosen, and of the nearest
	result  []float32  // values
	seen    []float32
}

// read fills the panel with rows [r0, r0+n) of the base.
func (s *subject) read(w *work, r0, n int) error {
	s.place(w, r0, n)
	lo, hi := s.codeRange(s.spec.Format, r0, n)
	w.raw = resize(w.raw, int(hi-lo))
	if err := s.data.ReadFull(w.raw, lo); err != nil {
		return err
	}
	w.p.Codes = w.raw
	if s.onto != nil {
		return s.onto.read(w, r0, n, s.cols)
	}
	return nil
}

// place makes the panel one of rows [r0, r0+n), without their codes.
func (s *subject) place(w *work, r0, n int) {
	p := &w.p
	p.Spec, p.Profile, p.OutDtype = s.spec, s.profile, quant.Unknown
	p.Rows, p.Cols, p.First = n, s.cols, int64(r0)*int64(s.cols)
	b0, b1 := scaleRange(s.spec, r0, n, s.cols)
	p.Codes, p.Absmax, p.Ref = nil, s.absmax[b0:b1], nil
}

// codeRange returns the bytes that rows [r0, r0+n) take in a format.
func (s *subject) codeRange(f quant.Format, r0, n int) (lo, hi int64) {
	cols := int64(s.cols)
	return f.Bytes(int64(r0) * cols), f.Bytes(int64(r0+n) * cols)
}

// scaleRange returns the new scales of rows [r0, r0+n); r0 is a multiple of
// unit.
func (s *subject) scaleRange(r0, n int) (lo, hi int) { return scaleRange(s.outSpec(), r0, n, s.cols) }

// outSpec says how the result is quantized.
func (s *subject) outSpec() quant.Spec {
	if s.into != nil {
		return s.into.Spec()
	}
	return s.spec
}

// outForm is the format of the result.
func (s *subject) outForm() quant.Format {
	if s.into != nil {
		return s.into.Format
	}
	return s.form
}

// scaleRange returns the scales of rows [r0, r0+n), which begin on a block.
func scaleRange(spec quant.Spec, r0, n, cols int) (lo, hi int) {
	switch f := spec.Format; {
	case f.Is4Bit():
		bs := spec.Blocksize
		return r0 * cols / bs, ((r0+n)*cols + bs - 1) / bs
	case f == quant.Int8:
		return r0, r0 + n
	default:
		return 0, 0
	}
}

// stored returns the scales that update i of rows from r0 on left behind, as
// they are read back.
func (s *subject) stored(p *quant.Panel, r0, i int) []float32 {
	if s.scales == nil {
		return p.NewAbsmax
	}
	lo, hi := s.scaleRange(r0, p.Rows)
	return s.scales[i][lo:hi]
}

// dtype is that of the weight after all updates.
func (s *subject) dtype() quant.Format { return s.dtypes[len(s.dtypes)-1] }

// measure fills p.Sums after apply with the last update.
func (s *subject) measure(w *work, r0 int) {
	w.p.OutDtype = s.dtype()
	if s.into != nil {
		w.p.OutDtype = s.outSpec().Dtype
	}
	if s.nested() {
		w.p.Measure(s.stored(&w.p, r0, s.scalePasses()-1))
		return
	}
	w.p.Measure(nil)
}

// settle takes the scales of the whole weight after the next update, returns them
// as they are stored and keeps what they then stand for in stored, which may be absmax.
func (s *subject) settle(absmax, stored []float32) quant.Nested {
	n := quant.QuantizeAbsmax(absmax, s.profile)
	s.unsure = n.OffsetUlp(absmax, s.profile)
	n.Dequantize(stored)
	s.scales = append(s.scales, stored)
	return n
}

// deltaRows is how many rows kernels take at a time; what is left over of a panel costs
// twice as much a row.
const deltaRows = 4

// panelRows returns how many rows make a panel of about so many weights.
func (s *subject) panelRows(weights int) int {
	n := max(weights/max(s.cols, 1), 1)
	if n > deltaRows {
		n = (n + deltaRows/2) / deltaRows * deltaRows
	}
	return min(max(n/s.unit, 1)*s.unit, s.rows)
}

// noiseFloor returns the rms of what requantizing the weight without any delta
// changes, relative to the rms of the weight.
func (s *subject) noiseFloor(ctx context.Context, w *work) (Figure, error) {
	z := *s
	z.updates, z.scales = []update{zero(quant.F32)}, nil
	z.choice, z.sight = nil, nil
	z.dtypes = []quant.Format{s.spec.Dtype, zero(quant.F32).dtype(s.spec.Dtype)}
	f := newFlight(&z, nil, panelWeights, nil)
	if err := f.alone(ctx, w); err != nil {
		return 0, err
	}
	m := MetricsOf(f.result.sums)
	return ratio(float64(m.ErrorRMS), float64(m.WeightRMS)), nil
}

// alone computes all panels one after the other.
func (f *flight) alone(ctx context.Context, w *work) error {
	for ; f.pass < f.sub.passes(); f.pass++ {
		for panel := range f.panels {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := f.compute(w, f.pass, panel); err != nil {
				return err
			}
		}
		if err := f.endPass(); err != nil {
			return err
		}
	}
	return nil
}

// meanScale returns the mean of the base's finite scales, NaN if it has none.
func (s *subject) meanScale() float64 {
	var sum float64
	n := 0
	for _, v := range s.absmax {
		if isFinite(v) {
			sum += float64(v)
			n++
		}
	}
	if n == 0 {
		return math.NaN()
	}
	return sum / float64(n)
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// layerError names the layer an error belongs to.
func layerError(l *Layer, err error) error { return fmt.Errorf("layer %s: %w", l.Weight.Name, err) }

// newHeat returns empty cells for weight rows [from, to).
func (s *subject) newHeat(from, to, rows, cols int) *heat {
	width := quant.StatBlock
	if s.outForm().Is4Bit() {
		width = s.outSpec().Blocksize
	}
	return newHeat(gridOf(s.rows, s.cols, width), from, to, rows, cols)
}
