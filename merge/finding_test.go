package merge

import (
	"math"
	"strings"
	"testing"

	"mergescope/quant"
)

// Expected values are half the smallest distance between neighbouring codes:
// NF4 0.0796/2 (bitsandbytes, codes 7 and 8), FP4 (1/4 - 1/6)/2, int8 1/254.
func TestHalfStep(t *testing.T) {
	for f, want := range map[quant.Format]float64{quant.NF4: 0.07958029955625534, quant.FP4: 1.0 / 12, quant.Int8: 2.0 / 254} {
		if got := HalfStep(f, 2); math.Abs(got-want) > 1e-8 {
			t.Errorf("%s: %v, want %v", f, got, want)
		}
	}
	if got := HalfStep(quant.BF16, 2); !math.IsNaN(got) {
		t.Errorf("bf16: %v, want NaN", got)
	}
}

func TestJudgeLayer(t *testing.T) {
	nan := Figure(math.NaN())
	tests := []struct {
		name string
		m    Metrics
		want map[Code]string
	}{
		{"erased", Metrics{Kept: 0.073, SNR: -0.7, CodesChanged: 0.0055, DeltaRMS: 0.00055, AbsmaxGrowth: 1.007}, map[Code]string{
			// 0.03979 * 0.0403 = 0.0016; 0.00055/0.0016 = 34 %
			CodeErased: "adapter erased: 7.3% kept, 0.55% of codes changed; delta rms 0.00055 is 34% of half a code step (0.0016), so most weights round back to where they were",
			CodeNoisy:  "snr -0.7 dB",
		}},
		{"weak", Metrics{Kept: 0.3, SNR: 1, CodesChanged: 0.05, DeltaRMS: 0.002, AbsmaxGrowth: 1}, map[Code]string{
			CodeWeak: "adapter weakened: 30% kept, 5.0% of codes changed; delta rms 0.002 against half a code step of 0.0016",
		}},
		{"kept", Metrics{Kept: 0.99, SNR: 9, DeltaRMS: 0.01, AbsmaxGrowth: 1.2}, nil},
		{"growth", Metrics{Kept: 0.99, SNR: 9, DeltaRMS: 0.01, AbsmaxGrowth: 1.41}, map[Code]string{CodeAbsmaxGrowth: "×1.41"}},
		{"nothing known", Metrics{Kept: nan, SNR: nan, CodesChanged: nan, DeltaRMS: nan, AbsmaxGrowth: nan}, nil},
		{"infinite growth", Metrics{Kept: 1, SNR: 9, AbsmaxGrowth: Figure(math.Inf(1))}, nil},
	}
	for _, tt := range tests {
		tt.m.KeptOnInputs = nan // no method looked at inputs
		r := &LayerReport{Name: "l", Metrics: tt.m, WorstBlock: &WorstBlock{Row: 3, Col: 64}}
		got := JudgeLayer(r, quant.NF4, 0.0403)
		if len(got) != len(tt.want) {
			t.Errorf("%s: %d alerts, want %d: %+v", tt.name, len(got), len(tt.want), got)
		}
		for _, a := range got {
			if want, ok := tt.want[a.Code]; !ok || !strings.Contains(a.Message, want) {
				t.Errorf("%s: %s says %q, want %q", tt.name, a.Code, a.Message, want)
			}
			if a.Layer != "l" || a.Hint == "" || a.Code == CodeErased && (a.Place.Row != 3 || a.Place.Col != 64) {
				t.Errorf("%s: %+v", tt.name, a)
			}
		}
	}
}

func TestGrowthLevels(t *testing.T) {
	for growth, want := range map[Figure]Level{1.5: Info, 2: Warning} {
		got := JudgeLayer(&LayerReport{Metrics: Metrics{Kept: 1, SNR: 9, AbsmaxGrowth: growth, KeptOnInputs: Figure(math.NaN())}}, quant.NF4, 1)
		if len(got) != 1 || got[0].Level != want {
			t.Errorf("×%v: %+v, want %s", growth, got, want)
		}
	}
}

// The sentences are those of testdata/golden/warnings.json, which PEFT gave.
func TestRoundingAlert(t *testing.T) {
	for f, want := range map[quant.Format]string{
		quant.NF4:  "Merge lora module to 4-bit linear may get different generations due to rounding errors.",
		quant.FP4:  "Merge lora module to 4-bit linear may get different generations due to rounding errors.",
		quant.Int8: "Merge lora module to 8-bit linear may get different generations due to rounding errors.",
	} {
		a, ok := RoundingAlert(f)
		if !ok || a.Message != want || a.Level != Warning || a.Layer != "" {
			t.Errorf("%s: %+v", f, a)
		}
	}
	if a, ok := RoundingAlert(quant.BF16); ok {
		t.Errorf("bf16: %+v", a)
	}
}

func TestNonFiniteAlert(t *testing.T) {
	at := Place{File: "adapter_model.safetensors", Tensor: "q.lora_B.weight", Row: 3, Col: 2}
	a := NonFiniteAlert("q", "broken", "lora_B", at, 1, true)
	want := "1 non-finite value in lora_B, first at adapter_model.safetensors: q.lora_B.weight [3, 2]; layer stopped, its original bytes are kept. " +
		"PEFT: NaNs detected in the merged weights. The adapter broken seems to be broken"
	if a.Message != want || a.Level != Error || a.Place != at {
		t.Errorf("got %q\nwant %q", a.Message, want)
	}
	if a := NonFiniteAlert("q", "x", "delta", Nowhere(), 192, false); !strings.Contains(a.Message, "192 non-finite values in delta; merged anyway") {
		t.Errorf("got %q", a.Message)
	}
}

func TestPercent(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0%", 1: "100%", 0.0733: "7.3%", 0.0996: "10%", 0.0005: "0.05%", 0.000996: "0.10%", 0.0055: "0.55%", -0.5: "-50%", 0.977: "98%",
		math.Inf(1): "∞", math.Inf(-1): "-∞",
	} {
		if got := Percent(v); got != want {
			t.Errorf("%v: %s, want %s", v, got, want)
		}
	}
	if got := Percent(math.NaN()); got != "–" {
		t.Errorf("NaN: %s", got)
	}
}
