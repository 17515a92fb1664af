package loader

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
)

// maxJSON bounds configuration files, maxIndex the index of a sharded
// checkpoint. The largest public ones have about 1 MB and 10 MB.
const (
	maxJSON  = 8 << 20
	maxIndex = 64 << 20
)

// Config is what mergescope reads of config.json; Raw keeps the file.
type Config struct {
	Architectures []string
	ModelType     string
	Dtype         string // "torch_dtype" or "dtype"
	TieEmbeddings bool
	Quantization  map[string]any // quantization_config, nil if absent
	Raw           []byte         // nil if there is no config.json
}

// parseConfig reads config.json. Only fields named in Config are checked; those
// of a multimodal model's text_config count where the outer ones are absent.
func parseConfig(file string, text []byte) (Config, error) {
	c := Config{Raw: text}
	s := &scanner{s: string(text), words: true}
	var inner map[string]any
	outer := map[string]any{}
	err := s.object(func(key string, _ int) error {
		v, err := s.value()
		outer[key] = v
		return err
	})
	if err == nil {
		err = s.end()
	}
	if err != nil {
		return Config{}, jsonError(file, 0, err)
	}
	inner, _ = outer["text_config"].(map[string]any)
	get := func(key string) any {
		if v := outer[key]; v != nil {
			return v
		}
		return inner[key]
	}
	var bad error
	check := func(key string, ok bool) {
		if get(key) != nil && !ok && bad == nil {
			bad = &FormatError{File: file, Offset: -1, Err: fmt.Errorf("field %q is %T", key, get(key))}
		}
	}
	var ok bool
	c.ModelType, ok = get("model_type").(string)
	check("model_type", ok)
	for _, key := range [...]string{"torch_dtype", "dtype"} {
		if v, ok := get(key).(string); ok {
			c.Dtype = v
		}
	}
	c.TieEmbeddings, ok = get("tie_word_embeddings").(bool)
	check("tie_word_embeddings", ok)
	c.Quantization, ok = get("quantization_config").(map[string]any)
	check("quantization_config", ok)
	list, ok := get("architectures").([]any)
	check("architectures", ok)
	for _, v := range list {
		name, ok := v.(string)
		check("architectures", ok)
		c.Architectures = append(c.Architectures, name)
	}
	return c, bad
}

// readSmall reads a whole file of at most limit bytes. A missing file is
// fs.ErrNotExist.
func readSmall(fsys fs.FS, name, shown string, limit int64) ([]byte, error) {
	f, info, err := openRegular(fsys, name, shown)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info.Size() > limit {
		return nil, &FormatError{File: shown, Offset: limit, Err: fmt.Errorf("file of %d bytes is longer than %d", info.Size(), limit)}
	}
	text := make([]byte, info.Size())
	if n, err := io.ReadFull(f, text); err != nil {
		return nil, &FormatError{File: shown, Offset: int64(n), Err: fmt.Errorf("read: %w", err)}
	}
	return text, nil
}

// openRegular opens a regular file. The check comes before opening, since
// opening a named pipe would wait.
func openRegular(fsys fs.FS, name, shown string) (fs.File, fs.FileInfo, error) {
	info, err := fs.Stat(fsys, name)
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("is a %s, not a file", kindOf(info.Mode()))
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", shown, cause(err))
	}
	f, err := fsys.Open(name)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", shown, cause(err))
	}
	if info, err = f.Stat(); err != nil {
		f.Close()
		return nil, nil, fmt.Errorf("%s: %w", shown, cause(err))
	}
	return f, info, nil
}

// cause strips the operation and the path, which the caller names better.
func cause(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

func kindOf(m fs.FileMode) string {
	switch {
	case m.IsDir():
		return "directory"
	case m&fs.ModeNamedPipe != 0:
		return "named pipe"
	case m&fs.ModeDevice != 0:
		return "device"
	case m&fs.ModeSocket != 0:
		return "socket"
	}
	return "special file"
}
