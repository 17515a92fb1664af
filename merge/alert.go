package merge

import (
	"encoding/json"
	"fmt"
	"time"
)

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

// MarshalText returns the name of the level.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText is the inverse of MarshalText.
func (l *Level) UnmarshalText(text []byte) error {
	for _, v := range [...]Level{Info, Warning, Error} {
		if v.String() == string(text) {
			*l = v
			return nil
		}
	}
	return fmt.Errorf("unknown alert level %q", text)
}

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
	CodeLoraBias      Code = "lora-bias"
	CodeOtherBase     Code = "other-base"
	CodeUnknownField  Code = "unknown-field"
	CodeLowMem        Code = "low-cpu-mem"
	CodeCalibration   Code = "calibration"
	CodeUnknownTokens Code = "unknown-tokens"
	CodeLongWindow    Code = "long-window"
	CodeDiverges      Code = "diverges"
	CodeOtherOriginal Code = "other-original"
	CodeDefect        Code = "peft-defect"
	CodeMixedDtypes   Code = "mixed-dtypes"
	CodeFusedSplit    Code = "fused-split"
)

// Place says where an alert points. Row and Col are -1 where they say nothing.
type Place struct {
	File   string `json:"file,omitempty"`
	Tensor string `json:"tensor,omitempty"`
	Row    int    `json:"row"`
	Col    int    `json:"col"`
}

// Nowhere is the place of an alert that points at nothing.
func Nowhere() Place { return Place{Row: -1, Col: -1} }

// String returns "file: tensor [row, col]" as far as it is known.
func (p Place) String() string {
	s := p.File
	if p.Tensor != "" {
		if s != "" {
			s += ": "
		}
		s += p.Tensor
	}
	switch {
	case p.Row >= 0 && p.Col >= 0:
		s += fmt.Sprintf(" [%d, %d]", p.Row, p.Col)
	case p.Row >= 0:
		s += fmt.Sprintf(" row %d", p.Row)
	case p.Col >= 0:
		s += fmt.Sprintf(" column %d", p.Col)
	}
	return s
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

	Acknowledged bool // by the user, in a Log
}

// alertJSON is the shape of an alert in reports. The times are left out: the
// report of a merge must not depend on when it ran.
type alertJSON struct {
	Level   Level  `json:"level"`
	Code    Code   `json:"code"`
	Layer   string `json:"layer"`
	Place   *Place `json:"place"` // null if it points at nothing
	Message string `json:"message"`
	Hint    string `json:"hint"`
	Count   int    `json:"count"`
}

// MarshalJSON returns the alert in the shape of `report --json`.
func (a Alert) MarshalJSON() ([]byte, error) {
	out := alertJSON{a.Level, a.Code, a.Layer, nil, a.Message, a.Hint, max(a.Count, 1)}
	if a.Place != Nowhere() && a.Place != (Place{}) {
		out.Place = &a.Place
	}
	return json.Marshal(out)
}

// UnmarshalJSON is the inverse of MarshalJSON.
func (a *Alert) UnmarshalJSON(data []byte) error {
	var in alertJSON
	if err := json.Unmarshal(data, &in); err != nil {
		return err
	}
	*a = Alert{Level: in.Level, Code: in.Code, Layer: in.Layer, Place: Nowhere(), Message: in.Message, Hint: in.Hint, Count: in.Count}
	if in.Place != nil {
		a.Place = *in.Place
	}
	return nil
}
