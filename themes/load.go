package themes

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// maxFile is the longest theme file Load reads, in bytes.
const maxFile = 64 << 10

// file is a theme as JSON:
//
//	{"name": "dusk", "dark": true, "map": "magma",
//	 "colors": {"accent": "#56b4e9", "title": "default"}}
type file struct {
	Name   string            `json:"name"`
	Dark   *bool             `json:"dark"`
	Map    string            `json:"map"`
	Colors map[string]string `json:"colors"`
}

// Load reads a theme. name and dark are required, map defaults to "magma", and
// a role that is left out keeps the terminal's colour. Unknown fields, unknown
// roles and malformed colours are errors that name the field; errors of syntax
// name the line.
func Load(r io.Reader) (Theme, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return Theme{}, fmt.Errorf("theme: %w", err)
	}
	if len(data) > maxFile {
		return Theme{}, fmt.Errorf("theme: longer than %d bytes", maxFile)
	}
	var f file
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		return Theme{}, located(data, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Theme{}, fmt.Errorf("theme: line %d: text after the closing brace", line(data, d.InputOffset()))
	}
	return f.theme()
}

// theme checks the fields one by one, roles in a fixed order so that the first
// error is always the same.
func (f *file) theme() (Theme, error) {
	if f.Name == "" {
		return Theme{}, errors.New("theme: name: missing")
	}
	if f.Dark == nil {
		return Theme{}, errors.New("theme: dark: missing; true for a dark background, false for a light one")
	}
	t := Theme{Name: f.Name, Dark: *f.Dark, Map: f.Map}
	if t.Map == "" {
		t.Map = "magma"
	}
	if _, ok := MapByName(t.Map); !ok {
		return Theme{}, fmt.Errorf("theme: map: no colour map %q; there are %s", t.Map, strings.Join(MapNames(), ", "))
	}
	for _, name := range sortedKeys(f.Colors) {
		role := slices.Index(roleNames[:], name)
		if role < 0 {
			return Theme{}, fmt.Errorf("theme: colors.%s: no such role; there are %s", name, strings.Join(roleNames[:], ", "))
		}
		c, err := ParseColor(f.Colors[name])
		if err != nil {
			return Theme{}, fmt.Errorf("theme: colors.%s: %w", name, err)
		}
		t.Colors[role] = c
	}
	return t, nil
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// located adds the line to a decoding error.
func located(data []byte, err error) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return fmt.Errorf("theme: line %d: %w", line(data, syntax.Offset), err)
	case errors.As(err, &kind):
		return fmt.Errorf("theme: line %d: %s: want %s, have %s", line(data, kind.Offset), kind.Field, kind.Type, kind.Value)
	}
	return fmt.Errorf("theme: %w", err)
}

// line returns the number of the line that holds byte offset.
func line(data []byte, offset int64) int {
	return 1 + bytes.Count(data[:min(offset, int64(len(data)))], []byte("\n"))
}
