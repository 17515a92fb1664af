package merge

import (
	"cmp"
	"slices"
)

// Assign returns the plan with an adapter at a scale on the given layers (module
// paths). The rule a layer already has of its own is replaced, and left out
// where the other rules say the same, so plans do not grow with editing.
func (p Plan) Assign(adapter string, scale float64, layers ...string) Plan {
	return p.edit(layers, func(r *Rule) bool {
		if r.Adapter != adapter {
			return false
		}
		r.Adapter, r.Scale = "", 0
		return true
	}, func(s ruleSet, layer string) (Rule, bool) {
		return Rule{Match: exactMatch(layer), Adapter: adapter, Scale: scale}, s.scale(layer, adapter) != scale
	})
}

// AssignAll returns the plan with an adapter at a scale on every layer. It
// replaces all rules of that adapter; output forms stay.
func (p Plan) AssignAll(adapter string, scale float64) Plan {
	p = p.clone()
	p.dropRules(func(r *Rule) bool {
		if r.Adapter != adapter {
			return false
		}
		r.Adapter, r.Scale = "", 0
		return true
	})
	p.Rules = append(p.Rules, Rule{Match: everything, Adapter: adapter, Scale: scale})
	return p
}

// AssignMatching returns the plan with one more rule: an adapter at a scale on
// the layers that match the pattern, see Rule. A bad pattern is an error.
func (p Plan) AssignMatching(pattern, adapter string, scale float64) (Plan, error) {
	if _, err := compileMatch(pattern); err != nil {
		return p, err
	}
	p = p.clone()
	p.Rules = slices.DeleteFunc(p.Rules, func(r Rule) bool {
		return r.Match == pattern && r.Adapter == adapter && r.Output == "" && r.Method == ""
	})
	p.Rules = append(p.Rules, Rule{Match: pattern, Adapter: adapter, Scale: scale})
	return p, nil
}

// Clear returns the plan without any adapter on the given layers.
func (p Plan) Clear(layers ...string) Plan {
	for _, a := range p.Adapters {
		p = p.Assign(a.Name, 0, layers...)
	}
	return p
}

// ClearAll returns the plan without any adapter on any layer; adapters and
// output forms stay.
func (p Plan) ClearAll() Plan {
	p = p.clone()
	p.dropRules(func(r *Rule) bool {
		r.Adapter, r.Scale = "", 0
		return true
	})
	return p
}

// SetOutput returns the plan with an output form for the given layers.
func (p Plan) SetOutput(out Output, layers ...string) Plan {
	return p.edit(layers, func(r *Rule) bool {
		had := r.Output != ""
		r.Output = ""
		return had
	}, func(s ruleSet, layer string) (Rule, bool) {
		return Rule{Match: exactMatch(layer), Output: out}, s.output(layer) != out
	})
}

// SetOutputAll returns the plan with one output form for every layer.
func (p Plan) SetOutputAll(out Output) Plan {
	p = p.clone()
	p.dropRules(func(r *Rule) bool {
		had := r.Output != ""
		r.Output = ""
		return had
	})
	if out != Same {
		p.Rules = append(p.Rules, Rule{Match: everything, Output: out})
	}
	return p
}

// SetMethod returns the plan with a method for the given layers.
func (p Plan) SetMethod(m Method, layers ...string) Plan {
	return p.edit(layers, stripMethod, func(s ruleSet, layer string) (Rule, bool) {
		return Rule{Match: exactMatch(layer), Method: m.String()}, cmp.Or(s.method(layer), p.Method) != m.String()
	})
}

// SetMethodAll returns the plan with one method for every layer.
func (p Plan) SetMethodAll(m Method) Plan {
	p = p.clone()
	p.dropRules(stripMethod)
	p.Method = m.String()
	return p
}

func stripMethod(r *Rule) bool {
	had := r.Method != ""
	r.Method = ""
	return had
}

// WithAdapter returns the plan with one more adapter, last in merge order and
// not yet on any layer. An adapter of that name gets the new path.
func (p Plan) WithAdapter(a AdapterRef) Plan {
	p = p.clone()
	for i := range p.Adapters {
		if p.Adapters[i].Name == a.Name {
			p.Adapters[i] = a
			return p
		}
	}
	p.Adapters = append(p.Adapters, a)
	return p
}

// WithoutAdapter returns the plan without an adapter and its rules.
func (p Plan) WithoutAdapter(name string) Plan {
	p = p.clone()
	p.Adapters = slices.DeleteFunc(p.Adapters, func(a AdapterRef) bool { return a.Name == name })
	p.dropRules(func(r *Rule) bool {
		if r.Adapter != name {
			return false
		}
		r.Adapter, r.Scale = "", 0
		return true
	})
	return p
}

// Assigned returns the plan's scale of an adapter on a layer, 0 if it is not on
// it. Callers with many layers use Project.Layers.
func (p Plan) Assigned(adapter, layer string) float64 {
	s, err := compileRules(p.Rules)
	if err != nil {
		return 0
	}
	return s.scale(layer, adapter)
}

// clone copies the slices, so that an edit leaves p as it was.
func (p Plan) clone() Plan {
	p.Adapters = slices.Clone(p.Adapters)
	p.Rules = slices.Clone(p.Rules)
	return p
}

// dropRules calls strip on every rule and removes those it leaves with nothing
// to do. strip takes out what an edit replaces and reports whether it did.
func (p *Plan) dropRules(strip func(*Rule) bool) {
	kept := p.Rules[:0]
	for _, r := range p.Rules {
		if strip(&r) && r.idle() {
			continue
		}
		kept = append(kept, r)
	}
	p.Rules = kept
}

// edit replaces the layers' own rules: strip takes the edited part out of a
// rule, own returns the rule a layer needs and whether the rest does not say so
// already. A pattern that does not compile matches nothing here; Check reports it.
func (p Plan) edit(layers []string, strip func(*Rule) bool, own func(ruleSet, string) (Rule, bool)) Plan {
	p = p.clone()
	named := make(map[string]bool, len(layers))
	for _, l := range layers {
		named[exactMatch(l)] = true
	}
	p.dropRules(func(r *Rule) bool { return named[r.Match] && strip(r) })
	rest, err := compileRules(p.Rules)
	for _, l := range layers {
		if r, needed := own(rest, l); needed || err != nil {
			p.Rules = append(p.Rules, r)
		}
	}
	return p
}
