package merge

import (
	"fmt"
	"slices"
	"strings"

	"mergescope/loader"
	"mergescope/quant"
)

// replacement is a tensor of the output that comes from adapters as it is, not
// as a delta: the whole of it (modules_to_save, biases, embeddings saved along)
// or some rows (trainable tokens).
type replacement struct {
	name   string         // of the tensor in the output
	old    *loader.Tensor // of the model; what a new tensor copies
	whole  *loader.Tensor // of an adapter; nil keeps old
	tokens []tokenRows
	saved  *loader.Adapter // whose modules_to_save whole is
}

// tokenRows are the rows of an embedding that an adapter trains.
type tokenRows struct {
	adapter *loader.Adapter
	tensor  *loader.Tensor // [len(rows), dim], in place of the rows
	rows    []int64
}

func (r *replacement) module() string { return r.name[:max(strings.LastIndexByte(r.name, '.'), 0)] }

// replacing collects the replacements of a plan.
type replacing struct {
	p       *Project
	rules   ruleSet
	layers  map[*loader.Weight]*Layer
	parts   map[*loader.Tensor]bool // companions of quantized weights
	byName  map[string]*replacement
	order   []string
	refused map[string]bool // tensors on which adapters do not agree
	alerts  []Alert
}

// replacements finds the tensors that adapters replace and lets the layers that
// are merged take theirs over. PEFT loads biases and embeddings into the model
// along with the adapter, in the order of loading; modules_to_save and trainable
// tokens of all adapters count as active (utils/save_and_load.py, utils/other.py).
func (p *Project) replacements(plan Plan, rules ruleSet, layers []Layer) ([]replacement, []Alert) {
	c := replacing{
		p: p, rules: rules, layers: map[*loader.Weight]*Layer{}, parts: map[*loader.Tensor]bool{},
		byName: map[string]*replacement{}, refused: map[string]bool{},
	}
	for _, ref := range plan.Adapters {
		if a := p.Adapter(ref.Name); a != nil && len(a.Others) > 0 && p.merges(a, reproduces(layers)) {
			c.index(layers)
			c.adapter(a)
		}
	}
	c.untie()
	var list []replacement
	for _, name := range c.order {
		if r := c.byName[name]; r != nil && !c.refused[name] && c.settle(r) {
			list = append(list, *r)
		}
	}
	return list, c.alerts
}

// replacedKinds are the kinds of replaced tensors in the order in which PEFT
// comes to them, and what to call them.
var replacedKinds = []struct{ kind, what string }{
	{loader.KindEmbedding, "embeddings saved along, which replace those of the base: %d, first %s"},
	{loader.KindBias, "tensors that replace biases of the base (bias=%q): %%d, first %%s"},
	{loader.KindUnknown, "tensors that replace tensors of the base of the same name: %d, first %s"},
	{loader.KindModulesToSave, "tensors that replace whole tensors of the base (modules_to_save): %d, first %s"},
	{loader.KindTokens, "tensors that replace rows of an embedding (trainable_token_indices): %d, first %s"},
}

// adapter takes up what one adapter replaces and says so.
func (c *replacing) adapter(a *loader.Adapter) {
	var missing, packed, copies, idle tally
	for _, k := range replacedKinds {
		var taken tally
		for _, r := range a.Others {
			if r.Kind != k.kind {
				continue
			}
			at := tensorPlace(r.Tensor)
			switch c.take(a, r) {
			case tookIt:
				taken.add(r.Tensor.Name, at)
			case noTarget:
				missing.add(r.Target, at)
			case noName:
				idle.add(r.Tensor.Name, at)
			case intoPacked:
				packed.add(r.Target, at)
			case packedCopy:
				copies.add(r.Tensor.Name, at)
			}
		}
		what := k.what
		if k.kind == loader.KindBias {
			what = fmt.Sprintf(what, a.Config.Bias)
		}
		c.add(taken.alert(Warning, CodeReplaced, a.Name+": "+what))
	}
	c.add(idle.alert(Warning, CodeUnsupported, a.Name+": tensors of unknown purpose, which are left out: %d, first %s"))
	c.add(missing.alert(Warning, CodeUnmatched, a.Name+": tensors that replace tensors the model does not have: %d, first %s"))
	c.add(copies.alert(Info, CodeReplaced, a.Name+": packed codes and scales of quantized weights saved along: %d, first %s; the model's own are kept"))
	c.add(packed.alert(Error, CodeUnmergeable, a.Name+": tensors that replace quantized weights: %d, first %s; "+
		"PEFT cannot load this, since packed weights cannot be trained (only Tensors of floating point dtype can require gradients); "+
		"the base's are kept. With output bf16 for that layer the trained copy is written instead"))
}

func (c *replacing) add(a []Alert) { c.alerts = append(c.alerts, a...) }

// fate is what becomes of a tensor that replaces another.
type fate uint8

const (
	tookIt     fate = iota
	dropped         // by the plan
	refusedIt       // with an alert
	noName          // nobody knows what it is for
	noTarget        // the model has no such tensor
	intoPacked      // a float tensor for a quantized weight
	packedCopy      // part of a quantized weight
)

// take takes up one tensor.
func (c *replacing) take(a *loader.Adapter, r *loader.Replaced) fate {
	if r.Target == "" {
		return noName
	}
	name, old := r.Target, c.p.Model.Tensor(r.Target)
	if old == nil && c.p.tied() && name == outputEmbedding {
		if old = c.p.Model.Tensor(c.p.inputEmbedding()); old != nil && r.Kind != loader.KindModulesToSave {
			name = old.Name // one parameter, two names
		}
	}
	module := name[:max(strings.LastIndexByte(name, '.'), 0)]
	if c.rules.scale(module, a.Name) == 0 || c.rules.output(module) == Keep {
		return dropped
	}
	if old == nil {
		return noTarget
	}
	w := c.p.Model.Weight(old.Name)
	if w == nil || w.Data != old {
		w = nil
	}
	switch {
	case w == nil && c.parts[old], w != nil && !w.Format.IsFloat() && r.Tensor.DType == old.DType:
		return packedCopy
	case w != nil && !w.Format.IsFloat() && (r.Kind == loader.KindTokens || !c.layers[w].Output.Dequantized()):
		return intoPacked
	case r.Kind == loader.KindTokens:
		return c.takeRows(a, r, old, w)
	}
	shape := old.Shape
	if w != nil {
		shape = w.Shape
	}
	if !slices.Equal(shape, r.Tensor.Shape) {
		return c.refuse(r, CodeShape, fmt.Sprintf("size mismatch: %s is %v, but %s of the model is %v; PEFT refuses to load it", r.Tensor.Name, r.Tensor.Shape, name, shape))
	}
	if r.Tensor.DType != old.DType && (tensorFormats[r.Tensor.DType] == quant.Unknown || w == nil && tensorFormats[old.DType] == quant.Unknown) {
		return c.refuse(r, CodeUnsupported, fmt.Sprintf("%s is %s and %s of the model is %s: only float tensors are converted", r.Tensor.Name, r.Tensor.DType, name, old.DType))
	}
	x := c.of(name, old)
	if x.saved != nil && x.saved != a {
		if r.Kind == loader.KindModulesToSave {
			c.conflict(name, fmt.Sprintf("%s and %s both bring %s. PEFT: \"Only one adapter can be set at a time\"", x.saved.Name, a.Name, name), r)
		}
		return refusedIt // a module's trained copy hides the model's own
	}
	if r.Kind == loader.KindModulesToSave {
		if len(x.tokens) > 0 {
			return c.savedTokens(r, name, a, x.tokens[0].adapter)
		}
		x.saved = a
	}
	x.whole = r.Tensor
	return tookIt
}

// takeRows takes up trainable tokens.
func (c *replacing) takeRows(a *loader.Adapter, r *loader.Replaced, old *loader.Tensor, w *loader.Weight) fate {
	x := c.of(old.Name, old)
	rows, ok := tokenIndices(a, x.module(), c.p.inputEmbedding() == old.Name)
	t := r.Tensor
	switch {
	case !ok:
		return c.refuse(r, CodeConflict, fmt.Sprintf("trainable_token_indices names no rows of %s, but the file has %s", x.module(), t.Name))
	case w == nil || len(w.Shape) != 2 || len(t.Shape) != 2 || t.Shape[0] != int64(len(rows)) || t.Shape[1] != w.Shape[1]:
		return c.refuse(r, CodeShape, fmt.Sprintf("size mismatch: %s is %v for %d rows of %s, which is %v", t.Name, t.Shape, len(rows), old.Name, old.Shape))
	case tensorFormats[t.DType] == quant.Unknown:
		return c.refuse(r, CodeUnsupported, fmt.Sprintf("%s is %s, want F32, F16 or BF16", t.Name, t.DType))
	}
	if most := slices.Max(append([]int64{0}, rows...)); most >= w.Shape[0] {
		return c.refuse(r, CodeShape, fmt.Sprintf("%s: index %d is out of bounds for dimension 0 with size %d", t.Name, most, w.Shape[0]))
	}
	for _, other := range x.tokens {
		if slices.ContainsFunc(rows, func(row int64) bool { return slices.Contains(other.rows, row) }) {
			return c.conflict(old.Name, fmt.Sprintf("%s and %s train the same rows of %s. PEFT: \"Token indices of adapter %s are already defined and "+
				"would result in undefined merging behavior. Only disjunct token indices are currently supported.\"", other.adapter.Name, a.Name, old.Name, a.Name), r)
		}
	}
	if x.saved != nil {
		return c.savedTokens(r, old.Name, x.saved, a)
	}
	x.tokens = append(x.tokens, tokenRows{a, t, rows})
	return tookIt
}

// savedTokens refuses an embedding that is both saved whole and trained by rows.
func (c *replacing) savedTokens(r *loader.Replaced, name string, saved, tokens *loader.Adapter) fate {
	return c.conflict(name, fmt.Sprintf("%s is in modules_to_save of %s and has trainable tokens of %s. PEFT: \"The embedding layer is already marked "+
		"to be trained fully\"", name, saved.Name, tokens.Name), r)
}

// tokenIndices returns the rows that an adapter trains of a module.
func tokenIndices(a *loader.Adapter, module string, input bool) (rows []int64, ok bool) {
	for _, t := range a.Config.TrainableTokens {
		if t.Module == "" && input || t.Module != "" && listed(module, []string{t.Module}) {
			return t.Rows, true
		}
	}
	return nil, false
}

// of returns the replacement of a tensor.
func (c *replacing) of(name string, old *loader.Tensor) *replacement {
	r := c.byName[name]
	if r == nil {
		r = &replacement{name: name, old: old}
		c.byName[name] = r
		c.order = append(c.order, name)
	}
	return r
}

func (c *replacing) refuse(r *loader.Replaced, code Code, why string) fate {
	c.alerts = append(c.alerts, newAlert(Error, code, "", why).at(tensorPlace(r.Tensor)))
	return refusedIt
}

// conflict keeps the model's tensor where adapters do not agree.
func (c *replacing) conflict(name, why string, r *loader.Replaced) fate {
	c.refused[name] = true
	al := newAlert(Error, CodeConflict, "", why+"; the base's tensor is kept").at(tensorPlace(r.Tensor))
	al.Hint = fmt.Sprintf("give one of the adapters the scale 0 there: a rule for %s", name[:strings.LastIndexByte(name, '.')])
	c.alerts = append(c.alerts, al)
	return refusedIt
}

// index fills layers and parts.
func (c *replacing) index(layers []Layer) {
	if len(c.layers) > 0 {
		return
	}
	for i := range layers {
		c.layers[layers[i].Weight] = &layers[i]
		for _, t := range layers[i].Weight.Companions {
			c.parts[t] = true
		}
	}
}

// settle gives a replacement to the layer that is merged over it, and reports
// whether it is left to be written by itself.
func (c *replacing) settle(r *replacement) bool {
	w := c.p.Model.Weight(r.module())
	if w == nil {
		return true
	}
	l := c.layers[w]
	switch r.old {
	case w.Bias:
		if l.Merges() && w.Bias != nil {
			l.bias = r.whole
			return false
		}
	case w.Data:
		return c.settleData(r, l)
	}
	return true
}

func (c *replacing) settleData(r *replacement, l *Layer) bool {
	if r.name != r.old.Name {
		return true
	}
	if len(l.Steps) > 0 && (r.saved != nil || len(r.tokens) > 0) {
		kind := "modules_to_save"
		if len(r.tokens) > 0 {
			kind = "trainable_token_indices"
		}
		l.Reason = fmt.Sprintf("adapters bring both a delta for %s and %s of it. PEFT: \"%s cannot be applied to modules of type Linear or Embedding of LoRA\"", l.Weight.Name, kind, kind)
		l.Steps = nil
		c.alerts = append(c.alerts, newAlert(Error, CodeConflict, l.Weight.Name, l.Reason+"; the base's tensor is kept").at(tensorPlace(r.old)))
		return false
	}
	if l.Merges() || l.Output.Dequantized() {
		l.base = r.whole
		return false
	}
	switch {
	case r.saved != nil:
		l.Reason = "replaced by " + r.saved.Name + " (modules_to_save)"
	case len(r.tokens) > 0:
		l.Reason = fmt.Sprintf("%s replaced (trainable_token_indices)", count(len(r.tokens[0].rows), "row"))
	default:
		l.Reason = "replaced by the copy saved along with an adapter"
	}
	return true
}

// tensor describes the tensor as it is written. Under low_cpu_mem_usage PEFT
// puts the adapter's tensor itself in place, with its dtype.
func (r *replacement) tensor(opt mergeOptions) (outTensor, error) {
	t := copyOf(r.old)
	t.name = r.name
	if r.whole != nil {
		t.from = r.whole
		if opt.lora == LoRARounded {
			t.dtype = r.whole.DType
		}
		if t.dtype != r.whole.DType {
			c, err := contentIn(r.whole, tensorFormats[t.dtype])
			if err != nil {
				return t, err
			}
			t.through = c
		}
		t.size = r.whole.Numel() * t.dtype.Bits() / 8
	}
	if len(r.tokens) == 0 {
		return t, nil
	}
	p := patched{base: t.from, row: t.dtype.Bits() / 8 * r.old.Shape[1], rows: map[int64]patch{}}
	if t.through != nil {
		p.base = t.through
	}
	for _, x := range r.tokens {
		from, err := contentIn(x.tensor, tensorFormats[t.dtype])
		if err != nil {
			return t, err
		}
		for i, row := range x.rows {
			p.rows[row] = patch{from, int64(i)}
		}
	}
	t.through = p
	return t, nil
}
