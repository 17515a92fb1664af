package loader

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// Adapter is an opened PEFT adapter directory.
type Adapter struct {
	Name   string // short name for screens and plans; the caller makes it unique in a session
	Path   string // as the user gave it, a directory in the cache, or "demo:NAME"
	Config AdapterConfig
	File   *File

	Modules []*Module   // adapted modules in natural order
	Others  []*Replaced // tensors of the file that are no LoRA factor of a module

	// Native says that the arithmetic runs in the dtype of the tensors, as for
	// adapters PEFT makes itself; those it loads are upcast to float32.
	Native bool

	fsys fs.FS
}

// Module is what an adapter holds for one module path.
type Module struct {
	Path  string // without "base_model.model." and ".base_layer"
	A, B  *Tensor
	Rank  int     // rows of A
	Alpha float64 // lora_alpha after alpha_pattern
	Scale float64 // alpha/r, or alpha/sqrt(r) with rsLoRA; r is the configuration's, after rank_pattern

	Magnitude *Tensor // DoRA's lora_magnitude_vector
	BiasB     *Tensor // lora_B.bias
	Embedding bool    // A and B are lora_embedding_A and lora_embedding_B

	// Modules that come from target_parameters: the parameter of the module
	// they adapt, and for one of shape [experts, ...] how many pieces of
	// rank r A and B consist of. Several on one module nest, one
	// ".base_layer" deeper each: Depth 0 is the outermost, applied last.
	Parameter string
	Experts   int
	Depth     int

	// Tuner is the peft_type of a tuner that is no LoRA, "" for LoRA. Params are
	// its tensors by role ("hira_A", "oft_R"), shared projections included; A and B
	// are set as well where they are the factors of a product.
	Tuner  string
	Params map[string]*Tensor

	Problem error // why the module cannot be merged, for example a shape or rank conflict
}

// Replaced is an adapter tensor that replaces or edits a tensor of the base
// model instead of adding a low-rank delta.
type Replaced struct {
	Tensor *Tensor
	Kind   string // one of the Kind constants
	Target string // name of the base tensor it concerns, "" if not known
}

// Kinds of Replaced.
const (
	KindModulesToSave = "modules_to_save"  // a trained copy of the target
	KindBias          = "bias"             // a trained bias (bias="all" or "lora_only")
	KindTokens        = "trainable_tokens" // rows of the target, see TrainableTokens
	KindEmbedding     = "embedding"        // an embedding saved along, to which LoRA is added if it is adapted
	KindUnknown       = "unknown"          // with a Target: PEFT replaces that tensor if the model has it
)

// Module returns the module with that path and depth 0, or nil.
func (a *Adapter) Module(path string) *Module {
	i, ok := slices.BinarySearchFunc(a.Modules, path, func(m *Module, path string) int {
		return NaturalCompare(m.Path, path)
	})
	if !ok {
		return nil
	}
	return a.Modules[i]
}

// FS returns the directory the adapter is in.
func (a *Adapter) FS() fs.FS { return a.fsys }

// Close closes the file of the adapter.
func (a *Adapter) Close() error { return a.File.Close() }

// openAdapter opens the adapter at a place.
func openAdapter(p place) (*Adapter, error) {
	file := p.file
	if file == "" {
		file = adapterFile
		d, err := readDir(p)
		if err != nil {
			return nil, err
		}
		if !d.adapter {
			return nil, d.noAdapter(p)
		}
	}
	text, err := readSmall(p.fsys, adapterConfig, p.show(adapterConfig), maxJSON)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is missing beside %s: without it lora_alpha and with it the scale are not known", p.show(adapterConfig), file)
	}
	if err != nil {
		return nil, err
	}
	a := &Adapter{Name: p.name, Path: p.path, fsys: p.fsys}
	if p.path == "" {
		a.Path = "demo:" + p.name
	}
	if a.Config, err = ParseAdapterConfig(p.show(adapterConfig), text); err != nil {
		return nil, err
	}
	if a.File, err = openFile(p.fsys, file, p.show(file)); err != nil {
		return nil, err
	}
	if err := a.group(); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", p.show(adapterConfig), err), a.Close())
	}
	return a, nil
}

// noAdapter explains why a directory is no adapter.
func (d listing) noAdapter(p place) error {
	for _, f := range d.pickles {
		if strings.HasPrefix(f, "adapter_model") {
			return pickleAdapter(p.show(""), f)
		}
	}
	if len(d.tensors)+len(d.indexes) > 0 {
		return fmt.Errorf("%s: this is a model, not a PEFT adapter: it has no %s; it %s", p.show(""), adapterFile, d.contents())
	}
	for _, sub := range d.dirs {
		if _, err := fs.Stat(p.fsys, sub+"/"+adapterFile); err == nil {
			return fmt.Errorf("%s: no %s here, but there is one in %s", p.show(""), adapterFile, p.show(sub))
		}
	}
	return fmt.Errorf("%s: no %s; it %s", p.show(""), adapterFile, d.contents())
}
