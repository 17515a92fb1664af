package merge

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"mergescope/quant"
)

// TestMetricsOf works the formulas of docs/metrics.md out for one block by hand:
// D = (3, 4), R = (1.5, 0), so <R,D> = 4.5 and |D|^2 = 25.
func TestMetricsOf(t *testing.T) {
	var s quant.Sums
	s.Add(quant.BlockSum{
		WW: 8, DD: 25, TT: 100, RD: 4.5, EE: 18.25, MaxE: 4, N: 2, Codes: 1, Ambiguous: 1, OldAbsmax: 2, NewAbsmax: 3,
	})
	m := MetricsOf(s)
	for _, f := range []struct {
		name      string
		got, want float64
	}{
		{"kept", float64(m.Kept), 0.18},
		{"snr", float64(m.SNR), 10 * math.Log10(25/18.25)},
		{"codes", float64(m.CodesChanged), 0.5},
		{"scales", float64(m.ScalesChanged), 1},
		{"delta rms", float64(m.DeltaRMS), math.Sqrt(12.5)},
		{"weight rms", float64(m.WeightRMS), 2},
		{"ratio", float64(m.DeltaRatio), math.Sqrt(12.5) / 2},
		{"error rms", float64(m.ErrorRMS), math.Sqrt(18.25 / 2)},
		{"error max", float64(m.ErrorMax), 4},
		{"error relative", float64(m.ErrorRelative), math.Sqrt(18.25) / 10},
		{"growth", float64(m.AbsmaxGrowth), 1.5},
	} {
		within(t, f.name, f.got, f.want, 1e-12)
	}
	if m.Ambiguous != 1 || m.NonFinite.Any() {
		t.Errorf("%+v", m)
	}
}

// TestMissingFigures asks that what cannot be computed is not a number.
func TestMissingFigures(t *testing.T) {
	inf := float32(math.Inf(1))
	var none, zeroDelta, exact, overflow, bad, float quant.Sums
	zeroDelta.Add(quant.BlockSum{WW: 8, TT: 8, EE: 1, N: 2, OldAbsmax: 1, NewAbsmax: 1})
	exact.Add(quant.BlockSum{WW: 8, TT: 8, DD: 1, RD: 1, N: 2, OldAbsmax: 1, NewAbsmax: 1})
	overflow.Add(quant.BlockSum{WW: 8, DD: inf, TT: inf, RD: inf, EE: inf, MaxE: 1e38, N: 2, OldAbsmax: 1, NewAbsmax: 1e38})
	bad.Add(quant.BlockSum{N: 2, Delta: 1, Sum: 1, Output: 2, OldAbsmax: 1, NewAbsmax: inf})
	float.Add(quant.BlockSum{WW: 8, DD: 1, TT: 8, RD: 1, EE: 1, N: 2})
	for _, c := range []struct {
		name    string
		sums    quant.Sums
		missing string
	}{
		{"nothing", none, "kept snr_db codes_changed scales_changed delta_rms weight_rms delta_ratio error_rms error_max error_relative absmax_growth"},
		{"zero delta", zeroDelta, "kept snr_db"},
		{"no error", exact, "snr_db"},
		{"overflow", overflow, "kept snr_db delta_rms delta_ratio error_rms error_relative"},
		{"not finite", bad, "kept snr_db delta_rms weight_rms delta_ratio error_rms error_max error_relative absmax_growth"},
		{"float", float, "scales_changed absmax_growth"},
	} {
		text, err := json.Marshal(MetricsOf(c.sums))
		if err != nil {
			t.Fatal(err)
		}
		var m map[string]any
		if err := json.Unmarshal(text, &m); err != nil {
			t.Fatal(err)
		}
		for name, v := range m {
			missing := strings.Contains(" "+c.missing+" ", " "+name+" ")
			if name == "noise_floor" || name == "kept_on_inputs" {
				missing = true
			}
			if (v == nil) != missing {
				t.Errorf("%s: %s is %v", c.name, name, v)
			}
		}
	}
}

func TestMetricInfo(t *testing.T) {
	for m := range NumMetrics {
		i := m.Info()
		if i.Name == "" || !(i.Low < i.High) || i.Log && i.Low <= 0 {
			t.Errorf("metric %d: %+v", m, i)
		}
	}
}

// What a cell takes of a block is what the metrics of its sums are.
func TestOrdersOf(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	values := []float32{0, 1, -2, 3e-20, 1e30, inf, -inf, nan, 0.5}
	rng := rand.New(rand.NewPCG(5, 6))
	pick := func() float32 { return values[rng.IntN(len(values))] }
	square := func() float32 { return max(pick(), 0) }
	for range 20000 {
		b := quant.BlockSum{
			WW: square(), DD: square(), TT: square(), RD: pick(), EE: square(), MaxE: square(), N: rng.Uint32N(3), Codes: rng.Uint32N(3),
			OldAbsmax: pick(), NewAbsmax: pick(),
		}
		if rng.IntN(4) == 0 {
			b.Delta, b.Sum, b.Output = rng.Uint32N(2), rng.Uint32N(2), math.MaxUint32
		}
		var s quant.Sums
		s.Add(b)
		for m, got := range ordersOf(&b) {
			if want := Metric(m).order(&s); got != want && (got == got || want == want) {
				t.Fatalf("%s of %+v: %v, want %v", Metric(m).Info().Name, b, got, want)
			}
		}
	}
}
