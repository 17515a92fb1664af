package merge

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

var errUnknownField = errors.New("unknown field")

// object reads a JSON object and calls field before each value; field reads the
// value. A repeated key is an error, as is what field returns. at is the path
// of the object in messages, "" for the whole plan.
func (d *planDecoder) object(at string, field func(key string) error) error {
	if err := d.delim(at, '{'); err != nil {
		return err
	}
	seen := map[string]bool{}
	for d.dec.More() {
		d.keyAt = d.next()
		tok, err := d.dec.Token()
		if err != nil {
			return d.fail(at, err)
		}
		key, ok := tok.(string)
		if !ok {
			return d.fail(at, errors.New("want a field name"))
		}
		path := key
		if at != "" {
			path = at + "." + key
		}
		if seen[key] {
			return d.fail(path, errors.New("given twice"))
		}
		seen[key] = true
		if err := field(key); errors.Is(err, errUnknownField) {
			return d.fail(path, err)
		} else if err != nil {
			return err
		}
	}
	return d.delim(at, '}')
}

// delim reads one of { } [ ].
func (d *planDecoder) delim(at string, want json.Delim) error {
	tok, err := d.dec.Token()
	if err != nil {
		return d.fail(at, err)
	}
	if tok != want {
		return d.fail(at, fmt.Errorf("want %s, have %s", want, describe(tok)))
	}
	return nil
}

func (d *planDecoder) text(at string, s *string) error {
	tok, err := d.dec.Token()
	if err != nil {
		return d.fail(at, err)
	}
	v, ok := tok.(string)
	if !ok {
		return d.fail(at, fmt.Errorf("want a string, have %s", describe(tok)))
	}
	*s = v
	return nil
}

func (d *planDecoder) number(at string, f *float64) error {
	tok, err := d.dec.Token()
	if err != nil {
		return d.fail(at, err)
	}
	n, ok := tok.(json.Number)
	if !ok {
		return d.fail(at, fmt.Errorf("want a number, have %s", describe(tok)))
	}
	if *f, err = n.Float64(); err != nil {
		return d.fail(at, fmt.Errorf("%s is out of range", n))
	}
	return nil
}

func (d *planDecoder) integer(at string, i *int) error {
	var f float64
	if err := d.number(at, &f); err != nil {
		return err
	}
	if *i = int(f); float64(*i) != f {
		return d.fail(at, fmt.Errorf("%v is no whole number", f))
	}
	return nil
}

func describe(tok json.Token) string {
	switch t := tok.(type) {
	case nil:
		return "null"
	case json.Delim:
		return t.String()
	case string:
		return "a string"
	default:
		return fmt.Sprint(t)
	}
}

// fail adds the field and the place in the text where reading stopped.
func (d *planDecoder) fail(at string, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = errors.New("the text ends here")
	}
	off := min(max(int(d.dec.InputOffset()), 0), len(d.data))
	before := d.data[:off]
	line := 1 + bytes.Count(before, []byte("\n"))
	col := off - bytes.LastIndexByte(before, '\n')
	if at != "" {
		at += ": "
	}
	return fmt.Errorf("plan: line %d column %d: %s%w", line, col, at, err)
}
