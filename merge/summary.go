package merge

import (
	"fmt"
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
