package merge

import (
	"fmt"
	"regexp"
	"strings"
)

// everything is the pattern of a rule for all layers.
const everything = "*"

// maxPattern bounds a pattern, so that a plan cannot ask for an expression that
// takes minutes to compile.
const maxPattern = 4096

// matcher is a compiled Rule.Match. Exactly one field is set; all is for "*".
type matcher struct {
	all     bool
	literal string // the whole path
	re      *regexp.Regexp
}

func (m matcher) match(layer string) bool {
	switch {
	case m.all:
		return true
	case m.re != nil:
		return m.re.MatchString(layer)
	default:
		return layer == m.literal
	}
}

// compileMatch compiles a pattern; the rules are in the comment of Rule.
func compileMatch(pattern string) (matcher, error) {
	if pattern == everything {
		return matcher{all: true}, nil
	}
	if pattern == "" {
		return matcher{}, fmt.Errorf("empty pattern, use %q for every layer", everything)
	}
	if len(pattern) > maxPattern {
		return matcher{}, fmt.Errorf("pattern of %d bytes is longer than %d", len(pattern), maxPattern)
	}
	if layer, ok := exactLayer(pattern); ok {
		return matcher{literal: layer}, nil
	}
	expr, isRE := strings.CutPrefix(pattern, "re:")
	if !isRE && !strings.HasPrefix(pattern, "^") {
		var err error
		if expr, err = globExpr(pattern); err != nil {
			return matcher{}, err
		}
	}
	re, err := regexp.Compile(expr)
	if err != nil {
		return matcher{}, fmt.Errorf("pattern %q: %w", pattern, err)
	}
	return matcher{re: re}, nil
}

// globExpr translates a glob into RE2. Braces do not nest.
func globExpr(glob string) (string, error) {
	var b strings.Builder
	b.WriteString(`(?s)(?:^|\.)`)
	open := -1
	for i, c := range glob {
		switch {
		case c == '*':
			b.WriteString(`.*`)
		case c == '?':
			b.WriteString(`.`)
		case c == '{':
			if open >= 0 {
				return "", fmt.Errorf("pattern %q: braces do not nest, second { at byte %d", glob, i)
			}
			open = i
			b.WriteString(`(?:`)
		case c == '}' && open >= 0:
			open = -1
			b.WriteString(`)`)
		case c == '}':
			return "", fmt.Errorf("pattern %q: } without { at byte %d", glob, i)
		case c == ',' && open >= 0:
			b.WriteString(`|`)
		default:
			b.WriteString(regexp.QuoteMeta(string(c)))
		}
	}
	if open >= 0 {
		return "", fmt.Errorf("pattern %q: { at byte %d is not closed", glob, open)
	}
	b.WriteString(`$`)
	return b.String(), nil
}

// exactMatch returns the pattern that matches this module path and no other. A
// glob would not do: it also matches where the path ends another one, as
// "model.layers.0..." does in "draft.model.layers.0...".
func exactMatch(layer string) string { return "^" + regexp.QuoteMeta(layer) + "$" }

// exactLayer is the inverse of exactMatch.
func exactLayer(pattern string) (layer string, ok bool) {
	body, ok := strings.CutPrefix(pattern, "^")
	if !ok {
		return "", false
	}
	if body, ok = strings.CutSuffix(body, "$"); !ok {
		return "", false
	}
	var b strings.Builder
	for i := 0; i < len(body); i++ {
		if body[i] == '\\' {
			if i++; i == len(body) {
				return "", false
			}
		}
		b.WriteByte(body[i])
	}
	layer = b.String()
	return layer, exactMatch(layer) == pattern
}

// ruleSet is a plan's rules compiled once for many layers. Rules of single
// layers are found by name: editing can make one for each of thousands.
type ruleSet struct {
	rules    []Rule
	patterns []matcher        // by rule; unused for those in own
	shared   []int            // rules that are not for a single layer
	own      map[string][]int // rules for a single layer
}

func compileRules(rules []Rule) (ruleSet, error) {
	s := ruleSet{rules: rules, patterns: make([]matcher, len(rules)), own: map[string][]int{}}
	for i, r := range rules {
		m, err := compileMatch(r.Match)
		if err != nil {
			return ruleSet{}, fmt.Errorf("plan: rules[%d].match: %w", i, err)
		}
		if m.literal != "" {
			s.own[m.literal] = append(s.own[m.literal], i)
			continue
		}
		s.patterns[i] = m
		s.shared = append(s.shared, i)
	}
	return s, nil
}

// last returns the last rule for a layer that is wanted, nil if there is none.
func (s ruleSet) last(layer string, wanted func(*Rule) bool) *Rule {
	at := -1
	own := s.own[layer]
	for i := len(own) - 1; i >= 0 && at < 0; i-- {
		if wanted(&s.rules[own[i]]) {
			at = own[i]
		}
	}
	for i := len(s.shared) - 1; i >= 0 && s.shared[i] > at; i-- {
		if j := s.shared[i]; wanted(&s.rules[j]) && s.patterns[j].match(layer) {
			at = j
		}
	}
	if at < 0 {
		return nil
	}
	return &s.rules[at]
}

// scale returns the plan's scale of an adapter on a layer, 0 if no rule gives
// it one.
func (s ruleSet) scale(layer, adapter string) float64 {
	if r := s.last(layer, func(r *Rule) bool { return r.Adapter == adapter }); r != nil {
		return r.Scale
	}
	return 0
}

// method returns how a layer's codes are chosen, "" if no rule says so.
func (s ruleSet) method(layer string) string {
	if r := s.last(layer, func(r *Rule) bool { return r.Method != "" }); r != nil {
		return r.Method
	}
	return ""
}

// output returns the form in which a layer is written.
func (s ruleSet) output(layer string) Output {
	if r := s.last(layer, func(r *Rule) bool { return r.Output != "" }); r != nil {
		return r.Output
	}
	return Same
}
