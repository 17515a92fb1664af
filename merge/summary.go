package merge

import (
	"fmt"
	"math"
	"slices"
)

// Summary says in a few lines what a report comes to and what the community
// advises in such a case: for the end of printed reports and dialogs.
func (r *Report) Summary() []string {
	var lines []string
	if len(r.Layers) == 0 {
		return []string{"no layer has an adapter: nothing to merge"}
	}
	t := r.Totals
	lines = append(lines, fmt.Sprintf("%s of the adapter kept over %s; %s of codes changed, snr %s dB",
		Percent(float64(t.Kept)), count(len(r.Layers), "layer"), Percent(float64(t.CodesChanged)), decibel(t.SNR)))
	if p := r.Peft; p != nil {
		lines = append(lines, fmt.Sprintf("%s kept on the layers' inputs; PEFT's codes would keep %s, and %s of the matrices",
			Percent(float64(t.KeptOnInputs)), Percent(float64(p.OnInputs)), Percent(float64(p.Kept))))
	}
	if r.Onto != nil {
		lines = append(lines, r.distances())
	}
	n := map[Code]int{}
	for _, l := range r.Layers {
		for _, a := range l.Alerts {
			n[a.Code]++
		}
	}
	if n[CodeNonFinite] > 0 {
		lines = append(lines, fmt.Sprintf("%s with NaN or infinite values", count(n[CodeNonFinite], "layer")))
	}
	if n[CodeErased] > 0 {
		lines = append(lines, fmt.Sprintf("%s erased (kept below %s)", count(n[CodeErased], "layer"), Percent(erasedBelow)))
	}
	if n[CodeWeak] > 0 {
		lines = append(lines, fmt.Sprintf("%s weakened (kept below %s)", count(n[CodeWeak], "layer"), Percent(weakBelow)))
	}
	for _, a := range r.Advice() {
		lines = append(lines, a.Text)
	}
	return lines
}

// distances says what the figures of a merge onto the original compare with.
func (r *Report) distances() string {
	low, high := math.Inf(1), math.Inf(-1)
	for _, l := range r.Layers {
		if l.Distance != nil && *l.Distance == *l.Distance {
			low, high = min(low, float64(*l.Distance)), max(high, float64(*l.Distance))
		}
	}
	line := fmt.Sprintf("figures compare with %s", r.Model.Name)
	if low <= high {
		line += fmt.Sprintf(", from which the original's weights are %s to %s away before anything is added; the error contains that", Percent(low), Percent(high))
	}
	return line
}

// Advice picks from Guidance what the report gives reason to say: all of it if
// the adapter suffered, the situations alone if weights were rounded, nothing
// if no layer was requantized.
func (r *Report) Advice() []Advice {
	requantized := func(l *LayerReport) bool {
		return l.Output == Same && (l.Format == "nf4" || l.Format == "fp4" || l.Format == "int8")
	}
	if !slices.ContainsFunc(r.Layers, requantized) {
		return nil
	}
	all := Guidance()
	if float64(r.Totals.Kept) < 1-erasedBelow || float64(r.Totals.SNR) < noisyBelow {
		return all
	}
	return slices.DeleteFunc(all, func(a Advice) bool { return a.When == Always })
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func decibel(f Figure) string {
	if f != f {
		return dash
	}
	return fmt.Sprintf("%.1f", float64(f))
}
