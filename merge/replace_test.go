package merge

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mergescope/loader"
)

const formsDir = "../testdata/golden-forms"

// mergeTo runs a plan into a directory and returns its tensors and the report.
func mergeTo(t *testing.T, p *Project, plan Plan, opt Options) (map[string]plainTensor, *Report, string) {
	t.Helper()
	opt.Out = filepath.Join(t.TempDir(), "out")
	j, err := NewJob(p, plan, opt)
	if err != nil {
		t.Fatal(err)
	}
	r, err := j.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, tensors, _ := readPlain(t, filepath.Join(opt.Out, "model.safetensors"))
	return tensors, r, opt.Out
}

// tensorsIn reads the one weights file of a directory.
func tensorsIn(t *testing.T, dir, file string) map[string]plainTensor {
	t.Helper()
	_, tensors, _ := readPlain(t, filepath.Join(dir, file))
	return tensors
}

// TestReplacedByPlan takes replaced tensors off where the plan takes the adapter
// off or keeps the base, and nowhere else.
func TestReplacedByPlan(t *testing.T) {
	p, _ := golden(t, "modules-to-save")
	const head, embed = "lm_head.weight", "model.embed_tokens.weight"
	base := tensorsIn(t, filepath.Join(goldenDir, "bases", "llama-nf4"), "model.safetensors")
	trained := tensorsIn(t, filepath.Join(goldenDir, "cases", "modules-to-save", "adapter"), "adapter_model.safetensors")
	for _, tt := range []struct {
		name string
		plan Plan
		kept bool // the base's lm_head
	}{
		{"everywhere", p.NewPlan(), false},
		{"at another scale", p.NewPlan().Assign("default", 0.5, "lm_head"), false},
		{"kept separate", p.NewPlan().SetOutput(Separate, "lm_head"), false},
		{"scale 0", p.NewPlan().Clear("lm_head"), true},
		{"output keep", p.NewPlan().SetOutput(Keep, "lm_head"), true},
	} {
		got, _, _ := mergeTo(t, p, tt.plan, Options{})
		want := trained["base_model.model."+head]
		if tt.kept {
			want = base[head]
		}
		if !bytes.Equal(got[head].data, want.data) {
			t.Errorf("%s: lm_head is not what it should be", tt.name)
		}
		if !bytes.Equal(got[embed].data, trained["base_model.model."+embed].data) {
			t.Errorf("%s: embed_tokens is not the trained copy", tt.name)
		}
	}
}

// TestTrainedCopyOfQuantizedWeight refuses to put a float copy in the place of a
// quantized weight, as PEFT does, but for a layer that is to be written as
// floats.
func TestTrainedCopyOfQuantizedWeight(t *testing.T) {
	dir := filepath.Join(goldenDir, "cases", "bert-nf4", "adapter")
	p := openProject(t, filepath.Join(goldenDir, "bases", "bert-nf4-classifier"), [2]string{"a", dir})
	base := tensorsIn(t, filepath.Join(goldenDir, "bases", "bert-nf4-classifier"), "model.safetensors")
	trained := tensorsIn(t, dir, "adapter_model.safetensors")

	got, r, _ := mergeTo(t, p, p.NewPlan(), Options{})
	if !bytes.Equal(got["classifier.weight"].data, base["classifier.weight"].data) {
		t.Error("classifier.weight is not the base's")
	}
	found := find(r.Alerts, CodeUnmergeable)
	if len(found) != 1 || found[0].Level != Error || found[0].Place.Tensor != "base_model.model.classifier.weight" ||
		!strings.Contains(found[0].Message, "only Tensors of floating point dtype can require gradients") {
		t.Errorf("alerts %+v", found)
	}

	got, r, out := mergeTo(t, p, p.NewPlan().SetOutput(AsBF16, "classifier"), Options{})
	if w := got["classifier.weight"]; w.dtype != "BF16" || !bytes.Equal(w.data, trained["base_model.model.classifier.weight"].data) {
		t.Errorf("classifier.weight is %s and not the trained copy", w.dtype)
	}
	for name := range got {
		if strings.HasPrefix(name, "classifier.weight.") {
			t.Errorf("%s was written", name)
		}
	}
	if len(find(r.Alerts, CodeUnmergeable)) > 0 {
		t.Errorf("alerts %+v", r.Alerts)
	}
	text, err := os.ReadFile(filepath.Join(out, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		Quantization struct {
			Skip []string `json:"llm_int8_skip_modules"`
		} `json:"quantization_config"`
	}
	if err := json.Unmarshal(text, &config); err != nil || !slices.Contains(config.Quantization.Skip, "classifier") {
		t.Errorf("config %s: %v", text, err)
	}
}

// TestReplacedConflicts keeps the base's tensor where adapters do not agree, and
// names PEFT's reason.
func TestReplacedConflicts(t *testing.T) {
	saved := filepath.Join(goldenDir, "cases", "modules-to-save", "adapter")
	tokens := filepath.Join(goldenDir, "cases", "trainable-tokens", "adapter")
	base := tensorsIn(t, filepath.Join(goldenDir, "bases", "llama-nf4"), "model.safetensors")
	for _, tt := range []struct {
		name, a, b string
		tensor     string
		says       string
	}{
		{"both saved", saved, saved, "lm_head.weight", "Only one adapter can be set at a time"},
		{"saved and tokens", saved, tokens, "model.embed_tokens.weight", "already marked to be trained fully"},
		{"tokens and saved", tokens, saved, "model.embed_tokens.weight", "already marked to be trained fully"},
		{"same tokens", tokens, tokens, "model.embed_tokens.weight", "Token indices of adapter b are already defined"},
	} {
		p := openProject(t, filepath.Join(goldenDir, "bases", "llama-nf4"), [2]string{"a", tt.a}, [2]string{"b", tt.b})
		got, r, _ := mergeTo(t, p, p.NewPlan(), Options{})
		if !bytes.Equal(got[tt.tensor].data, base[tt.tensor].data) {
			t.Errorf("%s: %s is not the base's", tt.name, tt.tensor)
		}
		if !slices.ContainsFunc(r.Alerts, func(a Alert) bool {
			return a.Level == Error && a.Code == CodeConflict && strings.Contains(a.Message, tt.says) && strings.Contains(a.Hint, "scale 0")
		}) {
			t.Errorf("%s: %+v", tt.name, r.Alerts)
		}
		// The way out that the hint names.
		module := strings.TrimSuffix(tt.tensor, ".weight")
		got, _, _ = mergeTo(t, p, p.NewPlan().Assign("b", 0, module), Options{})
		if bytes.Equal(got[tt.tensor].data, base[tt.tensor].data) {
			t.Errorf("%s: with one adapter off, %s is the base's", tt.name, tt.tensor)
		}
	}
}

// TestReplacedThatDoNotFit refuses tokens beyond the vocabulary and copies of
// another size.
func TestReplacedThatDoNotFit(t *testing.T) {
	p, _ := golden(t, "trainable-tokens")
	real := p.Adapters[0]
	with := func(rows []int64, shape []int64, dtype loader.DType) []Alert {
		a := *real
		a.Config.TrainableTokens = []loader.TokenIndices{{Module: "embed_tokens", Rows: rows}}
		r := *real.Others[0]
		tensor := *r.Tensor
		tensor.Shape, tensor.DType = shape, dtype
		r.Tensor = &tensor
		a.Others = []*loader.Replaced{&r}
		q := NewProject(p.Model, &a)
		_, alerts := q.Layers(q.NewPlan())
		return alerts
	}
	for _, tt := range []struct {
		rows  []int64
		shape []int64
		dtype loader.DType
		code  Code
		says  string
	}{
		{[]int64{3, 7, 64}, []int64{3, 64}, "BF16", CodeShape, "index 64 is out of bounds for dimension 0 with size 64"},
		{[]int64{3, 7}, []int64{3, 64}, "BF16", CodeShape, "size mismatch"},
		{[]int64{3, 7, 11}, []int64{3, 32}, "BF16", CodeShape, "size mismatch"},
		{[]int64{3, 7, 11}, []int64{3, 64}, "F8_E4M3", CodeUnsupported, "F8_E4M3"},
	} {
		found := find(with(tt.rows, tt.shape, tt.dtype), tt.code)
		if len(found) != 1 || found[0].Level != Error || !strings.Contains(found[0].Message, tt.says) || found[0].Place.Tensor == "" {
			t.Errorf("%+v: %+v", tt, found)
		}
	}
	if alerts := with([]int64{3, 7, 63}, []int64{3, 64}, "BF16"); len(find(alerts, CodeReplaced)) != 1 {
		t.Errorf("%+v", alerts)
	}
}

// TestUntied says in report and config what PEFT says.
func TestUntied(t *testing.T) {
	dir := filepath.Join(formsDir, "cases", "tied-save-head", "adapter")
	p := openProject(t, filepath.Join(goldenDir, "bases", "llama-nf4-tied"), [2]string{"a", dir})
	_, r, out := mergeTo(t, p, p.NewPlan(), Options{})
	found := find(r.Alerts, CodeTied)
	if len(found) != 1 || !strings.Contains(found[0].Message, "Input and output embeddings are no longer tied after merging.") {
		t.Errorf("%+v", found)
	}
	text, err := os.ReadFile(filepath.Join(out, "config.json"))
	if err != nil || !bytes.Contains(text, []byte(`"tie_word_embeddings": false`)) {
		t.Errorf("config %s: %v", text, err)
	}
}

func TestSetUntied(t *testing.T) {
	for in, want := range map[string]string{
		"{\n  \"a\": 1,\n  \"tie_word_embeddings\": true\n}\n":   "{\n  \"a\": 1,\n  \"tie_word_embeddings\": false\n}\n",
		`{"text_config": {"tie_word_embeddings": true}, "b": 2}`: `{"text_config": {"tie_word_embeddings": false}, "b": 2}`,
		"{\n  \"a\": 1\n}\n": "{\n  \"tie_word_embeddings\": false,\n  \"a\": 1\n}\n",
	} {
		got, err := setUntied([]byte(in))
		if err != nil || string(got) != want {
			t.Errorf("%s becomes %s (%v)", in, got, err)
		}
	}
}

// TestUnmergeReplaced leaves replaced tensors where they are when an adapter is
// taken off: what they were is not known.
func TestUnmergeReplaced(t *testing.T) {
	p, _ := golden(t, "modules-to-save")
	base := tensorsIn(t, filepath.Join(goldenDir, "bases", "llama-nf4"), "model.safetensors")
	got, r, _ := mergeTo(t, p, p.NewPlan(), Options{Unmerge: Subtract})
	if !bytes.Equal(got["lm_head.weight"].data, base["lm_head.weight"].data) {
		t.Error("lm_head was replaced")
	}
	if !slices.ContainsFunc(find(r.Alerts, CodeReplaced), func(a Alert) bool {
		return a.Count == 2 && strings.Contains(a.Message, "cannot be taken off")
	}) {
		t.Errorf("%+v", r.Alerts)
	}
}
