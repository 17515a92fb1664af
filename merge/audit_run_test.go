package merge_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"mergescope/merge"
)

// engineMerge runs a plan into a new directory.
func engineMerge(t *testing.T, p *merge.Project, plan merge.Plan, opt merge.Options) string {
	t.Helper()
	opt.Out = filepath.Join(t.TempDir(), "out")
	job, err := merge.NewJob(p, plan, opt)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := job.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	return opt.Out
}

// What the engine writes under other methods, profiles and forms is right, by
// its own plan and by the plan of who only knows the adapter.
func TestAuditEngine(t *testing.T) {
	dithered := func(p merge.Plan) merge.Plan {
		p.Method = "dithered,seed=3"
		return p
	}
	mixed := func(p merge.Plan) merge.Plan {
		p.Rules = append(p.Rules, merge.Rule{Match: "o_proj", Output: merge.AsBF16}, merge.Rule{Match: "v_proj", Output: merge.Keep})
		return p
	}
	cuda := func(p merge.Plan) merge.Plan {
		p.Profile = merge.ProfileCUDA
		return p
	}
	same := func(p merge.Plan) merge.Plan { return p }
	for _, tt := range []struct {
		name           string
		made, expected func(merge.Plan) merge.Plan
		want           merge.Verdict
		exact          bool
	}{
		{"dithered, plan known", dithered, dithered, merge.VerdictRight, true},
		{"dithered, plan not known", dithered, same, merge.VerdictRight, false},
		{"PEFT where dithering was planned", same, dithered, merge.VerdictErased, false},
		{"mixed forms", mixed, mixed, merge.VerdictErased, true},
		{"kept back against the plan", mixed, same, merge.VerdictMissing, false},
		{"cuda", cuda, same, merge.VerdictErased, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := openAudit(t, cut(t, demo("base-nf4"), "layers.2"), demo("adapter-gocode-light"))
			merged := engineMerge(t, p, tt.made(p.NewPlan()), merge.Options{})
			r := auditPlan(t, p, tt.expected(p.NewPlan()), merged)
			if r.Verdict != tt.want {
				t.Errorf("verdict %s, want %s: %s", r.Verdict, tt.want, r.Summary)
			}
			for _, l := range r.Layers {
				if tt.exact && len(l.Adapters) > 0 && !l.Exact {
					t.Errorf("%s: equal %v, want all", l.Name, l.Equal)
				}
			}
		})
	}
}

// Of calibrated codes weights alone cannot tell whether they are right, but that
// nothing was merged they do.
func TestAuditCalibrated(t *testing.T) {
	p := openAudit(t, demo("base-nf4"), demo("adapter-gocode-light"))
	plan := p.NewPlan()
	plan.Method = "calibrated,tokens=64"
	for want, made := range map[merge.Verdict]merge.Plan{
		merge.VerdictUndecided: plan, merge.VerdictMissing: plan.SetOutputAll(merge.Keep),
	} {
		if r := auditPlan(t, p, plan, engineMerge(t, p, made, merge.Options{})); r.Verdict != want {
			t.Errorf("verdict %s, want %s: %s", r.Verdict, want, r.Summary)
		}
	}
}

// A layer that safe merge stopped lacks its adapter, which is said.
func TestAuditStoppedLayers(t *testing.T) {
	p := openAudit(t, demo("base-nf4"), demo("adapter-broken"))
	r := auditOf(t, p, engineMerge(t, p, p.NewPlan(), merge.Options{}))
	// README of the demo: NaN and Inf are planted in two layers.
	want := []string{"model.layers.1.self_attn.v_proj", "model.layers.2.self_attn.q_proj"}
	i := slices.IndexFunc(r.Findings, func(f merge.Finding) bool { return f.Verdict == merge.VerdictMissing })
	if i < 0 || !slices.Equal(r.Findings[i].Layers, want) {
		t.Errorf("findings %+v, want layers %v missing", r.Findings, want)
	}
}

// An adapter that fits nowhere is no right merge.
func TestAuditNothingToFind(t *testing.T) {
	base := golden("bases", "bert-nf4")
	r := auditOf(t, openAudit(t, base, golden("cases", "nf4-plain", "adapter")), base)
	if r.Verdict != merge.VerdictUndecided || len(r.Findings) != 1 || r.Findings[0].Level != merge.Error {
		t.Errorf("verdict %s, findings %+v", r.Verdict, r.Findings)
	}
}

// The report does not depend on the number of workers.
func TestAuditWorkers(t *testing.T) {
	base, adapter := cut(t, demo("base-nf4"), "layers.0"), demo("adapter-gocode-mid")
	merged := newMaker(t, base, adapter).add("", 1.5, nil).write()
	var texts []string
	for _, n := range []int{1, 4} {
		old := runtime.GOMAXPROCS(n)
		r := auditOf(t, openAudit(t, base, adapter), merged)
		runtime.GOMAXPROCS(old)
		r.Seconds = 0
		text, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(text))
	}
	if texts[0] != texts[1] {
		t.Error("one worker and four do not agree")
	}
	if strings.Contains(texts[0], "NaN") || !strings.Contains(texts[0], `"findings":[{"verdict":"scale"`) {
		t.Errorf("JSON %.400s", texts[0])
	}
}

func TestAuditProgressAndCancel(t *testing.T) {
	base, adapter := golden("bases", "llama-nf4"), golden("cases", "nf4-plain", "adapter")
	p := openAudit(t, base, adapter)
	var seen []merge.AuditProgress
	if _, err := p.Audit(t.Context(), p.NewPlan(), openModel(t, base), func(s merge.AuditProgress) { seen = append(seen, s) }); err != nil {
		t.Fatal(err)
	}
	last := seen[len(seen)-1]
	if len(seen) != len(p.Model.Weights)+1 || last.LayersDone != last.LayersTotal || last.WeightsDone != last.WeightsTotal || last.Last == nil {
		t.Errorf("%d reports of progress, last %+v", len(seen), last)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, err := p.Audit(ctx, p.NewPlan(), openModel(t, base), func(s merge.AuditProgress) {
		if s.LayersDone == 3 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want that it was cancelled", err)
	}
}

// A file that shrinks while it is read is an error that names it.
func TestAuditTruncated(t *testing.T) {
	base, adapter := golden("bases", "llama-nf4"), golden("cases", "nf4-plain", "adapter")
	dir := newMaker(t, base, adapter).add("", 1, nil).write()
	p, merged := openAudit(t, base, adapter), openModel(t, dir)
	file := filepath.Join(dir, "model.safetensors")
	if err := os.Truncate(file, merged.Files[0].Size/2); err != nil {
		t.Fatal(err)
	}
	_, err := p.Audit(t.Context(), p.NewPlan(), merged, nil)
	if err == nil || !strings.Contains(err.Error(), file) || !strings.Contains(err.Error(), "shrank") {
		t.Errorf("error %v", err)
	}
}
