package merge

import "time"

// Level orders alerts by urgency.
type Level uint8

// Levels, in rising order.
const (
	Info Level = iota
	Warning
	Error
)

// String returns "info", "warning" or "error".
func (l Level) String() string { return [...]string{"info", "warning", "error"}[l] }

// Code names the kind of an alert; the list is product.md's section on alerts
// and docs/metrics.md repeats it.
type Code string

// Codes of alerts raised while planning and merging.
const (
	CodeNonFinite     Code = "nonfinite"
	CodeErased        Code = "erased"
	CodeWeak          Code = "weak"
	CodeNoisy         Code = "noisy"
	CodeRounding4     Code = "rounding-4bit"
	CodeRounding8     Code = "rounding-8bit"
	CodeAbsmaxGrowth  Code = "absmax-growth"
	CodeUnmatched     Code = "unmatched-adapter"
	CodeShape         Code = "shape"
	CodeMissingAlpha  Code = "missing-alpha"
	CodeConflict      Code = "config-conflict"
	CodeMutatedBase   Code = "mutated-base"
	CodeUnmergeable   Code = "unmergeable"
	CodeReplaced      Code = "replaced-tensors"
	CodeTied          Code = "tied-weights"
	CodeRagged        Code = "ragged-blocks"
	CodeNegAbsmax     Code = "negative-absmax"
	CodeCPUMinusOne   Code = "cpu-minus-one-map"
	CodeConverterDrop Code = "converter-drops"
	CodeUnsupported   Code = "unsupported"
	CodeDisk          Code = "disk"
)

// Place says where an alert points. Row and Col are -1 where they say nothing.
type Place struct {
	File   string `json:"file,omitempty"`
	Tensor string `json:"tensor,omitempty"`
	Row    int    `json:"row"`
	Col    int    `json:"col"`
}

// Alert is one finding. Alerts with equal Code and Layer merge: Count grows and
// the first Place stays.
type Alert struct {
	Level   Level
	Code    Code
	Layer   string // "" for the whole model or adapter
	Place   Place
	Message string
	Hint    string // the remedy
	Count   int
	First   time.Time
	Last    time.Time
}
