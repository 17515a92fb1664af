package loader

// Checkpoint is an opened model: its files, its configuration and its weights.
type Checkpoint struct {
	Name    string // as the user gave it, shortened for screens
	Path    string // directory or file, "" for the embedded demo
	Files   []*File
	Sharded bool // an index names the files
	Config  Config
	Weights []*Weight // natural order: layers.2 before layers.10

	Loose []*Tensor // tensors that are no weight's data, companion or bias
	Other []string  // file names beside the weights: tokenizer and so on

	src    Source
	byName map[string]*Weight
}

// Config is what mergescope reads of config.json; Raw keeps the file.
type Config struct {
	Architectures []string
	ModelType     string
	Dtype         string // "torch_dtype" or "dtype"
	TieEmbeddings bool
	Quantization  map[string]any // quantization_config, nil if absent
	Raw           []byte         // nil if there is no config.json
}
