package merge

import (
	"math"

	"mergescope/quant"
)

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

// Kept is how much of a delta a result keeps: of the matrix, and of what it adds
// to the outputs for the layer's inputs.
type Kept struct {
	Kept     Figure `json:"kept"`
	OnInputs Figure `json:"kept_on_inputs"`
}

// NonFinite counts NaN and infinite elements by where they were seen.
type NonFinite struct {
	A      int64 `json:"a"`
	B      int64 `json:"b"`
	Delta  int64 `json:"delta"`
	Sum    int64 `json:"sum"`
	Output int64 `json:"output"`
}

// Any reports whether there are any.
func (n NonFinite) Any() bool { return n != NonFinite{} }

// MetricsOf works the figures out of sums. The sums of squares cover the blocks
// without non-finite elements, so the figures do too; those that need a sum
// which is not finite, or divide by 0, do not exist. NoiseFloor, KeptOnInputs
// and the counts of A and B do not follow from sums.
func MetricsOf(s quant.Sums) Metrics {
	delta, weight, err := rms(s.DD, s.Finite), rms(s.WW, s.Finite), rms(s.EE, s.Finite)
	m := Metrics{
		Kept:          ratio(s.RD, s.DD),
		SNR:           Figure(MetricSNR.Of(s)),
		CodesChanged:  ratio(float64(s.Codes), float64(s.N)),
		ScalesChanged: Figure(math.NaN()),
		DeltaRMS:      Figure(delta),
		WeightRMS:     Figure(weight),
		DeltaRatio:    ratio(delta, weight),
		ErrorRMS:      Figure(err),
		ErrorMax:      Figure(MetricErrorMax.Of(s)),
		ErrorRelative: Figure(MetricError.Of(s)),
		AbsmaxGrowth:  Figure(MetricGrowth.Of(s)),
		NonFinite:     NonFinite{Delta: s.Delta, Sum: s.Sum, Output: s.Output},
		NoiseFloor:    Figure(math.NaN()),
		Ambiguous:     s.Ambiguous,
		KeptOnInputs:  Figure(math.NaN()),
	}
	if s.Growth > 0 || s.Scales > 0 {
		m.ScalesChanged = ratio(float64(s.Scales), float64(s.Blocks))
	}
	return m
}

// ratio returns a/b, NaN unless b is positive and both are finite.
func ratio(a, b float64) Figure {
	if !(b > 0) || b > math.MaxFloat64 || a > math.MaxFloat64 || a < -math.MaxFloat64 {
		return Figure(math.NaN())
	}
	return Figure(a / b)
}

// rms returns the root of the mean square, NaN if there is nothing to average
// or the sum of squares overflowed.
func rms(squares float64, n int64) float64 {
	return math.Sqrt(float64(ratio(squares, float64(n))))
}

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
	MetricOnInputs // kept_on_inputs, which rows have and blocks do not: a cell has that of the rows it touches
	NumMetrics

	numBlockMetrics = MetricOnInputs // those of single blocks come first
)

// MetricInfo describes a metric for titles and legends.
type MetricInfo struct {
	Name     string // "kept"
	Unit     string // "dB", "×", or "" for a plain number or share
	Low      float64
	High     float64 // fixed ends of the scale
	Log      bool    // scale is logarithmic by default
	BadIsLow bool    // worst is the smallest value (kept, snr), else the largest
}

// metricInfos is indexed by Metric.
var metricInfos = [NumMetrics]MetricInfo{
	MetricKept:      {Name: "kept", Low: 0, High: 1, BadIsLow: true},
	MetricSNR:       {Name: "snr", Unit: "dB", Low: -5, High: 25, BadIsLow: true},
	MetricError:     {Name: "error", Low: 1e-3, High: 1, Log: true},
	MetricCodes:     {Name: "codes changed", Low: 0, High: 1},
	MetricGrowth:    {Name: "absmax growth", Unit: "×", Low: 0.5, High: 2, Log: true},
	MetricErrorMax:  {Name: "largest error", Low: 1e-5, High: 1, Log: true},
	MetricNonFinite: {Name: "non-finite", Low: 1, High: 4096, Log: true},
	MetricOnInputs:  {Name: "kept on inputs", Low: 0, High: 1, BadIsLow: true},
}

// Info returns the description of m.
func (m Metric) Info() MetricInfo { return metricInfos[m] }

// Of returns the metric of one block or of any sums; NaN if it does not exist.
func (m Metric) Of(s quant.Sums) float64 { return m.value(m.order(&s)) }

// order returns a number that rises with the metric and costs no root and no
// logarithm, so that the worst of many blocks is found cheaply; value turns it
// into the metric. NaN if the metric does not exist.
func (m Metric) order(s *quant.Sums) float64 {
	switch m {
	case MetricKept:
		return float64(ratio(s.RD, s.DD))
	case MetricSNR:
		if s.EE == 0 && s.DD > 0 {
			return math.Inf(1) // the delta arrived without any error
		}
		return float64(ratio(s.DD, s.EE))
	case MetricError:
		return float64(ratio(s.EE, s.TT))
	case MetricCodes:
		return float64(ratio(float64(s.Codes), float64(s.N)))
	case MetricGrowth:
		if s.Growth > 0 {
			return s.Growth
		}
	case MetricErrorMax:
		if s.Finite > 0 {
			return s.MaxE
		}
	case MetricNonFinite:
		return float64(s.Delta + s.Sum + s.Output)
	}
	return math.NaN()
}

// ordersOf is order of every metric that a block has.
func ordersOf(b *quant.BlockSum) (v [numBlockMetrics]float64) {
	for m := range v {
		v[m] = orderOf(b, Metric(m))
	}
	return v
}

// orderOf is order of a metric over one block.
func orderOf(b *quant.BlockSum, m Metric) float64 {
	finite := b.Finite()
	switch m {
	case MetricCodes:
		return float64(ratio(float64(b.Codes), float64(b.N)))
	case MetricNonFinite:
		return float64(b.Delta) + float64(b.Sum) + float64(b.Output)
	case MetricKept:
		if finite {
			return float64(ratio(float64(b.RD), float64(b.DD)))
		}
	case MetricSNR:
		switch {
		case finite && b.EE == 0 && b.DD > 0:
			return math.Inf(1)
		case finite:
			return float64(ratio(float64(b.DD), float64(b.EE)))
		}
	case MetricError:
		if finite {
			return float64(ratio(float64(b.EE), float64(b.TT)))
		}
	case MetricGrowth:
		if growth := float64(b.NewAbsmax) / float64(b.OldAbsmax); finite && b.OldAbsmax > 0 && growth > 0 {
			return growth
		}
	case MetricErrorMax:
		if finite && b.N > 0 {
			return float64(b.MaxE)
		}
	default: // rows have it
	}
	return math.NaN()
}

func (m Metric) value(order float64) float64 {
	switch m {
	case MetricSNR:
		if order == 0 {
			return math.NaN() // there is no delta
		}
		return 10 * math.Log10(order)
	case MetricError:
		return math.Sqrt(order)
	default:
		return order
	}
}
