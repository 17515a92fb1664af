package merge

import (
	"slices"
	"testing"
)

const (
	q0 = "model.layers.0.self_attn.q_proj"
	q1 = "model.layers.1.self_attn.q_proj"
	v1 = "model.layers.1.self_attn.v_proj"
)

func onePlan() Plan { return NewPlan("m", AdapterRef{"a", "dir/a"}) }

// scales resolves the test's three layers.
func scales(p Plan, adapter string) [3]float64 {
	return [3]float64{p.Assigned(adapter, q0), p.Assigned(adapter, q1), p.Assigned(adapter, v1)}
}

func TestAssign(t *testing.T) {
	p := onePlan()
	q := p.Assign("a", 0.5, q0, v1)
	if got, want := scales(q, "a"), [3]float64{0.5, 1, 0.5}; got != want {
		t.Errorf("scales %v, want %v", got, want)
	}
	if got, want := scales(p, "a"), [3]float64{1, 1, 1}; got != want {
		t.Errorf("the plan edited changed: %v, want %v", got, want)
	}
	again := q.Assign("a", 0.25, q0).Assign("a", 0.75, q0)
	if len(again.Rules) != len(q.Rules) {
		t.Errorf("%d rules after assigning again, want %d: %v", len(again.Rules), len(q.Rules), again.Rules)
	}
	if back := again.Assign("a", 1, q0, v1); !back.Equal(p) {
		t.Errorf("taken back by hand: %v, want %v", back.Rules, p.Rules)
	}
}

func TestAssignWinsOverLaterGlob(t *testing.T) {
	p := onePlan().Assign("a", 0.5, q0)
	p, err := p.AssignMatching("q_proj", "a", 2)
	if err != nil {
		t.Fatal(err)
	}
	if got := p.Assigned("a", q0); got != 2 {
		t.Errorf("a later glob gives %v, want 2", got)
	}
	if got := p.Assign("a", 0.5, q0).Assigned("a", q0); got != 0.5 {
		t.Errorf("assigned over the glob: %v, want 0.5", got)
	}
}

func TestAssignAllReplacesRules(t *testing.T) {
	p := onePlan().WithAdapter(AdapterRef{"b", "dir/b"}).Assign("b", 3, q0).Assign("a", 0.5, q0, q1, v1)
	p = p.AssignAll("a", 2)
	if got, want := scales(p, "a"), [3]float64{2, 2, 2}; got != want {
		t.Errorf("scales %v, want %v", got, want)
	}
	if got := p.Assigned("b", q0); got != 3 {
		t.Errorf("the other adapter has %v, want 3", got)
	}
	n := 0
	for _, r := range p.Rules {
		if r.Adapter == "a" {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d rules of a, want 1", n)
	}
}

func TestEditsKeepOutputOfCombinedRules(t *testing.T) {
	p := onePlan()
	p.Rules = append(p.Rules, Rule{Match: exactMatch(q0), Adapter: "a", Scale: 0.5, Output: AsBF16})
	for name, edited := range map[string]Plan{
		"assign":  p.Assign("a", 2, q0),
		"all":     p.AssignAll("a", 2),
		"without": p.WithoutAdapter("a"),
		"clear":   p.ClearAll(),
	} {
		rules, err := compileRules(edited.Rules)
		if err != nil {
			t.Fatal(err)
		}
		if got := rules.output(q0); got != AsBF16 {
			t.Errorf("%s: output %q, want bf16", name, got)
		}
	}
	if got := p.SetOutput(Same, q0).Assigned("a", q0); got != 0.5 {
		t.Errorf("setting the output changed the scale to %v, want 0.5", got)
	}
}

func TestClear(t *testing.T) {
	p := onePlan().Clear(q1)
	if got, want := scales(p, "a"), [3]float64{1, 0, 1}; got != want {
		t.Errorf("scales %v, want %v", got, want)
	}
	only := onePlan().ClearAll().Assign("a", 1, q0)
	if got, want := scales(only, "a"), [3]float64{1, 0, 0}; got != want {
		t.Errorf("scales %v, want %v", got, want)
	}
	if rest := only.Clear(q0); len(rest.Rules) != 0 {
		t.Errorf("rules left: %v", rest.Rules)
	}
}

func TestSetOutput(t *testing.T) {
	p := onePlan().SetOutput(AsBF16, q0, q1)
	rules, err := compileRules(p.Rules)
	if err != nil {
		t.Fatal(err)
	}
	for layer, want := range map[string]Output{q0: AsBF16, q1: AsBF16, v1: Same} {
		if got := rules.output(layer); got != want {
			t.Errorf("%s: %q, want %q", layer, got, want)
		}
	}
	if back := p.SetOutput(Same, q0, q1); !back.Equal(onePlan()) {
		t.Errorf("taken back by hand: %v", back.Rules)
	}
	all := p.SetOutputAll(AsF16)
	if n := len(all.Rules); n != 2 {
		t.Errorf("%d rules after setting all, want 2: %v", n, all.Rules)
	}
}

func TestHistory(t *testing.T) {
	h := NewHistory(onePlan())
	if _, ok := h.Undo(); ok || h.CanUndo() || h.CanRedo() {
		t.Fatal("a new history has something to undo or redo")
	}
	if h.Do(onePlan()) {
		t.Error("the same plan counted as an edit")
	}
	half, double := onePlan().AssignAll("a", 0.5), onePlan().AssignAll("a", 2)
	h.Do(half)
	h.Do(double)
	if p, ok := h.Undo(); !ok || !p.Equal(half) {
		t.Errorf("undo gave %v, %t", p.Rules, ok)
	}
	if p, ok := h.Undo(); !ok || !p.Equal(onePlan()) {
		t.Errorf("second undo gave %v, %t", p.Rules, ok)
	}
	if p, ok := h.Redo(); !ok || !p.Equal(half) {
		t.Errorf("redo gave %v, %t", p.Rules, ok)
	}
	h.Do(onePlan().AssignAll("a", 3))
	if h.CanRedo() {
		t.Error("an edit left something to redo")
	}
}

func TestHistoryIsBounded(t *testing.T) {
	h := NewHistory(onePlan())
	for i := range 2 * maxHistory {
		h.Do(onePlan().AssignAll("a", float64(i+2)))
	}
	steps := 0
	for h.CanUndo() {
		h.Undo()
		steps++
	}
	if steps != maxHistory {
		t.Errorf("%d steps back, want %d", steps, maxHistory)
	}
	if want := onePlan().AssignAll("a", maxHistory+1); !h.Now().Equal(want) {
		t.Errorf("oldest plan %v, want %v", h.Now().Rules, want.Rules)
	}
}

func TestCommandLine(t *testing.T) {
	two := NewPlan("org/model", AdapterRef{"a", "demo:light"}, AdapterRef{"b", "my dir/b's"}).AssignAll("b", 0.5)
	cuda := onePlan()
	cuda.Profile = ProfileCUDA
	tests := []struct {
		name      string
		plan      Plan
		out, file string
		want      string
	}{
		{"plain", onePlan(), "out", "", "mergescope merge m -a dir/a -o out"},
		{"dry run", onePlan(), "", "", "mergescope report m -a dir/a"},
		{"scales and quotes", two, "o", "", `mergescope merge org/model -a demo:light -a 'my dir/b'\''s=0.5' -o o`},
		{"taken off", onePlan().ClearAll(), "o", "", "mergescope merge m -a dir/a=0 -o o"},
		{"path with =", NewPlan("m", AdapterRef{"a", "r=8"}), "o", "", "mergescope merge m -a r=8=1 -o o"},
		{"one layer", onePlan().Assign("a", 2, q0), "o", "", "mergescope merge m --plan mergescope-plan.json -o o"},
		{"output form", onePlan().SetOutputAll(AsBF16), "o", "p.json", "mergescope merge m --plan p.json -o o"},
		{"profile", cuda, "o", "", "mergescope merge m -a dir/a --profile cuda -o o"},
	}
	for _, tt := range tests {
		if got := tt.plan.CommandLine(tt.out, tt.file); got != tt.want {
			t.Errorf("%s: %s\nwant %s", tt.name, got, tt.want)
		}
	}
}

func TestAdaptersOfAPlan(t *testing.T) {
	p := onePlan().WithAdapter(AdapterRef{"b", "dir/b"}).AssignAll("b", 1).WithAdapter(AdapterRef{"a", "moved/a"})
	if a, ok := p.Adapter("a"); !ok || a.Path != "moved/a" || len(p.Adapters) != 2 {
		t.Errorf("adapters %v", p.Adapters)
	}
	if got := p.Assigned("b", q0); got != 1 {
		t.Errorf("b is assigned at %v, want 1", got)
	}
	p = p.WithoutAdapter("b")
	if _, ok := p.Adapter("b"); ok || len(p.Rules) != 1 {
		t.Errorf("after taking b out: %+v", p)
	}
	if err := p.Check(); err != nil {
		t.Error(err)
	}
	if _, err := p.AssignMatching("re:(", "a", 1); err == nil {
		t.Error("a bad pattern passes")
	}
}

func TestRulesAreNotShared(t *testing.T) {
	p := onePlan().Assign("a", 0.5, q0)
	before := slices.Clone(p.Rules)
	p.Assign("a", 2, q0)
	p.AssignAll("a", 3)
	p.SetOutput(Keep, q0)
	p.WithoutAdapter("a")
	if !slices.Equal(before, p.Rules) {
		t.Errorf("rules changed to %v, want %v", p.Rules, before)
	}
}
