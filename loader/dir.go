package loader

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

const (
	indexSuffix   = ".safetensors.index.json"
	adapterFile   = "adapter_model.safetensors"
	adapterConfig = "adapter_config.json"
)

// listing is what a directory holds, sorted by use. Names are in natural
// order.
type listing struct {
	tensors []string // .safetensors, adapters left out
	indexes []string // .safetensors.index.json
	pickles []string
	adapter bool // there is an adapter_model.safetensors
	dirs    []string
	all     []string // everything, for messages
}

// pickleSuffixes are those of formats that run code when loaded.
var pickleSuffixes = []string{".bin", ".pt", ".pth", ".ckpt", ".pkl"}

// weightSuffixes are those of other files with weights, which are not carried
// over to a merged checkpoint.
var weightSuffixes = []string{
	".safetensors", indexSuffix, ".bin", ".bin.index.json", ".pt", ".pth", ".ckpt", ".pkl", ".gguf", ".h5", ".msgpack", ".onnx",
}

func hasSuffix(name string, suffixes []string) bool {
	return slices.ContainsFunc(suffixes, func(s string) bool { return strings.HasSuffix(name, s) })
}

func readDir(p place) (listing, error) {
	entries, err := fs.ReadDir(p.fsys, ".")
	if err != nil {
		return listing{}, fmt.Errorf("%s: %w", p.show(""), cause(err))
	}
	var d listing
	for _, e := range entries {
		name := e.Name()
		d.all = append(d.all, name)
		switch {
		case e.IsDir():
			d.dirs = append(d.dirs, name)
		case name == adapterFile:
			d.adapter = true
		case strings.HasSuffix(name, ".safetensors"):
			d.tensors = append(d.tensors, name)
		case strings.HasSuffix(name, indexSuffix):
			d.indexes = append(d.indexes, name)
		case hasSuffix(name, pickleSuffixes):
			d.pickles = append(d.pickles, name)
		}
	}
	for _, names := range [...][]string{d.tensors, d.indexes, d.pickles, d.dirs, d.all} {
		slices.SortFunc(names, NaturalCompare)
	}
	return d, nil
}

// noModel explains why a directory is no checkpoint.
func (d listing) noModel(p place) error {
	switch {
	case d.adapter:
		return fmt.Errorf("%s: this is a PEFT adapter, not a model: give the model first and the adapter with -a", p.show(""))
	case len(d.pickles) > 0:
		return pickleModel(p.show(""), d.pickles[0])
	}
	return fmt.Errorf("%s: no .safetensors file; it %s", p.show(""), d.contents())
}

// contents lists the first few names for a message.
func (d listing) contents() string {
	const few = 8
	switch n := len(d.all); {
	case n == 0:
		return "is empty"
	case n > few:
		return fmt.Sprintf("holds %s and %d more", strings.Join(d.all[:few], ", "), n-few)
	}
	return "holds " + strings.Join(d.all, ", ")
}

func pickleModel(dir, file string) error {
	return fmt.Errorf("%s: %s is a PyTorch pickle, which can run code when loaded, so it is not read; convert it with: "+
		`python -c "from transformers import AutoModelForCausalLM as M; M.from_pretrained('%s').save_pretrained('%s-safetensors')"`,
		dir, file, dir, dir)
}

func pickleAdapter(dir, file string) error {
	return fmt.Errorf("%s: %s is a PyTorch pickle, which can run code when loaded, so it is not read; convert it in its directory with: "+
		`python -c "import torch, safetensors.torch as s; s.save_file(torch.load('%s', map_location='cpu', weights_only=True), '%s', metadata={'format': 'pt'})"`,
		dir, file, file, adapterFile)
}

// statePrefix begins the names of files that are in an output directory as long
// as its merge is not finished.
const statePrefix = "mergescope-state"

// ownPrefixes begin the names of files that are written beside a merged
// checkpoint and describe that merge only.
var ownPrefixes = []string{"mergescope-", "mergescope.lock"}

func hasPrefix(name string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(s string) bool { return strings.HasPrefix(name, s) })
}

// templateDir is the one subdirectory transformers reads beside a tokenizer.
const templateDir = "additional_chat_templates"

// otherFiles lists the regular files that belong to a checkpoint besides its
// weights and config.json.
func otherFiles(p place) ([]string, error) {
	var names []string
	for _, dir := range [...]string{".", templateDir} {
		entries, err := fs.ReadDir(p.fsys, dir)
		if dir == templateDir && errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.show(dir), cause(err))
		}
		for _, e := range entries {
			name := e.Name()
			if strings.HasPrefix(name, ".") || name == "config.json" || hasSuffix(name, weightSuffixes) || hasPrefix(name, ownPrefixes) {
				continue
			}
			name = path.Join(dir, name)
			info, err := fs.Stat(p.fsys, name) // follows the links of a hub cache
			if err == nil && info.Mode().IsRegular() {
				names = append(names, name)
			}
		}
	}
	slices.SortFunc(names, NaturalCompare)
	return names, nil
}

// nearest returns the name most like want, "" if none is close.
func nearest(want string, names []string) string {
	best, cost := "", len(want)/3+1
	for _, n := range names {
		if c := editDistance(strings.ToLower(want), strings.ToLower(n), cost); c < cost {
			best, cost = n, c
		}
	}
	return best
}

// editDistance counts the insertions, deletions and replacements between a and
// b; it may return limit for anything from limit on.
func editDistance(a, b string, limit int) int {
	if max(len(a)-len(b), len(b)-len(a)) >= limit {
		return limit
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			c := diagonal
			if a[i] != b[j] {
				c++
			}
			diagonal = row[j+1]
			row[j+1] = min(c, diagonal+1, row[j]+1)
		}
	}
	return row[len(b)]
}
