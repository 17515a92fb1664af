package merge

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
)

// writeIndex writes the index of a sharded checkpoint as transformers does:
// two spaces of indentation, keys sorted. Other fields of the input's metadata
// are carried over; total_size counts the bytes of all tensors.
func (o *output) writeIndex() error {
	name := o.spec.model.Index
	if name == "" {
		return nil
	}
	text, err := fs.ReadFile(o.spec.model.FS(), name)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	var index struct {
		Metadata map[string]json.RawMessage `json:"metadata"`
		Map      map[string]string          `json:"weight_map"`
	}
	if err := json.Unmarshal(text, &index); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if index.Metadata == nil {
		index.Metadata = map[string]json.RawMessage{}
	}
	var total int64
	index.Map = map[string]string{}
	for _, s := range o.shards {
		for _, t := range s.layout.slots {
			total += t.length()
			index.Map[t.name] = s.name
		}
	}
	index.Metadata["total_size"] = fmt.Append(nil, total)
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(index); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return o.writeSmall(name, b.Bytes())
}
