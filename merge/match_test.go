package merge

import (
	"math/rand/v2"
	"testing"
)

func TestMatch(t *testing.T) {
	const q0 = "model.layers.0.self_attn.q_proj"
	tests := []struct {
		pattern, layer string
		want           bool
	}{
		{"*", q0, true},
		{"*", "", true},
		{"q_proj", q0, true},
		{"proj", q0, false},        // does not begin after a dot
		{"self_attn", q0, false},   // does not reach the end
		{"self_attn.*", q0, true},  // dots count as any character
		{"layers.0.*", q0, true},   // begins after a dot
		{"ayers.0.*", q0, false},   // begins inside a word
		{"layers.?.*", q0, true},   // ? is one character
		{"layers.??.*", q0, false}, // and exactly one
		{"{q,v}_proj", q0, true},   // alternatives
		{"{k,v}_proj", q0, false},  //
		{"*q_proj", q0, true},      //
		{"layers.0", "layers.0", true},
		{"layers.0", "layersx0", false}, // a dot in a glob is a dot
		{"^model", q0, true},
		{"^layers", q0, false},
		{"^model.layers.0.self_attn.q_proj$", q0, true},
		{"re:q_proj$", q0, true},
		{"re:attn", q0, true}, // searched anywhere
		{"re:^attn", q0, false},
		{"re:(k|v)_proj$", q0, false},
		{"a+b", "x.a+b", true}, // + has no meaning in a glob
		{"a+b", "aab", false},
	}
	for _, tt := range tests {
		m, err := compileMatch(tt.pattern)
		if err != nil {
			t.Errorf("%q: %v", tt.pattern, err)
			continue
		}
		if got := m.match(tt.layer); got != tt.want {
			t.Errorf("%q on %q: got %t, want %t", tt.pattern, tt.layer, got, tt.want)
		}
	}
}

func TestBadPatterns(t *testing.T) {
	for _, p := range []string{"", "re:(", "^[", "{a", "a}", "{a,{b}}", "re:a{2001}"} {
		if _, err := compileMatch(p); err == nil {
			t.Errorf("%q: no error", p)
		}
	}
}

func TestExactMatch(t *testing.T) {
	for _, layer := range []string{"lm_head", "model.layers.0.q_proj", "h.0", "odd name+(x)", `back\slash`} {
		pattern := exactMatch(layer)
		got, ok := exactLayer(pattern)
		if !ok || got != layer {
			t.Errorf("%q: exactLayer(%q) = %q, %t", layer, pattern, got, ok)
		}
		m, err := compileMatch(pattern)
		if err != nil {
			t.Fatal(err)
		}
		if !m.match(layer) || m.match("draft."+layer) || m.match(layer+".x") {
			t.Errorf("%q matches more or less than %q", pattern, layer)
		}
	}
	for _, p := range []string{"^a.b$", "^a$b$", `^a\$`, "lm_head", "^a|b$"} {
		if layer, ok := exactLayer(p); ok {
			t.Errorf("%q passes for the exact pattern of %q", p, layer)
		}
	}
}

// Rules found by name must give what going through all of them gives.
func TestRuleSetTakesTheLastRule(t *testing.T) {
	layers := []string{q0, q1, v1, "lm_head"}
	matches := []string{"*", "q_proj", "lm_head", "re:layers", exactMatch(q0), exactMatch(v1), exactMatch("lm_head")}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		var rules []Rule
		for range rng.IntN(8) {
			r := Rule{Match: matches[rng.IntN(len(matches))], Adapter: "ab"[rng.IntN(2):][:1], Scale: rng.Float64()}
			if rng.IntN(3) == 0 {
				r.Output = Outputs()[rng.IntN(len(Outputs()))]
			}
			rules = append(rules, r)
		}
		set, err := compileRules(rules)
		if err != nil {
			t.Fatal(err)
		}
		for _, layer := range layers {
			scale, output := 0.0, Same
			for _, r := range rules {
				m, err := compileMatch(r.Match)
				if err != nil {
					t.Fatal(err)
				}
				if m.match(layer) && r.Adapter == "a" {
					scale = r.Scale
				}
				if m.match(layer) && r.Output != "" {
					output = r.Output
				}
			}
			if got := set.scale(layer, "a"); got != scale {
				t.Fatalf("%s: scale %v, want %v under %v", layer, got, scale, rules)
			}
			if got := set.output(layer); got != output {
				t.Fatalf("%s: output %v, want %v under %v", layer, got, output, rules)
			}
		}
	}
}
