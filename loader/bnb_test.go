package loader

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"mergescope/quant"
)

// nested4 are the tensors of a 4-bit weight [8, 80] with double quantization:
// 320 bytes of codes, 10 blocks of 64, one group of statistics.
func nested4(param, kind string) []entry {
	state := `{"quant_type": "` + kind + `", "blocksize": 64, "dtype": "bfloat16", "shape": [8, 80], "nested_blocksize": 256, "nested_dtype": "float32", "nested_offset": 0.5}`
	return []entry{
		{param, "U8", []int64{320, 1}, make([]byte, 320)},
		{param + ".absmax", "U8", []int64{10}, make([]byte, 10)},
		{param + ".quant_map", "F32", []int64{16}, make([]byte, 64)},
		{param + ".nested_absmax", "F32", []int64{1}, make([]byte, 4)},
		{param + ".nested_quant_map", "F32", []int64{256}, make([]byte, 1024)},
		{param + ".quant_state.bitsandbytes__" + kind, "U8", []int64{int64(len(state))}, []byte(state)},
	}
}

// int8s are the tensors of an int8 layer [3, 5] with bias.
func int8s(module string) []entry {
	return []entry{
		{module + ".weight", "I8", []int64{3, 5}, make([]byte, 15)},
		{module + ".SCB", "F32", []int64{3}, f32s(1, 2, 3)},
		{module + ".weight_format", "U8", nil, []byte{0}},
		{module + ".bias", "F16", []int64{3}, make([]byte, 6)},
	}
}

func openEntries(t *testing.T, entries ...entry) (*Checkpoint, error) {
	t.Helper()
	c, err := Source{}.Checkpoint(write(t, "model.safetensors", string(build(entries...))))
	if err == nil {
		t.Cleanup(func() { c.Close() })
	}
	return c, err
}

func TestAssemble(t *testing.T) {
	var all []entry
	all = append(all, nested4("model.layers.10.q_proj.weight", "nf4")...)
	all = append(all, nested4("model.layers.2.experts.gate_up_proj", "fp4")...)
	all = append(all, int8s("model.layers.2.q_proj")...)
	all = append(all,
		entry{"model.norm.weight", "BF16", []int64{4}, make([]byte, 8)},
		entry{"model.norm.bias", "BF16", []int64{4}, make([]byte, 8)},
		entry{"lm_head.weight", "F32", []int64{2, 2}, make([]byte, 16)},
		entry{"conv.weight", "F16", []int64{2, 3, 2, 2}, make([]byte, 48)},
		entry{"conv.bias", "F16", []int64{2}, make([]byte, 4)},
		entry{"h.0.attn.bias", "F32", []int64{1, 1, 2, 2}, make([]byte, 16)},
		entry{"rotary.inv_freq", "F32", []int64{8}, make([]byte, 32)},
		entry{"positions", "I64", []int64{1, 2}, make([]byte, 16)},
	)
	c, err := openEntries(t, all...)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, w := range c.Weights {
		names = append(names, w.Name)
		if w.Problem != nil {
			t.Error(w.Problem)
		}
	}
	want := []string{"conv", "lm_head", "model.layers.2.experts.gate_up_proj", "model.layers.2.q_proj", "model.layers.10.q_proj"}
	if !slices.Equal(names, want) {
		t.Errorf("weights %v, want %v", names, want)
	}
	names = nil
	for _, x := range c.Loose {
		names = append(names, x.Name)
	}
	want = []string{"h.0.attn.bias", "model.norm.bias", "model.norm.weight", "positions", "rotary.inv_freq"}
	if !slices.Equal(names, want) {
		t.Errorf("loose %v, want %v", names, want)
	}
	w := c.Weight("model.layers.10.q_proj")
	spec := quant.Spec{Format: quant.NF4, Blocksize: 64, Dtype: quant.BF16, Nested: true}
	if w.Spec() != spec || w.Rows() != 8 || w.Cols() != 80 || w.Numel() != 640 || len(w.Companions) != 5 || w.Bytes() != 320+10+64+4+1024+w.State.JSON.Size {
		t.Errorf("%+v", w)
	}
	if q := w.State; q.NestedOffset != 0.5 || q.Blocks() != 10 || q.Absmax.Numel() != 10 || q.NestedMap.Numel() != 256 || q.NestedAbsmax.Numel() != 1 || q.QuantMap.Numel() != 16 {
		t.Errorf("%+v", q)
	}
	if c.Weight("model.layers.10.q_proj.weight") != w || c.Weight("model.layers.10") != nil {
		t.Error("lookup by parameter")
	}
	if e := c.Weight("model.layers.2.experts.gate_up_proj"); e.Format != quant.FP4 || e.Name != e.Param {
		t.Errorf("%+v", e)
	}
	i := c.Weight("model.layers.2.q_proj")
	if i.Spec() != (quant.Spec{Format: quant.Int8, Dtype: quant.F32}) || i.SCB.Numel() != 3 || i.Bias == nil || len(i.Companions) != 2 {
		t.Errorf("%+v", i)
	}
	if v := c.Weight("conv"); v.Rows() != 12 || v.Cols() != 2 || v.Bias == nil {
		t.Errorf("%+v", v)
	}
	if f := c.Facts(); f.Params != 640+640+15+4+24 || f.Nested != 2 || len(f.Formats) != 5 || f.Tensors != 24 {
		t.Errorf("%+v", f)
	}
}

// TestProblems changes one tensor of a sound checkpoint at a time: the weight
// must say what is wrong, and the rest must open.
func TestProblems(t *testing.T) {
	const p = "a.weight"
	size := func(n int) func(*entry) {
		return func(e *entry) { e.dtype, e.shape, e.data = "U8", []int64{int64(n)}, make([]byte, n) }
	}
	text := func(old, new string) func(*entry) {
		return func(e *entry) {
			e.data = []byte(strings.Replace(string(e.data), old, new, 1))
			e.shape = []int64{int64(len(e.data))}
		}
	}
	rename := func(to string) func(*entry) { return func(e *entry) { e.name = to } }
	const state = p + ".quant_state.bitsandbytes__nf4"
	for _, tt := range []struct {
		name   string
		tensor string
		change func(*entry)
		words  string
	}{
		{"codes too short", p, size(319), "tensor a.weight: byte "},
		{"codes too short", p, size(319), "has 319 bytes, shape [8 80] needs 320"},
		{"codes too long", p, size(321), "has 321 bytes"},
		{"codes I64", p, func(e *entry) { e.dtype, e.shape = "I64", []int64{40} }, "4-bit codes stored as I64"},
		{"absmax short", p + ".absmax", size(9), "a.weight.absmax: byte "},
		{"absmax F32", p + ".absmax", func(e *entry) { e.dtype, e.data = "F32", make([]byte, 40) }, "is F32 [10], want U8 with 10 elements"},
		{"absmax missing", p + ".absmax", rename("z"), "quantization component absmax is missing"},
		{"map missing", p + ".quant_map", rename("z"), "quantization component quant_map is missing"},
		{"map 15 long", p + ".quant_map", size(15), "want F32 with 16 elements"},
		{"nested absmax missing", p + ".nested_absmax", rename("z"), "nested_absmax is missing"},
		{"nested map missing", p + ".nested_quant_map", rename("z"), "nested_quant_map is missing"},
		{"nested map 255 long", p + ".nested_quant_map", func(e *entry) { e.shape, e.data = []int64{255}, e.data[4:] }, "want F32 with 256 elements"},
		{"blocksize", state, text("64", "96"), "quant_state: field \"blocksize\": 96 is not one of"},
		{"bigger blocks", state, text("64", "128"), "want U8 with 5 elements"},
		{"not nested", state, text(`, "nested_blocksize": 256, "nested_dtype": "float32", "nested_offset": 0.5`, ""), "want F32 with 10 elements"},
		{"malformed", state, text("{", "["), "quant_state: want an object, got an array"},
		{"not UTF-8", state, text("nf4", "n\xff4"), "not valid UTF-8"},
		{"state two-dimensional", state, func(e *entry) { e.shape = []int64{1, int64(len(e.data))} }, "quant_state is U8 [1 "},
		{"state huge", state, func(e *entry) { e.data = make([]byte, 1<<20); e.shape = []int64{1 << 20} }, "at most 65536 bytes"},
		{"other type", state, text("nf4", "fp4"), "quant_type is fp4, but the name says nf4"},
		{"name says int4", state, rename(p + ".quant_state.bitsandbytes__int4"), "the name says int4"},
		{"no state", state, rename("z"), "no quant_state.bitsandbytes__nf4 or __fp4"},
		{"extra component", "i.bias", rename(p + ".offset"), "a.weight.offset: byte "},
		{"second state", "i.bias", rename(p + ".quant_state.bitsandbytes__fp4"), "exactly one quant_state"},

		{"no SCB", "i.SCB", rename("z"), "missing quantization component SCB"},
		{"SCB short", "i.SCB", size(12), "want F32 with 3 elements"},
		{"SCB too few", "i.SCB", func(e *entry) { e.shape, e.data = []int64{2}, e.data[4:] }, "want F32 with 3 elements"},
		{"column format", "i.weight_format", func(e *entry) { e.data = []byte{2} }, "weight_format 2: only 0, row"},
		{"format of two bytes", "i.weight_format", size(2), "want one byte"},
		{"int8 1-D", "i.weight", func(e *entry) { e.shape = []int64{15} }, "int8 weight of shape [15]"},
		{"float8", "f.weight", func(e *entry) { e.dtype, e.data = "F8_E4M3", make([]byte, 4) }, "dtype F8_E4M3 is not one"},
		{"empty float", "f.weight", func(e *entry) { e.shape, e.data = []int64{0, 4}, nil }, "shape [0 4] is empty"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			all := append(nested4(p, "nf4"), int8s("i")...)
			all = append(all, entry{"f.weight", "F32", []int64{2, 2}, make([]byte, 16)})
			i := slices.IndexFunc(all, func(e entry) bool { return e.name == tt.tensor })
			tt.change(&all[i])
			c, err := openEntries(t, all...)
			if err != nil {
				t.Fatal(err)
			}
			bad := 0
			for _, w := range c.Weights {
				if w.Problem == nil {
					continue
				}
				bad++
				wantError(t, w.Problem, "model.safetensors: tensor ", tt.words)
				var fe *FormatError
				if !errors.As(w.Problem, &fe) || fe.Offset <= 0 || fe.Tensor == "" {
					t.Errorf("no place: %#v", w.Problem)
				}
			}
			if bad != 1 || len(c.Weights) != 3 {
				t.Errorf("%d of %d weights have a problem, want 1 of 3", bad, len(c.Weights))
			}
		})
	}
}

// TestOldInt8: files of early versions have no weight_format.
func TestOldInt8(t *testing.T) {
	c, err := openEntries(t, int8s("i")[:2]...)
	if err != nil {
		t.Fatal(err)
	}
	if w := c.Weight("i"); w.Problem != nil || w.Format != quant.Int8 || w.Bias != nil || len(w.Companions) != 1 {
		t.Errorf("%+v", w)
	}
}

// TestStateWithoutWeight is a file that transformers cannot load either.
func TestStateWithoutWeight(t *testing.T) {
	_, err := openEntries(t, nested4("a.weight", "nf4")[1:]...)
	wantError(t, err, "model.safetensors: tensor a.weight.quant_state.bitsandbytes__nf4: byte ", "the weight a.weight, which this describes, is missing")
	all := append(nested4("a.weight", "nf4"), nested4("a.weight.absmax", "nf4")...)
	all = slices.Delete(all, 6, 7) // a.weight.absmax is there once
	_, err = openEntries(t, all...)
	wantError(t, err, "is missing or part of another")
}

// TestStorage reads the golden checkpoint whose codes are stored as bfloat16:
// its raw bytes are those of the same weights stored as uint8.
func TestStorage(t *testing.T) {
	read := func(base string) []byte {
		c, err := Source{}.Checkpoint(golden + "/bases/" + base)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		b, err := c.Weight("model.layers.0.mlp.down_proj").Data.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	a, b := read("llama-nf4"), read("llama-nf4-storage-bf16")
	if len(a) != 64*128/2 || !slices.Equal(a, b) {
		t.Errorf("%d and %d bytes differ", len(a), len(b))
	}
}

func TestConfig(t *testing.T) {
	open := func(config string) (*Checkpoint, error) {
		dir := write(t, "model.safetensors", string(build(int8s("i")...)), "config.json", config)
		c, err := Source{}.Checkpoint(dir)
		if err == nil {
			c.Close()
		}
		return c, err
	}
	c, err := open(`{"architectures":["LlamaForCausalLM"],"model_type":"llama","torch_dtype":"float16","tie_word_embeddings":true,"eps":Infinity,
		"quantization_config":{"quant_method":"bitsandbytes","llm_int8_threshold":6.0,"skip":[null,"a"]}}`)
	if err != nil {
		t.Fatal(err)
	}
	q := c.Config.Quantization
	if c.Config.Architectures[0] != "LlamaForCausalLM" || c.Config.ModelType != "llama" || c.Config.Dtype != "float16" || !c.Config.TieEmbeddings ||
		q["quant_method"] != "bitsandbytes" || q["llm_int8_threshold"] != 6.0 || q["skip"].([]any)[1] != "a" || !strings.HasPrefix(string(c.Config.Raw), `{"arch`) {
		t.Errorf("%+v", c.Config)
	}
	c, err = open(`{"model_type":"mllama","torch_dtype":null,"text_config":{"model_type":"x","dtype":"bfloat16","tie_word_embeddings":true}}`)
	if err != nil || c.Config.ModelType != "mllama" || c.Config.Dtype != "bfloat16" || !c.Config.TieEmbeddings {
		t.Errorf("%+v %v", c.Config, err)
	}
	for config, words := range map[string]string{
		`{"a":1,"a":2}`:                `config.json: byte 7: duplicate key "a"`,
		`[]`:                           "config.json: byte 0: want an object",
		`{"architectures":"x"}`:        `field "architectures" is string`,
		`{"architectures":[1]}`:        `field "architectures"`,
		`{"model_type":3}`:             `field "model_type" is float64`,
		`{"quantization_config":1}`:    `field "quantization_config"`,
		"":                             "the end of the text",
		`{"a":tru}`:                    "want true or false",
		`{"a":nul}`:                    "invalid word",
		`{"a":"` + "\n" + `"}`:         "control character",
		`{"a":"`:                       "string does not end",
		`{"a":"\q"}`:                   "invalid escape",
		`{"a":"\u00g0"}`:               "invalid escape",
		`{"a" 1}`:                      "want ':'",
		`{"a":1,}`:                     "want a string, got '}'",
		`{"a":[1,]}`:                   "want a number, got ']'",
		strings.Repeat(" ", maxJSON+1): "longer than",
	} {
		_, err := open(config)
		if err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%.40s: error %v, want %q", config, err, words)
		}
	}
	if c, err := openEntries(t, int8s("i")...); err != nil || c.Config.Raw != nil || c.Config.ModelType != "" {
		t.Errorf("without config.json: %+v %v", c, err)
	}
}
