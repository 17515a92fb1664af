package merge

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"

	"mergescope/loader"
)

// Report is the result of a job, in the shape of `report --json`.
type Report struct {
	Version  int            `json:"version"`
	Model    ModelInfo      `json:"model"`
	Onto     *OntoInfo      `json:"onto,omitempty"` // of a merge onto the original
	Adapters []AdapterInfo  `json:"adapters"`
	Method   string         `json:"method"`
	Profile  string         `json:"profile"`
	Totals   Metrics        `json:"totals"`
	Peft     *Kept          `json:"peft,omitempty"` // what PEFT's codes would keep, if layers are calibrated
	Layers   []*LayerReport `json:"layers"`         // layers with an adapter, natural order
	Alerts   []Alert        `json:"alerts"`
	Seconds  float64        `json:"seconds"`
	Plan     string         `json:"plan_digest,omitempty"`
	Inputs   []FileDigest   `json:"inputs,omitempty"`
}

// ModelInfo names the checkpoint of a report.
type ModelInfo struct {
	Name    string         `json:"name"`
	Path    string         `json:"path"`
	Type    string         `json:"model_type"`
	Weights int            `json:"weights"`
	Formats map[string]int `json:"formats"` // weights by format
	Bytes   int64          `json:"bytes"`
}

// OntoInfo names the original checkpoint that a merge was made onto.
type OntoInfo struct {
	ModelInfo
	Quantize string `json:"quantize"` // "" for 16 bits
}

// AdapterInfo names an adapter of a report.
type AdapterInfo struct {
	Name     string  `json:"name"`
	Path     string  `json:"path"`
	PeftType string  `json:"peft_type"`
	Rank     int     `json:"rank"`
	Alpha    float64 `json:"alpha"`
	Scale    Figure  `json:"scale"` // of the config; null if it gives no rank
	RSLoRA   bool    `json:"use_rslora"`
	DoRA     bool    `json:"use_dora"`
	Modules  int     `json:"modules"`
}

// FileDigest identifies an input file.
type FileDigest struct {
	Name   string `json:"name"`
	SHA256 string `json:"sha256"`

	Declared bool `json:"declared,omitempty"` // the hub says so; the file was not read in whole
}

// LayerReport is one merged layer. It does not change once published.
type LayerReport struct {
	Name     string      `json:"name"`
	Format   string      `json:"format"`
	Shape    []int64     `json:"shape"`
	Adapters []LayerStep `json:"adapters"`
	Output   Output      `json:"output"`
	Method   string      `json:"method,omitempty"` // if it is not peft
	Metrics
	Peft *Kept `json:"peft,omitempty"` // what PEFT's codes would keep, of a calibrated layer

	// DeltaOnInputs is the rms of what the delta adds to an output of the layer,
	// sqrt(tr(D H D^T)/rows); nil where KeptOnInputs does not exist.
	DeltaOnInputs *Figure `json:"delta_on_inputs,omitempty"`

	WorstBlock *WorstBlock `json:"worst_block"` // null if no block has a kept

	// OffsetUlp is how many codes of double-quantized scales would change if
	// their mean were an ulp off, see quant.Mean; null without double quantization.
	OffsetUlp *int `json:"offset_ulp"`

	// Distance is rms(original - base) / rms(original) of a merge onto the
	// original.
	Distance *Figure `json:"base_distance,omitempty"`

	Residual *RemainderReport `json:"residual,omitempty"` // of a calibrated layer with an adapter beside it
	Alerts   []Alert          `json:"alerts"`
}

// LayerStep is one adapter on a layer in a report.
type LayerStep struct {
	Name  string  `json:"name"`
	Rank  int     `json:"rank"`
	Scale float64 `json:"scale"`
}

// WorstBlock is the block with the lowest kept: its row and the column of its
// first weight.
type WorstBlock struct {
	Row  int    `json:"row"`
	Col  int    `json:"col"`
	Kept Figure `json:"kept"`
}

// Layer returns the report of a layer, nil if there is none. A nil report has none.
func (r *Report) Layer(name string) *LayerReport {
	if r == nil {
		return nil
	}
	for _, l := range r.Layers {
		if l.Name == name {
			return l
		}
	}
	return nil
}

// WrittenReport reads the report that a merge wrote beside its checkpoint, nil if
// there is none. Fields of later versions are passed over.
func WrittenReport(c *loader.Checkpoint) (*Report, error) {
	text, err := fs.ReadFile(c.FS(), reportName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	r, err := DecodeReport(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %w", c.Name, reportName, err)
	}
	return r, nil
}

// DecodeReport reads what report --json and a merge write. Fields of later
// versions are passed over.
func DecodeReport(data []byte) (*Report, error) {
	var r Report
	dec := json.NewDecoder(bytes.NewReader(data))
	if err := dec.Decode(&r); err != nil {
		return nil, fmt.Errorf("offset %d: %w", dec.InputOffset(), err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("offset %d: text after the report", dec.InputOffset())
	}
	switch {
	case r.Version != 1:
		return nil, fmt.Errorf("version: %d is not supported, this program reads version 1", r.Version)
	case r.Layers == nil:
		return nil, errors.New("layers: missing; this is no report")
	}
	seen := map[string]bool{}
	for i, l := range r.Layers {
		if l == nil {
			return nil, fmt.Errorf("layers[%d]: null", i)
		}
		if seen[l.Name] {
			return nil, fmt.Errorf("layers[%d]: %q is given twice", i, l.Name)
		}
		seen[l.Name] = true
	}
	return &r, nil
}

// MarshalJSON writes a plain number, null if it does not exist or is infinite.
func (f Figure) MarshalJSON() ([]byte, error) {
	v := float64(f)
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return []byte("null"), nil
	}
	return json.Marshal(v)
}

// UnmarshalJSON is the inverse of MarshalJSON: null is NaN.
func (f *Figure) UnmarshalJSON(data []byte) error {
	v := math.NaN()
	if string(data) != "null" {
		if err := json.Unmarshal(data, &v); err != nil {
			return err
		}
	}
	*f = Figure(v)
	return nil
}
