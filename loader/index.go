package loader

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// parseIndex reads a model.safetensors.index.json and returns the tensors in
// file order with the shard each is in.
func parseIndex(file string, text []byte) (names []string, shard map[string]string, err error) {
	s := &scanner{s: string(text), words: true}
	err = s.object(func(key string, _ int) error {
		if key != "weight_map" {
			_, err := s.value()
			return err
		}
		shard = map[string]string{}
		return s.object(func(name string, _ int) error {
			s.peek()
			at := s.pos
			v, err := s.text()
			if err == nil {
				err = checkLocal(v)
			}
			if err != nil {
				return s.failAt(at, "tensor %s: %v", name, err)
			}
			names = append(names, name)
			shard[name] = v
			return nil
		})
	})
	if err == nil {
		err = s.end()
	}
	if err == nil && shard == nil {
		err = fmt.Errorf("field \"weight_map\" is missing")
	}
	if err != nil {
		return nil, nil, jsonError(file, 0, err)
	}
	return names, shard, nil
}

// checkLocal refuses names that could lead out of their directory, on any
// system.
func checkLocal(name string) error {
	switch {
	case name == "." || !fs.ValidPath(name) || strings.ContainsAny(name, "\\:\x00"):
		return fmt.Errorf("file %q is outside the checkpoint's directory", name)
	case !strings.HasSuffix(name, ".safetensors"):
		return fmt.Errorf("file %q is no .safetensors file", name)
	}
	return nil
}

// shardsOf returns the distinct files of an index in natural order.
func shardsOf(shard map[string]string) []string {
	set := map[string]bool{}
	for _, f := range shard {
		set[f] = true
	}
	files := make([]string, 0, len(set))
	for f := range set {
		files = append(files, f)
	}
	slices.SortFunc(files, NaturalCompare)
	return files
}

// checkIndex compares the index with what the shards hold. A tensor of a shard
// that the index leaves out is accepted, since transformers loads it too.
func checkIndex(index string, names []string, shard map[string]string, tensors map[string]*Tensor) error {
	for _, name := range names {
		t := tensors[name]
		switch {
		case t == nil:
			return fmt.Errorf("%s: tensor %s: is not in %s", index, name, shard[name])
		case t.file.Rel != shard[name]:
			return fmt.Errorf("%s: tensor %s: is in %s, not in %s", index, name, t.file.Rel, shard[name])
		}
	}
	return nil
}
