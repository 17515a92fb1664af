package merge

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// schema checks a value against the keywords that docs/plan.schema.json uses.
type schema struct {
	t    *testing.T
	defs map[string]any
}

func (s schema) accepts(rule map[string]any, v any) bool {
	for key, want := range rule {
		if !s.keyword(rule, key, want, v) {
			return false
		}
	}
	return true
}

func (s schema) keyword(rule map[string]any, key string, want, v any) bool {
	obj, isObj := v.(map[string]any)
	text, isText := v.(string)
	switch key {
	case "$schema", "$defs", "title", "description", "default":
		return true
	case "$ref":
		return s.accepts(s.defs[strings.TrimPrefix(want.(string), "#/$defs/")].(map[string]any), v)
	case "const":
		return v == want
	case "enum":
		return slices.Contains(want.([]any), v)
	case "type":
		_, isNumber := v.(float64)
		_, isArray := v.([]any)
		return map[string]bool{"object": isObj, "string": isText, "number": isNumber, "array": isArray}[want.(string)]
	case "pattern":
		return !isText || regexp.MustCompile(want.(string)).MatchString(text)
	case "minLength":
		return !isText || len(text) >= int(want.(float64))
	case "maxLength":
		return !isText || len(text) <= int(want.(float64))
	case "items":
		list, _ := v.([]any)
		return !slices.ContainsFunc(list, func(v any) bool { return !s.accepts(want.(map[string]any), v) })
	case "required":
		return !isObj || !slices.ContainsFunc(want.([]any), func(k any) bool { _, ok := obj[k.(string)]; return !ok })
	case "anyOf":
		return slices.ContainsFunc(want.([]any), func(r any) bool { return s.accepts(r.(map[string]any), v) })
	case "dependentRequired":
		for k, need := range want.(map[string]any) {
			if _, ok := obj[k]; ok && !s.keyword(rule, "required", need, v) {
				return false
			}
		}
		return true
	case "propertyNames":
		for k := range obj {
			if !s.accepts(want.(map[string]any), k) {
				return false
			}
		}
		return true
	case "properties":
		for k, r := range want.(map[string]any) {
			if x, ok := obj[k]; ok && !s.accepts(r.(map[string]any), x) {
				return false
			}
		}
		return true
	case "additionalProperties":
		known, _ := rule["properties"].(map[string]any)
		for k, x := range obj {
			if _, ok := known[k]; !ok && (want == false || !s.accepts(want.(map[string]any), x)) {
				return false
			}
		}
		return true
	}
	s.t.Fatalf("the schema uses %q, which this test does not know", key)
	return false
}

// TestPlanSchema asks the published schema and the parser about the same texts.
func TestPlanSchema(t *testing.T) {
	text, err := os.ReadFile("../docs/plan.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var root map[string]any
	if err := json.Unmarshal(text, &root); err != nil {
		t.Fatal(err)
	}
	s := schema{t, root["$defs"].(map[string]any)}
	full := Plan{
		Version: 1, Model: "m", Adapters: []AdapterRef{{Name: "a", Path: "p"}}, Method: "dithered,seed=3,scales=fresh", Profile: ProfileCUDA, Statistics: "s",
		Rules: []Rule{{Match: "*", Adapter: "a", Scale: -0.5, Output: AsF16, Method: "calibrated,tokens=5,damping=0.1,mu=2,seed=1,scales=keep"}},
	}
	var good []string
	for _, o := range Outputs() {
		full.Rules = append(full.Rules, Rule{Match: "re:x|y", Output: o})
	}
	good = append(good, string(full.compact()))
	for _, f := range []string{"nf4", "fp4", "int8"} {
		for _, double := range []string{"", ",double"} {
			p := full
			p.Method, p.Rules, p.Onto, p.Quantize = MethodSum, full.Rules[1:2], "o", f+double
			if _, err := ParseQuantization(p.Quantize); err == nil {
				good = append(good, string(p.compact()))
			}
		}
	}
	good = append(good, `{"version":1}`, `{"version":1,"adapters":{"a":{}},"rules":[{"match":"*","adapter":"a"},{"match":"^b","method":"peft"}]}`,
		`{"version":1,"method":"peft,reproduce-defects"}`, `{"version":1,"method":"calibrated,seed=1,scales=move,tokens=5,damping=0.1,mu=2,base-text=0.25,guide=1,residual=8,optimizer=descent"}`)
	bad := []string{
		`{}`, `[]`, `{"version":2}`, `{"version":"1"}`, `{"version":1,"nix":1}`, `{"version":1,"model":3}`,
		`{"version":1,"method":"best"}`, `{"version":1,"method":"peft,seed=1"}`, `{"version":1,"method":"dithered,tokens=3"}`, `{"version":1,"method":"dithered,scales=move"}`,
		`{"version":1,"profile":"gpu"}`, `{"version":1,"adapters":{"":{"path":"p"}}}`, `{"version":1,"adapters":{"a":{"name":"p"}}}`,
		`{"version":1,"adapters":["a"]}`, `{"version":1,"onto":"o","quantize":"int8,double"}`, `{"version":1,"onto":"o","quantize":"bf16"}`,
		`{"version":1,"rules":{}}`, `{"version":1,"rules":[{"match":"*"}]}`, `{"version":1,"rules":[{"output":"keep"}]}`,
		`{"version":1,"rules":[{"match":"","output":"keep"}]}`, `{"version":1,"rules":[{"match":"*","output":"int8"}]}`,
		`{"version":1,"rules":[{"match":"*","output":"keep","scale":2}]}`, `{"version":1,"rules":[{"match":"*","output":"keep","layer":2}]}`,
		`{"version":1,"adapters":{"a":{}},"rules":[{"match":"*","adapter":"a","scale":"1"}]}`,
		`{"version":1,"rules":[{"match":"*","method":"fast"}]}`,
	}
	for i, text := range append(good, bad...) {
		var v any
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			t.Fatal(err)
		}
		_, err := DecodePlan([]byte(text))
		if want := i < len(good); s.accepts(root, v) != want || (err == nil) != want {
			t.Errorf("%s: schema accepts it: %t, parser: %v, want %t", text, s.accepts(root, v), err, want)
		}
	}
	// Nothing the parser knows is missing from the schema.
	fields := root["properties"].(map[string]any)
	for _, p := range []Plan{full, {Version: 1, Onto: "o", Quantize: "nf4"}} {
		var v map[string]any
		if err := json.Unmarshal(p.compact(), &v); err != nil {
			t.Fatal(err)
		}
		for k := range v {
			if fields[k] == nil {
				t.Errorf("the schema lacks %s", k)
			}
		}
	}
}

// TestDiffRules rebuilds the second list from the first and the differences, and
// checks that no shorter list of differences does.
func TestDiffRules(t *testing.T) {
	rules := func(letters string) (list []Rule) {
		for _, c := range letters {
			list = append(list, Rule{Match: string(c), Output: Keep})
		}
		return list
	}
	for _, tt := range []struct {
		a, b  string
		edits int // by hand
	}{
		{"", "", 0},
		{"abc", "abc", 0},
		{"abc", "", 3},
		{"", "abc", 3},
		{"abcd", "abxd", 2},
		{"abcd", "bacd", 2},
		{"abcabba", "cbabac", 5},
		{"xabc", "abcx", 2},
		{"aaaa", "aa", 2},
		{"abc", "xyz", 6},
	} {
		d := diffRules(rules(tt.a), rules(tt.b))
		if len(d) != tt.edits {
			t.Errorf("%s %s: %d edits, want %d: %v", tt.a, tt.b, len(d), tt.edits, d)
		}
		gone, come := map[int]bool{}, map[int]string{}
		for _, e := range d {
			if e.Op == "-" {
				gone[e.Index] = true
			} else {
				come[e.Index] = e.Rule
			}
		}
		var got []string
		rest := ruleTexts(rules(tt.a))
		for i := range rest {
			if gone[i] {
				rest[i] = ""
			}
		}
		rest = slices.DeleteFunc(rest, func(r string) bool { return r == "" })
		for i := range tt.b {
			if r, ok := come[i]; ok {
				got = append(got, r)
			} else if len(rest) > 0 {
				got, rest = append(got, rest[0]), rest[1:]
			}
		}
		if !slices.Equal(got, ruleTexts(rules(tt.b))) || len(rest) > 0 {
			t.Errorf("%s %s: %v gives %v", tt.a, tt.b, d, got)
		}
	}
}
