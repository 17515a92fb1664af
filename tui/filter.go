package tui

import (
	"math"
	"strconv"
	"strings"

	"mergescope/merge"
)

// query is a compiled filter: every term must hold for a layer.
type query struct {
	text  string
	terms []func(b *ledger, i int) bool
	live  bool // depends on figures, so it must be asked again as they come in
}

// facts is what a filter can ask about besides the name.
type facts struct {
	alerts map[string][]merge.Alert // by layer
	marked map[int]bool
}

// parseQuery compiles the filter line. Words are fuzzy on the module path;
// "kept<0.1", "err>5%", "layer:10-20", "type:q_proj", "alert:erased",
// "format:nf4", "adapter:NAME", "output:bf16" and "is:marked" ask for more; "!"
// before a term turns it round. An unfinished term holds for every layer.
func parseQuery(text string, f facts) query {
	q := query{text: text}
	for word := range strings.FieldsSeq(text) {
		term, live := parseTerm(strings.TrimPrefix(word, "!"), f)
		if term == nil {
			continue
		}
		if strings.HasPrefix(word, "!") {
			yes := term
			term = func(b *ledger, i int) bool { return !yes(b, i) }
		}
		q.terms = append(q.terms, term)
		q.live = q.live || live
	}
	return q
}

func (q query) match(b *ledger, i int) bool {
	for _, t := range q.terms {
		if !t(b, i) {
			return false
		}
	}
	return true
}

// parseTerm compiles one word; nil if it is not finished.
func parseTerm(word string, f facts) (term func(*ledger, int) bool, live bool) {
	if word == "" {
		return nil, false
	}
	if at := strings.IndexAny(word, "<>"); at > 0 {
		if m, ok := figureNames[word[:at]]; ok {
			return compare(m, word[at:]), true
		}
	}
	key, value, ok := strings.Cut(word, ":")
	if ok {
		if t, known := parseKey(key, value, f); known {
			return t, key == "alert"
		}
	}
	low := strings.ToLower(word)
	return func(b *ledger, i int) bool { return fuzzy(strings.ToLower(b.layers[i].Weight.Name), low) }, false
}

// parseKey compiles "key:value"; known is false if there is no such key.
func parseKey(key, value string, f facts) (term func(*ledger, int) bool, known bool) {
	value = strings.ToLower(value)
	in := func(s string) bool { return strings.Contains(strings.ToLower(s), value) }
	switch key {
	case "layer":
		lo, hi, ok := numberRange(value)
		if !ok {
			return nil, true
		}
		return func(b *ledger, i int) bool {
			n := layerNumber(b.layers[i].Weight.Name)
			return n >= lo && n <= hi
		}, true
	case "type":
		return func(b *ledger, i int) bool {
			name := b.layers[i].Weight.Name
			return in(name[strings.LastIndexByte(name, '.')+1:])
		}, true
	case "format":
		return func(b *ledger, i int) bool { return in(b.layers[i].Weight.Format.String()) }, true
	case "output":
		return func(b *ledger, i int) bool { return in(string(b.layers[i].Output)) }, true
	case "adapter":
		return func(b *ledger, i int) bool {
			for _, st := range b.layers[i].Steps {
				if in(adapterName(st.Adapter)) {
					return true
				}
			}
			return false
		}, true
	case "alert":
		return func(b *ledger, i int) bool {
			for _, al := range f.alerts[b.layers[i].Weight.Name] {
				if in(string(al.Code)) || in(al.Level.String()) {
					return true
				}
			}
			return false
		}, true
	case "is":
		return func(b *ledger, i int) bool {
			return value == "marked" && f.marked[i] || value == "planned" && b.planned(i)
		}, true
	}
	return nil, false
}

// figureNames are the figures a filter can compare.
var figureNames = map[string]func(*merge.LayerReport) merge.Figure{
	"kept":   func(r *merge.LayerReport) merge.Figure { return r.Kept },
	"err":    func(r *merge.LayerReport) merge.Figure { return r.ErrorRelative },
	"snr":    func(r *merge.LayerReport) merge.Figure { return r.SNR },
	"codes":  func(r *merge.LayerReport) merge.Figure { return r.CodesChanged },
	"delta":  func(r *merge.LayerReport) merge.Figure { return r.DeltaRatio },
	"growth": func(r *merge.LayerReport) merge.Figure { return r.AbsmaxGrowth },
}

// compare compiles "<0.1" or ">=5%"; nil if the number is missing. A layer
// without the figure never matches.
func compare(figure func(*merge.LayerReport) merge.Figure, s string) func(*ledger, int) bool {
	op := s[:1]
	s, orEqual := strings.CutPrefix(s[1:], "=")
	s, percent := strings.CutSuffix(s, "%")
	limit, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return nil
	}
	if percent {
		limit /= 100
	}
	return func(b *ledger, i int) bool {
		r := b.report(i)
		if r == nil {
			return false
		}
		v := float64(figure(r))
		switch {
		case math.IsNaN(v):
			return false
		case v == limit:
			return orEqual
		case op == "<":
			return v < limit
		default:
			return v > limit
		}
	}
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
