package merge

import (
	"slices"
	"strconv"
)

// PlanDiff says in what two plans differ, in the shape of `plan diff --json`.
// Comments do not count.
type PlanDiff struct {
	Version  int           `json:"version"`
	Fields   []FieldDiff   `json:"fields"`   // of the plan
	Adapters []FieldDiff   `json:"adapters"` // their paths, by name
	Reorder  bool          `json:"adapters_reordered"`
	Rules    []RuleDiff    `json:"rules"`            // in the order in which a reader would edit them
	Layers   []LayerChange `json:"layers,omitempty"` // if a model was given
}

// FieldDiff is a value that differs; "" is none.
type FieldDiff struct {
	Field string `json:"field"`
	A     string `json:"a"`
	B     string `json:"b"`
}

// RuleDiff is a rule that only one of the plans has at this place.
type RuleDiff struct {
	Op    string `json:"op"`    // "-" is in A only, "+" in B only
	Index int    `json:"index"` // in the plan that has it
	Rule  string `json:"rule"`  // as in the plan file, on one line
}

// LayerChange is a layer of a model that the plans treat differently.
type LayerChange struct {
	Layer   string      `json:"layer"`
	Changes []FieldDiff `json:"changes"` // output, method, and the scale of each adapter by name
}

// Empty reports whether the plans say the same in the same words.
func (d PlanDiff) Empty() bool {
	return len(d.Fields)+len(d.Adapters)+len(d.Rules) == 0 && !d.Reorder
}

// DiffPlans compares two plans, layer by layer too if modules, the paths of a
// model's weights, are given. Patterns that do not compile match nothing.
func DiffPlans(a, b Plan, modules []string) PlanDiff {
	d := PlanDiff{Version: 1, Fields: []FieldDiff{}, Adapters: []FieldDiff{}, Rules: diffRules(a.Rules, b.Rules)}
	for _, f := range [...]FieldDiff{
		{"model", a.Model, b.Model},
		{"method", a.Method, b.Method},
		{"profile", a.Profile, b.Profile},
		{"onto", a.Onto, b.Onto},
		{"quantize", a.Quantize, b.Quantize},
		{"statistics", a.Statistics, b.Statistics},
	} {
		d.Fields = appendDiff(d.Fields, f)
	}
	var common [2][]string
	for _, ref := range a.Adapters {
		other, ok := b.Adapter(ref.Name)
		d.Adapters = appendDiff(d.Adapters, FieldDiff{ref.Name, ref.Path, other.Path})
		if ok {
			common[0] = append(common[0], ref.Name)
		}
	}
	for _, ref := range b.Adapters {
		if _, ok := a.Adapter(ref.Name); ok {
			common[1] = append(common[1], ref.Name)
		} else {
			d.Adapters = append(d.Adapters, FieldDiff{ref.Name, "", ref.Path})
		}
	}
	d.Reorder = !slices.Equal(common[0], common[1])
	d.Layers = diffLayers(a, b, modules)
	return d
}

func appendDiff(list []FieldDiff, f FieldDiff) []FieldDiff {
	if f.A == f.B {
		return list
	}
	return append(list, f)
}

// maxCompared bounds the rules that are aligned one by one, since the table for
// that grows with their square.
const maxCompared = 4000

// diffRules aligns two lists of rules by their longest common subsequence.
func diffRules(a, b []Rule) []RuleDiff {
	x, y := ruleTexts(a), ruleTexts(b)
	start := 0
	for start < len(x) && start < len(y) && x[start] == y[start] {
		start++
	}
	end := 0
	for end < len(x)-start && end < len(y)-start && x[len(x)-1-end] == y[len(y)-1-end] {
		end++
	}
	out := []RuleDiff{}
	i, j := start, start
	next := longestCommon(x[start:len(x)-end], y[start:len(y)-end])
	for _, p := range append(next, [2]int{len(x) - end - start, len(y) - end - start}) {
		for ; i < start+p[0]; i++ {
			out = append(out, RuleDiff{"-", i, x[i]})
		}
		for ; j < start+p[1]; j++ {
			out = append(out, RuleDiff{"+", j, y[j]})
		}
		i, j = i+1, j+1
	}
	return out
}

// longestCommon returns the pairs of indices of a longest common subsequence;
// none if the lists are too long for its table.
func longestCommon(x, y []string) (pairs [][2]int) {
	if len(x) > maxCompared || len(y) > maxCompared {
		return nil
	}
	width := len(y) + 1
	best := make([]int32, (len(x)+1)*width) // of x[i:] and y[j:]
	for i := len(x) - 1; i >= 0; i-- {
		for j := len(y) - 1; j >= 0; j-- {
			if x[i] == y[j] {
				best[i*width+j] = best[(i+1)*width+j+1] + 1
			} else {
				best[i*width+j] = max(best[(i+1)*width+j], best[i*width+j+1])
			}
		}
	}
	for i, j := 0, 0; i < len(x) && j < len(y); {
		switch {
		case x[i] == y[j]:
			pairs = append(pairs, [2]int{i, j})
			i, j = i+1, j+1
		case best[(i+1)*width+j] >= best[i*width+j+1]:
			i++
		default:
			j++
		}
	}
	return pairs
}

func ruleTexts(rules []Rule) []string {
	out := make([]string, len(rules))
	for i, r := range rules {
		out[i] = r.compact()
	}
	return out
}

// diffLayers compares what two plans do with each module.
func diffLayers(a, b Plan, modules []string) []LayerChange {
	x, _ := compileRules(a.Rules)
	y, _ := compileRules(b.Rules)
	var out []LayerChange
	for _, m := range modules {
		var changes []FieldDiff
		changes = appendDiff(changes, FieldDiff{"output", string(x.output(m)), string(y.output(m))})
		changes = appendDiff(changes, FieldDiff{"method", methodOf(x, a, m), methodOf(y, b, m)})
		for _, ref := range append(slices.Clone(a.Adapters), b.Adapters...) {
			f := FieldDiff{ref.Name, scaleText(x.scale(m, ref.Name)), scaleText(y.scale(m, ref.Name))}
			if !slices.Contains(changes, f) {
				changes = appendDiff(changes, f)
			}
		}
		if len(changes) > 0 {
			out = append(out, LayerChange{m, changes})
		}
	}
	return out
}

// methodOf is the method of a module under a plan.
func methodOf(s ruleSet, p Plan, module string) string {
	if m := s.method(module); m != "" {
		return m
	}
	return p.Method
}

func scaleText(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }
