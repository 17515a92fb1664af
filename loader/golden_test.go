package loader

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mergescope/quant"
)

const (
	golden = "../testdata/golden"
	demo   = "../testdata/demo"
)

// rawTensor is an entry of a header as encoding/json sees it, with its bytes.
// It shares no code with the package.
type rawTensor struct {
	DType   string    `json:"dtype"`
	Shape   []int64   `json:"shape"`
	Offsets [2]uint64 `json:"data_offsets"`
	data    []byte
}

func rawFile(t *testing.T, file string, into map[string]rawTensor) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	n := 8 + binary.LittleEndian.Uint64(b)
	var all map[string]json.RawMessage
	if err := json.Unmarshal(b[8:n], &all); err != nil {
		t.Fatal(err)
	}
	delete(all, "__metadata__")
	for name, text := range all {
		var e rawTensor
		if err := json.Unmarshal(text, &e); err != nil {
			t.Fatal(err)
		}
		e.data = b[n+e.Offsets[0] : n+e.Offsets[1]]
		into[name] = e
	}
}

// rawDir reads all safetensors files of a directory.
func rawDir(t *testing.T, dir string) map[string]rawTensor {
	t.Helper()
	files, err := filepath.Glob(dir + "/*.safetensors")
	if err != nil || len(files) == 0 {
		t.Fatal(dir, err)
	}
	all := map[string]rawTensor{}
	for _, f := range files {
		rawFile(t, f, all)
	}
	return all
}

func subdirs(t *testing.T, pattern string) []string {
	t.Helper()
	dirs, err := filepath.Glob(pattern)
	if err != nil || len(dirs) == 0 {
		t.Fatal(pattern, err)
	}
	return dirs
}

// TestGoldenBases opens every base and compares it with a second reading of
// its files.
func TestGoldenBases(t *testing.T) {
	dirs := append(subdirs(t, golden+"/bases/*"), subdirs(t, demo+"/base-*")...)
	if len(dirs) != 34 {
		t.Errorf("%d bases", len(dirs))
	}
	for _, dir := range dirs {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			c, err := Source{}.Checkpoint(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			raw := rawDir(t, dir)
			compareTensors(t, c, raw)
			compareWeights(t, c, raw)
			if shards, _ := filepath.Glob(dir + "/*.index.json"); c.Sharded != (len(shards) == 1) {
				t.Errorf("sharded %v", c.Sharded)
			}
			var config struct {
				Architectures []string       `json:"architectures"`
				Type          string         `json:"model_type"`
				Dtype         string         `json:"dtype"`
				Tie           bool           `json:"tie_word_embeddings"`
				Quant         map[string]any `json:"quantization_config"`
			}
			if err := json.Unmarshal(c.Config.Raw, &config); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(config.Architectures, c.Config.Architectures) || config.Type != c.Config.ModelType || config.Dtype != c.Config.Dtype ||
				config.Tie != c.Config.TieEmbeddings || config.Quant["load_in_4bit"] != c.Config.Quantization["load_in_4bit"] || (config.Quant == nil) != (c.Config.Quantization == nil) {
				t.Errorf("config %+v, want %+v", c.Config, config)
			}
		})
	}
}

func compareTensors(t *testing.T, c *Checkpoint, raw map[string]rawTensor) {
	t.Helper()
	n := 0
	for _, f := range c.Files {
		for _, x := range f.Tensors {
			n++
			r, ok := raw[x.Name]
			b, err := x.Bytes()
			if err != nil || !ok || r.DType != string(x.DType) || !slices.Equal(r.Shape, x.Shape) || !bytes.Equal(b, r.data) {
				t.Errorf("%s: %s %v %v", x.Name, x.DType, x.Shape, err)
			}
			if c.Tensor(x.Name) != x {
				t.Errorf("%s is not found by name", x.Name)
			}
		}
	}
	if n != len(raw) {
		t.Errorf("%d tensors, want %d", n, len(raw))
	}
}

// compareWeights works out from names alone what the weights must be.
func compareWeights(t *testing.T, c *Checkpoint, raw map[string]rawTensor) {
	t.Helper()
	accounted := map[string]bool{}
	for _, w := range c.Weights {
		if w.Problem != nil {
			t.Error(w.Problem)
		}
		r := raw[w.Param]
		want, shape := map[string]quant.Format{"F32": quant.F32, "F16": quant.F16, "BF16": quant.BF16, "I8": quant.Int8}[r.DType], r.Shape
		for kind, f := range map[string]quant.Format{"nf4": quant.NF4, "fp4": quant.FP4} {
			state, ok := raw[w.Param+".quant_state.bitsandbytes__"+kind]
			if !ok {
				continue
			}
			var q struct {
				Type      string   `json:"quant_type"`
				Blocksize int      `json:"blocksize"`
				Dtype     string   `json:"dtype"`
				Shape     []int64  `json:"shape"`
				Offset    *float64 `json:"nested_offset"`
			}
			if err := json.Unmarshal(state.data, &q); err != nil {
				t.Fatal(err)
			}
			want, shape = f, q.Shape
			if w.State.Blocksize != q.Blocksize || torchName(w.State.Dtype) != q.Dtype || w.State.Nested != (q.Offset != nil) {
				t.Errorf("%s: state %+v, want %+v", w.Name, w.State, q)
			}
			if q.Offset != nil && math.Float32bits(w.State.NestedOffset) != math.Float32bits(float32(*q.Offset)) {
				t.Errorf("%s: offset %v", w.Name, w.State.NestedOffset)
			}
			if got := w.State.Encode(w.State.Dtype, w.State.NestedOffset); !bytes.Equal(got, state.data) {
				t.Errorf("%s: encoded %s, want %s", w.Name, got, state.data)
			}
		}
		if w.Format != want || !slices.Equal(w.Shape, shape) || w.Data.Name != w.Param {
			t.Errorf("%s: %s %v, want %s %v", w.Name, w.Format, w.Shape, want, shape)
		}
		accounted[w.Param] = true
		if w.Bias != nil {
			accounted[w.Bias.Name] = true
		}
		for _, x := range w.Companions {
			if !strings.HasPrefix(x.Name, w.Name+".") {
				t.Errorf("%s has the companion %s", w.Name, x.Name)
			}
			accounted[x.Name] = true
		}
	}
	for _, x := range c.Loose {
		if accounted[x.Name] || len(x.Shape) != 1 || !strings.Contains(strings.ToLower(x.Name), "norm") && !strings.Contains(x.Name, "ln_") {
			t.Errorf("loose %s %v", x.Name, x.Shape)
		}
		accounted[x.Name] = true
	}
	if missing := len(raw) - len(accounted); missing != 0 {
		t.Errorf("%d tensors are nowhere", missing)
	}
}

// TestGoldenAdapters opens every adapter PEFT wrote. Every tensor must be
// accounted for, ranks follow from the shapes and scales from the plain
// fields of the configuration.
func TestGoldenAdapters(t *testing.T) {
	var files []string
	for _, pattern := range [...]string{golden + "/cases/*/*/", demo + "/adapter-*/"} {
		files = append(files, subdirs(t, pattern+"adapter_config.json")...)
	}
	if len(files) != 165 {
		t.Errorf("%d adapters", len(files))
	}
	for _, file := range files {
		dir := filepath.Dir(file)
		t.Run(filepath.ToSlash(dir), func(t *testing.T) { compareAdapter(t, dir) })
	}
}

func compareAdapter(t *testing.T, dir string) {
	a, err := Source{}.Adapter(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	var config struct {
		R     int                `json:"r"`
		Alpha float64            `json:"lora_alpha"`
		RS    bool               `json:"use_rslora"`
		DoRA  bool               `json:"use_dora"`
		Ranks map[string]int     `json:"rank_pattern"`
		Alphs map[string]float64 `json:"alpha_pattern"`
	}
	if err := json.Unmarshal(a.Config.JSON, &config); err != nil {
		t.Fatal(err)
	}
	if a.Config.R != config.R || a.Config.Alpha != config.Alpha || !a.Config.HasAlpha || a.Config.UseRSLoRA != config.RS || a.Config.UseDoRA != config.DoRA ||
		len(a.Config.RankPattern) != len(config.Ranks) || len(a.Config.AlphaPattern) != len(config.Alphs) {
		t.Errorf("%+v", a.Config)
	}
	raw := rawDir(t, dir)
	seen := map[string]bool{}
	mismatch := strings.Contains(dir, "mismatched-rank") // PEFT refuses it in these words
	for _, m := range a.Modules {
		for _, x := range [...]*Tensor{m.A, m.B, m.Magnitude, m.BiasB} {
			if x != nil {
				seen[x.Name] = true
			}
		}
		if (m.Problem != nil) != mismatch {
			t.Errorf("%s: problem %v", m.Path, m.Problem)
		}
		if mismatch {
			wantError(t, m.Problem, m.A.Name, "size mismatch", "gives rank 8")
			continue
		}
		if int64(m.Rank) != m.A.Shape[0] || int64(m.Rank) != m.B.Shape[1] || (m.Magnitude != nil) != config.DoRA {
			t.Errorf("%s: %+v", m.Path, m)
		}
		r, alpha := float64(m.Rank), config.Alpha
		if m.Experts > 0 {
			r /= float64(m.Experts)
		}
		want := alpha / r
		if config.RS {
			want = alpha / math.Sqrt(r)
		}
		if len(config.Alphs) == 0 && m.Scale != want {
			t.Errorf("%s: scale %v, want %v", m.Path, m.Scale, want)
		}
	}
	for _, o := range a.Others {
		if seen[o.Tensor.Name] || o.Kind == KindUnknown || o.Target == "" || strings.Contains(o.Target, "base_layer") {
			t.Errorf("%+v", o)
		}
		seen[o.Tensor.Name] = true
	}
	if !maps.Equal(seen, mapKeys(raw)) {
		t.Errorf("%d of %d tensors are accounted for", len(seen), len(raw))
	}
}

func mapKeys(m map[string]rawTensor) map[string]bool {
	keys := map[string]bool{}
	for k := range m {
		keys[k] = true
	}
	return keys
}

// TestGoldenPatterns checks scales worked out by hand. patterns has lora_alpha
// 8, r 4, rank_pattern down_proj 6 and layers\.0\.self_attn\..* 2,
// alpha_pattern .*v_proj 12, layers\.1\.mlp\.down_proj 3 and q_proj 1.
// patterns-rslora has lora_alpha 8, r 4, rank_pattern v_proj 2, alpha_pattern
// ^model\.layers\.1\..*q_proj 5.
func TestGoldenPatterns(t *testing.T) {
	for name, want := range map[string]map[string]float64{
		"patterns": {
			"model.layers.0.mlp.down_proj": 8.0 / 6, "model.layers.0.self_attn.q_proj": 1.0 / 2, "model.layers.0.self_attn.v_proj": 12.0 / 2,
			"model.layers.1.mlp.down_proj": 3.0 / 6, "model.layers.1.self_attn.q_proj": 1.0 / 4, "model.layers.1.self_attn.v_proj": 12.0 / 4,
		},
		"patterns-rslora": {
			"model.layers.0.mlp.down_proj": 4, "model.layers.0.self_attn.q_proj": 4, "model.layers.0.self_attn.v_proj": 5.65685424949238,
			"model.layers.1.mlp.down_proj": 4, "model.layers.1.self_attn.q_proj": 2.5, "model.layers.1.self_attn.v_proj": 5.65685424949238,
		},
		"rslora": {"model.layers.0.self_attn.q_proj": 5.65685424949238}, // 16 / sqrt(8)
	} {
		a, err := Source{}.Adapter(golden + "/cases/" + name + "/adapter")
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		for path, scale := range want {
			if m := a.Module(path); m == nil || m.Problem != nil || m.Scale != scale {
				t.Errorf("%s: %s: %+v, want scale %v", name, path, m, scale)
			}
		}
	}
}

// TestGoldenOthers checks what the special adapters hold besides factors.
func TestGoldenOthers(t *testing.T) {
	for _, tt := range []struct {
		name    string
		modules int
		others  string // KIND TARGET, sorted by name in the file
	}{
		{"nf4-plain", 6, ""},
		{"trainable-tokens", 2, "trainable_tokens model.embed_tokens.weight"},
		{"modules-to-save", 2, "modules_to_save lm_head.weight, modules_to_save model.embed_tokens.weight"},
		{"bert-nf4", 4, "modules_to_save classifier.bias, modules_to_save classifier.weight"},
		{"embedding", 3, "embedding model.embed_tokens.weight"},
		{"bias-lora-only", 6, "bias model.layers.0.mlp.down_proj.bias, bias model.layers.0.self_attn.q_proj.bias, bias model.layers.0.self_attn.v_proj.bias, " +
			"bias model.layers.1.mlp.down_proj.bias, bias model.layers.1.self_attn.q_proj.bias, bias model.layers.1.self_attn.v_proj.bias"},
		{"lmhead-quantized", 3, "embedding lm_head.weight, embedding lm_head.weight.absmax, embedding lm_head.weight.quant_map, embedding lm_head.weight.quant_state.bitsandbytes__nf4"},
	} {
		a, err := Source{}.Adapter(golden + "/cases/" + tt.name + "/adapter")
		if err != nil {
			t.Error(err)
			continue
		}
		defer a.Close()
		var got []string
		for _, o := range a.Others {
			got = append(got, o.Kind+" "+o.Target)
		}
		if s := strings.Join(got, ", "); s != tt.others || len(a.Modules) != tt.modules {
			t.Errorf("%s: %d modules, others %s", tt.name, len(a.Modules), s)
		}
	}
	a, err := Source{}.Adapter(golden + "/cases/mixtral-experts/adapter")
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	for depth, m := range a.Modules[:2] {
		want := [...]string{"down_proj", "gate_up_proj"}[depth]
		if m.Path != "model.layers.0.mlp.experts" || m.Depth != depth || m.Parameter != want || m.Experts != 4 || m.Rank != 8 || m.Scale != 2 {
			t.Errorf("%+v", m)
		}
	}
	if m := a.Module("model.layers.1.self_attn.q_proj"); m == nil || m.Experts != 0 || m.Parameter != "" {
		t.Errorf("%+v", m)
	}
	if a.Module("model.layers.0.mlp.experts").Depth != 0 || a.Module("model.layers.2") != nil {
		t.Error("lookup by path")
	}
}
