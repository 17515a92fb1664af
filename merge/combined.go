package merge

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"mergescope/loader"
)

// combinedPrefix begins the path of an adapter that is made of others, so that
// a plan can name it: "combine:TYPE[,...];PATH=WEIGHT;PATH=WEIGHT".
const combinedPrefix = "combine:"

// Weighted is an adapter of a combination with its weight.
type Weighted struct {
	Path   string
	Weight float64
}

// CombinedPath returns the path under which OpenAdapter makes a combination.
func CombinedPath(c Combination, parts []Weighted) string {
	s := combinedPrefix + c.String()
	for _, p := range parts {
		s += ";" + p.Path + "=" + strconv.FormatFloat(p.Weight, 'g', -1, 64)
	}
	return s
}

// ParseCombinedPath is the inverse of CombinedPath; ok is false if the path
// does not name a combination.
func ParseCombinedPath(path string) (c Combination, parts []Weighted, ok bool, err error) {
	text, ok := strings.CutPrefix(path, combinedPrefix)
	if !ok {
		return c, nil, false, nil
	}
	fields := strings.Split(text, ";")
	if c, err = ParseCombination(fields[0]); err != nil {
		return c, nil, true, err
	}
	for _, f := range fields[1:] {
		i := strings.LastIndexByte(f, '=')
		if i <= 0 {
			return c, nil, true, fmt.Errorf("combination part %q: want PATH=WEIGHT", f)
		}
		w, err := strconv.ParseFloat(f[i+1:], 64)
		if err != nil {
			return c, nil, true, fmt.Errorf("combination part %q: %w", f, err)
		}
		parts = append(parts, Weighted{f[:i], w})
	}
	return c, parts, true, nil
}

// OpenAdapter opens an adapter of a plan: one that Source knows, or a
// combination of several, which is held in memory and depends on the model for
// its dtype.
func OpenAdapter(src loader.Source, model *loader.Checkpoint, path string) (*loader.Adapter, error) {
	c, parts, ok, err := ParseCombinedPath(path)
	if !ok {
		return src.Adapter(path)
	}
	if err != nil {
		return nil, err
	}
	var adapters []*loader.Adapter
	var weights []float64
	for _, p := range parts {
		a, e := src.Adapter(p.Path)
		if e != nil {
			err = e
			break
		}
		adapters, weights = append(adapters, a), append(weights, p.Weight)
	}
	var combined *loader.Adapter
	if err == nil {
		combined, err = Combine(model, adapters, weights, c)
	}
	for _, a := range adapters {
		err = errors.Join(err, a.Close())
	}
	if err != nil {
		return nil, err
	}
	combined.Path = path
	return combined, nil
}
