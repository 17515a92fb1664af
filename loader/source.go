package loader

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"mergescope/loader/remote"
)

// Source resolves the names a user types: directories, files, URLs, names on a
// hub or in the local Hugging Face cache, "demo" and "demo:NAME". The zero value
// knows directories and files only.
type Source struct {
	Demo  fs.FS          // embedded demo, base-nf4/ and adapter-*/ at its root; nil if none
	Cache string         // hub cache directory, see HubCache; "" disables cache names
	Web   *remote.Client // for URLs and a hub; nil disables them
	Hub   string         // address of the hub that Web trusts, where names are looked for; "" if none
}

// place is where a name leads: a directory and perhaps one file in it. All
// files are opened through fsys.
type place struct {
	fsys fs.FS
	dir  string // put before file names in messages
	file string // the one file asked for, "" for the directory
	path string // on disk, or as the user gave it if it is on a server; "" in the demo
	name string // short name

	remote bool
}

// show returns a file name for messages.
func (p place) show(file string) string {
	switch {
	case file == "" || file == ".":
		return p.dir
	case p.path == "" || p.remote:
		return p.dir + "/" + file
	}
	return filepath.Join(p.dir, filepath.FromSlash(file))
}

// Checkpoint opens a model: a directory in Hugging Face layout, one
// .safetensors file, a URL of either, "org/name[@revision]" on the hub or, if no
// hub is named, in the cache, "demo" (the NF4 base) or "demo:base-int8" and the
// like. A path that exists comes before a name elsewhere. The caller must Close
// the checkpoint.
func (s Source) Checkpoint(name string) (*Checkpoint, error) {
	p, err := s.locate(name, "base-")
	if err != nil {
		return nil, err
	}
	switch {
	case p.file == "config.json" || strings.HasSuffix(p.file, indexSuffix) || strings.HasSuffix(p.file, ".safetensors"):
		if p.file == "config.json" {
			p.file = ""
		}
	case hasSuffix(p.file, pickleSuffixes):
		return nil, pickleModel(p.dir, p.file)
	case p.file != "":
		return nil, fmt.Errorf("%s: not a .safetensors file", p.show(p.file))
	}
	return openCheckpoint(p)
}

// Adapter opens a PEFT adapter: a directory, its safetensors file, a cache name
// or "demo:gocode-light" ("demo:adapter-gocode-light" works too). The caller
// must Close the adapter.
func (s Source) Adapter(name string) (*Adapter, error) {
	p, err := s.locate(name, "adapter-")
	if err != nil {
		return nil, err
	}
	switch {
	case p.file == adapterConfig:
		p.file = ""
	case hasSuffix(p.file, pickleSuffixes):
		return nil, pickleAdapter(p.dir, p.file)
	case p.file != "" && !strings.HasSuffix(p.file, ".safetensors"):
		return nil, fmt.Errorf("%s: not a .safetensors file", p.show(p.file))
	}
	return openAdapter(p)
}

// DemoAdapters lists the names of the embedded adapters, without "demo:" and
// "adapter-", in natural order.
func (s Source) DemoAdapters() []string { return s.demo("adapter-") }

func (s Source) demo(prefix string) []string {
	if s.Demo == nil {
		return nil
	}
	entries, err := fs.ReadDir(s.Demo, ".")
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range entries {
		if n, ok := strings.CutPrefix(e.Name(), prefix); ok && e.IsDir() {
			names = append(names, n)
		}
	}
	slices.SortFunc(names, NaturalCompare)
	return names
}

// locate finds what name stands for. prefix is what demo directories of the
// wanted kind begin with.
func (s Source) locate(name, prefix string) (place, error) {
	if s.Demo != nil && (name == "demo" || strings.HasPrefix(name, "demo:")) {
		return s.locateDemo(strings.TrimPrefix(strings.TrimPrefix(name, "demo"), ":"), prefix)
	}
	if name == "" {
		return place{}, errors.New("empty name")
	}
	if isURL(name) {
		return s.locateURL(name)
	}
	info, err := os.Stat(name)
	switch {
	case err == nil && info.IsDir():
		return place{fsys: os.DirFS(name), dir: name, path: name, name: shortName(name)}, nil
	case err == nil:
		dir := filepath.Dir(name)
		return place{fsys: os.DirFS(dir), dir: dir, file: filepath.Base(name), path: name, name: shortName(name)}, nil
	case !errors.Is(err, fs.ErrNotExist):
		return place{}, fmt.Errorf("%s: %w", name, cause(err))
	}
	if s.Hub != "" {
		return s.locateRepo(name)
	}
	return s.locateHub(name)
}

// locateDemo finds a directory of the embedded demo. The default model is
// base-nf4; an adapter must be named.
func (s Source) locateDemo(name, prefix string) (place, error) {
	if name == "" && prefix == "base-" {
		name = "nf4"
	}
	short := strings.TrimPrefix(name, prefix)
	known := s.demo(prefix)
	if !slices.Contains(known, short) {
		for i := range known {
			known[i] = "demo:" + known[i]
		}
		return place{}, fmt.Errorf("demo:%s: the demo has no such part; it has %s", name, strings.Join(known, ", "))
	}
	fsys, err := fs.Sub(s.Demo, prefix+short)
	if err != nil {
		return place{}, err
	}
	if prefix == "base-" {
		short = "demo:" + short
	}
	return place{fsys: fsys, dir: "demo/" + prefix + strings.TrimPrefix(short, "demo:"), name: short}, nil
}

// shortName is the last part of a path that says something.
func shortName(name string) string {
	if abs, err := filepath.Abs(name); err == nil {
		name = abs
	}
	base := filepath.Base(name)
	switch base {
	case adapterFile, "model.safetensors", "model" + indexSuffix, adapterConfig, "config.json":
		base = filepath.Base(filepath.Dir(name))
	}
	return strings.TrimSuffix(base, ".safetensors")
}

// missing explains that there is no such path, with the likeliest name.
func missing(name string) error {
	parent := filepath.Dir(name)
	entries, err := os.ReadDir(parent)
	if err != nil {
		return fmt.Errorf("%s: no such file or directory, and %s cannot be listed", name, parent)
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	if n := nearest(filepath.Base(name), names); n != "" {
		return fmt.Errorf("%s: no such file or directory; did you mean %s?", name, filepath.Join(parent, n))
	}
	slices.SortFunc(names, NaturalCompare)
	return fmt.Errorf("%s: no such file or directory; %s %s", name, parent, listing{all: names}.contents())
}
