package merge

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// maxPlanFile bounds a plan file: about a rule for each of 100,000 layers.
const maxPlanFile = 16 << 20

// Encode returns the plan file: indented JSON with a final newline, and the
// comments it was read with.
func (p Plan) Encode() []byte {
	var b bytes.Buffer
	// Indent fails on invalid JSON only, which compact does not return.
	_ = json.Indent(&b, p.compact(), "", "  ")
	b.WriteByte('\n')
	return p.annotate(b.Bytes())
}

// MarshalJSON returns the plan in the form of the plan file.
func (p Plan) MarshalJSON() ([]byte, error) { return p.compact(), nil }

// UnmarshalJSON is DecodePlan.
func (p *Plan) UnmarshalJSON(data []byte) error {
	q, err := DecodePlan(data)
	if err == nil {
		*p = q
	}
	return err
}

// compact encodes by hand where encoding/json would lose the order of adapters
// or write fields that say nothing.
func (p Plan) compact() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, `{"version":%d,"model":%s,"adapters":{`, p.Version, quoteJSON(p.Model))
	for i, a := range p.Adapters {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `%s:{"path":%s}`, quoteJSON(a.Name), quoteJSON(a.Path))
	}
	fmt.Fprintf(&b, `},"method":%s,"profile":%s`, quoteJSON(p.Method), quoteJSON(p.Profile))
	if p.Onto != "" {
		fmt.Fprintf(&b, `,"onto":%s`, quoteJSON(p.Onto))
	}
	if p.Quantize != "" {
		fmt.Fprintf(&b, `,"quantize":%s`, quoteJSON(p.Quantize))
	}
	if p.Statistics != "" {
		fmt.Fprintf(&b, `,"statistics":%s`, quoteJSON(p.Statistics))
	}
	b.WriteString(`,"rules":[`)
	for i, r := range p.Rules {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(r.compact())
	}
	b.WriteString(`]}`)
	return b.Bytes()
}

// compact is the rule as the plan file has it, without white space.
func (r Rule) compact() string {
	s := `{"match":` + quoteJSON(r.Match)
	if r.Adapter != "" {
		s += `,"adapter":` + quoteJSON(r.Adapter) + `,"scale":` + numberJSON(r.Scale)
	}
	if r.Output != "" {
		s += `,"output":` + quoteJSON(string(r.Output))
	}
	if r.Method != "" {
		s += `,"method":` + quoteJSON(r.Method)
	}
	return s + "}"
}

// quoteJSON encodes a string without the HTML escapes that would make patterns
// unreadable.
func quoteJSON(s string) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a string always encodes
	return strings.TrimSuffix(b.String(), "\n")
}

// numberJSON encodes a number; what JSON has no number for is null.
func numberJSON(v float64) string {
	b, err := json.Marshal(v)
	if err != nil {
		return "null"
	}
	return string(b)
}

// ReadPlan reads and checks a plan file; name is for messages.
func ReadPlan(r io.Reader, name string) (Plan, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxPlanFile+1))
	if err != nil {
		return Plan{}, fmt.Errorf("%s: %w", name, err)
	}
	if len(data) > maxPlanFile {
		return Plan{}, fmt.Errorf("%s: plan file is larger than %d MB", name, maxPlanFile>>20)
	}
	p, err := DecodePlan(data)
	if err != nil {
		return Plan{}, fmt.Errorf("%s: %w", name, err)
	}
	return p, nil
}

// DecodePlan parses and checks a plan, JSON in which // and /* */ comments may
// stand between tokens. Unknown and repeated fields, wrong types
// and values Check rejects are errors that name the field and, for what is
// wrong in the text, line and column. Fields left out get the values of
// NewPlan, the scale of a rule with an adapter is 1 by default.
func DecodePlan(data []byte) (Plan, error) {
	text, comments := blankComments(data)
	d := planDecoder{raw: data, data: text, comments: comments, dec: json.NewDecoder(bytes.NewReader(text))}
	d.dec.UseNumber()
	p := Plan{Method: MethodPeft, Profile: ProfileCPU}
	if err := d.plan(&p); err != nil {
		return Plan{}, err
	}
	d.annotate(&p)
	if _, err := d.dec.Token(); !errors.Is(err, io.EOF) {
		return Plan{}, d.fail("", errors.New("more text after the plan"))
	}
	if err := p.Check(); err != nil {
		return Plan{}, err
	}
	return p, nil
}

// planDecoder reads JSON token by token, since encoding/json accepts repeated
// keys and loses their order.
type planDecoder struct {
	raw      []byte // with comments
	data     []byte // what dec reads
	dec      *json.Decoder
	comments []comment
	elements []*element // in the order of the text
	keyAt    int        // where the last key of an object begins
}

func (d *planDecoder) plan(p *Plan) error {
	versioned := false
	d.begin(d.next(), "")
	err := d.object("", func(key string) (err error) {
		e := d.begin(d.keyAt, key)
		switch key {
		case "adapters":
			return d.adapters(p)
		case "rules":
			return d.rules(p)
		}
		defer d.end(e)
		switch key {
		case "version":
			versioned = true
			return d.integer(key, &p.Version)
		case "model":
			return d.text(key, &p.Model)
		case "method":
			return d.text(key, &p.Method)
		case "profile":
			return d.text(key, &p.Profile)
		case "onto":
			return d.text(key, &p.Onto)
		case "quantize":
			return d.text(key, &p.Quantize)
		case "statistics":
			return d.text(key, &p.Statistics)
		}
		return errUnknownField
	})
	if err == nil && !versioned {
		return errors.New("plan: version: missing")
	}
	return err
}

func (d *planDecoder) adapters(p *Plan) error {
	return d.object("adapters", func(name string) error {
		a := AdapterRef{Name: name}
		at := "adapters." + name
		defer d.end(d.begin(d.keyAt, at))
		err := d.object(at, func(key string) error {
			if key == "path" {
				return d.text(at+".path", &a.Path)
			}
			return errUnknownField
		})
		p.Adapters = append(p.Adapters, a)
		return err
	})
}

func (d *planDecoder) rules(p *Plan) error {
	if err := d.delim("rules", '['); err != nil {
		return err
	}
	for d.dec.More() {
		at := fmt.Sprintf("rules[%d]", len(p.Rules))
		var r Rule
		scaled := false
		e := d.begin(d.next(), "")
		e.rule = len(p.Rules)
		err := d.object(at, func(key string) error {
			switch key {
			case "match":
				return d.text(at+".match", &r.Match)
			case "adapter":
				return d.text(at+".adapter", &r.Adapter)
			case "scale":
				scaled = true
				return d.number(at+".scale", &r.Scale)
			case "output":
				return d.text(at+".output", (*string)(&r.Output))
			case "method":
				return d.text(at+".method", &r.Method)
			}
			return errUnknownField
		})
		if err != nil {
			return err
		}
		d.end(e)
		if r.Adapter != "" && !scaled {
			r.Scale = 1
		}
		p.Rules = append(p.Rules, r)
	}
	return d.delim("rules", ']')
}
