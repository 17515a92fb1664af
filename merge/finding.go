package merge

import (
	"fmt"
	"math"

	"mergescope/quant"
)

// Limits below or above which a layer's figures raise an alert.
const (
	erasedBelow = 0.1 // kept
	weakBelow   = 0.5 // kept
	noisyBelow  = 0.0 // SNR in dB
	growthNotes = 1.25
	growthWarns = 2.0 // steps twice as coarse: a bit is lost
)

// HalfStep returns half the narrowest code step of a format at that absmax (for
// int8 the row's SCB), in units of weights: a smaller delta moves no code by
// itself. FP4's steps around zero (0, 0.0052) are left out, since next to no
// weights are there. NaN for formats without codes.
func HalfStep(f quant.Format, absmax float64) float64 {
	var gap float32
	switch f {
	case quant.NF4:
		gap = quant.CodeValue(f, 8) - quant.CodeValue(f, 7)
	case quant.FP4:
		gap = quant.CodeValue(f, 7) - quant.CodeValue(f, 6)
	case quant.Int8:
		gap = quant.Unit(f, 1)
	default:
		return math.NaN()
	}
	return float64(gap) / 2 * absmax
}

// RoundingAlert carries PEFT's warning for merging into a quantized format, one
// count a layer; ok is false for float formats, which PEFT does not warn about.
func RoundingAlert(f quant.Format) (a Alert, ok bool) {
	switch {
	case f.Is4Bit():
		return newAlert(Warning, CodeRounding4, "", peftRounding4), true
	case f == quant.Int8:
		return newAlert(Warning, CodeRounding8, "", peftRounding8), true
	}
	return Alert{}, false
}

// NonFiniteAlert reports NaN or infinite values of a layer. at is the first of
// them, origin what holds it ("lora_B", "delta", "base + delta", "result").
// stopped says that the layer's original bytes are kept, as under safe merge.
func NonFiniteAlert(layer, adapter, origin string, at Place, count int64, stopped bool) Alert {
	what := "merged anyway, as PEFT does without safe_merge"
	if stopped {
		what = "layer stopped, its original bytes are kept"
	}
	values := "values"
	if count == 1 {
		values = "value"
	}
	msg := fmt.Sprintf("%d non-finite %s in %s", count, values, origin)
	if s := at.String(); s != "" {
		msg += ", first at " + s
	}
	msg += "; " + what + ". PEFT: " + PeftBroken(adapter)
	return newAlert(Error, CodeNonFinite, layer, msg).at(at)
}

// JudgeLayer returns what the figures of a merged layer give reason to say:
// erased or weak, noisy, absmax-growth. absmax is the mean scale of the layer's
// blocks before the merge (SCB of its rows for int8), NaN if unknown.
func JudgeLayer(r *LayerReport, f quant.Format, absmax float64) []Alert {
	var out []Alert
	at := Nowhere()
	if r.WorstBlock != nil {
		at.Row, at.Col = r.WorstBlock.Row, r.WorstBlock.Col
	}
	kept := float64(r.Kept)
	if seen := float64(r.KeptOnInputs); !math.IsNaN(seen) {
		kept = seen // what the layer's outputs are made of
	}
	switch {
	case kept < erasedBelow:
		out = append(out, newAlert(Warning, CodeErased, r.Name, "adapter erased: "+deadZone(r, f, absmax)).at(at))
	case kept < weakBelow:
		out = append(out, newAlert(Warning, CodeWeak, r.Name, "adapter weakened: "+deadZone(r, f, absmax)).at(at))
	}
	if snr := float64(r.SNR); snr < noisyBelow && math.IsNaN(float64(r.KeptOnInputs)) {
		out = append(out, newAlert(Info, CodeNoisy, r.Name,
			fmt.Sprintf("rounding is louder than the adapter: snr %.1f dB", snr)).at(at))
	}
	if g := float64(r.AbsmaxGrowth); g >= growthNotes && !math.IsInf(g, 0) {
		level, loss := Info, "its other weights are stored that much coarser"
		switch {
		case g*HalfStep(f, 1) > 1:
			level, loss = Error, "half a code step is now more than any weight the block had, which leaves nothing of them"
		case g >= growthWarns:
			level = Warning
		}
		out = append(out, newAlert(level, CodeAbsmaxGrowth, r.Name, fmt.Sprintf("largest block scale grew ×%.3g: %s", g, loss)))
	}
	return out
}

// deadZone says with numbers of one unit why little of a delta arrives.
func deadZone(r *LayerReport, f quant.Format, absmax float64) string {
	msg := fmt.Sprintf("%s kept", Percent(float64(r.Kept)))
	if seen := float64(r.KeptOnInputs); !math.IsNaN(seen) {
		msg = fmt.Sprintf("%s kept on its inputs, %s of the weights' change", Percent(seen), Percent(float64(r.Kept)))
	}
	if c := float64(r.CodesChanged); !math.IsNaN(c) {
		msg += fmt.Sprintf(", %s of codes changed", Percent(c))
	}
	delta, half := float64(r.DeltaRMS), HalfStep(f, absmax)
	switch {
	case math.IsNaN(delta) || math.IsNaN(half) || half == 0:
		return msg
	case delta < half:
		return msg + fmt.Sprintf("; delta rms %.2g is %s of half a code step (%.2g), so most weights round back to where they were",
			delta, Percent(delta/half), half)
	default:
		return msg + fmt.Sprintf("; delta rms %.2g against half a code step of %.2g", delta, half)
	}
}
