package merge

import "mergescope/quant"

// Figure is a number that may not exist. NaN means it could not be computed; it
// is null in JSON and a dash on screen.
type Figure float64

// Metrics are the figures of product.md section 3 over some weights: a block, a
// row, a layer or the model.
type Metrics struct {
	Kept          Figure    `json:"kept"`
	SNR           Figure    `json:"snr_db"`
	CodesChanged  Figure    `json:"codes_changed"`
	ScalesChanged Figure    `json:"scales_changed"`
	DeltaRMS      Figure    `json:"delta_rms"`
	WeightRMS     Figure    `json:"weight_rms"`
	DeltaRatio    Figure    `json:"delta_ratio"`
	ErrorRMS      Figure    `json:"error_rms"`
	ErrorMax      Figure    `json:"error_max"`
	ErrorRelative Figure    `json:"error_relative"`
	AbsmaxGrowth  Figure    `json:"absmax_growth"`
	NonFinite     NonFinite `json:"nonfinite"`
	NoiseFloor    Figure    `json:"noise_floor"`
	Ambiguous     int64     `json:"ambiguous"`
	KeptOnInputs  Figure    `json:"kept_on_inputs"`
}

// NonFinite counts NaN and infinite elements by where they were seen.
type NonFinite struct {
	A      int64 `json:"a"`
	B      int64 `json:"b"`
	Delta  int64 `json:"delta"`
	Sum    int64 `json:"sum"`
	Output int64 `json:"output"`
}

// MetricsOf works the figures out of sums.
func MetricsOf(s quant.Sums) Metrics { return Metrics{} }

// Metric is a figure a heatmap or a column can show.
type Metric uint8

// Metrics in the order in which the interface cycles through them.
const (
	MetricKept Metric = iota
	MetricSNR
	MetricError    // error_relative
	MetricCodes    // codes_changed
	MetricGrowth   // absmax_growth
	MetricErrorMax // error_max
	MetricNonFinite
	NumMetrics
)

// MetricInfo describes a metric for titles and legends.
type MetricInfo struct {
	Name     string // "kept"
	Unit     string // "", "dB", "%"
	Low      float64
	High     float64 // fixed ends of the scale
	Log      bool    // scale is logarithmic by default
	BadIsLow bool    // worst is the smallest value (kept, snr), else the largest
}

// Info returns the description of m.
func (m Metric) Info() MetricInfo { return MetricInfo{} }

// Of returns the metric of one block or of any sums; NaN if it does not exist.
func (m Metric) Of(s quant.Sums) float64 { return 0 }
