package merge

import (
	"fmt"
	"maps"
	"slices"

	"mergescope/loader"
	"mergescope/quant"
)

// sum is a tuner that adds a delta. PEFT adds in place, so the weight keeps its
// dtype, that of a 4-bit layer's quant state included.
type sum struct {
	fill  func(d []float32, rows, r0 int) // sets the delta of weight rows [r0, r0+rows)
	minus bool
	wide  bool         // the sum is float32 where the base is less
	round quant.Format // what the delta is rounded to before it is added; Unknown: it is not
	bad   factorFaults
}

func (s *sum) faults() factorFaults { return s.bad }

func (s *sum) dtype(base quant.Format) quant.Format {
	if s.wide {
		return promote(base, quant.F32)
	}
	return base
}

func (s *sum) add(p *quant.Panel, r0 int) {
	p.D = resize(p.D, p.Len())
	s.fill(p.D, p.Rows, r0)
	if s.round != quant.Unknown {
		quant.RoundTo(p.D, s.round)
	}
	if s.minus {
		for i, d := range p.D {
			p.D[i] = -d
		}
	}
	p.Add()
	quant.RoundTo(p.T, s.dtype(p.Spec.Dtype))
}

// rewrite is a tuner that makes a new weight of the old one. Its delta is what
// the weight changes by before it is stored.
type rewrite struct {
	set  func(p *quant.Panel, r0 int) // sets p.T from p.W
	wide bool                         // the result is float32 where the base is less
	unit int                          // rows that must be in one panel, 0 or 1 for any
	bad  factorFaults
}

func (x *rewrite) faults() factorFaults { return x.bad }

func (x *rewrite) dtype(base quant.Format) quant.Format {
	if x.wide {
		return promote(base, quant.F32)
	}
	return base
}

func (x *rewrite) add(p *quant.Panel, r0 int) {
	p.T, p.D = resize(p.T, p.Len()), resize(p.D, p.Len())
	x.set(p, r0)
	for i, t := range p.T {
		p.D[i] = t - p.W[i]
	}
	quant.RoundTo(p.T, x.dtype(p.Spec.Dtype))
}

// tunerStep is what the update of a tuner is made of.
type tunerStep struct {
	*Step
	w     *loader.Weight
	opt   mergeOptions
	rows  int                  // of the weight as stored
	cols  int                  // of the weight as stored
	value map[string][]float32 // parameters by role
	bad   factorFaults
}

// size returns dimension i of a parameter.
func (t *tunerStep) size(role string, i int) int { return int(t.Module.Params[role].Shape[i]) }

// outIn returns the layer's out_features and in_features.
func (t *tunerStep) outIn() (out, in int) {
	if t.Transpose {
		return t.cols, t.rows
	}
	return t.rows, t.cols
}

// tunerUpdates make the updates of tuners by peft_type.
var tunerUpdates = map[string]func(*tunerStep) (update, error){
	"HIRA":     openHiRA,
	"VERA":     openVeRA,
	"PVERA":    openVeRA,
	"RANDLORA": openRandLoRA,
	"LOHA":     openLoHa,
	"LOKR":     openLoKr,
	"ADALORA":  openAdaLoRA,
	"SHIRA":    openSHiRA,
	"MISS":     openMiSS,
	"IA3":      openIA3,
	"OFT":      openOFT,
	"BOFT":     openBOFT,
	"ROAD":     openRoAd,

	"FOURIERFT": openFourierFT,
	"WAVEFT":    openWaveFT,
	"C3A":       openC3A,
	"GRALORA":   openGraLoRA,
	"VBLORA":    openVBLoRA,
	"DELORA":    openDeLoRA,
	"HRA":       openHRA,
	"DEFT":      openDEFT,
	"PEANUT":    openPEANuT,

	"SUPERTUNING": openSuperTuning,
}

// openTuner reads what a step of a tuner other than LoRA does to a weight.
func openTuner(step *Step, w *loader.Weight, opt mergeOptions) (update, error) {
	name := tuners[step.Module.Tuner].name
	switch {
	case opt.lora == LoRALayer:
		return nil, fmt.Errorf("%s: half-precision arithmetic (autocast_adapter_dtype=False) is done for LoRA only", name)
	case opt.unmerge != NoUnmerge && !subtracts(step.Module, w):
		return nil, fmt.Errorf("%s cannot be taken off %s here: its merge is no sum", name, w.Name)
	}
	t, err := newTunerStep(step, w, opt)
	if err != nil {
		return nil, err
	}
	return tunerUpdates[step.Module.Tuner](t)
}

// newTunerStep reads the parameters of a step.
func newTunerStep(step *Step, w *loader.Weight, opt mergeOptions) (*tunerStep, error) {
	t := &tunerStep{Step: step, w: w, opt: opt, rows: w.Rows(), cols: w.Cols(), value: map[string][]float32{}}
	t.bad.At = Nowhere()
	stored, _ := loadedAs(step, w, opt)
	for _, role := range slices.Sorted(maps.Keys(step.Module.Params)) {
		tensor := step.Module.Params[role]
		if _, ok := tensorFormats[tensor.DType]; !ok {
			continue // indices
		}
		x, err := readFloats(tensor)
		if err != nil {
			return nil, err
		}
		quant.RoundTo(x, stored)
		t.value[role] = x
		if n, first := nonFinite(x); n > 0 {
			if t.bad.B == 0 {
				t.bad.Origin, t.bad.At = role, elementPlace(tensor, first)
			}
			t.bad.B += n
		}
	}
	return t, nil
}

// subtracts reports whether a tuner's merge can be taken back.
func subtracts(m *loader.Module, w *loader.Weight) bool {
	switch m.Tuner {
	case "VERA", "PVERA", "RANDLORA", "LOHA", "LOKR", "ADALORA", "SHIRA", "FOURIERFT", "WAVEFT", "GRALORA", "VBLORA", "SUPERTUNING":
		return true
	case "HIRA":
		return !w.Format.IsFloat()
	}
	return false
}

// unscalable says why the plan's scale of a tuner must be 1, "" if it need not.
func unscalable(kind string) string {
	switch kind {
	case "OFT", "BOFT", "MISS":
		return fmt.Sprintf("PEFT: \"Scaling operation for %s not supported!\"", tuners[kind].name)
	case "DEFT", "PEANUT":
		return fmt.Sprintf("the change of %s is no multiple of its parameters", tuners[kind].name)
	case "IA3", "ROAD", "HRA":
		return fmt.Sprintf("%s multiplies the weight, and PEFT has no scaling for it", tuners[kind].name)
	}
	return ""
}

// newSum returns the update that adds a delta.
func (t *tunerStep) newSum(fill func(d []float32, rows, r0 int)) *sum {
	return &sum{fill: fill, minus: t.opt.unmerge == Subtract, wide: t.Defect != "", bad: t.bad}
}

// lowRank is B @ A, or its transpose for a weight stored [in, out].
type lowRank struct {
	a       *quant.Factor
	b       []float32
	unfused bool // see narrow
}

// newLowRank takes A [rank, in] and B [out, rank].
func newLowRank(a, b []float32, rank, in, out int, flip bool) lowRank {
	if flip {
		a, b = transpose(b, out, rank), transpose(a, rank, in)
		in = out
	}
	return lowRank{a: quant.NewFactor(a, rank, in), b: b}
}

// fill sets rows [r0, r0+rows) of scale * (B @ A).
func (l lowRank) fill(d []float32, rows, r0 int, scale float32) {
	b := l.b[r0*l.a.Rank : (r0+rows)*l.a.Rank]
	if l.unfused {
		unfused(d, b, l.a.A, l.a.Rank, l.a.Cols)
		for i := range d {
			d[i] *= scale
		}
		return
	}
	quant.Delta(d, b, l.a, rows, scale)
}

// narrow is the number of columns below which torch's CPU float32 product (MKL
// with AVX-512) does not fuse products and sums.
const narrow = 12

// multiply is A [rows, inner] @ B [inner, cols] as torch computes it.
func multiply(a, b []float32, inner, cols int) []float32 {
	rows := len(a) / max(inner, 1)
	c := make([]float32, rows*cols)
	if cols >= narrow {
		quant.Delta(c, a, quant.NewFactor(b, inner, cols), rows, 1)
		return c
	}
	unfused(c, a, b, inner, cols)
	return c
}

// unfused sets c to A [rows, inner] @ B [inner, cols], products and sums rounded
// apart.
func unfused(c, a, b []float32, inner, cols int) {
	for i := range c {
		row, col := i/cols, i%cols
		var acc float32
		for k := range inner {
			acc += float32(a[row*inner+k] * b[k*cols+col])
		}
		c[i] = acc
	}
}

// scaleRows multiplies row i of x by s[i].
func scaleRows(x, s []float32, cols int) []float32 {
	out := make([]float32, len(x))
	for i, v := range x {
		out[i] = v * s[i/cols]
	}
	return out
}

// lintFactors warns where the plan scales an adapter that cannot be scaled.
func (p *Project) lintFactors(a *loader.Adapter, hits map[*loader.Weight]hit, rules ruleSet) []Alert {
	why := unscalable(a.Config.PeftType)
	if why == "" {
		return nil
	}
	var t tally
	for _, w := range p.Model.Weights {
		if s := rules.scale(w.Name, a.Name); hits[w].module != nil && s != 0 && s != 1 {
			t.add(w.Name, tensorPlace(w.Data))
		}
	}
	return t.alert(Error, CodeUnmergeable, a.Name+": layers on which the plan gives it a scale other than 1: %d, first %s; "+why+". They are not merged")
}

// scalesBias reports whether the tuner of a module multiplies the layer's bias.
func (l *Layer) scalesBias(m *loader.Module) bool {
	switch m.Tuner {
	case "ROAD":
		return l.Weight.Bias != nil
	case "IA3":
		return l.Weight.Bias != nil && m.Params["ia3_l"].Shape[0] != 1
	}
	return false
}

// multiply does what a tuner does to the bias.
func (t *biasTerm) multiply(bias []float32) error {
	s, err := newTunerStep(t.step, t.layer.Weight, t.opt)
	if err == nil {
		tunerBias(s, bias)
		quant.RoundTo(bias, t.sum)
	}
	return err
}

// reached says which kinds of layers the modules of a tuner adapt, all of the
// model's if that is not known.
func (p *Project) reached(a *loader.Adapter, all widths) widths {
	if a.Config.PeftType == "LORA" {
		return all
	}
	w := widths{compute: all.compute}
	found := false
	for _, m := range a.Modules {
		if x := p.Model.Weight(m.Path); x != nil {
			found = true
			w.bits4 = w.bits4 || x.Format.Is4Bit()
			w.bits8 = w.bits8 || x.Format == quant.Int8
		}
	}
	if !found {
		return all
	}
	return w
}

// merges reports whether anything of an adapter is merged.
func (p *Project) merges(a *loader.Adapter, reproduce bool) bool {
	_, reason := refusal(a, p.reached(a, widthsOf(p.Model)), reproduce)
	return reason == ""
}

// secondOnBase refuses step i of a float layer if its tuner takes its delta from
// the weight and there was one of its kind before it: PEFT takes those of all
// from the weight before the first (hira/layer.py and peanut/layer.py,
// _get_base_weight_before_merge; deft/layer.py, merge), which is not at hand any
// more.
func (l *Layer) secondOnBase(i int) error {
	kind := l.Steps[i].Module.Tuner
	if !l.Weight.Format.IsFloat() || !slices.Contains([]string{"HIRA", "DEFT", "PEANUT"}, kind) {
		return nil
	}
	for _, s := range l.Steps[:i] {
		if s.Module.Tuner == kind {
			return fmt.Errorf("adapters %s and %s: two %s adapters on a float layer are not merged: PEFT takes the delta of both from the weight before either",
				s.Adapter.Name, l.Steps[i].Adapter.Name, tuners[kind].name)
		}
	}
	return nil
}
