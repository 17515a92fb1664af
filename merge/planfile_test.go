package merge

import (
	"bytes"
	"encoding/json"
	"io"
	"math"
	"strings"
	"testing"
)

const planText = `{
  "version": 1,
  "model": "org/model",
  "adapters": {
    "z": {
      "path": "dir/z"
    },
    "a": {
      "path": "dir/a"
    }
  },
  "method": "peft",
  "profile": "cuda",
  "rules": [
    {
      "match": "*",
      "adapter": "z",
      "scale": 1
    },
    {
      "match": "^model\\.layers\\.[01]\\.",
      "adapter": "a",
      "scale": 0.25,
      "output": "bf16"
    },
    {
      "match": "mlp.*",
      "output": "keep"
    }
  ]
}
`

func TestPlanFile(t *testing.T) {
	p, err := ReadPlan(strings.NewReader(planText), "plan.json")
	if err != nil {
		t.Fatal(err)
	}
	want := Plan{
		Version: 1, Model: "org/model", Method: "peft", Profile: "cuda",
		Adapters: []AdapterRef{{"z", "dir/z"}, {"a", "dir/a"}},
		Rules: []Rule{
			{Match: "*", Adapter: "z", Scale: 1},
			{Match: `^model\.layers\.[01]\.`, Adapter: "a", Scale: 0.25, Output: AsBF16},
			{Match: "mlp.*", Output: Keep},
		},
	}
	if !p.Equal(want) {
		t.Errorf("got %+v\nwant %+v", p, want)
	}
	if got := string(p.Encode()); got != planText {
		t.Errorf("encoded as\n%s", got)
	}
}

// The example of product.md section 4 with its optional fields left out.
func TestPlanDefaults(t *testing.T) {
	p, err := DecodePlan([]byte(`{"version":1,"model":"m","adapters":{"a":{"path":"x"}},"rules":[{"match":"q_proj","adapter":"a"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if p.Method != "peft" || p.Profile != "cpu" || p.Rules[0].Scale != 1 || p.Assigned("a", q0) != 1 {
		t.Errorf("got %+v", p)
	}
}

func TestPlanErrors(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"empty", ``, "line 1 column 1: the text ends here"},
		{"cut short", "{\n \"version\": 1,", "line 2"},
		{"no object", `[]`, "want {, have ["},
		{"null", `null`, "want {, have null"},
		{"more text", `{"version":1} {}`, "more text after the plan"},
		{"no version", `{}`, "version: missing"},
		{"version", `{"version":2}`, "version: 2 is not supported"},
		{"version type", `{"version":"1"}`, "version: want a number, have a string"},
		{"version fraction", `{"version":1.5}`, "version: 1.5 is no whole number"},
		{"unknown field", "{\"version\":1,\n  \"methods\":\"peft\"}", "line 2 column 12: methods: unknown field"},
		{"unknown rule field", `{"version":1,"rules":[{"match":"*","weight":1}]}`, "rules[0].weight: unknown field"},
		{"unknown adapter field", `{"version":1,"adapters":{"a":{"name":"x"}}}`, "adapters.a.name: unknown field"},
		{"repeated field", `{"version":1,"model":"a","model":"b"}`, "model: given twice"},
		{"repeated adapter", `{"version":1,"adapters":{"a":{},"a":{}}}`, "adapters.a: given twice"},
		{"nameless adapter", `{"version":1,"adapters":{"":{}}}`, "has no name"},
		{"method", `{"version":1,"method":"magic"}`, `method: unknown method "magic"`},
		{"profile", `{"version":1,"profile":"tpu"}`, `profile: unknown profile "tpu"`},
		{"output", `{"version":1,"rules":[{"match":"*","output":"int4"}]}`, `rules[0].output: unknown form "int4"`},
		{"pattern", `{"version":1,"rules":[{"match":"re:(","output":"keep"}]}`, "rules[0].match"},
		{"no pattern", `{"version":1,"rules":[{"output":"keep"}]}`, "rules[0].match: empty pattern"},
		{"stranger", `{"version":1,"rules":[{"match":"*","adapter":"b"}]}`, `rules[0].adapter: the plan has no adapter "b"`},
		{"idle rule", `{"version":1,"rules":[{"match":"*"}]}`, "does nothing"},
		{"scale alone", `{"version":1,"rules":[{"match":"*","scale":2,"output":"keep"}]}`, "rules[0].scale: a scale needs an adapter"},
		{"huge scale", `{"version":1,"adapters":{"a":{}},"rules":[{"match":"*","adapter":"a","scale":1e999}]}`, "rules[0].scale: 1e999 is out of range"},
		{"null scale", `{"version":1,"adapters":{"a":{}},"rules":[{"match":"*","adapter":"a","scale":null}]}`, "rules[0].scale: want a number, have null"},
		{"model type", `{"version":1,"model":true}`, "model: want a string, have true"},
		{"bad text", `{"version":1,"model":"a"x`, "line 1"},
		{"long pattern", `{"version":1,"rules":[{"match":"` + strings.Repeat("a", 5000) + `","output":"keep"}]}`, "longer than 4096"},
		{"rules type", `{"version":1,"rules":{}}`, "rules: want [, have {"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ReadPlan(strings.NewReader(tt.text), "f.json")
			if err == nil {
				t.Fatal("no error")
			}
			if msg := err.Error(); !strings.Contains(msg, tt.want) || !strings.HasPrefix(msg, "f.json: plan: ") {
				t.Errorf("got %q, want it to contain %q", msg, tt.want)
			}
		})
	}
}

func TestPlanInJSON(t *testing.T) {
	data, err := json.Marshal(map[string]Plan{"plan": onePlan()})
	if err != nil {
		t.Fatal(err)
	}
	var back map[string]Plan
	if err := json.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	if p := back["plan"]; !p.Equal(onePlan()) {
		t.Errorf("got %+v", p)
	}
	if err := json.Unmarshal([]byte(`{"plan":{"version":9}}`), &back); err == nil {
		t.Error("a wrong version passes")
	}
}

func TestPlanFileIsBounded(t *testing.T) {
	_, err := ReadPlan(io.LimitReader(endless{}, 1<<40), "f.json")
	if err == nil || !strings.Contains(err.Error(), "larger than 16 MB") {
		t.Errorf("got %v", err)
	}
}

// endless is a file of spaces without end.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

func TestCheckScale(t *testing.T) {
	for _, v := range []float64{math.NaN(), math.Inf(1)} {
		if err := onePlan().AssignAll("a", v).Check(); err == nil {
			t.Errorf("scale %v passes", v)
		}
	}
}

func TestDigest(t *testing.T) {
	p, err := DecodePlan([]byte(planText))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := p.Digest(), onePlan().Digest(); got == want {
		t.Error("different plans have one digest")
	}
	q, err := DecodePlan(p.Encode())
	if err != nil {
		t.Fatal(err)
	}
	if p.Digest() != q.Digest() {
		t.Error("the digest depends on white space")
	}
	swapped := p.clone()
	swapped.Adapters[0], swapped.Adapters[1] = swapped.Adapters[1], swapped.Adapters[0]
	if swapped.Digest() == p.Digest() {
		t.Error("the digest does not depend on the order of adapters")
	}
}

func FuzzDecodePlan(f *testing.F) {
	f.Add([]byte(planText))
	f.Add([]byte(`{"version":1,"rules":[{"match":"{a,b}.?*","output":"f16"}]}`))
	f.Add([]byte(`{"version":1,"adapters":{"\u0000":{"path":"<&>"}}}`))
	f.Add([]byte(`{"version":1,"rules":[{"match":"^a\\.b$","adapter":""}]}`))
	f.Add([]byte(`[[[[`))
	f.Add([]byte("// a\n{\"version\": 1, /* b */ \"rules\": [ // c\n{\"match\": \"*\", \"output\": \"keep\"}, // d\n]} // e"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := DecodePlan(data)
		if err != nil {
			return
		}
		q, err := DecodePlan(p.Encode())
		if err != nil {
			t.Fatalf("its own text does not decode: %v\n%s", err, p.Encode())
		}
		if !p.Equal(q) {
			t.Fatalf("changed by encoding: %+v, was %+v", q, p)
		}
		if a, b := p.Encode(), q.Encode(); !bytes.Equal(a, b) {
			t.Fatalf("comments changed by encoding:\n%s\nwas\n%s", b, a)
		}
		for _, a := range p.Adapters {
			if got := p.Assign(a.Name, 0.5, q0).Assigned(a.Name, q0); got != 0.5 {
				t.Fatalf("assigned 0.5, got %v in %+v", got, p)
			}
		}
	})
}
