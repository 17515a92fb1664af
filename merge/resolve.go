package merge

import (
	"cmp"
	"fmt"
	"strings"

	"mergescope/loader"
)

// hit is the module of one adapter that belongs to a weight.
type hit struct {
	module    *loader.Module
	share     *Share
	transpose bool
	miss      string // why the adapter has no module for the weight, "" if it has
	problem   string // why it cannot be merged, "" if it can
}

// resolve finds the weight of every module of an adapter. Names are compared
// exactly first; then a module path that ends in exactly one weight's name at a
// dot, or the other way round, is taken and reported. The result has a hit for
// every weight.
func (p *Project) resolve(a *loader.Adapter) (map[*loader.Weight]hit, []Alert) {
	fanIn := p.storesInOut(a)
	hits := make(map[*loader.Weight]hit, len(p.Model.Weights))
	var f resolution
	var rest []*loader.Module
	for _, m := range a.Modules {
		if parts := p.shares(m); parts != nil {
			for _, x := range parts {
				hits[x.weight] = p.newShare(a, m, x, &f)
			}
			continue
		}
		w := p.Model.Weight(weightName(m))
		if w == nil {
			rest = append(rest, m)
		} else if _, taken := hits[w]; taken {
			f.twice = append(f.twice, m)
		} else {
			hits[w] = newHit(a, m, w, fanIn, &f)
		}
	}
	if len(rest) > 0 {
		bySuffix := suffixes(p.Model.Weights)
		for _, m := range rest {
			w, ambiguous := p.bySuffix(weightName(m), bySuffix)
			switch {
			case ambiguous:
				f.ambiguous = append(f.ambiguous, m)
			case w == nil:
				f.unmatched = append(f.unmatched, m)
			case hits[w].module != nil:
				f.twice = append(f.twice, m)
			default:
				f.renamed = append(f.renamed, [2]string{m.Path, w.Name})
				hits[w] = newHit(a, m, w, fanIn, &f)
			}
		}
	}
	p.absent(a, hits, &f)
	return hits, append(f.alerts(a), lintBias(a, hits, p.Model.Weights)...)
}

// absent says why weights have no module, and gives those that the
// configuration targets a module without tensors. PEFT creates a fresh adapter
// for them, with a B of zero, and merges it: the weight is stored anew. DoRA's
// fresh magnitudes are the weight's norms. If no
// module of the file has found its weight the names do not agree, and nothing
// is made up.
func (p *Project) absent(a *loader.Adapter, hits map[*loader.Weight]hit, f *resolution) {
	if a.Config.PeftType != "LORA" {
		return
	}
	found := len(hits) > 0
	t := newTargeter(&a.Config)
	for _, w := range p.Model.Weights {
		if _, ok := hits[w]; ok {
			continue
		}
		h := hit{miss: t.miss(w)}
		if h.miss == "" && len(w.Shape) == 2 && len(a.Modules) > 0 {
			f.untrained = append(f.untrained, w.Name)
			switch {
			case !found:
				h.miss = "its file has no tensors for it"
			case a.Config.UseDoRA && w.Format.IsFloat() && (p.storesInOut(a) || isEmbedding(w.Name)):
				h.miss = "its file has no tensors for it, and a fresh magnitude vector is made up for Linear layers only"
			case w.Problem == nil:
				h.module = fresh(a, w)
				h.problem = biasProblem(a, h.module, w)
			}
		}
		hits[w] = h
	}
}

// fresh is the module PEFT creates where the file has no tensors.
func fresh(a *loader.Adapter, w *loader.Weight) *loader.Module {
	m := &loader.Module{Path: w.Name, Alpha: a.Config.Alpha, Rank: a.Config.R}
	m.Scale = m.Alpha / float64(m.Rank)
	return m
}

// weightName is the name of the weight a module adapts.
func weightName(m *loader.Module) string {
	if m.Parameter != "" {
		return m.Path + "." + m.Parameter
	}
	return m.Path
}

// newHit checks a module against the weight it belongs to.
func newHit(a *loader.Adapter, m *loader.Module, w *loader.Weight, fanIn bool, f *resolution) hit {
	h := hit{module: m}
	if f.broken(&h, w) {
		return h
	}
	var at *loader.Tensor
	if h.transpose, at, h.problem = fitAny(a, m, w, fanIn); h.problem != "" {
		f.problems = append(f.problems, newAlert(Error, CodeShape, w.Name, h.problem).at(tensorPlace(at)))
	} else if h.problem = biasProblem(a, m, w); h.problem != "" {
		f.problems = append(f.problems, newAlert(Error, CodeUnmergeable, w.Name, a.Name+": "+h.problem).at(tensorPlace(cmp.Or(m.BiasB, m.A))))
	}
	return h
}

// broken notes what the loader found wrong with a module or its weight.
func (f *resolution) broken(h *hit, w *loader.Weight) bool {
	switch m := h.module; {
	case m.Problem != nil:
		h.problem = m.Problem.Error()
		code := CodeShape
		if m.A != nil && m.B != nil {
			code = CodeConflict
		}
		f.problems = append(f.problems, newAlert(Error, code, w.Name, h.problem).at(tensorPlace(cmp.Or(m.A, m.B))))
	case w.Problem != nil:
		h.problem = w.Problem.Error()
		f.problems = append(f.problems, newAlert(Error, CodeUnsupported, w.Name, h.problem).at(tensorPlace(w.Data)))
	default:
		return false
	}
	return true
}

// tensorPlace points at a whole tensor.
func tensorPlace(t *loader.Tensor) Place {
	at := Nowhere()
	if t == nil {
		return at
	}
	at.Tensor = t.Name
	if f := t.File(); f != nil {
		at.File = f.Name
	}
	return at
}

// suffixes maps every end of a weight's name that begins after a dot to the
// weight, nil where several weights share it.
func suffixes(weights []*loader.Weight) map[string]*loader.Weight {
	out := make(map[string]*loader.Weight, 4*len(weights))
	for _, w := range weights {
		for s := w.Name; ; {
			i := strings.IndexByte(s, '.')
			if i < 0 {
				break
			}
			s = s[i+1:]
			if _, ok := out[s]; ok {
				out[s] = nil
			} else {
				out[s] = w
			}
		}
	}
	return out
}

// bySuffix finds the only weight whose name the path ends, or that ends the
// path. ambiguous is true where several would do.
func (p *Project) bySuffix(path string, ends map[string]*loader.Weight) (w *loader.Weight, ambiguous bool) {
	if w, ok := ends[path]; ok {
		return w, w == nil
	}
	for s := path; ; {
		i := strings.IndexByte(s, '.')
		if i < 0 {
			return nil, false
		}
		s = s[i+1:]
		if w := p.Model.Weight(s); w != nil {
			return w, false
		}
	}
}

// resolution is what matching an adapter's modules with weights found.
type resolution struct {
	unmatched, ambiguous, twice []*loader.Module
	renamed                     [][2]string
	untrained                   []string
	problems                    []Alert
}

// alerts words the findings: one per kind, naming the first module.
func (f *resolution) alerts(a *loader.Adapter) []Alert {
	out := f.problems
	add := func(level Level, modules []*loader.Module, what string) {
		if len(modules) == 0 {
			return
		}
		msg := fmt.Sprintf("%s: %d of %d modules %s, first %s", a.Name, len(modules), len(a.Modules), what, modules[0].Path)
		al := newAlert(level, CodeUnmatched, "", msg).at(tensorPlace(modules[0].A))
		al.Count = len(modules)
		out = append(out, al)
	}
	level := Warning
	if len(f.unmatched) == len(a.Modules) {
		level = Error
	}
	add(level, f.unmatched, "match no weight of the model")
	add(Error, f.ambiguous, "match several weights of the model")
	add(Error, f.twice, "match a weight that another module of the adapter already has")
	if n := len(f.renamed); n > 0 {
		msg := fmt.Sprintf("%s: %s matched by the end of the name, first %s for weight %s", a.Name, count(n, "module"), f.renamed[0][0], f.renamed[0][1])
		al := newAlert(Info, CodeUnmatched, "", msg)
		al.Count = n
		out = append(out, al)
	}
	if n := len(f.untrained); n > 0 {
		msg := fmt.Sprintf("%s: the configuration targets %s for which the file has no tensors, first %s; as PEFT does, "+
			"they are stored anew with a delta of zero. PEFT: \"Found missing adapter keys while loading the checkpoint\"", a.Name, count(n, "weight"), f.untrained[0])
		al := newAlert(Warning, CodeUnmatched, "", msg)
		al.Count = n
		out = append(out, al)
	}
	return out
}
