package merge

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

// Plan says which adapter goes where. It is a value: edits return a new Plan
// and share nothing that changes, so plans can be kept for undo.
type Plan struct {
	Version  int
	Model    string
	Adapters []AdapterRef // in merge order; a JSON object whose key order counts
	Method   string       // "peft"
	Profile  string       // "cpu" or "cuda"
	Rules    []Rule       // later rules win
}

// AdapterRef is an adapter of a plan.
type AdapterRef struct {
	Name string
	Path string
}

// Rule assigns an adapter, a scale and an output form to the layers whose
// module path matches. A rule overrides earlier ones for the same layer and the
// same adapter; a rule without adapter sets the output form only.
//
// Match is RE2 if it begins with "^" or "re:", else a glob in which "*" matches
// any run of characters, dots included, "?" one character and {a,b} either; a
// glob matches the whole path or a part of it that begins after a dot, so
// "q_proj" means every q_proj.
type Rule struct {
	Match   string  `json:"match"`
	Adapter string  `json:"adapter,omitempty"`
	Scale   float64 `json:"scale"` // multiplies alpha/r; 0 takes the adapter off
	Output  Output  `json:"output,omitempty"`
}

// History is a plan with undo and redo. Not safe for concurrent use.
type History struct {
	past, future []Plan
	now          Plan
}
