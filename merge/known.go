package merge

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"

	"mergescope/loader"
	"mergescope/quant"
)

// knownLayer is what a job left of a layer that cannot be computed without the
// model: Examine and Explain show it.
type knownLayer struct {
	method Method     // by which the layer was merged in the end
	codes  *coded     // of method calibrated, else nil
	seen   []onInputs // by row; nil if it is not known
}

// knownBudget bounds the memory of all known layers of a project, in bytes. Beyond
// it the oldest are dropped.
const knownBudget = 512 << 20

// knownLayers are safe for concurrent use.
type knownLayers struct {
	mu    sync.Mutex
	byKey map[string]*knownLayer
	order []string // the oldest first
	bytes int
}

func (r *knownLayer) size() int {
	n := 16 * len(r.seen)
	if r.codes != nil {
		n += len(r.codes.codes) + 4*len(r.codes.scales)
	}
	return n
}

func (r *knownLayers) put(key string, x *knownLayer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byKey == nil {
		r.byKey = map[string]*knownLayer{}
	}
	r.drop(key)
	r.byKey[key], r.bytes = x, r.bytes+x.size()
	r.order = append(r.order, key)
	for r.bytes > knownBudget {
		r.drop(r.order[0])
	}
}

// drop forgets a layer. Callers hold mu.
func (r *knownLayers) drop(key string) {
	old := r.byKey[key]
	if old == nil {
		return
	}
	r.bytes -= old.size()
	delete(r.byKey, key)
	i := slices.Index(r.order, key)
	r.order = slices.Delete(r.order, i, i+1)
}

// find returns nil if nothing is known.
func (r *knownLayers) find(key string) *knownLayer {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.byKey[key]
}

// knownKey names what a plan does with a layer. What was done with the layers
// before it plays no part, as it does not in what the interface shows of reports.
func knownKey(l *Layer) string {
	key := fmt.Sprintf("%s %s %s %p", l.Weight.Param, l.Output, l.Method, l.against)
	if l.into != nil {
		key += fmt.Sprintf(" %v", l.into.Spec())
	}
	for _, s := range l.Steps {
		key += fmt.Sprintf(" %p %x", s.Adapter, s.Scale)
	}
	return key
}

// knownKeys names the layers of the job that are to be known, by index.
func (j *Job) knownKeys() map[int]string {
	keys := map[int]string{}
	for _, i := range j.todo {
		if l := &j.layers[i]; l.Merges() {
			keys[i] = knownKey(l)
		}
	}
	return keys
}

// keepKnown keeps what a calibrated job found of a layer, and puts beside its
// figures those that PEFT's codes would have.
func (j *Job) keepKnown(ctx context.Context, w *work, layer int, f *flight, v *verdict) error {
	key, ok := j.keys[layer]
	if !ok {
		return nil
	}
	x := &knownLayer{method: f.sub.layer.Method, codes: f.result.codes}
	if f.sub.choice == nil || v.Stopped {
		x.codes = nil
	}
	if !v.Stopped {
		x.seen = f.result.seen
	}
	j.project.known.put(key, x)
	if v.Stopped || v.Report.Peft != nil || j.layers[layer].Method.Kind != MethodCalibrated {
		return nil
	}
	kept := Kept{v.Report.Kept, v.Report.KeptOnInputs}
	if f.sub.choice != nil {
		peft, err := j.beside.nearest(ctx, w, f, nil)
		if err != nil {
			return err
		}
		seen := sumOf(peft.result.seen)
		kept = Kept{MetricsOf(peft.result.sums).Kept, ratio(seen.RD, seen.DD)}
	}
	v.Report.Peft = &kept
	return nil
}

// KeptOver is what is kept over some layers: energy-weighted, as all totals are.
// of says what of a layer; figures that do not exist leave it out.
func KeptOver(layers []*LayerReport, of func(*LayerReport) Kept) Kept {
	var rd, dd float64
	var seen onInputs
	for _, l := range layers {
		k := of(l)
		if n, d := l.numel(), float64(l.DeltaRMS); d == d && k.Kept == k.Kept {
			rd, dd = rd+float64(k.Kept)*d*d*n, dd+d*d*n
		}
		if l.DeltaOnInputs != nil && k.OnInputs == k.OnInputs {
			d := float64(*l.DeltaOnInputs)
			d *= d * float64(l.Shape[0])
			seen.add(onInputs{float64(k.OnInputs) * d, d})
		}
	}
	return Kept{ratio(rd, dd), ratio(seen.RD, seen.DD)}
}

// Result is what the layer keeps.
func (l *LayerReport) Result() Kept { return Kept{l.Kept, l.KeptOnInputs} }

// AsPeft is what it would keep with PEFT's codes; of a layer that is not
// calibrated, what it keeps.
func (l *LayerReport) AsPeft() Kept {
	if l.Peft != nil {
		return *l.Peft
	}
	return l.Result()
}

// peftTotals is what PEFT's codes would keep of all layers, nil if none of them is
// calibrated.
func peftTotals(layers []*LayerReport) *Kept {
	if !slices.ContainsFunc(layers, func(l *LayerReport) bool { return l.Peft != nil }) {
		return nil
	}
	k := KeptOver(layers, (*LayerReport).AsPeft)
	return &k
}

func (l *LayerReport) numel() float64 {
	n := 1.0
	for _, d := range l.Shape {
		n *= float64(d)
	}
	return n
}

// WhyNoInputs says why KeptOnInputs of a layer does not exist, "" if it does.
// calibrated says whether any layer of the plan is.
func (l *LayerReport) WhyNoInputs(calibrated bool) string {
	switch {
	case !math.IsNaN(float64(l.KeptOnInputs)):
		return ""
	case !calibrated:
		return "only a merge with calibrated layers runs the model, and so knows what inputs see"
	case l.NonFinite.Any():
		return "the layer is not finite"
	case float64(l.DeltaRMS) == 0:
		return "the adapter adds nothing here"
	}
	return "the model was not run over this layer's inputs"
}

// ErrNotRun is wrapped by the errors of Examine and Explain for layers that only
// a job over the whole model computes, before one has.
var ErrNotRun = errors.New("calibrated codes follow from the inputs of the whole model")

// Recall takes up what a merge by the plan wrote of a layer, for Examine and
// Explain of a calibrated one; others need nothing and stay as they are. The
// checkpoint may be closed afterwards.
func (p *Project) Recall(plan Plan, layer string, merged *loader.Checkpoint) error {
	l, err := p.layer(plan, layer)
	if err != nil || !l.calibrated() {
		return err
	}
	w, want := merged.Weight(l.Weight.Param), l.target()
	switch {
	case w == nil:
		return fmt.Errorf("%s has no weight %s", merged.Name, l.Weight.Param)
	case w.Problem != nil:
		return w.Problem
	case w.Format != want.Format || w.Spec().Blocksize != want.Spec().Blocksize || !slices.Equal(w.Shape, want.Shape):
		return fmt.Errorf("%s: tensor %s is %s %v, the plan writes %s %v", w.Data.File().Name, w.Data.Name, w.Format, w.Shape, want.Format, want.Shape)
	}
	x := &knownLayer{method: l.Method}
	if x.codes, err = readCoded(w); err != nil {
		return err
	}
	ours, err := keptScales(l, w, x.codes.scales)
	if err != nil {
		return err
	}
	if !ours { // PEFT's codes served the inputs better
		x.method, x.codes = Method{Kind: MethodPeft}, nil
	}
	p.known.put(knownKey(l), x)
	return nil
}

// keptScales reports whether of the scales of a written layer that is there which
// its method leaves as it is. New ones and moved ones that are not nested may be
// anything.
func keptScales(l *Layer, written *loader.Weight, scales []float32) (bool, error) {
	switch {
	case l.into != nil || l.Method.Scales == ScalesFresh:
		return true, nil
	case l.Method.Scales == ScalesMove && l.Weight.Format.Is4Bit():
		return sameStatistics(l.Weight, written)
	}
	base, err := readScales(l.Weight)
	return slices.Equal(base, scales), err
}

// sameStatistics reports whether two 4-bit weights have what says the same of their
// codes for scales: nothing, or the same nested absmax, offset and map.
func sameStatistics(a, b *loader.Weight) (bool, error) {
	if !a.State.Nested || !b.State.Nested {
		return a.State.Nested == b.State.Nested, nil
	}
	x, err := readNested(a.State)
	if err != nil {
		return false, err
	}
	y, err := readNested(b.State)
	return err == nil && x.Offset == y.Offset && x.Blocksize == y.Blocksize && *x.Map == *y.Map && slices.Equal(x.Absmax, y.Absmax), err
}

// readCoded reads a quantized weight whole.
func readCoded(w *loader.Weight) (*coded, error) {
	c := &coded{spec: w.Spec(), rows: w.Rows(), cols: w.Cols()}
	c.spec.Dtype = quant.F32
	var err error
	if c.scales, err = readScales(w); err != nil {
		return nil, err
	}
	c.codes, err = w.Data.Bytes()
	return c, err
}

// openKnown opens a layer that is known. Of one that is not, ErrNotRun is the
// error.
func openKnown(l *Layer, x *knownLayer, opt mergeOptions) (*subject, error) {
	if x == nil {
		return nil, ErrNotRun
	}
	c := *l
	c.Method = x.method
	if x.codes != nil {
		c.inputs = &layerInputs{codes: x.codes}
	}
	return openSubject(&c, opt)
}

// deltaOutput is the rms of what a delta adds to an output of a layer of so many,
// nil if that is not known.
func deltaOutput(seen onInputs, outputs int) *Figure {
	if seen == (onInputs{}) || outputs == 0 {
		return nil
	}
	f := Figure(math.Sqrt(seen.DD / float64(outputs)))
	return &f
}
