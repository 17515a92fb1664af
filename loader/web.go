package loader

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"

	"mergescope/loader/remote"
)

// HubToken returns the token for a hub that the environment names, from a
// variable or a file; "" if there is none (huggingface_hub/constants.py and
// utils/_auth.py).
func HubToken(getenv func(string) string) string {
	for _, key := range [...]string{"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"} {
		if v := strings.TrimSpace(getenv(key)); v != "" {
			return v
		}
	}
	switch strings.ToUpper(getenv("HF_HUB_DISABLE_IMPLICIT_TOKEN")) {
	case "1", "ON", "YES", "TRUE":
		return ""
	}
	name := expandHome(getenv("HF_TOKEN_PATH"), getenv)
	if home := hubHome(getenv); name == "" && home != "" {
		name = filepath.Join(home, "token")
	}
	info, err := os.Stat(name)
	if err != nil || !info.Mode().IsRegular() || info.Size() > 4096 {
		return ""
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

func isURL(name string) bool {
	return strings.HasPrefix(name, "https://") || strings.HasPrefix(name, "http://")
}

// webNames are looked for in a directory on a server, which cannot be listed.
var webNames = []string{
	"config.json", "model.safetensors", "model" + indexSuffix, adapterConfig, adapterFile,
	"generation_config.json", "tokenizer.json", "tokenizer_config.json", "tokenizer.model", "special_tokens_map.json",
	"added_tokens.json", "vocab.json", "merges.txt", "chat_template.jinja", "chat_template.json",
	"preprocessor_config.json", "processor_config.json",
}

// locateURL finds a directory or file on a server.
func (s Source) locateURL(name string) (place, error) {
	u, err := remote.ParseURL(name)
	if err != nil {
		return place{}, fmt.Errorf("URL: %w", err)
	}
	if s.Web == nil {
		return place{}, fmt.Errorf("%s: URLs are not read here", name)
	}
	p := place{dir: u.String(), path: name, name: shortName(u.Path), remote: true}
	names := webNames
	if base := path.Base(u.Path); strings.HasSuffix(base, ".safetensors") || strings.HasSuffix(base, ".json") || hasSuffix(base, pickleSuffixes) {
		p.file = base
		u.Path = path.Dir(u.Path)
		p.dir = u.String()
		names = append([]string{base}, names...)
	}
	d, err := s.Web.Dir(u, names)
	if err != nil {
		return place{}, fmt.Errorf("%s: %w", p.dir, err)
	}
	if list, _ := fs.ReadDir(d, "."); len(list) == 0 {
		return place{}, fmt.Errorf("%s: none of the files of a model or adapter is there; a repository of a hub is named with --hub URL ORG/NAME", p.dir)
	}
	p.fsys = d
	return p, nil
}

// locateRepo finds a name on the hub.
func (s Source) locateRepo(name string) (place, error) {
	m := hubName.FindStringSubmatch(name)
	if m == nil {
		return place{}, missing(name)
	}
	if s.Web == nil {
		return place{}, errors.New("a hub is not read here")
	}
	org, model, revision := m[1], m[2], m[3]
	id := path.Join(org, model)
	d, commit, err := s.Web.Repo(id, revision)
	if err != nil {
		return place{}, fmt.Errorf("%s on %s: %w", name, s.Hub, err)
	}
	return place{fsys: d, dir: s.Hub + "/" + id + "@" + commit, path: name, name: model, remote: true}, nil
}

// atOnce bounds how many files are opened, or small tensors read, at a time.
const atOnce = 16

// openFiles opens safetensors files, several at once: on a server, and on a cold
// disk, most of the time is waiting.
func openFiles(p place, names []string) ([]*File, error) {
	files := make([]*File, len(names))
	errs := make([]error, len(names))
	inParallel(len(names), func(i int) { files[i], errs[i] = openFile(p.fsys, names[i], p.show(names[i])) })
	var opened []*File
	var first error
	for i, f := range files {
		if errs[i] == nil {
			opened = append(opened, f)
		} else if first == nil {
			first = errs[i]
		}
	}
	return opened, first
}

// warmBytes is the size up to which tensors of bytes are taken for descriptions,
// which have 80 to 200.
const warmBytes = 4 << 10

// warm tells the reader of each file where its tensors are and reads the
// descriptions of quantized weights, which come one by one later on. What fails
// will fail again there.
func warm(files []*File) {
	var small []*Tensor
	for _, f := range files {
		r, ok := f.r.(interface{ Regions([]int64) })
		if !ok {
			continue
		}
		var starts []int64
		for _, t := range f.Tensors {
			starts = append(starts, t.Offset)
			if t.DType == "U8" && t.Size <= warmBytes {
				small = append(small, t)
			}
		}
		r.Regions(starts)
	}
	inParallel(len(small), func(i int) { _, _ = small[i].Bytes() })
}

// inParallel calls do for 0 to n-1, a bounded number at a time, and returns when
// all are done.
func inParallel(n int, do func(i int)) {
	var wg sync.WaitGroup
	next := make(chan int)
	for range min(n, atOnce) {
		wg.Go(func() {
			for i := range next {
				do(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
}
