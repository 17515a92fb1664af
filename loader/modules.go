package loader

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"mergescope/quant"
)

const (
	peftPrefix = "base_model.model."
	baseLayer  = ".base_layer"
)

// roles are the tensors of a LoRA module, by the component of the key that
// follows the module's path (peft/tuners/lora/layer.py).
var roles = []string{"lora_A", "lora_B", "lora_embedding_A", "lora_embedding_B", "lora_magnitude_vector"}

// factorKey takes a key apart into module path, role and the parameter behind
// it ("weight", "bias" or "" for a bare parameter). An adapter name in between,
// as old files have, is dropped.
func factorKey(key string) (path, role, param string, ok bool) {
	parts := strings.Split(key, ".")
	i := len(parts) - 1
	for ; i > 0 && !slices.Contains(roles, parts[i]); i-- {
	}
	if i <= 0 || len(parts)-i > 3 {
		return "", "", "", false
	}
	if tail := parts[i+1:]; len(tail) > 0 {
		switch last := tail[len(tail)-1]; {
		case last == "weight" || last == "bias":
			param = last
		case len(tail) == 2:
			return "", "", "", false
		}
	}
	return strings.Join(parts[:i], "."), parts[i], param, true
}

// group sorts the tensors of the file into modules and others.
func (a *Adapter) group() error {
	type key struct {
		path  string
		depth int
	}
	modules := map[key]*Module{}
	var rest []*Tensor
	if a.Config.PeftType != "LORA" {
		return a.groupTuner()
	}
	for _, t := range a.File.Tensors {
		path, role, param, ok := factorKey(strings.TrimPrefix(t.Name, peftPrefix))
		if !ok {
			rest = append(rest, t)
			continue
		}
		plain := strings.ReplaceAll(path, baseLayer, "")
		k := key{plain, (len(path) - len(plain)) / len(baseLayer)}
		m := modules[k]
		known := m != nil
		if !known {
			m = &Module{Path: k.path, Depth: k.depth}
		}
		if !m.put(t, role, param) {
			rest = append(rest, t)
		} else if !known {
			modules[k] = m
			a.Modules = append(a.Modules, m)
		}
	}
	slices.SortFunc(a.Modules, func(x, y *Module) int {
		return cmp.Or(NaturalCompare(x.Path, y.Path), cmp.Compare(x.Depth, y.Depth))
	})
	a.parameters()
	for _, m := range a.Modules {
		if err := m.scale(&a.Config); err != nil {
			return err
		}
		m.check(&a.Config)
	}
	for _, t := range rest {
		a.Others = append(a.Others, a.replaced(t))
	}
	slices.SortStableFunc(a.Others, func(x, y *Replaced) int { return NaturalCompare(x.Tensor.Name, y.Tensor.Name) })
	return nil
}

// put stores a tensor in its place, and reports false if it has none.
func (m *Module) put(t *Tensor, role, param string) bool {
	var slot **Tensor
	switch {
	case role == "lora_A" && param == "weight":
		slot = &m.A
	case role == "lora_B" && param == "weight":
		slot = &m.B
	case role == "lora_B" && param == "bias":
		slot = &m.BiasB
	case role == "lora_magnitude_vector" && param != "bias":
		slot = &m.Magnitude
	case role == "lora_embedding_A" && param == "":
		slot, m.Embedding = &m.A, true
	case role == "lora_embedding_B" && param == "":
		slot, m.Embedding = &m.B, true
	default:
		return false
	}
	if *slot != nil {
		m.problem(t, "the module has %s already: the file holds several adapters", (*slot).Name)
		return false
	}
	*slot = t
	return true
}

// parameters gives modules of target_parameters their parameter. Where several
// nest, the file does not tell which is which; PEFT wraps them in the order in
// which the module registers them, the first innermost (peft/tuners/tuners_utils.py,
// _inject_parameters). Modules of experts register gate_up_proj before
// down_proj; of others the configuration's order is taken.
func (a *Adapter) parameters() {
	for i := 0; i < len(a.Modules); {
		path := a.Modules[i].Path
		n := 1
		for i+n < len(a.Modules) && a.Modules[i+n].Path == path {
			n++
		}
		var names []string
		for _, p := range a.Config.TargetParameters {
			dot := strings.LastIndexByte(p, '.')
			if dot > 0 && (path == p[:dot] || strings.HasSuffix(path, "."+p[:dot])) {
				names = append(names, p[dot+1:])
			}
		}
		slices.SortStableFunc(names, func(x, y string) int { return cmp.Compare(registration(x), registration(y)) })
		for _, m := range a.Modules[i : i+n] {
			switch inner := n - 1 - m.Depth; {
			case len(names) == n && 0 <= inner && inner < n:
				m.Parameter = names[inner]
			case m.Depth > 0 || len(names) > 0:
				m.problem(m.any(), "%d nested modules, but target_parameters names %d parameters of this module", n, len(names))
			}
		}
		i += n
	}
}

// registration orders parameters as modules of experts register them.
func registration(parameter string) int {
	return strings.Count(parameter, "down_proj")
}

// any returns a tensor of the module to blame.
func (m *Module) any() *Tensor {
	return cmp.Or(m.A, m.B, m.Magnitude, m.BiasB, m.first())
}

// scale sets Alpha and Scale as PEFT does on loading, in double precision
// (peft/tuners/lora/model.py, _create_and_replace).
func (m *Module) scale(c *AdapterConfig) error {
	path := m.Path
	if m.Parameter != "" {
		path += "." + m.Parameter
	}
	r, ok, err := lookup(c.RankPattern, path)
	if err != nil {
		return fmt.Errorf("field \"rank_pattern\": %w", err)
	}
	if !ok {
		r = float64(c.R)
	}
	if m.Alpha, ok, err = lookup(c.AlphaPattern, path); err != nil {
		return fmt.Errorf("field \"alpha_pattern\": %w", err)
	}
	if !ok {
		m.Alpha = c.Alpha
	}
	m.Scale = m.Alpha / r
	if c.UseRSLoRA {
		m.Scale = m.Alpha / math.Sqrt(r)
	}
	if m.A == nil || len(m.A.Shape) == 0 {
		return nil
	}
	rows := m.A.Shape[0]
	m.Rank = int(rows)
	switch {
	case m.Parameter != "" && rows > 0 && rows%int64(r) == 0:
		m.Experts = int(rows / int64(r))
	case rows != int64(r):
		m.problem(m.A, "size mismatch: %d rows, but %s gives rank %d", rows, adapterConfig, int64(r))
	}
	return nil
}

// check finds factors that do not fit together.
func (m *Module) check(c *AdapterConfig) {
	switch {
	case m.A == nil && m.B == nil:
		m.problem(m.any(), "lora_A and lora_B are missing")
		return
	case m.A == nil:
		m.problem(m.B, "lora_A is missing")
		return
	case m.B == nil:
		m.problem(m.A, "lora_B is missing")
		return
	}
	for _, t := range [...]*Tensor{m.A, m.B} {
		if formatOf(t.DType) == quant.Unknown {
			m.problem(t, "dtype %s, want F32, F16 or BF16", t.DType)
		}
		if len(t.Shape) < 2 || t.Numel() == 0 {
			m.problem(t, "shape %v, want a matrix", t.Shape)
			return
		}
	}
	if inner := m.B.Shape[1]; inner != m.A.Shape[0] && c.BDLoRA == nil {
		m.problem(m.B, "size mismatch: %d columns, but lora_A has %d rows", inner, m.A.Shape[0])
	}
}

// problem records the first reason why the module cannot be merged.
func (m *Module) problem(t *Tensor, format string, args ...any) {
	if m.Problem == nil {
		m.Problem = t.errorAt(0, fmt.Errorf(format, args...))
	}
}

// replaced tells what a tensor that is no LoRA factor does to the base model
// (peft/utils/save_and_load.py, get_peft_model_state_dict).
func (a *Adapter) replaced(t *Tensor) *Replaced {
	r := &Replaced{Tensor: t, Kind: KindUnknown}
	if _, tuner := tuners[a.Config.PeftType]; !tuner && a.Config.PeftType != "LORA" {
		return r
	}
	name := strings.TrimPrefix(t.Name, peftPrefix)
	if path, ok := strings.CutSuffix(name, ".token_adapter.trainable_tokens_delta"); ok {
		r.Kind, r.Target = KindTokens, strings.ReplaceAll(path, baseLayer, "")+".weight"
		return r
	}
	name, saved := cutWrapper(name, ".modules_to_save.")
	dot := strings.LastIndexByte(name, '.')
	if dot < 0 || strings.Contains(name, "lora_") || strings.Contains(name, ".original_module.") {
		return r
	}
	target := strings.ReplaceAll(strings.ReplaceAll(name, ".token_adapter"+baseLayer+".", "."), baseLayer, "")
	module, param := target[:strings.LastIndexByte(target, '.')], target[strings.LastIndexByte(target, '.')+1:]
	switch {
	case saved || inModules(module, a.Config.ModulesToSave):
		r.Kind, r.Target = KindModulesToSave, target
	case param == "bias":
		r.Kind, r.Target = KindBias, target
	case strings.Contains(name, baseLayer+"."), inModules(module, []string{"embed_tokens", "lm_head"}):
		r.Kind, r.Target = KindEmbedding, target
	default:
		r.Target = target // load_state_dict takes whatever name matches
	}
	return r
}

// cutWrapper removes "mark ADAPTER." from a name of an old file.
func cutWrapper(name, mark string) (string, bool) {
	before, after, ok := strings.Cut(name, mark)
	_, param, ok2 := strings.Cut(after, ".")
	if !ok || !ok2 {
		return name, false
	}
	return before + "." + param, true
}

// inModules reports whether a module or one around it is named by a list, the
// way PEFT matches target names: equal, or the end of the path.
func inModules(module string, names []string) bool {
	for path := module; path != ""; {
		for _, n := range names {
			if path == n || strings.HasSuffix(path, "."+n) {
				return true
			}
		}
		dot := strings.LastIndexByte(path, '.')
		if dot < 0 {
			return false
		}
		path = path[:dot]
	}
	return false
}
