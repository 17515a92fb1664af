package merge

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"mergescope/loader"
)

const (
	quantizationKey = "quantization_config"
	skipKey         = "llm_int8_skip_modules"
)

// editConfig returns config.json for the output: the input's bytes unless
// quantized weights were written as floats. transformers replaces every linear
// layer by a quantized one but those named in llm_int8_skip_modules, so their
// names go there; if no quantized weight is left, quantization_config goes.
func editConfig(raw []byte, model *loader.Checkpoint, layers []Layer, kept map[string]bool) ([]byte, error) {
	floats := map[*loader.Weight]bool{}
	for _, l := range layers {
		if !l.Weight.Format.IsFloat() && l.Output.Dequantized() && !kept[l.Weight.Name] {
			floats[l.Weight] = true
		}
	}
	if len(floats) == 0 {
		return raw, nil
	}
	doc := jsonText(raw)
	if q, ok, err := doc.find(quantizationKey); err != nil || !ok || raw[q.value] != '{' {
		return raw, err // absent, or null
	}
	if left := quantized(model, floats); len(left) == 0 {
		doc, err := doc.remove(quantizationKey)
		if err != nil {
			return nil, err
		}
		return setDtype(doc, layers, floats)
	}
	at, ok, err := doc.find(quantizationKey, skipKey)
	if err != nil {
		return nil, err
	}
	var skip, matrices []string
	for _, w := range model.Weights {
		if w.Format.IsFloat() && len(w.Shape) == 2 {
			matrices = append(matrices, w.Name)
		}
	}
	if ok {
		if err := json.Unmarshal(raw[at.value:at.end], &skip); err != nil {
			return nil, fmt.Errorf("%s: %w", skipKey, err)
		}
	}
	before := len(skip)
	if skip == nil {
		skip = defaultSkips(model, matrices)
	}
	for _, w := range model.Weights {
		if floats[w] && !slices.Contains(skip, w.Name) {
			skip = append(skip, w.Name)
		}
	}
	if err := checkSkips(skip[before:], quantized(model, floats)); err != nil {
		return nil, err
	}
	value, err := json.Marshal(withFused(skip))
	if err != nil {
		return nil, err
	}
	return doc.set(value, quantizationKey, skipKey)
}

// quantized returns the weights that stay quantized.
func quantized(model *loader.Checkpoint, floats map[*loader.Weight]bool) []*loader.Weight {
	var left []*loader.Weight
	for _, w := range model.Weights {
		if (w.Format.Is4Bit() || w.State != nil || w.SCB != nil) && !floats[w] {
			left = append(left, w)
		}
	}
	return left
}

// defaultSkips spells out what transformers leaves alone when the list is null,
// since a list replaces that rule (quantizers/base.py,
// get_modules_to_not_convert): the output embedding and tied modules. Every
// float matrix of the checkpoint is named, floats; a tied head has no tensor.
func defaultSkips(model *loader.Checkpoint, floats []string) []string {
	skip := []string{"lm_head"}
	for _, w := range model.Weights {
		if strings.HasPrefix(w.Name, "cls.predictions.") {
			skip = append(skip, "cls.predictions.decoder")
			break
		}
	}
	for _, name := range floats {
		if !slices.Contains(skip, name) {
			skip = append(skip, name)
		}
	}
	return skip
}

// checkSkips refuses entries that transformers would read as more than they say:
// an entry also matches modules whose path ends in it (quantizers_utils.py,
// should_convert_module).
func checkSkips(skip []string, quantized []*loader.Weight) error {
	for _, w := range quantized {
		for _, s := range skip {
			if strings.HasSuffix(w.Name, s) || strings.HasPrefix(w.Name, s+".") {
				return fmt.Errorf("%s: %q, written as floats, would also match %s, which stays quantized; give both the same output form",
					skipKey, s, w.Name)
			}
		}
	}
	return nil
}

// jsonText is a JSON document that is edited without touching the rest of it.
type jsonText []byte

// member is the place of one member of an object.
type member struct {
	key, value, end int // where key and value begin, where the value ends
}

// find returns the place of the member with that path of keys; the last one if
// a key repeats, as Python reads it.
func (t jsonText) find(path ...string) (m member, ok bool, err error) {
	from, to := 0, len(t)
	for _, key := range path {
		m, ok, err = t.within(from, to, key)
		if err != nil || !ok {
			return m, false, err
		}
		from, to = m.value, m.end
	}
	return m, true, nil
}

// within finds a member of the object at from.
func (t jsonText) within(from, to int, key string) (found member, ok bool, err error) {
	dec := json.NewDecoder(bytes.NewReader(t[from:to]))
	if tok, err := dec.Token(); err != nil || tok != json.Delim('{') {
		return found, false, err
	}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return found, false, err
		}
		var value json.RawMessage
		nameEnd := from + int(dec.InputOffset())
		if err := dec.Decode(&value); err != nil {
			return found, false, err
		}
		if name == key {
			end := from + int(dec.InputOffset())
			found, ok = member{key: t.keyStart(nameEnd), value: end - len(value), end: end}, true
		}
	}
	return found, ok, nil
}

// keyStart returns where the string that ends at end begins.
func (t jsonText) keyStart(end int) int {
	i := end - 2
	for i > 0 {
		if t[i] == '"' {
			slashes := 0
			for t[i-1-slashes] == '\\' {
				slashes++
			}
			if slashes%2 == 0 {
				return i
			}
		}
		i--
	}
	return 0
}

// remove takes a top-level member out, with one comma.
func (t jsonText) remove(key string) (jsonText, error) {
	m, ok, err := t.find(key)
	if err != nil || !ok {
		return t, err
	}
	from, to := m.key, m.end
	rest := bytes.TrimLeft(t[to:], " \t\r\n")
	if len(rest) > 0 && rest[0] == ',' {
		to = len(t) - len(rest) + 1
		to += len(t[to:]) - len(bytes.TrimLeft(t[to:], " \t\r\n"))
	} else {
		from = len(bytes.TrimRight(t[:from], " \t\r\n"))
		if from > 0 && t[from-1] == ',' {
			from--
		}
	}
	return slices.Concat(t[:from], t[to:]), nil
}

// set gives the member with that path of keys a new value, in the style of the
// document: Python's json.dumps with or without indentation. The objects around
// it must exist, else nothing changes.
func (t jsonText) set(value []byte, path ...string) (jsonText, error) {
	key := path[len(path)-1]
	obj := member{value: bytes.IndexByte(t, '{'), end: bytes.LastIndexByte(t, '}') + 1}
	if outer := path[:len(path)-1]; len(outer) > 0 {
		var ok bool
		var err error
		if obj, ok, err = t.find(outer...); err != nil || !ok {
			return t, err
		}
	}
	m, ok, err := t.find(path...)
	if err != nil {
		return nil, err
	}
	if ok {
		return slices.Concat(t[:m.value], restyle(value, t.indent(m.key), t.unit()), t[m.end:]), nil
	}
	inner := bytes.TrimLeft(t[obj.value+1:obj.end], " \t\r\n")
	at := obj.end - len(inner)
	indent := t.indent(at)
	text := slices.Concat([]byte(`"`+key+`": `), restyle(value, indent, t.unit()))
	if inner[0] != '}' {
		text = append(text, ',')
		if indent != "" {
			text = append(text, "\n"+indent...)
		} else {
			text = append(text, ' ')
		}
	}
	return slices.Concat(t[:at], text, t[at:]), nil
}

// indent returns the white space that leads the line of offset at, "" if
// something else comes before it.
func (t jsonText) indent(at int) string {
	line := bytes.LastIndexByte(t[:at], '\n') + 1
	lead := t[line:at]
	if len(bytes.TrimLeft(lead, " \t")) > 0 || line == 0 {
		return ""
	}
	return string(lead)
}

// unit returns one step of the document's indentation.
func (t jsonText) unit() string {
	i := bytes.IndexByte(t, '"')
	if i < 0 {
		return ""
	}
	return t.indent(i)
}

// restyle indents a value by unit, its first line standing at indent.
func restyle(value []byte, indent, unit string) []byte {
	if indent == "" {
		return bytes.ReplaceAll(value, []byte(`","`), []byte(`", "`))
	}
	var b bytes.Buffer
	if json.Indent(&b, value, indent, unit) != nil {
		return value
	}
	return b.Bytes()
}
