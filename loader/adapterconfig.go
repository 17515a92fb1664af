package loader

import (
	"fmt"
	"math"
	"slices"
)

// AdapterConfig is adapter_config.json. Fields that do not change a merge are
// left out but stay in Raw. A field that is absent or null has PEFT's default
// (peft/tuners/lora/config.py, peft/config.py); configurations are nil then.
type AdapterConfig struct {
	PeftType       string // "LORA", or another tuner
	TaskType       string
	BaseModel      string
	PeftVersion    string
	R              int     // default 8
	Alpha          float64 // default 8
	HasAlpha       bool    // lora_alpha was present
	UseRSLoRA      bool
	UseDoRA        bool
	UseQALoRA      bool
	LoraBias       bool
	Bias           string // "none", "all", "lora_only"
	FanInFanOut    bool
	InitLoraWeight string    // init_lora_weights as text: "true", "pissa", ...
	RankPattern    []Pattern // values are positive integers
	AlphaPattern   []Pattern

	TargetModules  []string // a list of names, or
	TargetRegex    string   // a regex over the whole path, or "all-linear"
	ExcludeModules []string
	ExcludeRegex   string
	Layers         []int64  // layers_to_transform
	LayersPattern  []string // layers_pattern

	ModulesToSave    []string
	TargetParameters []string
	TrainableTokens  []TokenIndices // trainable_token_indices
	WeightTying      bool           // ensure_weight_tying
	LayerReplication [][]int64      // [start, end) ranges
	ALoRATokens      []int64        // alora_invocation_tokens
	KaSA             map[string]any // kasa_config
	BDLoRA           map[string]any // use_bdlora
	VeLoRA           map[string]any // velora_config
	Arrow            map[string]any // arrow_config

	Tuner TunerConfig // of tuners that are no LoRA

	JSON    []byte         // the whole file
	Raw     map[string]any // the same decoded: numbers are float64
	Unknown []string       // names that are no field of PEFT 0.21's LoraConfig, in file order
}

// TokenIndices names the rows of an embedding that an adapter trains.
type TokenIndices struct {
	Module string // "" means the input embedding
	Rows   []int64
}

// ignoredFields are fields of LoraConfig with no typed counterpart above.
var ignoredFields = []string{
	"auto_mapping", "corda_config", "eva_config", "inference_mode", "loftq_config", "lora_dropout", "lora_ga_config",
	"megatron_config", "megatron_core", "monteclora_config", "qalora_group_size", "revision", "runtime_config",
}

// notNull are fields whose null PEFT cannot load.
var notNull = []string{"peft_type", "r", "lora_alpha"}

// ParseAdapterConfig reads adapter_config.json; file names it in errors, which
// give the field and the byte offset.
func ParseAdapterConfig(file string, text []byte) (AdapterConfig, error) {
	c := AdapterConfig{R: 8, Alpha: 8, Bias: "none", InitLoraWeight: "true", Tuner: defaultTuner(), JSON: text, Raw: map[string]any{}}
	s := &scanner{s: string(text), words: true}
	type entry struct {
		key  string
		read scanner // stands at the value
	}
	var entries []entry
	err := s.object(func(key string, at int) error {
		s.peek()
		typed := *s // for reading the value a second time, by its type
		v, err := s.value()
		c.Raw[key] = v
		entries = append(entries, entry{key, typed})
		return err
	})
	if err == nil {
		err = s.end()
	}
	c.PeftType, _ = c.Raw["peft_type"].(string) // decides what the other fields are
	if t, ok := tuners[c.PeftType]; ok {
		c.R, c.Alpha = t.rank, t.alpha
	}
	var unknown []string
	for i := range entries {
		if err != nil {
			break
		}
		key := entries[i].key
		read := c.field(key)
		switch v := c.Raw[key]; {
		case read == nil && !slices.Contains(ignoredFields, key):
			unknown = append(unknown, key)
		case read != nil && (v != nil || slices.Contains(notNull, key)):
			if err = read(&entries[i].read); err != nil {
				err = fmt.Errorf("field %q: %w", key, err)
			}
		}
	}
	if err == nil && c.PeftType == "" {
		err = fmt.Errorf("field \"peft_type\" is missing")
	}
	if err != nil {
		return AdapterConfig{}, jsonError(file, 0, err)
	}
	if c.PeftType == "LORA" {
		c.Unknown = unknown
	}
	return c, nil
}

// field returns the reader of a field, nil for one that is not kept.
func (c *AdapterConfig) field(key string) func(*scanner) error {
	if c.PeftType != "LORA" && c.PeftType != "" {
		if read, special := c.tunerField(key); special {
			return read
		}
	}
	switch key {
	case "peft_type":
		return readText(&c.PeftType)
	case "task_type":
		return readText(&c.TaskType)
	case "base_model_name_or_path":
		return readText(&c.BaseModel)
	case "peft_version":
		return readText(&c.PeftVersion)
	case "r":
		return c.readRank
	case "lora_alpha":
		return c.readAlpha
	case "use_rslora":
		return readBool(&c.UseRSLoRA)
	case "use_dora":
		return readBool(&c.UseDoRA)
	case "use_qalora":
		return readBool(&c.UseQALoRA)
	case "lora_bias":
		return readBool(&c.LoraBias)
	case "fan_in_fan_out":
		return readBool(&c.FanInFanOut)
	case "ensure_weight_tying":
		return readBool(&c.WeightTying)
	case "bias":
		return c.readBias
	case "init_lora_weights":
		return c.readInit
	case "rank_pattern":
		return readPatterns(&c.RankPattern, true)
	case "alpha_pattern":
		return readPatterns(&c.AlphaPattern, false)
	case "target_modules":
		return readNames(&c.TargetRegex, &c.TargetModules)
	case "exclude_modules":
		return readNames(&c.ExcludeRegex, &c.ExcludeModules)
	}
	return c.fieldRare(key)
}

func (c *AdapterConfig) fieldRare(key string) func(*scanner) error {
	switch key {
	case "layers_to_transform":
		return readInts(&c.Layers)
	case "layers_pattern":
		return readStrings(&c.LayersPattern)
	case "modules_to_save":
		return readStrings(&c.ModulesToSave)
	case "target_parameters":
		return readStrings(&c.TargetParameters)
	case "trainable_token_indices":
		return c.readTokens
	case "layer_replication":
		return c.readReplication
	case "alora_invocation_tokens":
		return readInts(&c.ALoRATokens)
	case "kasa_config":
		return readObject(&c.KaSA)
	case "use_bdlora":
		return readObject(&c.BDLoRA)
	case "velora_config":
		return readObject(&c.VeLoRA)
	case "arrow_config":
		return readObject(&c.Arrow)
	}
	return nil
}

func (c *AdapterConfig) readRank(s *scanner) error {
	v, err := positive(s)
	c.R = int(v)
	return err
}

// positive reads an integer from 1 to 2^31-1, as a rank is.
func positive(s *scanner) (int64, error) {
	at := s.pos
	v, err := s.integer()
	if err == nil && (v < 1 || v > math.MaxInt32) {
		err = s.failAt(at, "%d is not a positive 32-bit number", v)
	}
	return v, err
}

// finite reads a number that is not infinite or NaN.
func finite(s *scanner) (float64, error) {
	at := s.pos
	v, err := s.float()
	if err == nil && (math.IsInf(v, 0) || math.IsNaN(v)) {
		err = s.failAt(at, "not a finite number")
	}
	return v, err
}

func (c *AdapterConfig) readAlpha(s *scanner) (err error) {
	c.Alpha, err = finite(s)
	c.HasAlpha = true
	return err
}

func (c *AdapterConfig) readBias(s *scanner) error {
	at := s.pos
	v, err := s.text()
	if c.Bias = v; err == nil && !slices.Contains([]string{"none", "all", "lora_only"}, v) {
		err = s.failAt(at, "%q is none of none, all, lora_only", v)
	}
	return err
}

func (c *AdapterConfig) readInit(s *scanner) (err error) {
	if s.peek() == '"' {
		c.InitLoraWeight, err = s.text()
		return err
	}
	v, err := s.boolean()
	if err != nil {
		return s.want("a string, true or false")
	}
	c.InitLoraWeight = fmt.Sprint(v)
	return nil
}

// readTokens reads a list of rows of the input embedding, or an object of such
// lists by module.
func (c *AdapterConfig) readTokens(s *scanner) error {
	read := func(module string) error {
		var t TokenIndices
		if err := s.sizes(&t.Rows, math.MaxInt); err != nil {
			return err
		}
		t.Module = module
		c.TrainableTokens = append(c.TrainableTokens, t)
		return nil
	}
	if s.peek() == '[' {
		return read("")
	}
	return s.object(func(key string, _ int) error { return read(key) })
}

func (c *AdapterConfig) readReplication(s *scanner) error {
	return s.array(func() error {
		var span []int64
		at := s.pos
		err := s.sizes(&span, 2)
		if err == nil && len(span) != 2 {
			err = s.failAt(at, "a range needs two numbers")
		}
		c.LayerReplication = append(c.LayerReplication, span)
		return err
	})
}

func readText(dst *string) func(*scanner) error {
	return func(s *scanner) (err error) {
		*dst, err = s.text()
		return err
	}
}

func readBool(dst *bool) func(*scanner) error {
	return func(s *scanner) (err error) {
		*dst, err = s.boolean()
		return err
	}
}

// readObject reads an object. true stands for an empty one and false for none,
// since some fields were flags once.
func readObject(dst *map[string]any) func(*scanner) error {
	return func(s *scanner) error {
		at := s.pos
		v, err := s.value()
		switch v := v.(type) {
		case map[string]any:
			*dst = v
		case bool:
			if v {
				*dst = map[string]any{}
			}
		default:
			err = s.failAt(at, "want an object")
		}
		return err
	}
}

// readStrings reads a list of strings, or one alone.
func readStrings(dst *[]string) func(*scanner) error {
	return func(s *scanner) error {
		*dst = []string{}
		one := func() error {
			v, err := s.text()
			*dst = append(*dst, v)
			return err
		}
		switch s.peek() {
		case '"':
			return one()
		case '[':
			return s.array(one)
		}
		return s.want("a string or a list of strings")
	}
}

// readNames reads a regex or a list of names.
func readNames(regex *string, list *[]string) func(*scanner) error {
	return func(s *scanner) error {
		if s.peek() == '"' {
			return readText(regex)(s)
		}
		return readStrings(list)(s)
	}
}

// readInts reads a list of non-negative integers, or one alone.
func readInts(dst *[]int64) func(*scanner) error {
	return func(s *scanner) error {
		if s.peek() == '[' {
			return s.sizes(dst, math.MaxInt)
		}
		at := s.pos
		v, err := s.integer()
		if err == nil && v < 0 {
			err = s.failAt(at, "%d is negative", v)
		}
		*dst = []int64{v}
		return err
	}
}

// readPatterns reads rank_pattern or alpha_pattern and keeps the order.
func readPatterns(dst *[]Pattern, rank bool) func(*scanner) error {
	return func(s *scanner) error {
		return s.object(func(key string, at int) error {
			var v float64
			var err error
			s.peek()
			if rank {
				var n int64
				n, err = positive(s)
				v = float64(n)
			} else {
				v, err = finite(s)
			}
			if err != nil {
				return fmt.Errorf("key %.80q: %w", key, err)
			}
			p, err := NewPattern(key, v)
			if err != nil {
				return s.failAt(at, "key %.80q: %v", key, err)
			}
			*dst = append(*dst, p)
			return nil
		})
	}
}
