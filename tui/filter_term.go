package tui

import (
	"cmp"
	"maps"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"

	"mergescope/merge"
)

// termMaker compiles the value of a key, in lower case. live says that the
// answer can change without the plan; hint what is wrong with the value.
type termMaker func(value string, f facts) (t test, live bool, hint string)

// terms are the keys of the filter language.
var terms = map[string]termMaker{
	"layer":   byNumber,
	"type":    byText(func(b *ledger, i int) []string { return []string{lastPart(b.layers[i].Weight.Name)} }),
	"name":    byText(func(b *ledger, i int) []string { return []string{b.layers[i].Weight.Name} }),
	"format":  byText(func(b *ledger, i int) []string { return []string{b.layers[i].Weight.Format.String()} }),
	"output":  byText(func(b *ledger, i int) []string { return []string{string(cmp.Or(b.layers[i].Output, merge.Same))} }),
	"method":  byText(func(b *ledger, i int) []string { return []string{b.layers[i].Method.String()} }),
	"adapter": byText(adaptersOf),
	"plan":    byPlan,
	"alert":   byAlert,
	"is":      byState,
}

func termNames() []string { return slices.Sorted(maps.Keys(terms)) }

func lastPart(name string) string { return name[strings.LastIndexByte(name, '.')+1:] }

func adaptersOf(b *ledger, i int) []string {
	var names []string
	for _, st := range b.layers[i].Steps {
		names = append(names, adapterName(st.Adapter))
	}
	return names
}

// byText asks whether a text contains the value, or matches it if it is a
// pattern with "*" or "?".
func byText(of func(*ledger, int) []string) termMaker {
	return func(value string, _ facts) (test, bool, string) {
		return func(b *ledger, i int) bool {
			return slices.ContainsFunc(of(b, i), func(s string) bool { return alike(s, value) })
		}, false, ""
	}
}

func alike(s, value string) bool {
	s = strings.ToLower(s)
	if strings.ContainsAny(value, "*?") {
		ok, err := path.Match(value, s)
		return err == nil && ok
	}
	return strings.Contains(s, value)
}

// byNumber asks for the number of the layer: 10, 10-20, 10- or -20.
func byNumber(value string, _ facts) (test, bool, string) {
	lo, hi, ok := numberRange(value)
	if !ok {
		if strings.Trim(value, "0123456789-") != "" {
			return nil, false, "want a number or a range such as 10-20"
		}
		return nil, false, ""
	}
	return func(b *ledger, i int) bool {
		n := layerNumber(b.layers[i].Weight.Name)
		return n >= lo && n <= hi
	}, false, ""
}

// numberRange reads "10", "10-20", "10-" and "-20".
func numberRange(s string) (lo, hi int, ok bool) {
	from, to, dash := strings.Cut(s, "-")
	if !dash {
		to = from
	}
	lo, hi = 0, math.MaxInt
	var err1, err2 error
	if from != "" {
		lo, err1 = strconv.Atoi(from)
	}
	if to != "" {
		hi, err2 = strconv.Atoi(to)
	}
	return lo, hi, s != "" && s != "-" && err1 == nil && err2 == nil
}

// byPlan asks what the plan does: nothing, anything, several adapters, or one of
// that name.
func byPlan(value string, f facts) (test, bool, string) {
	switch value {
	case "none":
		return func(b *ledger, i int) bool { return !b.planned(i) }, false, ""
	case "any":
		return (*ledger).planned, false, ""
	case "several":
		return func(b *ledger, i int) bool { return len(b.layers[i].Steps) > 1 }, false, ""
	}
	return byText(adaptersOf)(value, f)
}

// byAlert asks for alerts by code or level: none, any, erased, warning.
func byAlert(value string, f facts) (test, bool, string) {
	has := func(b *ledger, i int) bool {
		return slices.ContainsFunc(f.of(b.layers[i].Weight.Name), func(al merge.Alert) bool {
			return value == "any" || value == "none" || alike(string(al.Code), value) || alike(al.Level.String(), value)
		})
	}
	if value == "none" {
		return noneOf(has), true, ""
	}
	return has, true, ""
}

// states are what is: can ask.
var states = map[string]func(f facts) test{
	"marked":   func(f facts) test { return func(_ *ledger, i int) bool { return f.marked[i] } },
	"planned":  func(facts) test { return (*ledger).planned },
	"merged":   func(facts) test { return func(b *ledger, i int) bool { return b.layers[i].Merges() } },
	"copied":   func(facts) test { return func(b *ledger, i int) bool { return b.layers[i].Copies() } },
	"computed": func(facts) test { return func(b *ledger, i int) bool { return b.report(i) != nil } },
	"active":   func(facts) test { return inProgress(merge.Active) },
	"queued":   func(facts) test { return inProgress(merge.Queued) },
	"done":     func(facts) test { return inProgress(merge.Finished) },
	"stopped":  func(facts) test { return inProgress(merge.Stopped) },
}

func inProgress(want merge.LayerProgress) test {
	return func(b *ledger, i int) bool { return i < len(b.states) && b.states[i].State == want }
}

// byState asks for a state. One that is not typed to its end holds for all.
func byState(value string, f facts) (test, bool, string) {
	if make, ok := states[value]; ok {
		return make(f), value != "marked" && value != "planned", ""
	}
	for name := range states {
		if strings.HasPrefix(name, value) {
			return nil, false, ""
		}
	}
	return func(*ledger, int) bool { return false }, false, "want " + strings.Join(slices.Sorted(maps.Keys(states)), ", ")
}

func fuzzyName(word string) test {
	low := strings.ToLower(word)
	return func(b *ledger, i int) bool { return fuzzy(strings.ToLower(b.layers[i].Weight.Name), low) }
}

func contains(text string) test {
	low := strings.ToLower(text)
	return func(b *ledger, i int) bool { return strings.Contains(strings.ToLower(b.layers[i].Weight.Name), low) }
}

// fuzzy reports whether the characters of pattern occur in s in that order.
func fuzzy(s, pattern string) bool {
	for _, r := range pattern {
		at := strings.IndexRune(s, r)
		if at < 0 {
			return false
		}
		s = s[at+len(string(r)):]
	}
	return true
}

// compare compiles what follows a figure: an operator and a number, which may
// be a percentage; nil if the number is missing. A layer without the figure
// passes no comparison, not even "!=".
func (p *queryParser) compare(f *layerFigure, s string) test {
	op := s[:1]
	if len(s) > 1 && s[1] == '=' {
		op = s[:2]
	}
	limit, ok := measure(s[len(op):])
	if !ok {
		if strings.Trim(s[len(op):], "+-.e=") != "" {
			p.hint = f.name + op + " wants a number, 5% or 10k"
		}
		return nil
	}
	holds := map[string]func(int) bool{
		"<":  func(c int) bool { return c < 0 },
		"<=": func(c int) bool { return c <= 0 },
		">":  func(c int) bool { return c > 0 },
		">=": func(c int) bool { return c >= 0 },
		"=":  func(c int) bool { return c == 0 },
		"==": func(c int) bool { return c == 0 },
		"!=": func(c int) bool { return c != 0 },
	}[op]
	if holds == nil { // "!" on its way to "!="
		return nil
	}
	return func(b *ledger, i int) bool {
		v := f.of(b, i)
		return !math.IsNaN(v) && holds(cmp.Compare(v, limit))
	}
}

// measure reads "0.05", "5%", "10k", "1.5M" and "2G".
func measure(s string) (float64, bool) {
	unit := 1.0
	if s != "" {
		if u, ok := map[byte]float64{'%': 0.01, 'k': 1e3, 'M': 1e6, 'G': 1e9}[s[len(s)-1]]; ok {
			unit, s = u, s[:len(s)-1]
		}
	}
	v, err := strconv.ParseFloat(s, 64)
	return v * unit, err == nil && !math.IsNaN(v)
}
