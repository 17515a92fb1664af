package loader

import (
	"os"
	"slices"
	"strings"
	"testing"
)

func mat(name string, rows, cols int64) entry {
	return entry{name, "F32", []int64{rows, cols}, make([]byte, 4*rows*cols)}
}

// openAdapterEntries opens an adapter of r 2 whose config has more fields.
func openAdapterEntries(t *testing.T, more string, entries ...entry) (*Adapter, error) {
	t.Helper()
	dir := write(t, "adapter_model.safetensors", string(build(entries...)), "adapter_config.json", `{"peft_type":"LORA","r":2`+more+`}`)
	a, err := Source{}.Adapter(dir)
	if err == nil {
		t.Cleanup(func() { a.Close() })
	}
	return a, err
}

// TestAdapterKeys checks the spellings of keys that PEFT's versions wrote.
func TestAdapterKeys(t *testing.T) {
	a, err := openAdapterEntries(t, `,"lora_alpha":3,"modules_to_save":["score"],"task_type":"SEQ_CLS"`,
		mat("base_model.model.a.lora_A.weight", 2, 5), mat("base_model.model.a.lora_B.weight", 4, 2),
		entry{"base_model.model.a.lora_B.bias", "F32", []int64{4}, make([]byte, 16)},
		mat("base_model.model.b.10.lora_A.default.weight", 2, 5), mat("base_model.model.b.10.lora_B.default.weight", 4, 2),
		mat("base_model.model.b.2.lora_A.my-name.weight", 2, 5), mat("base_model.model.b.2.lora_B.my-name.weight", 4, 2),
		entry{"base_model.model.b.2.lora_magnitude_vector.default.weight", "F32", []int64{4}, make([]byte, 16)},
		mat("base_model.model.e.lora_embedding_A", 2, 9), mat("base_model.model.e.lora_embedding_B", 4, 2),
		entry{"base_model.model.e.lora_magnitude_vector.weight", "F32", []int64{4}, make([]byte, 16)},
		mat("base_model.model.f.lora_embedding_A.default", 2, 9), mat("base_model.model.f.lora_embedding_B.default", 4, 2),
		entry{"base_model.model.f.lora_magnitude_vector.default", "F32", []int64{4}, make([]byte, 16)},
		mat("g.lora_A.weight", 2, 5), mat("g.lora_B.weight", 4, 2),
		entry{"base_model.model.conv.lora_A.weight", "F16", []int64{2, 3, 3, 3}, make([]byte, 108)},
		entry{"base_model.model.conv.lora_B.weight", "BF16", []int64{4, 2, 1, 1}, make([]byte, 16)},
		mat("base_model.model.m.score.modules_to_save.default.weight", 3, 3),
		mat("base_model.model.score.dense.weight", 3, 3),
		mat("base_model.model.m.underscore.weight", 3, 3),
		mat("base_model.model.a.lora_C.weight", 1, 1),
		mat("base_model.model.alone.lora_A.bias", 1, 1),
		mat("base_model.model.a.lora_A.weight.extra.tail", 1, 1),
		mat("lora_A.weight", 1, 1),
		mat("base_model.model.x.score.original_module.weight", 1, 1),
		mat("base_model.model.../../etc/passwd.lora_A.weight", 2, 5), mat("base_model.model.../../etc/passwd.lora_B.weight", 4, 2),
	)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range a.Modules {
		s := m.Path
		if m.BiasB != nil {
			s += "+bias"
		}
		if m.Magnitude != nil {
			s += "+magnitude"
		}
		if m.Embedding {
			s += "+embedding"
		}
		if m.Problem != nil || m.Rank != 2 || m.Alpha != 3 || m.Scale != 1.5 || m.Depth != 0 {
			t.Errorf("%+v", m)
		}
		got = append(got, s)
	}
	want := []string{"../../etc/passwd", "a+bias", "b.2+magnitude", "b.10", "conv", "e+magnitude+embedding", "f+magnitude+embedding", "g"}
	if !slices.Equal(got, want) {
		t.Errorf("modules %v, want %v", got, want)
	}
	got = nil
	for _, o := range a.Others {
		got = append(got, o.Kind+" "+o.Target)
	}
	want = []string{"unknown ", "unknown ", "unknown ", "modules_to_save m.score.weight", "unknown m.underscore.weight", "modules_to_save score.dense.weight", "unknown ", "unknown "}
	if !slices.Equal(got, want) {
		t.Errorf("others %v, want %v", got, want)
	}
}

func TestModuleProblems(t *testing.T) {
	const a, b = "base_model.model.m.lora_A.weight", "base_model.model.m.lora_B.weight"
	for _, tt := range []struct {
		name, more string
		entries    []entry
		words      string
	}{
		{"rank", "", []entry{mat(a, 4, 5), mat(b, 6, 4)}, "tensor " + a + ": byte "},
		{"rank", "", []entry{mat(a, 4, 5), mat(b, 6, 4)}, "size mismatch: 4 rows, but adapter_config.json gives rank 2"},
		{"rank pattern", `,"rank_pattern":{"m":3}`, []entry{mat(a, 2, 5), mat(b, 6, 2)}, "gives rank 3"},
		{"inner", "", []entry{mat(a, 2, 5), mat(b, 6, 3)}, "size mismatch: 3 columns, but lora_A has 2 rows"},
		{"no B", "", []entry{mat(a, 2, 5)}, a + ": byte"},
		{"no B", "", []entry{mat(a, 2, 5)}, "lora_B is missing"},
		{"no A", "", []entry{mat(b, 6, 2)}, "lora_A is missing"},
		{"bias alone", "", []entry{{"base_model.model.m.lora_B.bias", "F32", []int64{1}, make([]byte, 4)}}, "lora_A and lora_B are missing"},
		{"vector", "", []entry{{a, "F32", []int64{2}, make([]byte, 8)}, mat(b, 6, 2)}, "shape [2], want a matrix"},
		{"empty", "", []entry{{a, "F32", []int64{2, 0}, nil}, mat(b, 6, 2)}, "shape [2 0], want a matrix"},
		{"float8", "", []entry{{a, "F8_E4M3", []int64{2, 5}, make([]byte, 10)}, mat(b, 6, 2)}, "dtype F8_E4M3, want F32, F16 or BF16"},
		{"two adapters", "", []entry{mat("base_model.model.m.lora_A.x.weight", 2, 5), mat("base_model.model.m.lora_A.y.weight", 2, 5), mat(b, 6, 2)}, "the file holds several adapters"},
		{"nested without names", "", []entry{mat("base_model.model.m.base_layer.lora_A.weight", 2, 5), mat("base_model.model.m.base_layer.lora_B.weight", 6, 2)}, "target_parameters names 0 parameters"},
		{"names without nesting", `,"target_parameters":["m.up","m.down"]`, []entry{mat(a, 2, 5), mat(b, 6, 2)}, "1 nested modules, but target_parameters names 2"},
		{"experts of rank 2", `,"target_parameters":["m.up"]`, []entry{mat(a, 5, 5), mat(b, 6, 5)}, "size mismatch: 5 rows"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ad, err := openAdapterEntries(t, tt.more, tt.entries...)
			if err != nil {
				t.Fatal(err)
			}
			if len(ad.Modules) != 1 {
				t.Fatalf("%d modules", len(ad.Modules))
			}
			wantError(t, ad.Modules[0].Problem, "adapter_model.safetensors: tensor ", tt.words)
		})
	}
}

func TestDefaults(t *testing.T) {
	a, err := openAdapterEntries(t, "", mat("base_model.model.m.lora_A.weight", 2, 5), mat("base_model.model.m.lora_B.weight", 6, 2))
	if err != nil {
		t.Fatal(err)
	}
	if c := a.Config; c.HasAlpha || c.Alpha != 8 || c.Bias != "none" || c.InitLoraWeight != "true" || c.TargetModules != nil || a.Modules[0].Scale != 4 {
		t.Errorf("%+v", c)
	}
	c, err := ParseAdapterConfig("c", []byte(`{"peft_type":"LORA"}`))
	if err != nil || c.R != 8 || c.Alpha != 8 {
		t.Errorf("%+v %v", c, err)
	}
}

func TestOtherTuner(t *testing.T) {
	dir := write(t, "adapter_config.json", `{"peft_type":"IA3","feedforward_modules":["x"]}`,
		"adapter_model.safetensors", string(build(mat("base_model.model.m.ia3_l", 1, 5), mat("base_model.model.m.lora_A.weight", 1, 5))))
	a, err := Source{}.Adapter(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if m := a.Module("m"); m == nil || m.Tuner != "IA3" || m.Params["ia3_l"] == nil || m.Problem != nil {
		t.Errorf("%+v", m)
	}
	if a.Config.PeftType != "IA3" || len(a.Modules) != 1 || len(a.Others) != 1 || a.Others[0].Kind != KindUnknown || a.Config.Unknown != nil {
		t.Errorf("%+v", a)
	}
}

func TestParseAdapterConfig(t *testing.T) {
	text := `{"peft_type":"LORA","task_type":"CAUSAL_LM","base_model_name_or_path":"org/m","peft_version":"0.21.2","r":16,"lora_alpha":0.7,
		"use_rslora":true,"use_dora":true,"use_qalora":true,"lora_bias":true,"fan_in_fan_out":true,"ensure_weight_tying":true,
		"bias":"lora_only","init_lora_weights":"pissa_niter_4","rank_pattern":{"z":3,"a":1},"alpha_pattern":{"b.*":0.5,"a":-2},
		"target_modules":".*proj","exclude_modules":["x","y"],"layers_to_transform":3,"layers_pattern":"h","modules_to_save":["score"],
		"target_parameters":["m.up"],"trainable_token_indices":{"embed_tokens":[3,7],"lm_head":[1]},"layer_replication":[[0,4],[2,5]],
		"alora_invocation_tokens":[1,2],"kasa_config":{"beta":1e-4},"use_bdlora":true,"velora_config":null,"arrow_config":{"top_k":3},
		"loftq_config":{},"lora_dropout":0.1,"weird":NaN,"other":null,"megatron_core":"megatron.core"}`
	c, err := ParseAdapterConfig("c.json", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	for i, ok := range []bool{
		c.TaskType == "CAUSAL_LM" && c.BaseModel == "org/m" && c.PeftVersion == "0.21.2",
		c.R == 16 && c.Alpha == 0.7 && c.HasAlpha,
		c.UseRSLoRA && c.UseDoRA && c.UseQALoRA && c.LoraBias && c.FanInFanOut && c.WeightTying,
		c.Bias == "lora_only" && c.InitLoraWeight == "pissa_niter_4",
		c.RankPattern[0].Key == "z" && c.RankPattern[0].Value == 3 && c.RankPattern[1].Key == "a",
		c.AlphaPattern[0].Key == "b.*" && c.AlphaPattern[0].Value == 0.5 && c.AlphaPattern[1].Value == -2,
		c.TargetRegex == ".*proj" && c.TargetModules == nil && slices.Equal(c.ExcludeModules, []string{"x", "y"}),
		slices.Equal(c.Layers, []int64{3}) && slices.Equal(c.LayersPattern, []string{"h"}),
		slices.Equal(c.ModulesToSave, []string{"score"}) && slices.Equal(c.TargetParameters, []string{"m.up"}),
		len(c.TrainableTokens) == 2 && c.TrainableTokens[0].Module == "embed_tokens" && slices.Equal(c.TrainableTokens[0].Rows, []int64{3, 7}) && c.TrainableTokens[1].Module == "lm_head",
		len(c.LayerReplication) == 2 && slices.Equal(c.LayerReplication[1], []int64{2, 5}),
		slices.Equal(c.ALoRATokens, []int64{1, 2}),
		c.KaSA["beta"] == 1e-4 && c.BDLoRA != nil && c.VeLoRA == nil && c.Arrow["top_k"] == 3.0,
		slices.Equal(c.Unknown, []string{"weird", "other"}),
		string(c.JSON) == text && c.Raw["lora_dropout"] == 0.1 && c.Raw["r"] == 16.0,
	} {
		if !ok {
			t.Errorf("check %d: %+v", i, c)
		}
	}
	c, err = ParseAdapterConfig("c.json", []byte(`{"peft_type":"LORA","init_lora_weights":false,"trainable_token_indices":[5],"layers_to_transform":[0,1],"use_bdlora":false,"target_modules":["q"]}`))
	if err != nil || c.InitLoraWeight != "false" || c.TrainableTokens[0].Module != "" || c.TrainableTokens[0].Rows[0] != 5 || len(c.Layers) != 2 || c.BDLoRA != nil || c.TargetModules[0] != "q" {
		t.Errorf("%+v %v", c, err)
	}
}

// TestKnownFields: every field PEFT 0.21 writes is known.
func TestKnownFields(t *testing.T) {
	text, err := os.ReadFile(golden + "/cases/nf4-plain/adapter/adapter_config.json")
	if err != nil {
		t.Fatal(err)
	}
	c, err := ParseAdapterConfig("c", text)
	if err != nil || c.Unknown != nil || len(c.Raw) != 41 {
		t.Errorf("%v, %d fields, %v", c.Unknown, len(c.Raw), err)
	}
	if c, err := ParseAdapterConfig("c", []byte(strings.Replace(string(text), `"r": 4`, `"r": 4, "runtime_config": {}, "lora_alfa": 3`, 1))); err != nil || !slices.Equal(c.Unknown, []string{"lora_alfa"}) {
		t.Errorf("%v %v", c.Unknown, err)
	}
}

func TestParseAdapterConfigErrors(t *testing.T) {
	for text, words := range map[string]string{
		``:                                   "c.json: byte 0: want an object, got the end",
		`[]`:                                 "want an object, got an array",
		`{}`:                                 `field "peft_type" is missing`,
		`{"peft_type":null}`:                 `field "peft_type": want a string, got null`,
		`{"r":"8"}`:                          `c.json: byte 5: field "r": want an integer`,
		`{"r":0}`:                            `field "r": 0 is not a positive`,
		`{"r":-8}`:                           `field "r": -8 is not a positive`,
		`{"r":8.0}`:                          `field "r": want an integer, got 8.0`,
		`{"r":1e400}`:                        `field "r": want an integer`,
		`{"r":4294967296}`:                   `field "r": 4294967296 is not a positive 32-bit`,
		`{"r":null}`:                         `field "r": want an integer`,
		`{"r":true}`:                         `field "r": want an integer`,
		`{"r":8,"r":8}`:                      `duplicate key "r"`,
		`{"lora_alpha":null}`:                `field "lora_alpha": want a number, got null`,
		`{"lora_alpha":"16"}`:                `field "lora_alpha": want a number, got a string`,
		`{"lora_alpha":NaN}`:                 `field "lora_alpha": not a finite number`,
		`{"lora_alpha":1e999}`:               `field "lora_alpha": not a finite number`,
		`{"use_dora":1}`:                     `field "use_dora": want true or false`,
		`{"bias":"some"}`:                    `field "bias": "some" is none of`,
		`{"init_lora_weights":3}`:            `field "init_lora_weights": want a string, true or false`,
		`{"rank_pattern":[]}`:                `field "rank_pattern": want an object`,
		`{"rank_pattern":{"a":0}}`:           `field "rank_pattern": key "a": 0 is not`,
		`{"rank_pattern":{"a":1.5}}`:         `key "a": want an integer`,
		`{"rank_pattern":{"a":1,"a":2}}`:     `duplicate key "a"`,
		`{"rank_pattern":{"(":1}}`:           `field "rank_pattern": key "(": `,
		`{"alpha_pattern":{"a":"1"}}`:        `field "alpha_pattern": key "a": want a number`,
		`{"alpha_pattern":{"[":1}}`:          `field "alpha_pattern": key "["`,
		`{"target_modules":3}`:               `field "target_modules": want a string or a list`,
		`{"target_modules":["a",3]}`:         `field "target_modules": want a string, got a number`,
		`{"layers_to_transform":"1"}`:        `field "layers_to_transform": want an integer`,
		`{"layers_to_transform":-1}`:         `field "layers_to_transform": -1 is negative`,
		`{"trainable_token_indices":[-1]}`:   `field "trainable_token_indices": -1 is negative`,
		`{"trainable_token_indices":3}`:      `field "trainable_token_indices": want an object`,
		`{"layer_replication":[[1]]}`:        `field "layer_replication": a range needs two`,
		`{"kasa_config":3}`:                  `field "kasa_config": want an object`,
		`{"peft_type":"LORA"} x`:             "text goes on",
		`{"eva_config":{"a":1,"a":2}}`:       `duplicate key "a"`,
		`{"peft_type":"LO` + "\x00" + `RA"}`: "control character",
	} {
		_, err := ParseAdapterConfig("c.json", []byte(text))
		if err == nil || !strings.Contains(err.Error(), words) || !strings.HasPrefix(err.Error(), "c.json: ") {
			t.Errorf("%s: error %v, want %q", text, err, words)
		}
	}
}
