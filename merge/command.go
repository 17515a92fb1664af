package merge

import (
	"strconv"
	"strings"
)

// CommandLine returns the command that reproduces the plan: `mergescope merge`
// into the directory out, or `mergescope report` if out is "". Words are quoted
// for a POSIX shell. A plan of which -a NAME=SCALE cannot say everything refers
// to planFile ("" means PlanFile), which the caller writes. more are further words.
func (p Plan) CommandLine(out, planFile string, more ...string) string {
	words := []string{"mergescope", "merge", p.Model}
	if out == "" {
		words[1] = "report"
	}
	if scales, ok := p.uniform(); ok {
		for i, a := range p.Adapters {
			arg := a.Path
			if scales[i] != 1 || strings.Contains(arg, "=") {
				arg += "=" + strconv.FormatFloat(scales[i], 'g', -1, 64)
			}
			words = append(words, "-a", arg)
		}
		if p.Method != MethodPeft && p.Method != "" {
			words = append(words, "--method", p.Method)
		}
		if p.Profile != ProfileCPU {
			words = append(words, "--profile", p.Profile)
		}
		if p.Onto != "" {
			words = append(words, "--onto", p.Onto)
		}
		if p.Quantize != "" {
			words = append(words, "--quantize", p.Quantize)
		}
		if p.Statistics != "" {
			words = append(words, "--statistics", p.Statistics)
		}
	} else {
		if planFile == "" {
			planFile = PlanFile
		}
		words = append(words, "--plan", planFile)
	}
	if out != "" {
		words = append(words, "-o", out)
	}
	words = append(words, more...)
	for i, w := range words {
		words[i] = shellQuote(w)
	}
	return strings.Join(words, " ")
}

// uniform returns the scale of each adapter if the plan says nothing else: every
// rule is for all layers and sets no output form but same.
func (p Plan) uniform() (scales []float64, ok bool) {
	scales = make([]float64, len(p.Adapters))
	at := make(map[string]int, len(p.Adapters))
	for i, a := range p.Adapters {
		if strings.HasPrefix(a.Path, "-") || a.Path == "" || strings.HasPrefix(p.Onto, "-") || strings.HasPrefix(p.Statistics, "-") {
			return nil, false
		}
		at[a.Name] = i
	}
	for _, r := range p.Rules {
		if r.Match != everything || r.Output != "" && r.Output != Same || r.Method != "" {
			return nil, false
		}
		if i, known := at[r.Adapter]; known {
			scales[i] = r.Scale
		}
	}
	return scales, true
}

// shellQuote leaves plain words as they are and puts others in single quotes.
func shellQuote(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("%+,-./:=@_", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
