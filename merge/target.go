package merge

import (
	"slices"
	"strconv"
	"strings"

	"github.com/dlclark/regexp2"

	"mergescope/loader"
)

// targeter decides which modules an adapter's configuration targets, as PEFT
// does (peft/tuners/tuners_utils.py, check_target_module_exists and
// _maybe_include_all_linear_layers). The tensors of the file decide what is
// merged; this explains what is missing.
type targeter struct {
	cfg              *loader.AdapterConfig
	targets, exclude *regexp2.Regexp // nil for lists
	allLinear        bool
	saved            []*regexp2.Regexp // modules_to_save
	index            []*regexp2.Regexp
}

func newTargeter(c *loader.AdapterConfig) targeter {
	t := targeter{cfg: c, allLinear: strings.EqualFold(c.TargetRegex, "all-linear"), exclude: fullMatch(c.ExcludeRegex)}
	if !t.allLinear {
		t.targets = fullMatch(c.TargetRegex)
	}
	for _, m := range c.ModulesToSave {
		t.saved = append(t.saved, compilePython(`(^|.*\.)`+m+`($|\..*)`))
	}
	if len(c.Layers) == 0 {
		return t
	}
	for _, p := range c.LayersPattern {
		t.index = append(t.index, compilePython(`(?:^|.*?\.)`+p+`\.(\d+)\.`))
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

func matches(re *regexp2.Regexp, path string) bool {
	if re == nil {
		return false
	}
	ok, err := re.MatchString(path)
	return err == nil && ok
}

// miss says why the configuration does not target a weight, "" if it does.
func (t targeter) miss(w *loader.Weight) string {
	c, path := t.cfg, w.Name
	switch {
	case matches(t.exclude, path) || listed(path, c.ExcludeModules):
		return "excluded by exclude_modules"
	case slices.ContainsFunc(t.saved, func(re *regexp2.Regexp) bool { return matches(re, path) }):
		return "saved whole by modules_to_save"
	case t.allLinear && !isLinear(w):
		return "no linear layer that target_modules=all-linear means"
	case t.allLinear, slices.Contains(c.TargetModules, path):
		return "" // named in full, a module is not held against layers_to_transform
	case c.TargetRegex != "" && matches(t.targets, path):
		return "" // PEFT does not allow layers_to_transform beside a regex
	case !listed(path, c.TargetModules):
		return "not in target_modules"
	case len(c.Layers) > 0 && !t.layer(path):
		return "not in layers_to_transform"
	}
	return ""
}

// layer reports whether the path belongs to a layer of layers_to_transform. The
// first pattern that matches decides.
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

// linearExceptions are the last path components of float matrices that
// all-linear leaves out: those of embeddings, of output embeddings and
// classifiers, and of routers, which are no nn.Linear.
var linearExceptions = map[string]bool{
	"wpe": true, "position_embeddings": true, "token_type_embeddings": true, "embed_positions": true,
	"score": true, "classifier": true, "gate": true, "router": true,
}

// isLinear reports whether a weight of a checkpoint belongs to a linear layer
// that PEFT's all-linear means. bitsandbytes quantizes nothing else; for float
// weights names decide. Experts are fused into one parameter when transformers
// loads them.
func isLinear(w *loader.Weight) bool {
	leaf := w.Name[strings.LastIndexByte(w.Name, '.')+1:]
	switch {
	case len(w.Shape) != 2 || leaf == "lm_head" || leaf == "embed_out" || strings.HasSuffix(w.Name, "cls.predictions.decoder"):
		return false
	case !w.Format.IsFloat():
		return true
	}
	return strings.HasSuffix(w.Param, ".weight") && !isEmbedding(w.Name) && !linearExceptions[leaf] && !strings.Contains(w.Name, ".experts.")
}
