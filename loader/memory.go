package loader

import "fmt"

// NewAdapter makes an adapter of an open file and the text of its
// adapter_config.json, for adapters that are computed and not read from a
// directory. The adapter owns the file.
func NewAdapter(name string, config []byte, f *File) (*Adapter, error) {
	c, err := ParseAdapterConfig(name, config)
	if err != nil {
		return nil, err
	}
	a := &Adapter{Name: name, Path: f.Name, Config: c, File: f}
	if err := a.group(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return a, nil
}
