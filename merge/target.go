package merge

import (
	"slices"
	"strconv"
	"strings"

	"github.com/dlclark/regexp2"

	"mergescope/loader"
)

// targeter decides which modules an adapter's configuration targets, as PEFT
// does (peft/tuners/tuners_utils.py, check_target_module_exists). The tensors of
// the file decide what is merged; this explains what is missing.
type targeter struct {
	cfg              *loader.AdapterConfig
	targets, exclude *regexp2.Regexp // nil for lists
	index            []*regexp2.Regexp
}

func newTargeter(c *loader.AdapterConfig) targeter {
	t := targeter{cfg: c, targets: fullMatch(c.TargetRegex), exclude: fullMatch(c.ExcludeRegex)}
	if len(c.Layers) == 0 {
		return t
	}
	for _, p := range c.LayersPattern {
		t.index = append(t.index, compilePython(`.*?\.`+p+`\.(\d+)\.`))
	}
	if len(c.LayersPattern) == 0 {
		t.index = append(t.index, compilePython(`.*?\.[^.]*\.(\d+)\.`))
	}
	return t
}

// fullMatch compiles a regex for the whole path, nil if there is none.
func fullMatch(expr string) *regexp2.Regexp {
	if expr == "" {
		return nil
	}
	return compilePython(`(?:` + expr + `)\z`)
}

// compilePython returns nil for an expression that does not compile: then
// nothing is explained, and what is in the file is merged all the same.
func compilePython(expr string) *regexp2.Regexp {
	re, err := loader.CompilePython(expr)
	if err != nil {
		return nil
	}
	return re
}

// match reports whether the configuration targets a module.
func (t targeter) match(path string) bool {
	c := t.cfg
	if named(path, t.exclude, c.ExcludeModules) || listed(path, c.ModulesToSave) {
		return false
	}
	if !named(path, t.targets, c.TargetModules) {
		return false
	}
	return len(c.Layers) == 0 || t.layer(path)
}

// layer reports whether the path belongs to a layer of layers_to_transform.
func (t targeter) layer(path string) bool {
	for _, re := range t.index {
		if re == nil {
			continue
		}
		m, err := re.FindStringMatch(path)
		if err != nil || m == nil {
			continue
		}
		i, err := strconv.ParseInt(m.GroupByNumber(1).String(), 10, 64)
		return err == nil && slices.Contains(t.cfg.Layers, i)
	}
	return false
}

func named(path string, re *regexp2.Regexp, list []string) bool {
	if re != nil {
		ok, err := re.MatchString(path)
		return err == nil && ok
	}
	return listed(path, list)
}

// listed reports whether the path is an entry of the list or ends with one at a
// dot.
func listed(path string, list []string) bool {
	for _, item := range list {
		if path == item || strings.HasSuffix(path, "."+item) {
			return true
		}
	}
	return false
}
