package merge

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"strings"
)

// Output is the form in which a layer is written.
type Output string

// Output forms; see docs/formats.md.
const (
	Same     Output = "same"     // requantized as it was
	AsBF16   Output = "bf16"     // dequantized
	AsF16    Output = "f16"      // dequantized
	AsF32    Output = "f32"      // dequantized
	Keep     Output = "keep"     // base bytes untouched, adapter dropped
	Separate Output = "separate" // base bytes untouched, adapter kept beside it
)

// Outputs lists the output forms in the order in which the interface offers them.
func Outputs() []Output { return []Output{Same, AsBF16, AsF16, AsF32, Keep, Separate} }

// Dequantized reports whether the form stores plain floating-point values.
func (o Output) Dequantized() bool { return o == AsBF16 || o == AsF16 || o == AsF32 }

// Profiles a plan can name; docs/formats.md explains them.
const (
	ProfileCPU  = "cpu"
	ProfileCUDA = "cuda"
)

// PlanVersion is the version of the plan file this package reads and writes.
const PlanVersion = 1

// PlanFile is the usual name of a plan file.
const PlanFile = "mergescope-plan.json"

// Plan says which adapter goes where. It is a value: edits return a new Plan
// and share nothing that changes, so plans can be kept for undo.
type Plan struct {
	Version    int
	Model      string
	Adapters   []AdapterRef // in merge order; a JSON object whose key order counts
	Method     string       // see ParseMethod
	Profile    string       // "cpu" or "cuda"
	Onto       string       // original 16-bit checkpoint the deltas are added to, "" for the model itself
	Statistics string       // file or directory of what calibrated layers see, written if it is not there; "" runs the model beside the merge
	Quantize   string       // what a merge onto the original is quantized to, see ParseQuantization; "" for its own dtype
	Rules      []Rule       // later rules win
	Notes      []Note       // comments of the file it was read from; they say nothing to a merge
}

// AdapterRef is an adapter of a plan.
type AdapterRef struct {
	Name string
	Path string
}

// Rule assigns an adapter, a scale and an output form to the layers whose
// module path matches. A rule overrides earlier ones for the same layer and the
// same adapter; a rule without adapter sets the output form or the method only.
//
// Match is RE2 if it begins with "^" or "re:", else a glob in which "*" matches
// any run of characters, dots included, "?" one character and {a,b} either; a
// glob matches the whole path or a part of it that begins after a dot, so
// "q_proj" means every q_proj. RE2 is searched anywhere in the path: anchor it
// with "^" and "$" where that matters.
type Rule struct {
	Match   string
	Adapter string
	Scale   float64 // multiplies alpha/r; 0 takes the adapter off
	Output  Output  // "" leaves the form as earlier rules set it
	Method  string  // "" leaves the method as earlier rules, or the plan, set it
	Note    string  // comments above it in a plan file
}

// NewPlan returns the plan that applies every adapter to every layer it
// targets, at the adapter's own scale.
func NewPlan(model string, adapters ...AdapterRef) Plan {
	p := Plan{
		Version:  PlanVersion,
		Model:    model,
		Adapters: slices.Clone(adapters),
		Method:   MethodPeft,
		Profile:  ProfileCPU,
	}
	for _, a := range adapters {
		p.Rules = append(p.Rules, Rule{Match: everything, Adapter: a.Name, Scale: 1})
	}
	return p
}

// Equal reports whether both plans say the same in the same words.
func (p Plan) Equal(q Plan) bool {
	return p.Version == q.Version && p.Model == q.Model && p.Method == q.Method && p.Profile == q.Profile &&
		p.Onto == q.Onto && p.Quantize == q.Quantize && p.Statistics == q.Statistics &&
		slices.Equal(p.Adapters, q.Adapters) && slices.Equal(p.Rules, q.Rules)
}

// Adapter returns the adapter of that name; ok is false if the plan has none.
func (p Plan) Adapter(name string) (a AdapterRef, ok bool) {
	i := slices.IndexFunc(p.Adapters, func(a AdapterRef) bool { return a.Name == name })
	if i < 0 {
		return AdapterRef{}, false
	}
	return p.Adapters[i], true
}

// Digest returns the SHA-256 of the plan's JSON without white space, in hex.
// A report carries it so that a merge can be repeated.
func (p Plan) Digest() string {
	sum := sha256.Sum256(p.compact())
	return hex.EncodeToString(sum[:])
}

// Check reports the first thing that no model could make right: an unknown
// version, method, profile or output form, a name given twice, a rule that does
// nothing, a pattern that does not compile. The error names the field.
func (p Plan) Check() error {
	switch {
	case p.Version != PlanVersion:
		return fmt.Errorf("plan: version: %d is not supported, this program reads version %d", p.Version, PlanVersion)
	case p.Profile != ProfileCPU && p.Profile != ProfileCUDA:
		return fmt.Errorf("plan: profile: unknown profile %q, known are %q and %q", p.Profile, ProfileCPU, ProfileCUDA)
	}
	if _, err := ParseMethod(p.Method); err != nil {
		return fmt.Errorf("plan: method: %w", err)
	}
	if err := p.checkOnto(); err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, a := range p.Adapters {
		if a.Name == "" {
			return fmt.Errorf("plan: adapters: an adapter has no name")
		}
		if seen[a.Name] {
			return fmt.Errorf("plan: adapters.%s: given twice", a.Name)
		}
		seen[a.Name] = true
	}
	for i, r := range p.Rules {
		if err := r.check(seen); err != nil {
			return fmt.Errorf("plan: rules[%d].%w", i, err)
		}
	}
	return nil
}

// checkOnto checks what goes together with a merge onto the original.
func (p Plan) checkOnto() error {
	if p.Quantize != "" {
		if _, err := ParseQuantization(p.Quantize); err != nil {
			return fmt.Errorf("plan: quantize: %w", err)
		}
		if p.Onto == "" {
			return fmt.Errorf("plan: quantize: needs onto, the original 16-bit checkpoint")
		}
	}
	methods := []string{p.Method}
	for _, r := range p.Rules {
		methods = append(methods, r.Method)
	}
	for _, m := range methods {
		if kind, _, _ := strings.Cut(m, ","); p.Onto != "" && kind != "" && kind != MethodPeft && kind != MethodSum && kind != MethodCalibrated {
			return fmt.Errorf("plan: onto: method %s chooses between codes of the quantized base, of which nothing is left in a merge onto the original; use peft, sum or calibrated", kind)
		}
	}
	return nil
}

// check returns an error that begins with the name of the wrong field.
func (r Rule) check(adapters map[string]bool) error {
	if _, err := compileMatch(r.Match); err != nil {
		return fmt.Errorf("match: %w", err)
	}
	switch {
	case r.Adapter != "" && !adapters[r.Adapter]:
		return fmt.Errorf("adapter: the plan has no adapter %q", r.Adapter)
	case math.IsNaN(r.Scale) || math.IsInf(r.Scale, 0):
		return fmt.Errorf("scale: %v is not a finite number", r.Scale)
	case r.Adapter == "" && r.Scale != 0:
		return fmt.Errorf("scale: a scale needs an adapter")
	case r.Output != "" && !slices.Contains(Outputs(), r.Output):
		return fmt.Errorf("output: unknown form %q, known are %s", r.Output, outputNames())
	case r.idle():
		return fmt.Errorf("adapter: the rule has neither adapter nor output nor method and does nothing")
	}
	if r.Method != "" {
		if _, err := ParseMethod(r.Method); err != nil {
			return fmt.Errorf("method: %w", err)
		}
	}
	return nil
}

// idle reports whether the rule does nothing.
func (r Rule) idle() bool { return r.Adapter == "" && r.Output == "" && r.Method == "" }

func outputNames() string {
	names := make([]string, 0, len(Outputs()))
	for _, o := range Outputs() {
		names = append(names, string(o))
	}
	return strings.Join(names, ", ")
}
