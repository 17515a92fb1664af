package loader

// Adapter is an opened PEFT adapter directory.
type Adapter struct {
	Name   string // short name for screens and plans, unique in a session
	Path   string // as the user gave it
	Config AdapterConfig
	File   *File

	Modules []*Module   // adapted modules in natural order
	Others  []*Replaced // tensors of the file that are no LoRA factor of a module
}

// AdapterConfig is adapter_config.json. Fields that do not change a merge are
// left out; Unknown lists the names no field of PEFT 0.21's LoraConfig has.
type AdapterConfig struct {
	PeftType       string
	BaseModel      string
	R              int
	Alpha          float64
	HasAlpha       bool // lora_alpha was present
	UseRSLoRA      bool
	UseDoRA        bool
	LoraBias       bool
	Bias           string // "none", "all", "lora_only"
	FanInFanOut    bool
	InitLoraWeight string // init_lora_weights as text: "true", "pissa", ...
	RankPattern    []Pattern
	AlphaPattern   []Pattern
	TargetModules  []string
	ModulesToSave  []string
	Raw            map[string]any // the whole file, for inspection and later rules
	Unknown        []string
}

// Pattern is one entry of rank_pattern or alpha_pattern, in file order: the
// first key whose regex `(.*\.)?(KEY)$` matches a module path wins
// (peft/utils/other.py, get_pattern_key).
type Pattern struct {
	Key   string
	Value float64
}

// Module is what an adapter holds for one module path.
type Module struct {
	Path  string // without "base_model.model."
	A, B  *Tensor
	Rank  int     // rows of A
	Alpha float64 // lora_alpha after alpha_pattern
	Scale float64 // alpha/r, or alpha/sqrt(r) with rsLoRA

	Magnitude *Tensor // DoRA's lora_magnitude_vector
	BiasB     *Tensor // lora_B.bias
	Embedding bool    // A and B are lora_embedding_A and lora_embedding_B
	Problem   error   // why the module cannot be merged, for example a shape or rank conflict
}

// Replaced is an adapter tensor that replaces or edits a tensor of the base
// model instead of adding a low-rank delta.
type Replaced struct {
	Tensor *Tensor
	Kind   string // "modules_to_save", "bias", "trainable_tokens", "unknown"
	Target string // name of the base tensor it concerns, "" if not known
}
