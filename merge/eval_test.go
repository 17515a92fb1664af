package merge

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"mergescope/loader"
	"mergescope/model"
)

// shortText is the beginning of the demo's prose, as bytes.
func shortText(t *testing.T, n int) []EvalText {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(demoDir, "eval.txt"))
	if err != nil {
		t.Fatal(err)
	}
	x, err := ReadText("prose", text[:n], byteVocabulary{0})
	if err != nil {
		t.Fatal(err)
	}
	return []EvalText{x}
}

func evaluate(t *testing.T, p *Project, plan Plan, opt EvalOptions) *EvalReport {
	t.Helper()
	e, err := NewEval(p, plan, opt)
	if err != nil {
		t.Fatal(err)
	}
	r, err := e.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if s := e.Snapshot(); s.State != Done || s.Report != r || s.Share != 1 {
		t.Errorf("at the end: %+v", s)
	}
	return r
}

// A plan's merge, worked out without writing, has the weights of the checkpoint
// that the same plan writes, bit for bit, in every output form, method and
// format, whichever rows are asked for.
func TestPlanWeightsAreWritten(t *testing.T) {
	for _, base := range []string{"base-nf4", "base-int8"} {
		p := openDemo(t, base, "gocode-mid")
		plan := p.NewPlan()
		for name, plan := range map[string]Plan{
			"peft":     plan,
			"bf16":     plan.SetOutputAll(AsBF16),
			"dithered": plan.SetMethodAll(Method{Kind: MethodDithered, Seed: 3}),
			"fresh":    plan.SetMethodAll(Method{Kind: MethodDithered, Scales: ScalesFresh}),
			"keep":     plan.SetOutput(Keep, "model.layers.1.mlp.up_proj"),
		} {
			t.Run(base+" "+name, func(t *testing.T) { asWritten(t, p, plan, 27) })
		}
	}
	for _, quantize := range []string{"", "nf4", "nf4,double", "int8"} {
		t.Run("onto "+quantize, func(t *testing.T) {
			p := openProject(t, filepath.Join(goldenDir, "bases/llama-nf4"), [2]string{"a", filepath.Join(goldenDir, "cases/nf4-plain/adapter")})
			original := filepath.Join(goldenDir, "bases/llama-bf16")
			c, err := loader.Source{}.Checkpoint(original)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.Close() })
			if err := p.SetOriginal(original, c); err != nil {
				t.Fatal(err)
			}
			plan := p.NewPlan()
			plan.Onto, plan.Quantize = original, quantize
			asWritten(t, p, plan, 4)
		})
	}
}

// asWritten writes a plan's merge and compares. So many weights must change.
func asWritten(t *testing.T, p *Project, plan Plan, changed int) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "out")
	job, err := NewJob(p, plan, Options{Out: out})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := job.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	written, err := loader.Source{}.Checkpoint(out)
	if err != nil {
		t.Fatal(err)
	}
	defer written.Close()
	w, err := newPlanWeights(p, model.Checkpoint(p.Model), plan, Options{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	w = w.during(t.Context())
	for _, l := range p.Model.Weights {
		if sameRows(t, plan.Method, l, w, model.Checkpoint(written), p) {
			changed--
		}
	}
	if changed > 0 {
		t.Errorf("%d weights fewer changed than should", changed)
	}
}

// sameRows compares a weight in pieces and reports whether the base has another.
func sameRows(t *testing.T, what string, l *loader.Weight, got, want model.Weights, p *Project) (changed bool) {
	t.Helper()
	a, err := got.Matrix(l.Param)
	if err != nil {
		t.Fatal(err)
	}
	b, err := want.Matrix(l.Param)
	if err != nil {
		t.Fatal(err)
	}
	base, err := model.Checkpoint(p.Model).Matrix(l.Param)
	if err != nil {
		t.Fatal(err)
	}
	rows, cols := a.Size()
	for first, n := 0, 1; first < rows; first, n = first+n, n+5 {
		n = min(n, rows-first)
		x, y, z := make([]float32, n*cols), make([]float32, n*cols), make([]float32, n*cols)
		if err := errors.Join(a.Rows(x, first), b.Rows(y, first), base.Rows(z, first)); err != nil {
			t.Fatal(err)
		}
		for i := range x {
			if math.Float32bits(x[i]) != math.Float32bits(y[i]) {
				t.Fatalf("%s: %s: element %d of rows from %d: %v, written %v", what, l.Param, i, first, x[i], y[i])
			}
			changed = changed || y[i] != z[i]
		}
	}
	return changed
}

// Budgets run a part of the windows, from all over the text, and say so.
func TestEvalBudget(t *testing.T) {
	p := openDemo(t, "base-nf4", "gocode")
	texts := shortText(t, 160)
	plan := p.NewPlan()
	all := evaluate(t, p, plan, EvalOptions{Texts: texts, Window: 16})
	if all.Windows != 10 || all.Tokens != 160 || !all.Complete {
		t.Errorf("all: %d windows, %d tokens", all.Windows, all.Tokens)
	}
	part := evaluate(t, p, plan, EvalOptions{Texts: texts, Window: 16, MaxTokens: 50})
	if part.Windows != 3 || part.Tokens != 48 || part.Complete || part.Texts[0].Run != 48 || part.Texts[0].Tokens != 160 {
		t.Errorf("50 tokens: %+v", part)
	}
	once := evaluate(t, p, plan, EvalOptions{Texts: texts, Window: 16, Time: time.Nanosecond})
	if once.Windows != 1 || once.Complete {
		t.Errorf("no time: %d windows", once.Windows)
	}
	last := part.Summary()[len(part.Summary())-1]
	if !strings.Contains(last, "estimates") {
		t.Errorf("the summary does not say that it is a part: %q", last)
	}
	if got := spread(5); len(got) != 5 || got[0] != 0 || got[1] != 4 || got[2] != 2 {
		t.Errorf("order of 5: %v", got)
	}
}

// An adapter whose tensors are not finite gives alerts with the place, and no
// figures.
func TestEvalBroken(t *testing.T) {
	p := openDemo(t, "base-nf4", "broken")
	r := evaluate(t, p, p.NewPlan(), EvalOptions{Texts: shortText(t, 64), Window: 32, Plans: []NamedPlan{{VariantPlan, p.NewPlan()}}})
	v := r.Variant(VariantSeparate)
	if v.Figures.NonFinite != 64 || !math.IsNaN(float64(v.Figures.NLL.Value)) || math.IsNaN(float64(r.Variant(VariantBase).Figures.NLL.Value)) {
		t.Errorf("%+v", v.Figures)
	}
	var found, scores bool
	for _, a := range r.Alerts {
		found = found || a.Code == CodeNonFinite && a.Level == Error && strings.Contains(a.Message, "model.layers.1.self_attn.v_proj lora_B")
		scores = scores || strings.Contains(a.Message, "separate: scores of all tokens are NaN or infinite, first behind block 1")
	}
	if !found || !scores {
		t.Errorf("alerts: %+v", r.Alerts)
	}
	if s := strings.Join(r.Summary(), "\n"); !strings.Contains(s, "there are no figures") {
		t.Errorf("summary: %s", s)
	}
}

// A bound that is exceeded is an error, one that holds is none.
func TestEvalMaxKL(t *testing.T) {
	p := openDemo(t, "base-nf4", "gocode-light")
	opt := EvalOptions{Texts: shortText(t, 64), Window: 32, Plans: []NamedPlan{{VariantPlan, p.NewPlan()}}}
	for bound, want := range map[float64]bool{0.01: true, 10: false} {
		opt.MaxKL = bound
		got := false
		for _, a := range evaluate(t, p, p.NewPlan(), opt).Alerts {
			got = got || a.Code == CodeDiverges && a.Level == Error
		}
		if got != want {
			t.Errorf("bound %v: alert %v", bound, got)
		}
	}
}

// Merging one layer alone is what the plan that keeps all others separate does.
func TestSensitivity(t *testing.T) {
	p := openDemo(t, "base-nf4", "gocode")
	opt := EvalOptions{Texts: shortText(t, 96), Window: 32, Sensitivity: 50, Plans: []NamedPlan{{VariantPlan, p.NewPlan()}}}
	r := evaluate(t, p, p.NewPlan(), opt)
	s := r.Sensitivity
	if s == nil || !s.Complete || len(s.Layers) != 28 || s.Tokens != 64 || s.Windows != 2 {
		t.Fatalf("%+v", s)
	}
	for i, l := range s.Layers {
		if !(l.KL.Value > 0) || i > 0 && s.Layers[i-1].KL.Value < l.KL.Value || math.IsNaN(float64(l.Kept)) {
			t.Errorf("%d: %+v", i, l)
		}
	}
	// The KL of the first layer, by the weights of a merge of it alone.
	name := s.Layers[0].Name
	plan := p.NewPlan()
	others := []string{}
	for _, l := range s.Layers[1:] {
		others = append(others, l.Name)
	}
	w, err := newPlanWeights(p, model.Checkpoint(p.Model), plan.SetOutput(Keep, others...), Options{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	e, err := NewEval(p, plan, opt)
	if err != nil {
		t.Fatal(err)
	}
	_, lora, err := p.separate(e.base, plan)
	if err != nil {
		t.Fatal(err)
	}
	rest := model.LoRA{}
	for n, pairs := range lora {
		if n != name {
			rest[n] = pairs
		}
	}
	var inputs [][]int32
	var targets []int32
	for _, i := range e.order[:2] {
		inputs, targets = append(inputs, e.windows[i].input), append(targets, e.windows[i].targets...)
	}
	scores := model.NewScores(targets, 2, 0)
	variants := []model.Variant{{Weights: e.base, LoRA: lora}, {Weights: w.during(t.Context()), LoRA: rest}}
	if err := model.Forward(t.Context(), e.cfg, variants, inputs, model.Sink{Logits: scores.Logits}, model.Options{}); err != nil {
		t.Fatal(err)
	}
	if got, want := float64(s.Layers[0].KL.Value), model.Summarize(scores.Tokens(1)).KL.Value; math.Abs(got-want) > 1e-12 {
		t.Errorf("%s: KL %v, want %v", name, got, want)
	}
	for _, c := range s.Correlations {
		if !(c.Rank >= -1 && c.Rank <= 1) || c.Layers != 28 {
			t.Errorf("%+v", c)
		}
	}
}

// Ranks 1, 2.5, 2.5, 4 against 4, 3, 1.5, 1.5: covariance -3.75, variances 4.5.
func TestSpearman(t *testing.T) {
	if got := spearman([]float64{1, 5, 5, 9}, []float64{8, 7, 0, 0}); math.Abs(got+3.75/4.5) > 1e-12 {
		t.Errorf("%v", got)
	}
	if got := spearman([]float64{1, 2}, []float64{1, 2}); !math.IsNaN(got) {
		t.Errorf("two pairs: %v", got)
	}
}

// Cancelling ends an evaluation with what it has, and it runs only once.
func TestEvalCancelled(t *testing.T) {
	defer noLeaks(t)
	p := openDemo(t, "base-nf4", "gocode")
	e, err := NewEval(p, p.NewPlan(), EvalOptions{Texts: shortText(t, 4096), Window: 16})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var watcher sync.WaitGroup
	watcher.Go(func() {
		for e.Snapshot().Report == nil {
			time.Sleep(time.Millisecond)
		}
		cancel()
	})
	r, err := e.Run(ctx)
	watcher.Wait()
	if !errors.Is(err, context.Canceled) || r == nil || r.Complete || r.Windows == 0 || e.Snapshot().State != Cancelled {
		t.Errorf("%v, %+v", err, r)
	}
	if _, err := e.Run(t.Context()); err == nil {
		t.Error("it ran twice")
	}
}

func TestEvalTexts(t *testing.T) {
	c, err := loader.Source{}.Checkpoint(filepath.Join(demoDir, "base-nf4"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	dir := t.TempDir()
	write := func(name, text string) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return name
	}
	for _, x := range []struct{ texts, tokens, want string }{
		{write("empty.txt", " \n"), "", "is empty"},
		{filepath.Join(dir, "none.txt"), "", "no such file"},
		{"", write("a.txt", "1 2 300"), "token 300 is outside the vocabulary of 256"},
		{"", write("b.txt", "1 two"), "tokens " + dir},
		{"", write("c.txt", "\n\n"), "there are no token ids"},
	} {
		var texts, tokens []string
		if x.texts != "" {
			texts = []string{x.texts}
		}
		if x.tokens != "" {
			tokens = []string{x.tokens}
		}
		if _, err := OpenTexts(c, nil, texts, tokens); err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%v, want %q", err, x.want)
		}
	}
	list, err := OpenTexts(c, os.DirFS(demoDir), nil, []string{write("d.txt", "[1, 2, 3]\n4 5\n")})
	if err != nil || len(list) != 1 || len(list[0].Pieces) != 2 || list[0].BOS != -1 || list[0].Pieces[1][1] != 5 {
		t.Errorf("%+v, %v", list, err)
	}
	list, err = OpenTexts(c, os.DirFS(demoDir), nil, nil)
	if err != nil || len(list) != 2 || list[0].Name != "eval.txt" || len(list[1].Pieces[0]) != 32768 || list[0].BOS != 0 {
		t.Errorf("built in: %v", err)
	}
	x, err := ReadText("nul", []byte("some text with \x00 in it"), byteVocabulary{0})
	if err != nil || x.Unknown != 1 || x.First != 15 {
		t.Errorf("a byte that begins texts: %+v, %v", x, err)
	}
	if _, err := windowsOf([]EvalText{{Name: "brief", BOS: 0, Pieces: [][]int32{{1, 2, 3}}}}, 64); err == nil || !strings.Contains(err.Error(), "brief is too short: 3 tokens to predict, at least 16") {
		t.Errorf("%v", err)
	}
}

// Windows predict every token once with a token before all of them, and all but
// the first of a text without.
func TestWindows(t *testing.T) {
	ids := make([]int32, 37)
	for i := range ids {
		ids[i] = int32(i + 1)
	}
	for _, x := range []struct {
		bos     int32
		lengths []int
		first   int32 // predicted
	}{
		{0, []int{16, 16, 5}, 1},
		{-1, []int{16, 16, 4}, 2},
	} {
		list, err := windowsOf([]EvalText{{BOS: x.bos, Pieces: [][]int32{ids}}}, 16)
		if err != nil || len(list) != len(x.lengths) {
			t.Fatalf("%d windows, %v", len(list), err)
		}
		next := x.first
		for i, w := range list {
			if len(w.input) != x.lengths[i] || len(w.targets) != x.lengths[i] {
				t.Errorf("window %d: %d inputs, %d targets, want %d", i, len(w.input), len(w.targets), x.lengths[i])
			}
			for k, id := range w.targets {
				if id != next {
					t.Fatalf("window %d predicts %d, want %d", i, id, next)
				}
				if k > 0 && w.input[k] != next-1 || k == 0 && x.bos >= 0 && w.input[0] != x.bos || k == 0 && x.bos < 0 && w.input[0] != next-1 {
					t.Fatalf("window %d: token %d is before %d", i, w.input[k], next)
				}
				next++
			}
		}
		if next != 38 {
			t.Errorf("the last token predicted is %d", next-1)
		}
	}
}

// What cannot be run is named.
func TestEvalUnsupported(t *testing.T) {
	c, err := loader.Source{}.Checkpoint("../testdata/golden/bases/gpt2-nf4")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := NewEval(NewProject(c), NewPlan("x"), EvalOptions{}); err == nil || !strings.Contains(err.Error(), "GPT2LMHeadModel is not supported") {
		t.Errorf("%v", err)
	}
}
